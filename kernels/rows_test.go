package kernels

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var rowsCases = []struct{ t, m, h int }{
	{1, 1, 1}, {5, 0, 7}, {9, 3, 8}, {40, 31, 9}, {40, 32, 15}, {33, 33, 17}, {100, 65, 61}, {70, 11, 768}, {10, 9, 1024},
}

func TestGatherRows(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		for i, c := range rowsCases {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			src, rows := normal(r, c.t*c.h, 0, 1), make([]int32, c.m)
			var want []float32
			for i := range rows {
				rows[i] = int32(r.IntN(c.t)) // a gather may take a row twice
				want = append(want, src[int(rows[i])*c.h:][:c.h]...)
			}
			dst := tensor(t, m, make([]float32, c.m*c.h))
			m.GatherRows(dst, tensor(t, m, src), tensor(t, m, rows), c.m, c.h)
			if got := values[float32](t, m, dst); !slices.Equal(got, want) {
				t.Errorf("%+v: gathered %v, expected %v", c, got, want)
			}
		}
	})
}

func TestScatterRowsAdd(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		for i, c := range rowsCases {
			r := rand.New(rand.NewPCG(2, uint64(i)))
			dst, src, rows := normal(r, c.t*c.h, 0, 1), normal(r, c.m*c.h, 0, 1), make([]int32, c.m)
			for i, row := range r.Perm(c.t)[:c.m] {
				rows[i] = int32(row)
			}
			want := slices.Clone(dst)
			for i := range src {
				want[int(rows[i/c.h])*c.h+i%c.h] += src[i]
			}
			x := tensor(t, m, dst)
			m.ScatterRowsAdd(x, tensor(t, m, src), tensor(t, m, rows), c.m, c.h)
			if got := values[float32](t, m, x); !slices.Equal(got, want) {
				t.Errorf("%s: %d of %d rows of %d: a sum of two numbers differs", fmt.Sprint(m.name), c.m, c.t, c.h)
			}
		}
	})
}
