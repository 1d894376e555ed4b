// Package commtest is a group of ranks that are goroutines of one process, for tests.
package commtest

import (
	"errors"
	"math"
	"slices"
	"sync"

	"hpcbert/lib/comm"
)

// Run calls work for each of so many ranks, each in a goroutine, and returns their errors.
func Run(ranks int, work func(c comm.Comm) error) []error {
	g := &group{slots: make([]any, ranks)}
	g.changed = sync.NewCond(&g.mu)
	errs := make([]error, ranks)
	var all sync.WaitGroup
	for r := range ranks {
		all.Go(func() {
			if errs[r] = work(rank{g, r}); errs[r] != nil {
				rank{g, r}.Abort(1) // the others would wait for ever
			}
		})
	}
	all.Wait()
	return errs
}

// ErrAborted is what calls return after a rank has failed.
var ErrAborted = errors.New("another rank aborted")

// group is where the ranks meet.
type group struct {
	mu      sync.Mutex
	changed *sync.Cond
	slots   []any // what the ranks have brought
	here    int
	meeting int // number of this one
	met     []any
	aborted bool
}

// meet waits until all ranks have brought a value, and returns the values in rank order.
func (g *group) meet(rank int, value any) ([]any, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.aborted {
		return nil, ErrAborted
	}
	g.slots[rank] = value
	meeting := g.meeting
	if g.here++; g.here == len(g.slots) {
		g.met, g.here = slices.Clone(g.slots), 0
		g.meeting++
		g.changed.Broadcast()
	}
	for g.meeting == meeting && !g.aborted {
		g.changed.Wait()
	}
	if g.meeting == meeting {
		return nil, ErrAborted
	}
	return g.met, nil
}

type rank struct {
	g    *group
	rank int
}

func (r rank) Rank() int      { return r.rank }
func (r rank) Size() int      { return len(r.g.slots) }
func (r rank) LocalRank() int { return r.rank }
func (r rank) Host() string   { return "testhost" }
func (r rank) Barrier() error { _, err := r.g.meet(r.rank, nil); return err }
func (r rank) Close() error   { return nil }

func (r rank) Abort(int) {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	r.g.aborted = true
	r.g.changed.Broadcast()
}

func (r rank) Bcast(data []byte, root int) error {
	all, err := r.g.meet(r.rank, slices.Clone(data))
	if err == nil {
		copy(data, all[root].([]byte))
	}
	return err
}

// sum adds the ranks' values in rank order, rounding each sum.
func sum[T float32 | float64 | int64](r rank, data []T, round func(T) T) error {
	all, err := r.g.meet(r.rank, slices.Clone(data))
	if err != nil {
		return err
	}
	for i := range data {
		data[i] = round(all[0].([]T)[i])
		for _, other := range all[1:] {
			data[i] = round(data[i] + round(other.([]T)[i]))
		}
	}
	return nil
}

func exact[T any](x T) T { return x }

func (r rank) AllreduceFloat64(data []float64) error { return sum(r, data, exact) }
func (r rank) AllreduceInt64(data []int64) error     { return sum(r, data, exact) }

func (r rank) Agree(yes bool) (bool, error) {
	all, err := r.g.meet(r.rank, yes)
	return slices.Contains(all, any(true)), err
}

func (r rank) Shift(data []byte, by int) ([]byte, error) {
	all, err := r.g.meet(r.rank, slices.Clone(data))
	if err != nil {
		return nil, err
	}
	n := r.Size()
	return all[((r.rank-by)%n+n)%n].([]byte), nil
}

type finished struct{}

func (finished) Wait() error { return nil }

func (r rank) AllreduceStart(bucket []float32, wire comm.Wire) (comm.Handle, error) {
	if r.Size() == 1 {
		return finished{}, nil
	}
	return finished{}, sum(r, bucket, func(x float32) float32 { return Round(x, wire) })
}

func (r rank) ReduceStart(bucket []float32, root int, wire comm.Wire) (comm.Handle, error) {
	_, err := r.AllreduceStart(bucket, wire)
	if r.rank != root {
		for i := range bucket {
			bucket[i] = float32(math.NaN()) // nobody may read it
		}
	}
	return finished{}, err
}

func (r rank) AllGather(data []float32, cuts []int) error {
	for root := range r.Size() {
		if err := r.Gather(data, cuts, root); err != nil {
			return err
		}
	}
	return nil
}

func (r rank) Gather(data []float32, cuts []int, root int) error {
	if err := comm.CheckCuts("gather", len(data), cuts, r.Size()); err != nil {
		return err
	}
	all, err := r.g.meet(r.rank, slices.Clone(data[cuts[r.rank]:cuts[r.rank+1]]))
	if err != nil || r.rank != root {
		return err
	}
	for other, stretch := range all {
		copy(data[cuts[other]:], stretch.([]float32))
	}
	return nil
}

// Round is x as it arrives: the nearest value of the form, of two equally near ones the even one.
func Round(x float32, wire comm.Wire) float32 {
	bits, least, largest := 7, -126, math.MaxFloat32
	switch wire {
	case comm.Float32:
		return x
	case comm.Float16:
		bits, least, largest = 10, -14, 65504
	}
	if x == 0 || x != x || math.IsInf(float64(x), 0) {
		return x
	}
	exponent := max(math.Ilogb(float64(x)), least)
	unit := math.Ldexp(1, exponent-bits)
	y := math.RoundToEven(float64(x)/unit) * unit
	if math.Abs(y) > largest {
		y = math.Inf(int(math.Copysign(1, y)))
	}
	return float32(y)
}
