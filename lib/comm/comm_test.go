package comm

import (
	"errors"
	"testing"

	"hpcbert/lib/fault"
)

// two is rank 0 or 1 of two ranks; the other rank's error flag is given.
type two struct {
	Comm
	rank       int
	otherFails bool
}

func (c two) Rank() int { return c.rank }
func (c two) Size() int { return 2 }
func (c two) AllreduceInt64(data []int64) error {
	if c.otherFails {
		data[1-c.rank]++
	}
	return nil
}

func TestLowestFailedRankTellsTheError(t *testing.T) {
	mine := errors.New("mine")
	for _, c := range []struct {
		rank       int
		err        error
		otherFails bool
		want       error
	}{
		{0, nil, false, nil}, {0, mine, false, mine}, {0, mine, true, mine}, {0, nil, true, fault.ErrElsewhere},
		{1, nil, false, nil}, {1, mine, false, mine}, {1, mine, true, fault.ErrElsewhere}, {1, nil, true, fault.ErrElsewhere},
	} {
		if got := Together(two{Single("h"), c.rank, c.otherFails}, c.err); got != c.want {
			t.Errorf("rank %d, error %v, other fails %v: %v, expected %v", c.rank, c.err, c.otherFails, got, c.want)
		}
	}
}

func TestSingle(t *testing.T) {
	c := Single("h")
	for _, cuts := range [][]int{{0, 2}, {0, 0}, {0}, {0, 3}, {-1, 2}, {2, 1}, {0, 1, 2}} {
		good := len(cuts) == 2 && cuts[0] == 0 && cuts[1] < 3
		for _, err := range []error{c.AllGather([]float32{1, 2}, cuts), c.Gather([]float32{1, 2}, cuts, 0)} {
			if good != (err == nil) {
				t.Errorf("stretches %v of 2 values: %v", cuts, err)
			}
		}
	}
	if yes, err := c.Agree(true); !yes || err != nil {
		t.Errorf("agree: %v %v", yes, err)
	}
}
