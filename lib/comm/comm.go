// Package comm is how ranks talk: the interface that the trainer uses and its one-process form.
package comm

import (
	"fmt"

	"hpcbert/lib/fault"
)

// Comm is a group of ranks. All ranks call a collective, in the same order. Slices are reduced in place. Errors name the call.
type Comm interface {
	Rank() int
	Size() int
	LocalRank() int // rank on this node
	Host() string
	Barrier() error
	Bcast(data []byte, root int) error
	AllreduceFloat64(data []float64) error // sum
	AllreduceInt64(data []int64) error     // sum
	// AllreduceStart begins the sum of one bucket over all ranks; the slice belongs to the call until Wait returns.
	AllreduceStart(bucket []float32) (Handle, error)
	ReduceScatter(out, in []float32) error // in = Size equal parts; out = this rank's part of the sum
	AllGather(out, in []float32) error     // out = Size equal parts
	// Agree tells every rank whether any rank said yes.
	Agree(yes bool) (bool, error)
	// Abort ends the whole job with the exit status.
	Abort(status int)
	Close() error
}

// Handle is a started operation.
type Handle interface{ Wait() error }

type single struct{ host string }

// Single is the communicator of a process that runs alone.
func Single(host string) Comm { return single{host} }

type finished struct{}

func (finished) Wait() error { return nil }

func (single) Rank() int                                { return 0 }
func (single) Size() int                                { return 1 }
func (single) LocalRank() int                           { return 0 }
func (s single) Host() string                           { return s.host }
func (single) Barrier() error                           { return nil }
func (single) Bcast([]byte, int) error                  { return nil }
func (single) AllreduceFloat64([]float64) error         { return nil }
func (single) AllreduceInt64([]int64) error             { return nil }
func (single) AllreduceStart([]float32) (Handle, error) { return finished{}, nil }
func (single) ReduceScatter(out, in []float32) error    { return copyPart("reduce-scatter", out, in) }
func (single) AllGather(out, in []float32) error        { return copyPart("all-gather", out, in) }
func (single) Agree(yes bool) (bool, error)             { return yes, nil }
func (single) Abort(int)                                {}
func (single) Close() error                             { return nil }

func copyPart(call string, out, in []float32) error {
	if len(out) != len(in) {
		return fmt.Errorf("%s: %d values into %d", call, len(in), len(out))
	}
	copy(out, in)
	return nil
}

// Together makes an error of any rank an error of all, after work that has no collective in it: the lowest rank that failed returns its own
// error, the others fault.ErrElsewhere. All ranks call it.
func Together(c Comm, err error) error {
	failed := make([]int64, c.Size())
	if err != nil {
		failed[c.Rank()] = 1
	}
	if e := c.AllreduceInt64(failed); e != nil {
		return e
	}
	for rank, n := range failed {
		switch {
		case n > 0 && rank == c.Rank():
			return err
		case n > 0:
			return fault.ErrElsewhere
		}
	}
	return nil
}
