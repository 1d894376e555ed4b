package train

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/fault"
	"hpcbert/lib/optim"
)

// Hooks are for tests: they change what a step reads, as a fault of the machine would.
type Hooks struct {
	Batch     func(step int, b *bert.Batch)
	Weights   func(step int, arena []float32)
	Gradients func(step, first int, stretch []float32) // this rank's own, when they are final; first = place in the arena
	Backward  func(step, first int, stretch []float32) // after every backward pass of a micro-batch, also one of another rank
	Computed  func(step int, took time.Duration)       // after each micro-batch; its time counts as the rank's
	Data      func(step int)                           // before the data of an update; its time counts as waiting for them
}

func (h Hooks) batch(step int, b *bert.Batch) {
	if h.Batch != nil {
		h.Batch(step, b)
	}
}

func (h Hooks) weights(step int, m *bert.Model) {
	if h.Weights != nil {
		h.Weights(step, kernels.Host[float32](m.Weights))
		m.Refresh()
	}
}

func (h Hooks) gradients(step int, arena kernels.Tensor, first, end int) {
	if h.Gradients != nil {
		h.Gradients(step, first, kernels.Host[float32](arena)[first:end])
	}
}

func (h Hooks) backward(step int, arena kernels.Tensor, first, end int) {
	h.Backward(step, first, kernels.Host[float32](arena)[first:end])
}

func (h Hooks) computed(step int, took time.Duration) {
	if h.Computed != nil {
		h.Computed(step, took)
	}
}

func (h Hooks) data(step int) {
	if h.Data != nil {
		h.Data(step)
	}
}

const divergedHint = "training has diverged: a lower learning rate or a longer warm-up may hold it"

// nowhere is in place of a tensor's number when all are finite.
const nowhere = -1

// watch finds the first tensor of an arena that is not finite.
type watch struct {
	squares *optim.Squares
	offsets []int64
	bad     int
}

// see looks at the tensors of a stretch.
func (w *watch) see(arena kernels.Tensor, first, end int) error {
	place := func(at int) int {
		return sort.Search(len(w.offsets), func(i int) bool { return w.offsets[i] >= int64(at) })
	}
	from := place(first)
	sums, err := w.squares.Of(arena, from, place(end))
	if bad := optim.FirstNotFinite(sums); err == nil && bad >= 0 && (w.bad == nowhere || from+bad < w.bad) {
		w.bad = from + bad
	}
	return err
}

// all returns the first tensor of a whole arena that is not finite, or nowhere.
func (w *watch) all(arena kernels.Tensor) (int, error) {
	w.bad = nowhere
	err := w.see(arena, 0, int(w.offsets[len(w.offsets)-1]))
	return w.bad, err
}

// notFinite skips the update where the loss scale can be to blame and tells so; else it is the error that ends the run. The sum over the ranks
// of the gradient of tensor summed is not finite. All ranks come here together.
func (t *Trainer) notFinite(m *measure, summed int) error {
	scale := t.scaler.Scale
	skip, why := t.scaler.Overflow()
	if skip {
		m.skipped = true
		t.opt.Warn("step %d: the gradients overflow with loss scale %g: the update is skipped, the next has %g", t.step+1, scale, t.scaler.Scale)
		return nil
	}
	if why != "" {
		why = " (" + why + ")"
	}
	return t.blame(summed, fmt.Sprintf("is not finite, loss %.4g%s", m.loss(), why))
}

// blame makes the error of the rank where it arose; on the others it is fault.ErrElsewhere. Weights that are not finite make all gradients so,
// and a gradient its sum.
func (t *Trainer) blame(summed int, text string) error {
	gradient := t.own.bad
	weight, err := t.own.all(t.model.Weights)
	if err == nil && t.comm.Size() == 1 {
		gradient, err = t.own.all(t.model.Gradients)
	}
	if err != nil {
		return err
	}
	ranks := t.comm.Size()
	found := make([]int64, 2*ranks) // of each rank its first bad weight, then its first bad gradient, from 1
	found[t.comm.Rank()], found[ranks+t.comm.Rank()] = int64(weight+1), int64(gradient+1)
	if err := t.comm.AllreduceInt64(found); err != nil {
		return err
	}
	what, tensor, rank := "weight ", int64(0), 0
	if tensor, rank = earliest(found[:ranks]); tensor == 0 {
		what = "gradient of "
		tensor, rank = earliest(found[ranks:])
	}
	if tensor == 0 {
		what, tensor = "sum over the ranks of the gradient of ", int64(summed+1)
	}
	switch {
	case rank != t.comm.Rank():
		return fault.ErrElsewhere
	case tensor == 0:
		err = errors.New("the loss " + text)
	default:
		err = errors.New("the " + what + t.model.Params[tensor-1].Name + " " + text)
	}
	return fault.WithHint(err, divergedHint)
}

// earliest returns the lowest tensor above 0 and the first rank that has it.
func earliest(tensors []int64) (tensor int64, rank int) {
	lowest := int64(math.MaxInt64)
	for i, n := range tensors {
		if n > 0 && n < lowest {
			lowest, rank = n, i
		}
	}
	if lowest == math.MaxInt64 {
		return 0, 0
	}
	return lowest, rank
}

// checkWeights refuses to save weights that are not finite: the checkpoint before is of more use.
func (t *Trainer) checkWeights() error {
	bad, err := t.own.all(t.model.Weights)
	if err == nil && bad != nowhere {
		err = fault.WithHint(fmt.Errorf("the weight %s is not finite: not saved", t.model.Params[bad].Name), divergedHint)
	}
	return err
}
