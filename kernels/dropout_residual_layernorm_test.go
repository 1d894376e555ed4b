package kernels

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// exact is the truth's storage: it rounds nothing.
func exact(x []float64) []float64 { return x }

// dropResidualNorm is the operation written as its parts; keep rounds z to what is stored of it.
func dropResidualNorm[F number](keep func([]F) []F, x, residual, gamma, beta []F, samples, positions []int32, d Dropout, t, h int) (y, z, mean, rstd []F) {
	z = drop(x, samples, positions, d, t, h)
	for i := range z {
		z[i] += residual[i]
	}
	z = keep(z)
	y, mean, rstd = layerNorm(z, gamma, beta, t, h, epsilon)
	return y, z, mean, rstd
}

func dropResidualNormGradient[F number](keep func([]F) []F, dy, z, gamma []F, samples, positions []int32, d Dropout, t, h int) (dx, dresidual, dgamma, dbeta []F) {
	dresidual, dgamma, dbeta = layerNormGradient(dy, z, gamma, t, h, epsilon)
	dresidual = keep(dresidual)
	return drop(dresidual, samples, positions, d, t, h), dresidual, dgamma, dbeta
}

var dropResidualNormSizes = []struct{ t, h int }{
	{1, 1}, {1, 7}, {3, 8}, {5, 9}, {31, 15}, {32, 16}, {33, 17}, {2, 63}, {2, 65}, {65, 61}, {70, 768}, {9, 1024}, {300, 129},
}

func TestDropoutResidualLayerNormForward(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		keep := func(x []float32) []float32 { return asStored(dtype, x) }
		for i, c := range dropResidualNormSizes {
			var y, z, mean, rstd outcome
			for draw := range draws(c.t) {
				d := []Dropout{dropouts[1], {}}[draw%2]
				r := rand.New(rand.NewPCG(uint64(draw), uint64(i)))
				samples, positions := tokenNames(r, c.t)
				x, residual := keep(normal(r, c.t*c.h, 0, 1)), keep(normal(r, c.t*c.h, 0, 1))
				gamma, beta := normal(r, c.h, 1, 0.3), normal(r, c.h, 0, 0.3)
				dy, dz := activation(t, m, dtype, make([]float32, c.t*c.h)), activation(t, m, dtype, x)
				dmean, drstd := tensor(t, m, make([]float32, c.t)), tensor(t, m, make([]float32, c.t))
				m.DropoutResidualLayerNormForward(dy, dz, dmean, drstd, dz, activation(t, m, dtype, residual), tensor(t, m, gamma), tensor(t, m, beta),
					tensor(t, m, samples), tensor(t, m, positions), d, c.t, c.h, epsilon)
				plainY, plainZ, plainMean, plainRstd := dropResidualNorm(keep, x, residual, gamma, beta, samples, positions, d, c.t, c.h)
				trueY, trueZ, trueMean, trueRstd := dropResidualNorm(exact, convert[float64](x), convert[float64](residual), convert[float64](gamma), convert[float64](beta),
					samples, positions, d, c.t, c.h)
				y.add(read(t, m, dy), keep(plainY), trueY)
				z.add(read(t, m, dz), plainZ, trueZ)
				mean.add(values[float32](t, m, dmean), plainMean, trueMean)
				rstd.add(values[float32](t, m, drstd), plainRstd, trueRstd)
			}
			for name, o := range map[string]outcome{"y": y, "z": z, "mean": mean, "rstd": rstd} {
				compare(t, fmt.Sprintf("%dx%d: %s", c.t, c.h, name), o.got, o.plain, o.truth)
			}
		}
	})
}

