package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// layerNorm is layer normalisation as the paper writes it.
func layerNorm[F number](x, gamma, beta []F, t, h int, epsilon F) (y, mean, rstd []F) {
	y, mean, rstd = make([]F, t*h), make([]F, t), make([]F, t)
	for r := range t {
		row := x[r*h : (r+1)*h]
		var sum, squares F
		for _, v := range row {
			sum += v
		}
		mean[r] = sum / F(h)
		for _, v := range row {
			squares += (v - mean[r]) * (v - mean[r])
		}
		rstd[r] = 1 / F(math.Sqrt(float64(squares/F(h)+epsilon)))
		for c, v := range row {
			y[r*h+c] = (v-mean[r])*rstd[r]*gamma[c] + beta[c]
		}
	}
	return y, mean, rstd
}

// layerNormGradient is its gradient by the chain rule.
func layerNormGradient[F number](dy, x, gamma []F, t, h int, epsilon F) (dx, dgamma, dbeta []F) {
	_, mean, rstd := layerNorm(x, gamma, gamma, t, h, epsilon)
	dx, dgamma, dbeta = make([]F, t*h), make([]F, h), make([]F, h)
	for r := range t {
		var meanG, meanGX F
		for c := range h {
			i := r*h + c
			xhat := (x[i] - mean[r]) * rstd[r]
			dgamma[c] += dy[i] * xhat
			dbeta[c] += dy[i]
			meanG += dy[i] * gamma[c] / F(h)
			meanGX += dy[i] * gamma[c] * xhat / F(h)
		}
		for c := range h {
			i := r*h + c
			dx[i] = rstd[r] * (dy[i]*gamma[c] - meanG - (x[i]-mean[r])*rstd[r]*meanGX)
		}
	}
	return dx, dgamma, dbeta
}

const epsilon = 1e-12

// layerNormCases are rows and columns around the widths of vectors and blocks, and inputs that cancel.
var layerNormCases = []struct {
	t, h            int
	mean, deviation float64
}{
	{1, 1, 0, 1}, {1, 7, 0, 1}, {3, 8, 0, 1}, {5, 9, 0, 1}, {31, 15, 0, 1}, {32, 16, 0, 1}, {33, 17, 0, 1}, {2, 31, 0, 1}, {2, 33, 0, 1},
	{65, 61, 0, 1}, {70, 768, 0, 1}, {9, 1024, 0, 1}, {4, 64, 1000, 0.1}, {4, 64, 5, 0}, {512, 64, 0, 1},
}

func TestLayerNormForward(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range layerNormCases {
			var y, mean outcome
			for draw := range draws(c.t) {
				r := rand.New(rand.NewPCG(uint64(draw), uint64(i)))
				x, gamma, beta := asStored(dtype, normal(r, c.t*c.h, c.mean, c.deviation)), normal(r, c.h, 1, 0.3), normal(r, c.h, 0, 0.3)
				dy, dmean, drstd := activation(t, m, dtype, make([]float32, c.t*c.h)), tensor(t, m, make([]float32, c.t)), tensor(t, m, make([]float32, c.t))
				m.LayerNormForward(dy, dmean, drstd, activation(t, m, dtype, x), tensor(t, m, gamma), tensor(t, m, beta), c.t, c.h, epsilon)
				plain, plainMean, _ := layerNorm(x, gamma, beta, c.t, c.h, epsilon)
				truth, truthMean, _ := layerNorm(convert[float64](x), convert[float64](gamma), convert[float64](beta), c.t, c.h, epsilon)
				y.add(read(t, m, dy), asStored(dtype, plain), truth)
				mean.add(values[float32](t, m, dmean), plainMean, truthMean)
			}
			name := fmt.Sprintf("%dx%d mean %g deviation %g", c.t, c.h, c.mean, c.deviation)
			compare(t, name+": y", y.got, y.plain, y.truth)
			compare(t, name+": mean", mean.got, mean.plain, mean.truth)
		}
	})
}

