package train

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
)

// bucketLen is the most gradients that are reduced at once, 1 MiB: what is left when the backward pass ends is soon sent.
const bucketLen = 1 << 18

// Reduction says how the gradients are summed over the ranks and who updates what; it changes nothing but rounding.
type Reduction struct {
	Wire  comm.Wire // form in which gradients travel
	After bool      // after the accumulation, not during its last backward pass
	Shard bool      // each rank has the moments of a part of the parameters alone and updates that part
}

// partsOf cuts an arena into a part for each rank, at cache lines.
func partsOf(elements, ranks int) []int {
	cuts := make([]int, ranks+1)
	for r := range ranks {
		cuts[r] = elements * r / ranks / bert.Align * bert.Align
	}
	cuts[ranks] = elements
	return cuts
}

// part is the stretch of the arenas that this rank updates.
func (t *Trainer) part(elements int) (first, end int) {
	if !t.opt.Reduction.Shard {
		return 0, elements
	}
	cuts := partsOf(elements, t.comm.Size())
	return cuts[t.comm.Rank()], cuts[t.comm.Rank()+1]
}

// whenFinal is what the last backward pass of an update calls with stretches of final gradients; nil where nobody waits for them. Sums of stretches
// that are held back have the same terms in the same order.
func (t *Trainer) whenFinal(checks bool) bert.Done {
	switch {
	case t.comm.Size() == 1:
		return nil
	case t.opt.Reduction.After || checks:
		return t.reduction.hold
	}
	return t.final
}

// final takes a stretch of this rank's own gradients, ready to be summed.
func (t *Trainer) final(first, end int) {
	t.opt.Hooks.gradients(t.step+1, t.model.Gradients, first, end)
	if t.comm.Size() == 1 {
		return
	}
	if err := t.own.see(t.model.Gradients, first, end); err != nil {
		t.reduction.err = cmp.Or(t.reduction.err, err)
	}
	t.reduction.ready(first, end)
}

// reduce ends with the sums over the ranks: of all gradients, or of this rank's part.
func (t *Trainer) reduce() error {
	if t.comm.Size() == 1 {
		t.final(0, t.model.Gradients.Len())
		return nil
	}
	for _, s := range t.reduction.held {
		t.final(s.first, s.end)
	}
	t.reduction.late(kernels.Host[float32](t.model.Late()))
	begin := time.Now()
	err := t.reduction.wait()
	t.waited(begin)
	t.model.AddLate()
	return err
}

// reducer sums gradients over the ranks, bucket by bucket while the backward pass goes on.
type reducer struct {
	comm      comm.Comm
	wire      comm.Wire
	cuts      []int // where the ranks' parts begin, when the sums of a part are wanted on its rank alone
	gradients []float32

	started []comm.Handle
	err     error
	told    int       // gradients that are final
	held    []stretch // of them, not yet handed over
}

// stretch is a part of an arena, first to end-1.
type stretch struct{ first, end int }

func (t *Trainer) newReducer() *reducer {
	return &reducer{comm: t.comm, wire: t.opt.Reduction.Wire, cuts: t.cuts, gradients: kernels.Host[float32](t.model.Gradients)}
}

// begin starts a new update.
func (r *reducer) begin() {
	r.started, r.err, r.told, r.held = r.started[:0], nil, 0, r.held[:0]
}

// hold keeps a stretch of final gradients for later.
func (r *reducer) hold(first, end int) { r.held = append(r.held, stretch{first, end}) }

// ready takes a stretch of final gradients; stretches together are the arena. No bucket waits for the next stretch to fill it.
func (r *reducer) ready(first, end int) {
	r.told += end - first
	for first < end {
		from := max(end-bucketLen, first)
		if r.cuts == nil {
			r.start(r.comm.AllreduceStart(r.gradients[from:end], r.wire))
		} else {
			root := sort.SearchInts(r.cuts, end) - 1 // the rank whose part the last of them is in
			from = max(from, r.cuts[root])
			r.start(r.comm.ReduceStart(r.gradients[from:end], root, r.wire))
		}
		end = from
	}
}

// late takes rows that all ranks need.
func (r *reducer) late(rows []float32) {
	for bucket := range slices.Chunk(rows, bucketLen) {
		r.start(r.comm.AllreduceStart(bucket, r.wire))
	}
}

func (r *reducer) start(h comm.Handle, err error) {
	if err != nil {
		r.err = err
		return
	}
	r.started = append(r.started, h)
}

func (r *reducer) wait() error {
	if r.told != len(r.gradients) && r.err == nil {
		r.err = fmt.Errorf("%d of %d gradients are final", r.told, len(r.gradients))
	}
	for _, h := range r.started {
		err := h.Wait()
		r.err = cmp.Or(r.err, err)
		if missing := (*comm.Missing)(nil); errors.As(err, &missing) {
			break // each of the others would be waited for as long
		}
	}
	return r.err
}
