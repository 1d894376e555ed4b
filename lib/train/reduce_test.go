package train

import (
	"slices"
	"testing"

	"hpcbert/lib/comm"
)

// doubler is a communicator of two ranks that have the same values: a sum doubles them. It keeps what it was asked for.
type doubler struct {
	comm.Comm
	lengths []int
}

func (d *doubler) AllreduceStart(bucket []float32, wire comm.Wire) (comm.Handle, error) {
	d.lengths = append(d.lengths, len(bucket))
	for i := range bucket {
		bucket[i] *= 2
	}
	return d.Comm.AllreduceStart(bucket, wire)
}

func TestEveryGradientIsReducedOnce(t *testing.T) {
	for _, cuts := range [][]int{
		{0, 10},
		{0, 7, 10},
		{0, bucketLen/2 + 3, 3*bucketLen + 16, 3*bucketLen + 17},
		{0, 2 * bucketLen},
		{0, bucketLen},
		{0, 1, 2, 3, bucketLen + 1},
	} {
		n := cuts[len(cuts)-1]
		d := &doubler{Comm: comm.Single("host")}
		r := &reducer{comm: d, gradients: slices.Repeat([]float32{1}, n)}
		for i := len(cuts) - 2; i >= 0; i-- {
			r.ready(cuts[i], cuts[i+1])
		}
		rows := slices.Repeat([]float32{1}, bucketLen+5)
		r.late(rows)
		if err := r.wait(); err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(rows, func(g float32) bool { return g != 2 }); i >= 0 {
			t.Errorf("late gradient %d is %v, expected 2", i, rows[i])
		}
		if i := slices.IndexFunc(r.gradients, func(g float32) bool { return g != 2 }); i >= 0 {
			t.Errorf("cuts %v: gradient %d is %v, expected 2", cuts, i, r.gradients[i])
		}
		if slices.Max(d.lengths) > bucketLen {
			t.Errorf("cuts %v: buckets of %v", cuts, d.lengths)
		}
	}
}

// absent is a communicator whose sums are given up, each after a while.
type absent struct {
	comm.Comm
	waits int
}

func (a *absent) AllreduceStart([]float32, comm.Wire) (comm.Handle, error) { return a, nil }

func (a *absent) Wait() error {
	a.waits++
	return &comm.Missing{Collective: "sum", Ranks: []string{"rank 1"}}
}

// A rank that is lost is waited for once, not for each bucket.
func TestMissingRankEndsTheSums(t *testing.T) {
	a := &absent{Comm: comm.Single("host")}
	r := &reducer{comm: a, gradients: make([]float32, 3*bucketLen)}
	r.ready(0, len(r.gradients))
	if err := r.wait(); err == nil || a.waits != 1 {
		t.Errorf("waited %d times: %v", a.waits, err)
	}
}

func TestGapInTheGradientsIsAnError(t *testing.T) {
	r := &reducer{comm: comm.Single("host"), gradients: make([]float32, 10)}
	r.ready(5, 10)
	r.ready(0, 4)
	if r.wait() == nil {
		t.Error("gradient 4 was never final, and nobody noticed")
	}
}

// sorter is a communicator of three ranks that marks each gradient with the rank its sum goes to.
type sorter struct{ comm.Comm }

func (s *sorter) ReduceStart(bucket []float32, root int, wire comm.Wire) (comm.Handle, error) {
	for i := range bucket {
		bucket[i] += float32(10 + root)
	}
	return s.Comm.ReduceStart(bucket, 0, wire)
}

func TestEveryGradientGoesToItsRank(t *testing.T) {
	for _, cuts := range [][]int{{0, 16, 32, 100}, {0, 0, bucketLen + 16, 2*bucketLen + 48}, {0, 3 * bucketLen, 3 * bucketLen, 3*bucketLen + 16}} {
		n := cuts[3]
		for _, ends := range [][]int{{0, n}, {0, 17, n}, {0, 17, n / 2, n}} {
			s := &sorter{comm.Single("host")}
			r := &reducer{comm: s, cuts: cuts, gradients: make([]float32, n)}
			for i := len(ends) - 2; i >= 0; i-- {
				r.ready(ends[i], ends[i+1])
			}
			if err := r.wait(); err != nil {
				t.Fatal(err)
			}
			for i, g := range r.gradients {
				root := 0
				for i >= cuts[root+1] {
					root++
				}
				if g != float32(10+root) {
					t.Fatalf("parts %v: gradient %d went to %v, expected once to %d", cuts, i, g-10, root)
				}
			}
		}
	}
}

func TestParts(t *testing.T) {
	for _, c := range []struct {
		n, ranks int
		want     []int
	}{{160, 1, []int{0, 160}}, {160, 3, []int{0, 48, 96, 160}}, {16, 4, []int{0, 0, 0, 0, 16}}} {
		if got := partsOf(c.n, c.ranks); !slices.Equal(got, c.want) {
			t.Errorf("%d elements on %d ranks: %v, expected %v", c.n, c.ranks, got, c.want)
		}
	}
}
