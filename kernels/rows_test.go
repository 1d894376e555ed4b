package kernels

import (
	"math/rand/v2"
	"slices"
	"testing"
)

var rowsCases = []struct{ t, m, h int }{
	{1, 1, 1}, {5, 0, 7}, {9, 3, 8}, {40, 31, 9}, {40, 32, 15}, {33, 33, 17}, {100, 65, 61}, {70, 11, 768}, {10, 9, 1024},
}

// distinctRows returns m of t rows in any order.
func distinctRows(r *rand.Rand, t, m int) []int32 {
	rows := make([]int32, m)
	for i, row := range r.Perm(t)[:m] {
		rows[i] = int32(row)
	}
	return rows
}

func TestGatherRows(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range rowsCases {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			src, rows := asStored(dtype, normal(r, c.t*c.h, 0, 1)), make([]int32, c.m)
			var want []float32
			for i := range rows {
				rows[i] = int32(r.IntN(c.t)) // a gather may take a row twice
				want = append(want, src[int(rows[i])*c.h:][:c.h]...)
			}
			dst := activation(t, m, dtype, make([]float32, c.m*c.h))
			m.GatherRows(dst, activation(t, m, dtype, src), tensor(t, m, rows), c.m, c.h)
			if got := read(t, m, dst); !slices.Equal(got, want) {
				t.Errorf("%+v: gathered %v, expected %v", c, got, want)
			}
		}
	})
}

func TestScatterRowsAdd(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range rowsCases {
			r := rand.New(rand.NewPCG(2, uint64(i)))
			dst, src, rows := asStored(dtype, normal(r, c.t*c.h, 0, 1)), asStored(dtype, normal(r, c.m*c.h, 0, 1)), distinctRows(r, c.t, c.m)
			want := slices.Clone(dst)
			for i := range src {
				want[int(rows[i/c.h])*c.h+i%c.h] += src[i]
			}
			x := activation(t, m, dtype, dst)
			m.ScatterRowsAdd(x, activation(t, m, dtype, src), tensor(t, m, rows), c.m, c.h)
			if got := read(t, m, x); !slices.Equal(got, asStored(dtype, want)) {
				t.Errorf("%s: %d of %d rows of %d: a sum of two numbers differs", m.name, c.m, c.t, c.h)
			}
		}
	})
}

func TestRowsThreads(t *testing.T) {
	const all, some, h = 300, 131, 77
	for _, dtype := range storages {
		sameForAnyThreads(t, func(t *testing.T, m machine) []float32 {
			r := rand.New(rand.NewPCG(3, 0))
			x, y, rows := activation(t, m, dtype, normal(r, all*h, 0, 1)), activation(t, m, dtype, make([]float32, some*h)), tensor(t, m, distinctRows(r, all, some))
			m.GatherRows(y, x, rows, some, h)
			m.ScatterRowsAdd(x, y, rows, some, h)
			return slices.Concat(read(t, m, x), read(t, m, y))
		})
	}
}
