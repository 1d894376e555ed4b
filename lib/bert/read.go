package bert

import (
	"slices"

	"hpcbert/kernels"
)

// rowSet is some rows of a micro-batch, with what names their dropout draws.
type rowSet struct {
	n                  int
	samples, positions kernels.Tensor
}

// reading is what the host knows of the rows that the heads read of the last layer.
type reading struct {
	rows, samples, positions []int32
	place                    []int32 // [T] of each row in the list, where it is in it
	first, masked            []int32 // places of the first tokens' and the masked rows
}

// selective tells whether the model's heads read few rows of the last layer: those of first tokens, and of masked ones.
func (m *Model) selective() bool { return m.mlm != nil || m.task != nil && m.task.Pools() }

// mostRead is how many rows the heads read at most, where these are few.
func (m *Model) mostRead() int {
	if !m.selective() {
		return 0
	}
	return min(m.limits.Tokens, m.limits.Masked+m.limits.Sequences)
}

// selects tells whether layer i goes on behind its attention with the rows that are read alone.
func (m *Model) selects(i int) bool { return i == len(m.layers)-1 && m.run.readRows.n > 0 }

// rowsOf are the rows of layer i's output.
func (m *Model) rowsOf(i int) rowSet {
	if m.selects(i) {
		return m.run.readRows
	}
	return m.run.allRows
}

// beginRows says which rows of the last layer are computed, and where the heads find theirs.
func (m *Model) beginRows(b *Batch, what purpose) {
	r := &m.run
	r.allRows = rowSet{r.t, r.tokenSamples, r.positions}
	r.readRows.n = 0
	if what == forRows || !m.selective() {
		m.upload(r.first, b.CuSeqlens[:r.b])
		return
	}
	list := &r.hostRead
	list.collect(b, m.mlm != nil && what == forLosses, r.seen[:r.t])
	r.readRows.n = len(list.rows)
	m.upload(r.read, list.rows)
	m.upload(r.readRows.samples, list.samples)
	m.upload(r.readRows.positions, list.positions)
	m.upload(r.first, list.first)
	if m.mlm != nil {
		m.upload(m.mlm.rows, list.masked)
	}
}

// collect lists the rows of a batch that are read; wanted is scratch of T.
func (l *reading) collect(b *Batch, masked bool, wanted []bool) {
	clear(wanted)
	for i := range b.Samples {
		wanted[b.CuSeqlens[i]] = true
	}
	if masked {
		for _, row := range b.MaskedRows {
			wanted[row] = true
		}
	}
	*l = reading{l.rows[:0], l.samples[:0], l.positions[:0], slices.Grow(l.place[:0], len(wanted))[:len(wanted)], l.first[:0], l.masked[:0]}
	for i, sample := range b.Samples {
		for row := b.CuSeqlens[i]; row < b.CuSeqlens[i+1]; row++ {
			if wanted[row] {
				l.place[row] = int32(len(l.rows))
				l.rows, l.samples, l.positions = append(l.rows, row), append(l.samples, sample), append(l.positions, b.Positions[row])
			}
		}
		l.first = append(l.first, l.place[b.CuSeqlens[i]])
	}
	if masked {
		for _, row := range b.MaskedRows {
			l.masked = append(l.masked, l.place[row])
		}
	}
}