func TestDropoutResidualLayerNormBackward(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		keep := func(x []float32) []float32 { return asStored(dtype, x) }
		for i, c := range dropResidualNormSizes {
			if c.h == 1 {
				continue // rstd is 1e6 there: the gradient is rounding noise
			}
			var x, residual, gamma, beta outcome
			for draw := range draws(c.t) {
				d := []Dropout{dropouts[1], {}}[draw%2]
				r := rand.New(rand.NewPCG(uint64(draw), uint64(i)))
				samples, positions := tokenNames(r, c.t)
				z, dy, g := keep(normal(r, c.t*c.h, 0, 1)), keep(normal(r, c.t*c.h, 0, 1)), normal(r, c.h, 1, 0.3)
				z64, dy64, g64 := convert[float64](z), convert[float64](dy), convert[float64](g)
				_, mean, rstd := layerNorm(z64, g64, g64, c.t, c.h, epsilon)
				dx, dresidual := activation(t, m, dtype, make([]float32, c.t*c.h)), activation(t, m, dtype, dy)
				dgamma, dbeta := tensor(t, m, make([]float32, c.h)), tensor(t, m, make([]float32, c.h))
				m.DropoutResidualLayerNormBackward(dx, dresidual, dgamma, dbeta, dresidual, activation(t, m, dtype, z), tensor(t, m, convert[float32](mean)),
					tensor(t, m, convert[float32](rstd)), tensor(t, m, g), tensor(t, m, samples), tensor(t, m, positions), d, c.t, c.h)
				plainX, plainResidual, plainGamma, plainBeta := dropResidualNormGradient(keep, dy, z, g, samples, positions, d, c.t, c.h)
				trueX, trueResidual, trueGamma, trueBeta := dropResidualNormGradient(exact, dy64, z64, g64, samples, positions, d, c.t, c.h)
				x.add(read(t, m, dx), keep(plainX), trueX)
				residual.add(read(t, m, dresidual), plainResidual, trueResidual)
				gamma.add(values[float32](t, m, dgamma), plainGamma, trueGamma)
				beta.add(values[float32](t, m, dbeta), plainBeta, trueBeta)
			}
			for name, o := range map[string]outcome{"dx": x, "dresidual": residual, "dgamma": gamma, "dbeta": beta} {
				compare(t, fmt.Sprintf("%dx%d: %s", c.t, c.h, name), o.got, o.plain, o.truth)
			}
		}
	})
}

func TestDropoutResidualLayerNormOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	const rows, h = 3, 11
	samples, positions := tokenNames(r, rows)
	d := Dropout{Seed: 5, P: 0.4}
	x, residual, dy := convert[float64](normal(r, rows*h, 0, 1)), convert[float64](normal(r, rows*h, 0, 1)), convert[float64](normal(r, rows*h, 0, 1))
	gamma, beta := convert[float64](normal(r, h, 1, 0.3)), convert[float64](normal(r, h, 0, 0.3))
	loss := func() float64 {
		y, _, _, _ := dropResidualNorm(exact, x, residual, gamma, beta, samples, positions, d, rows, h)
		return dot(y, dy)
	}
	_, z, _, _ := dropResidualNorm(exact, x, residual, gamma, beta, samples, positions, d, rows, h)
	dx, dresidual, dgamma, dbeta := dropResidualNormGradient(exact, dy, z, gamma, samples, positions, d, rows, h)
	agree(t, "dx", dx, gradient(x, loss))
	agree(t, "dresidual", dresidual, gradient(residual, loss))
	agree(t, "dgamma", dgamma, gradient(gamma, loss))
	agree(t, "dbeta", dbeta, gradient(beta, loss))
}

func TestDropoutResidualLayerNormThreads(t *testing.T) {
	const rows, h = 131, 300
	for _, dtype := range storages {
		sameForAnyThreads(t, func(t *testing.T, m machine) []float32 {
			r := rand.New(rand.NewPCG(4, 0))
			samples, positions := tokenNames(r, rows)
			x, gamma := activation(t, m, dtype, normal(r, rows*h, 0, 1)), tensor(t, m, normal(r, h, 1, 0.3))
			y, z := activation(t, m, dtype, make([]float32, rows*h)), activation(t, m, dtype, make([]float32, rows*h))
			mean, rstd := tensor(t, m, make([]float32, rows)), tensor(t, m, make([]float32, rows))
			dgamma, dbeta := tensor(t, m, make([]float32, h)), tensor(t, m, make([]float32, h))
			names, places := tensor(t, m, samples), tensor(t, m, positions)
			m.DropoutResidualLayerNormForward(y, z, mean, rstd, x, x, gamma, gamma, names, places, dropouts[1], rows, h, epsilon)
			m.DropoutResidualLayerNormBackward(x, y, dgamma, dbeta, y, z, mean, rstd, gamma, names, places, dropouts[1], rows, h)
			return slices.Concat(read(t, m, x), values[float32](t, m, dgamma), values[float32](t, m, dbeta))
		})
	}
}
