// Package comm is how ranks talk: the interface that the trainer uses and its one-process form.
package comm

import (
	"fmt"
	"slices"

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
	AllreduceStart(bucket []float32, wire Wire) (Handle, error)
	// ReduceStart is AllreduceStart that leaves the sum on root alone; elsewhere the slice holds nothing of use afterwards.
	ReduceStart(bucket []float32, root int, wire Wire) (Handle, error)
	// AllGather copies the stretch data[cuts[r]:cuts[r+1]] of each rank r to all ranks; cuts has Size+1 entries.
	AllGather(data []float32, cuts []int) error
	// Gather copies the stretches to root alone.
	Gather(data []float32, cuts []int, root int) error
	// Shift sends data to the rank that is by higher, counted round, and returns what the rank that is by lower sent.
	Shift(data []byte, by int) ([]byte, error)
	// Agree tells every rank whether any rank said yes.
	Agree(yes bool) (bool, error)
	// Abort ends the whole job with the exit status.
	Abort(status int)
	Close() error
}

// Wire is the form in which values that are summed travel: sums are made in float32 and rounded to it on the way. In Float16 what is beyond
// its range becomes infinite.
type Wire int

// The forms.
const (
	Float32 Wire = iota
	BFloat16
	Float16
)

// Handle is a started operation.
type Handle interface{ Wait() error }

type single struct{ host string }

// Single is the communicator of a process that runs alone.
func Single(host string) Comm { return single{host} }

type finished struct{}

func (finished) Wait() error { return nil }

func (single) Rank() int                                        { return 0 }
func (single) Size() int                                        { return 1 }
func (single) LocalRank() int                                   { return 0 }
func (s single) Host() string                                   { return s.host }
func (single) Barrier() error                                   { return nil }
func (single) Bcast([]byte, int) error                          { return nil }
func (single) AllreduceFloat64([]float64) error                 { return nil }
func (single) AllreduceInt64([]int64) error                     { return nil }
func (single) AllreduceStart([]float32, Wire) (Handle, error)   { return finished{}, nil }
func (single) ReduceStart([]float32, int, Wire) (Handle, error) { return finished{}, nil }
func (single) AllGather(data []float32, cuts []int) error {
	return CheckCuts("all-gather", len(data), cuts, 1)
}
func (single) Gather(data []float32, cuts []int, root int) error {
	return CheckCuts("gather", len(data), cuts, 1)
}
func (single) Shift(data []byte, by int) ([]byte, error) { return slices.Clone(data), nil }
func (single) Agree(yes bool) (bool, error)              { return yes, nil }
func (single) Abort(int)                                 {}
func (single) Close() error                              { return nil }

// CheckCuts tells what is wrong with the stretches of so many ranks in n values.
func CheckCuts(call string, n int, cuts []int, ranks int) error {
	if len(cuts) != ranks+1 || !slices.IsSorted(cuts) || cuts[0] < 0 || cuts[ranks] > n {
		return fmt.Errorf("%s: stretches %v of %d values on %d rank(s)", call, cuts, n, ranks)
	}
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

// Texts returns a text of each rank, by rank. All ranks call it; a text is at most a few kilobytes.
func Texts(c Comm, mine string) ([]string, error) {
	lengths := make([]int64, c.Size())
	lengths[c.Rank()] = int64(len(mine))
	if err := c.AllreduceInt64(lengths); err != nil {
		return nil, err
	}
	width := int(slices.Max(lengths))
	letters := make([]int64, c.Size()*width) // a byte in eight: it is little, and sums need no other call
	for i := range len(mine) {
		letters[c.Rank()*width+i] = int64(mine[i])
	}
	if err := c.AllreduceInt64(letters); err != nil {
		return nil, err
	}
	texts := make([]string, c.Size())
	for r := range texts {
		text := make([]byte, lengths[r])
		for i := range text {
			text[i] = byte(letters[r*width+i])
		}
		texts[r] = string(text)
	}
	return texts, nil
}
