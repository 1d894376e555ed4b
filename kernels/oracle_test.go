package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// number is what an oracle is computed in: float64 for the truth, float32 for the plainest implementation in the same precision.
type number interface{ float32 | float64 }

// machine is a stream on one of the devices of this computer, with the name to re-run it by.
type machine struct {
	*Stream
	name string
}

// onEveryDevice runs test on each device present and says which they were. Two threads: the partition of work is exercised.
func onEveryDevice(t *testing.T, test func(t *testing.T, m machine)) {
	t.Helper()
	for _, isa := range []string{"avx512", "avx2", "neon", "plain"} {
		dev, err := Open("cpu", Options{Threads: 2, ISA: isa})
		if err != nil {
			continue
		}
		t.Run(isa, func(t *testing.T) {
			s, err := dev.NewStream()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			test(t, machine{s, dev.Name()})
		})
	}
}

// tensor puts values on the device.
func tensor[E Element](t *testing.T, m machine, values []E) Tensor {
	t.Helper()
	var e E
	dtype := map[string]DType{"float32": Float32, "float64": Float64, "int32": Int32, "int64": Int64, "uint16": BFloat16}[fmt.Sprintf("%T", e)]
	x, err := m.dev.Alloc(dtype, len(values))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.dev.Free(x) })
	Upload(m.Stream, x, values)
	return x
}

// values reads a tensor back and ends the test on any error so far.
func values[E Element](t *testing.T, m machine, x Tensor) []E {
	t.Helper()
	out := make([]E, x.Len())
	Download(m.Stream, out, x)
	if err := m.Synchronize(); err != nil {
		t.Fatal(err)
	}
	return out
}

// normal returns n draws of mean + deviation * N(0,1).
func normal(r *rand.Rand, n int, mean, deviation float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(mean + deviation*r.NormFloat64())
	}
	return x
}

// convert changes the precision of x.
func convert[To, From number](x []From) []To {
	y := make([]To, len(x))
	for i := range x {
		y[i] = To(x[i])
	}
	return y
}

// compare fails when got is further from the truth than twice the plainest implementation in float32, by root mean square; a rounding of the
// result itself is always allowed. NaN never passes. The worst element is shown with its place.
func compare(t *testing.T, what string, got, plain []float32, truth []float64) {
	t.Helper()
	if len(got) != len(truth) || len(plain) != len(truth) {
		t.Fatalf("%s: %d values, plain %d, truth %d", what, len(got), len(plain), len(truth))
	}
	var gotError, plainError, size float64
	worst, worstError := -1, 0.0
	for i := range truth {
		e := math.Abs(float64(got[i]) - truth[i])
		if math.IsNaN(float64(got[i])) != math.IsNaN(truth[i]) {
			t.Fatalf("%s: element %d is %v, expected %v; re-run: go test ./kernels -run '%s'", what, i, got[i], truth[i], t.Name())
		}
		gotError += e * e
		plainError += math.Pow(float64(plain[i])-truth[i], 2)
		size += truth[i] * truth[i]
		if e > worstError {
			worst, worstError = i, e
		}
	}
	limit := math.Max(2*math.Sqrt(plainError), math.Sqrt(size)*0x1p-24)
	if math.Sqrt(gotError) > limit {
		t.Errorf("%s: error %.3g of %.3g, allowed %.3g (twice the plain float32 one); worst element %d: %v, expected %v; re-run: go test ./kernels -run '%s'",
			what, math.Sqrt(gotError), math.Sqrt(size), limit, worst, got[worst], truth[worst], t.Name())
	}
}

// gradient returns the derivative of f at x by central differences in float64, for each element of x.
func gradient(x []float64, f func() float64) []float64 {
	g := make([]float64, len(x))
	for i, old := range x {
		h := 1e-6 * math.Max(1, math.Abs(old))
		x[i] = old + h
		up := f()
		x[i] = old - h
		down := f()
		x[i] = old
		g[i] = (up - down) / (2 * h)
	}
	return g
}

// agree checks a float64 oracle gradient against finite differences.
func agree(t *testing.T, what string, oracle, difference []float64) {
	t.Helper()
	var size float64
	for _, v := range difference {
		size = math.Max(size, math.Abs(v))
	}
	for i := range oracle {
		if !(math.Abs(oracle[i]-difference[i]) <= 1e-6*math.Max(size, 1)) {
			t.Errorf("%s: oracle's gradient %d is %v, finite differences say %v", what, i, oracle[i], difference[i])
			return
		}
	}
}
