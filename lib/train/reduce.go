package train

import (
	"cmp"
	"fmt"
	"sort"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
)

// bucketLen is the number of gradients that are reduced at once, 1 MiB: what is left when the backward pass ends is soon sent.
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

// whenFinal is what the backward pass calls with stretches of final gradients; nil where nobody waits for them.
func (t *Trainer) whenFinal() bert.Done {
	if t.comm.Size() == 1 || t.opt.Reduction.After {
		return nil
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

// reduce ends with the sums over the ranks: of all gradients, or of this rank's part. Begun tells that the last backward pass has handed the
// gradients over.
func (t *Trainer) reduce(begun bool) error {
	if !begun {
		t.final(0, t.model.Gradients.Len())
	}
	defer t.waited(time.Now())
	return t.reduction.wait()
}

// reducer sums gradients over the ranks, bucket by bucket while the backward pass goes on.
type reducer struct {
	comm      comm.Comm
	wire      comm.Wire
	cuts      []int // where the ranks' parts begin, when the sums of a part are wanted on its rank alone
	gradients []float32

	started []comm.Handle
	err     error
	end     int // end of the stretch that is final but not yet handed over
	first   int
}

func (t *Trainer) newReducer() *reducer {
	return &reducer{comm: t.comm, wire: t.opt.Reduction.Wire, cuts: t.cuts, gradients: kernels.Host[float32](t.model.Gradients)}
}

// begin starts a new update.
func (r *reducer) begin() {
	r.started, r.err, r.end, r.first = r.started[:0], nil, 0, 0
}

// ready takes a stretch of final gradients; stretches come from the end of the arena to its start.
func (r *reducer) ready(first, end int) {
	if r.end == 0 {
		r.end = end
	} else if end != r.first {
		r.err = fmt.Errorf("gradients %d to %d are final before those from %d on", first, end, r.first)
	}
	r.first = first
	for r.end-r.first >= bucketLen || (r.first == 0 && r.end > 0) {
		from := max(r.end-bucketLen, r.first)
		root := 0
		if r.cuts != nil {
			root = sort.SearchInts(r.cuts, r.end) - 1 // the rank whose part the last of them is in
			from = max(from, r.cuts[root])
		}
		r.start(from, r.end, root)
		r.end = from
	}
}

func (r *reducer) start(first, end, root int) {
	var h comm.Handle
	var err error
	if bucket := r.gradients[first:end]; r.cuts == nil {
		h, err = r.comm.AllreduceStart(bucket, r.wire)
	} else {
		h, err = r.comm.ReduceStart(bucket, root, r.wire)
	}
	if err != nil {
		r.err = err
		return
	}
	r.started = append(r.started, h)
}

func (r *reducer) wait() error {
	for _, h := range r.started {
		if err := h.Wait(); err != nil && r.err == nil {
			r.err = err
		}
	}
	return r.err
}
