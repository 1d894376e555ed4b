package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func gelu[F number](x F) F {
	return 0.5 * x * (1 + F(math.Erf(float64(x*F(math.Sqrt(0.5))))))
}

func geluGradient[F number](x F) F {
	return 0.5*(1+F(math.Erf(float64(x*F(math.Sqrt(0.5)))))) + x*F(math.Exp(float64(-x*x/2)))*F(1/math.Sqrt(2*math.Pi))
}

func tanh[F number](x F) F { return F(math.Tanh(float64(x))) }

func tanhGradient[F number](y F) F { return 1 - y*y }

// mapped returns f of each element.
func mapped[F number](x []F, f func(F) F) []F {
	y := make([]F, len(x))
	for i := range x {
		y[i] = f(x[i])
	}
	return y
}

// product returns a * b, element by element.
func product[F number](a, b []F) []F {
	c := make([]F, len(a))
	for i := range a {
		c[i] = a[i] * b[i]
	}
	return c
}

// activationRanges are deviations of inputs from the linear middle to where nothing is left of the tail.
var activationRanges = []float64{0.01, 0.3, 1, 4}

// activationInputs are the ends of what a type holds, and lengths around vectors and items of work.
func activationInputs(r *rand.Rand, dtype DType, deviation float64) [][]float32 {
	largest := float32(3.3e38)
	if dtype == Float16 {
		largest = 65504
	}
	inputs := [][]float32{{0, float32(math.Copysign(0, -1)), 1e-30, -1e-30, 20, -20, 1e4, -1e4, largest, -largest}}
	for _, n := range []int{1, 7, 8, 9, 15, 17, 16383, 16385, 50001} {
		inputs = append(inputs, normal(r, n, 0, deviation))
	}
	return inputs
}

func TestActivationForward(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		keep := func(x []float32) []float32 { return asStored(dtype, x) }
		for _, deviation := range activationRanges {
			var geluY, tanhY, all []float32
			for _, x := range activationInputs(rand.New(rand.NewPCG(4, 0)), dtype, deviation) {
				in, y := activation(t, m, dtype, x), activation(t, m, dtype, make([]float32, len(x)))
				m.GELUForward(y, in)
				geluY = append(geluY, read(t, m, y)...)
				m.TanhForward(y, in)
				tanhY = append(tanhY, read(t, m, y)...)
				all = append(all, keep(x)...)
			}
			finite, x64 := all[10:], convert[float64](all)
			name := fmt.Sprintf("deviation %g", deviation)
			compare(t, name+": gelu of ends", geluY[:10], keep(mapped(all[:10], gelu)), mapped(x64[:10], gelu))
			compare(t, name+": gelu", geluY[10:], keep(mapped(finite, gelu)), mapped(x64[10:], gelu))
			compare(t, name+": tanh", tanhY, keep(mapped(all, tanh)), mapped(x64, tanh))
		}
	})
}

func TestActivationBackward(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		keep := func(x []float32) []float32 { return asStored(dtype, x) }
		for _, deviation := range activationRanges {
			r := rand.New(rand.NewPCG(5, 0))
			var geluX, tanhX, allX, allY, allDY []float32
			for _, x := range activationInputs(r, dtype, deviation) {
				dy := keep(normal(r, len(x), 0, 1))
				dx := activation(t, m, dtype, dy)
				m.GELUBackward(dx, dx, activation(t, m, dtype, x))
				geluX = append(geluX, read(t, m, dx)...)
				y := keep(mapped(x, tanh))
				m.TanhBackward(dx, activation(t, m, dtype, dy), activation(t, m, dtype, y))
				tanhX = append(tanhX, read(t, m, dx)...)
				allX, allY, allDY = append(allX, keep(x)...), append(allY, y...), append(allDY, dy...)
			}
			x64, y64, dy64 := convert[float64](allX), convert[float64](allY), convert[float64](allDY)
			name := fmt.Sprintf("deviation %g", deviation)
			compare(t, name+": gelu", geluX, keep(product(allDY, mapped(allX, geluGradient))), product(dy64, mapped(x64, geluGradient)))
			compare(t, name+": tanh", tanhX, keep(product(allDY, mapped(allY, tanhGradient))), product(dy64, mapped(y64, tanhGradient)))
		}
	})
}

func TestActivationOfNaN(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		nan := float32(math.NaN())
		x := activation(t, m, dtype, []float32{nan, 1, nan, 2, 3, 4, 5, 6, 7, nan})
		for name, run := range map[string]func(y Tensor){
			"gelu": func(y Tensor) { m.GELUForward(y, x) }, "gelu backward": func(y Tensor) { m.GELUBackward(y, x, x) },
			"tanh": func(y Tensor) { m.TanhForward(y, x) }, "tanh backward": func(y Tensor) { m.TanhBackward(y, x, x) },
		} {
			y := activation(t, m, dtype, make([]float32, 10))
			run(y)
			var at []int
			for i, v := range read(t, m, y) {
				if v != v {
					at = append(at, i)
				}
			}
			if !slices.Equal(at, []int{0, 2, 9}) {
				t.Errorf("%s: NaN at %v, expected at 0, 2 and 9", name, at)
			}
		}
	})
}

// A tensor of another type than the operation's is refused: it would be read past its end.
func TestActivationTypes(t *testing.T) {
	for _, run := range []func(m machine, wide, narrow Tensor){
		func(m machine, wide, narrow Tensor) { m.GELUForward(wide, narrow) },
		func(m machine, wide, narrow Tensor) { m.GELUBackward(wide, narrow, wide) },
		func(m machine, wide, narrow Tensor) {
			m.LayerNormForward(narrow, narrow, wide, narrow, wide, wide, 1, 8, epsilon)
		},
	} {
		onEveryDevice(t, func(t *testing.T, m machine) {
			x := make([]float32, 8)
			run(m, tensor(t, m, x), activation(t, m, BFloat16, x))
			if m.Err() == nil || errors.Is(m.Err(), ErrUnsupported) {
				t.Errorf("an operation on tensors of two types: error %v", m.Err())
			}
		})
	}
}

func TestActivationOracle(t *testing.T) {
	x := []float64{-3, -1, -0.2, 0, 0.4, 1.5, 4}
	sum := func(f func(float64) float64) func() float64 {
		return func() float64 {
			s := 0.0
			for _, v := range x {
				s += f(v)
			}
			return s
		}
	}
	agree(t, "gelu", mapped(x, geluGradient), gradient(x, sum(gelu)))
	agree(t, "tanh", mapped(mapped(x, tanh), tanhGradient), gradient(x, sum(tanh)))
}
