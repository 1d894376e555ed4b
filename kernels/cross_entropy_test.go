package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// crossEntropy is the loss and gradient of each row of logits [m,ld] over v columns.
func crossEntropy[F number](logits []F, targets []int32, scale F, v, ld int) (loss, dlogits []F) {
	loss, dlogits = make([]F, len(targets)), make([]F, len(logits))
	for i, target := range targets {
		if target < 0 {
			continue
		}
		row := logits[i*ld:][:v]
		largest, sum := slices.Max(row), F(0)
		for _, x := range row {
			sum += F(math.Exp(float64(x - largest)))
		}
		loss[i] = F(math.Log(float64(sum))) + largest - row[target]
		for c, x := range row {
			dlogits[i*ld+c] = F(math.Exp(float64(x-largest))) / sum * scale
		}
		dlogits[i*ld+int(target)] -= scale
	}
	return loss, dlogits
}

// crossEntropyCases are class counts from sentence pairs to the vocabulary, padded or not, and logits that overflow when not shifted.
var crossEntropyCases = []struct {
	m, v, ld        int
	mean, deviation float64
}{
	{1, 1, 1, 0, 1}, {64, 2, 2, 0, 1}, {5, 3, 8, 0, 2}, {7, 8, 8, 0, 2}, {6, 9, 64, 0, 2}, {3, 511, 512, 0, 2}, {3, 512, 512, 0, 2}, {4, 513, 576, 0, 2},
	{9, 1021, 1024, 0, 1}, {12, 30522, 30528, 0, 1}, {5, 30522, 30528, 0, 10}, {6, 1000, 1000, 1000, 3}, {6, 100, 100, -500, 100}, {4, 61, 64, 3, 0},
}

func targetsOf(r *rand.Rand, m, v int) []int32 {
	targets := make([]int32, m)
	for i := range targets {
		targets[i] = int32(r.IntN(v))
		if i%5 == 4 {
			targets[i] = -1
		}
	}
	return targets
}

func TestCrossEntropy(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range crossEntropyCases {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			x, targets, scale := asStored(dtype, normal(r, c.m*c.ld, c.mean, c.deviation)), targetsOf(r, c.m, c.v), float32(1)/7
			for row := range c.m { // what lies in the padded columns must not matter
				for column := c.v; column < c.ld; column++ {
					x[row*c.ld+column] = float32(math.NaN())
				}
			}
			want := make([]int32, c.m)
			for row := range want {
				want[row] = int32(slices.Index(x[row*c.ld:][:c.v], slices.Max(x[row*c.ld:][:c.v])))
			}
			logits, loss, predicted := activation(t, m, dtype, x), tensor(t, m, normal(r, c.m, 0, 1)), tensor(t, m, make([]int32, c.m))
			plain, plainGradient := crossEntropy(x, targets, scale, c.v, c.ld)
			truth, trueGradient := crossEntropy(convert[float64](x), targets, float64(scale), c.v, c.ld)
			name := fmt.Sprintf("%+v", c)

			m.CrossEntropy(loss, Tensor{}, Tensor{}, logits, tensor(t, m, targets), scale, c.m, c.v, c.ld)
			alone := values[float32](t, m, loss)
			compare(t, name+": loss alone", alone, plain, truth)

			m.CrossEntropy(loss, predicted, logits, logits, tensor(t, m, targets), scale, c.m, c.v, c.ld)
			compare(t, name+": dlogits", read(t, m, logits), asStored(dtype, plainGradient), trueGradient)
			if got := values[float32](t, m, loss); !slices.Equal(got, alone) {
				t.Errorf("%s: loss with gradient %v, without %v", name, got, alone)
			}
			if got := values[int32](t, m, predicted); !slices.Equal(got, want) {
				t.Errorf("%s: predicted %v, expected %v", name, got, want)
			}
		}
	})
}

func TestCrossEntropyOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	const rows, v, ld, scale = 3, 5, 6, 0.25
	x, targets := convert[float64](normal(r, rows*ld, 0, 1)), []int32{4, -1, 0}
	_, dlogits := crossEntropy(x, targets, scale, v, ld)
	agree(t, "dlogits", dlogits, gradient(x, func() float64 {
		loss, _ := crossEntropy(x, targets, scale, v, ld)
		return scale * (loss[0] + loss[1] + loss[2])
	}))
}

// TestCrossEntropyBadRows wants a wrong row to be seen in its loss, and in no other.
func TestCrossEntropyBadRows(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	const v = 37
	for _, c := range []struct {
		name   string
		column int
		value  float32
		target int32
	}{
		{"NaN first", 0, nan, 3}, {"NaN inside a vector", 11, nan, 3}, {"NaN last", v - 1, nan, 3}, {"NaN at the target", 3, nan, 3},
		{"infinite", 20, inf, 3}, {"target beyond the columns", 0, 0, v},
	} {
		inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
			r := rand.New(rand.NewPCG(3, 0))
			x := normal(r, 3*v, 0, 1)
			x[v+c.column] = c.value
			loss, predicted, logits := tensor(t, m, make([]float32, 3)), tensor(t, m, make([]int32, 3)), activation(t, m, dtype, x)
			m.CrossEntropy(loss, predicted, logits, logits, tensor(t, m, []int32{3, c.target, 3}), 1, 3, v, v)
			got := values[float32](t, m, loss)
			isNaN := func(x float32) bool { return x != x }
			if isNaN(got[0]) || !isNaN(got[1]) || isNaN(got[2]) {
				t.Errorf("%s: losses %v, expected NaN in the middle only", c.name, got)
			}
			d := read(t, m, logits)
			if slices.ContainsFunc(d[:v], isNaN) || !slices.ContainsFunc(d[v:2*v], isNaN) || slices.ContainsFunc(d[2*v:], isNaN) {
				t.Errorf("%s: gradients %v, expected NaN in the middle row only", c.name, d)
			}
			if p := values[int32](t, m, predicted)[1]; p < 0 || p >= v {
				t.Errorf("%s: predicted column %d of %d", c.name, p, v)
			}
		})
	}
}

func TestCrossEntropyTies(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for _, first := range []int{0, 5, 7, 8, 15, 16, 33, 40} {
			x := make([]float32, 41)
			x[first], x[40] = 2, 2
			predicted := tensor(t, m, []int32{-1})
			m.CrossEntropy(tensor(t, m, []float32{0}), predicted, Tensor{}, activation(t, m, dtype, x), tensor(t, m, []int32{-1}), 1, 1, 41, 41)
			if got := values[int32](t, m, predicted)[0]; int(got) != first {
				t.Errorf("columns %d and 40 are the largest: predicted %d", first, got)
			}
		}
	})
}

func TestCrossEntropyThreads(t *testing.T) {
	const rows, v, ld = 61, 1021, 1024
	for _, dtype := range storages {
		sameForAnyThreads(t, func(t *testing.T, m machine) []float32 {
			r := rand.New(rand.NewPCG(4, 0))
			logits, loss := activation(t, m, dtype, normal(r, rows*ld, 0, 2)), tensor(t, m, make([]float32, rows))
			m.CrossEntropy(loss, Tensor{}, logits, logits, tensor(t, m, targetsOf(r, rows, v)), 0.25, rows, v, ld)
			return slices.Concat(read(t, m, logits), values[float32](t, m, loss))
		})
	}
}