func TestLayerNormBackward(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range layerNormCases {
			if c.deviation == 0 || c.h == 1 || dtype != Float32 && c.deviation < 0.01*c.mean {
				continue // rstd is 1e6 there, or the values are all the same once stored: the gradient is rounding noise
			}
			var x, gamma, beta outcome
			for draw := range draws(c.t) {
				r := rand.New(rand.NewPCG(uint64(draw), uint64(i)))
				in, dy := asStored(dtype, normal(r, c.t*c.h, c.mean, c.deviation)), asStored(dtype, normal(r, c.t*c.h, 0, 1))
				g := normal(r, c.h, 1, 0.3)
				in64, dy64, g64 := convert[float64](in), convert[float64](dy), convert[float64](g)
				_, mean, rstd := layerNorm(in64, g64, g64, c.t, c.h, epsilon)
				dx, dgamma, dbeta := activation(t, m, dtype, dy), tensor(t, m, make([]float32, c.h)), tensor(t, m, make([]float32, c.h))
				m.LayerNormBackward(dx, dgamma, dbeta, dx, activation(t, m, dtype, in), tensor(t, m, convert[float32](mean)),
					tensor(t, m, convert[float32](rstd)), tensor(t, m, g), c.t, c.h)
				plain, plainGamma, plainBeta := layerNormGradient(dy, in, g, c.t, c.h, epsilon)
				truth, truthGamma, truthBeta := layerNormGradient(dy64, in64, g64, c.t, c.h, epsilon)
				x.add(read(t, m, dx), asStored(dtype, plain), truth)
				gamma.add(values[float32](t, m, dgamma), plainGamma, truthGamma)
				beta.add(values[float32](t, m, dbeta), plainBeta, truthBeta)
			}
			name := fmt.Sprintf("%dx%d mean %g deviation %g", c.t, c.h, c.mean, c.deviation)
			compare(t, name+": dx", x.got, x.plain, x.truth)
			compare(t, name+": dgamma", gamma.got, gamma.plain, gamma.truth)
			compare(t, name+": dbeta", beta.got, beta.plain, beta.truth)
		}
	})
}

func TestLayerNormOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	const rows, h = 3, 5
	x, dy := convert[float64](normal(r, rows*h, 0, 1)), convert[float64](normal(r, rows*h, 0, 1))
	gamma, beta := convert[float64](normal(r, h, 1, 0.3)), convert[float64](normal(r, h, 0, 0.3))
	loss := func() float64 {
		y, _, _ := layerNorm(x, gamma, beta, rows, h, epsilon)
		sum := 0.0
		for i := range y {
			sum += y[i] * dy[i]
		}
		return sum
	}
	dx, dgamma, dbeta := layerNormGradient(dy, x, gamma, rows, h, epsilon)
	agree(t, "dx", dx, gradient(x, loss))
	agree(t, "dgamma", dgamma, gradient(gamma, loss))
	agree(t, "dbeta", dbeta, gradient(beta, loss))
}

func TestLayerNormThreads(t *testing.T) {
	const rows, h = 131, 300
	for _, dtype := range storages {
		sameForAnyThreads(t, func(t *testing.T, m machine) []float32 {
			r := rand.New(rand.NewPCG(4, 0))
			x, gamma := activation(t, m, dtype, normal(r, rows*h, 0, 1)), tensor(t, m, normal(r, h, 1, 0.3))
			y, mean, rstd := activation(t, m, dtype, make([]float32, rows*h)), tensor(t, m, make([]float32, rows)), tensor(t, m, make([]float32, rows))
			dgamma, dbeta := tensor(t, m, make([]float32, h)), tensor(t, m, make([]float32, h))
			m.LayerNormForward(y, mean, rstd, x, gamma, gamma, rows, h, epsilon)
			m.LayerNormBackward(y, dgamma, dbeta, y, x, mean, rstd, gamma, rows, h)
			return slices.Concat(read(t, m, y), values[float32](t, m, dgamma), values[float32](t, m, dbeta))
		})
	}
}
