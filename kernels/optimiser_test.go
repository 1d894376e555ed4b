package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// lambStep is one update of one tensor as NVIDIA's FusedLAMB does it, gradient averaging on, NVLAMB off. It returns u and the sums of squares.
func lambStep[F number](w, g, m, v []F, decay F, l Lamb) (u []F, wSum, uSum float64) {
	u = make([]F, len(w))
	beta1, beta2 := F(l.Beta1), F(l.Beta2)
	for i := range w {
		scaled := g[i] * F(l.GradientScale)
		m[i] = beta1*m[i] + (1-beta1)*scaled
		v[i] = beta2*v[i] + (1-beta2)*scaled*scaled
		u[i] = m[i]/F(l.Correction1)/(F(math.Sqrt(float64(v[i]/F(l.Correction2))))+F(l.Epsilon)) + decay*w[i]
		wSum += float64(w[i]) * float64(w[i])
		uSum += float64(u[i]) * float64(u[i])
	}
	ratio := 1.0
	if decay != 0 && wSum != 0 && uSum != 0 {
		ratio = math.Sqrt(wSum) / math.Sqrt(uSum)
	}
	for i := range w {
		w[i] -= F(float64(l.LearningRate)*ratio) * u[i]
	}
	return u, wSum, uSum
}

// lambTensors are lengths around vectors and the 65,536-element chunks, one without elements and one of zeros, and their decays.
var (
	lambTensors = []int{1, 7, 8, 0, 9, 65535, 65536, 65537, 768, 131072 + 33, 31, 100}
	lambDecays  = []float32{0.01, 0, 0.01, 0.01, 0, 0.01, 0, 0.01, 0.01, 0.01, 0.01, 0.01}
	lambZero    = 10 // this tensor's weights and gradients are 0
)

var lambConstants = Lamb{LearningRate: 6e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-6, Correction1: 1 - 0.9*0.9*0.9, Correction2: 1 - 0.999*0.999*0.999, GradientScale: 0.37}

func offsetsOf(lengths []int) []int64 {
	offsets := []int64{3} // an arena may begin anywhere
	for _, n := range lengths {
		offsets = append(offsets, offsets[len(offsets)-1]+int64(n))
	}
	return offsets
}

func lambArena(seed uint64) (w, g, m, v []float32) {
	offsets := offsetsOf(lambTensors)
	r, n := rand.New(rand.NewPCG(1, seed)), int(offsets[len(lambTensors)])
	w, g, m, v = normal(r, n, 0, 0.02), normal(r, n, 0, 1e-3), normal(r, n, 0, 1e-3), normal(r, n, 0, 1e-3)
	for i := range v {
		v[i] *= v[i]
	}
	for _, x := range [][]float32{w, g, m, v} {
		clear(x[offsets[lambZero]:offsets[lambZero+1]])
	}
	return w, g, m, v
}

func TestLamb(t *testing.T) {
	offsets, n := offsetsOf(lambTensors), len(lambTensors)
	w, g, mom, vel := lambArena(0)
	w64, g64, mom64, vel64 := convert[float64](w), convert[float64](g), convert[float64](mom), convert[float64](vel)
	plainW, plainG, plainM, plainV := slices.Clone(w), slices.Clone(g), slices.Clone(mom), slices.Clone(vel)
	wSums, uSums := make([]float64, n), make([]float64, n)
	for i := range n {
		a, b := offsets[i], offsets[i+1]
		var u []float64
		u, wSums[i], uSums[i] = lambStep(w64[a:b], g64[a:b], mom64[a:b], vel64[a:b], float64(lambDecays[i]), lambConstants)
		copy(g64[a:b], u)
		plainU, _, _ := lambStep(plainW[a:b], plainG[a:b], plainM[a:b], plainV[a:b], lambDecays[i], lambConstants)
		copy(plainG[a:b], plainU)
	}
	onEveryDevice(t, func(t *testing.T, m machine) {
		dw, dg, dm, dv := tensor(t, m, w), tensor(t, m, g), tensor(t, m, mom), tensor(t, m, vel)
		dWSums, dUSums := tensor(t, m, make([]float64, n)), tensor(t, m, make([]float64, n))
		at, decay := tensor(t, m, offsets), tensor(t, m, lambDecays)
		m.LambDirection(dg, dm, dv, dWSums, dUSums, dw, at, decay, n, lambConstants)
		near(t, "sum of w²", values[float64](t, m, dWSums), wSums, 1e-12)
		near(t, "sum of u²", values[float64](t, m, dUSums), uSums, 1e-6)
		compare(t, "m", values[float32](t, m, dm), plainM, mom64)
		compare(t, "v", values[float32](t, m, dv), plainV, vel64)
		compare(t, "u", values[float32](t, m, dg), plainG, g64)
		m.LambApply(dw, dg, dWSums, dUSums, at, decay, n, lambConstants)
		compare(t, "w", values[float32](t, m, dw), plainW, w64)
		if got := values[float32](t, m, dw)[0]; got != w[0] {
			t.Errorf("an element before the first tensor became %v, was %v", got, w[0])
		}
	})
}

// adamStep is one update of one tensor as Loshchilov and Hutter's algorithm 2 has it, weight decay times the rate.
func adamStep[F number](w, g, m, v []F, decay F, l Lamb) {
	rate, beta1, beta2 := F(l.LearningRate), F(l.Beta1), F(l.Beta2)
	for i := range w {
		scaled := g[i] * F(l.GradientScale)
		m[i] = beta1*m[i] + (1-beta1)*scaled
		v[i] = beta2*v[i] + (1-beta2)*scaled*scaled
		mean, root := m[i]/F(l.Correction1), F(math.Sqrt(float64(v[i]/F(l.Correction2))))
		w[i] -= rate * (mean/(root+F(l.Epsilon)) + decay*w[i])
	}
}

func TestAdamW(t *testing.T) {
	uncorrected := lambConstants // as BertAdam
	uncorrected.Correction1, uncorrected.Correction2 = 1, 1
	for name, constants := range map[string]Lamb{"AdamW": lambConstants, "without correction": uncorrected} {
		offsets, n := offsetsOf(lambTensors), len(lambTensors)
		w, g, mom, vel := lambArena(3)
		plainW, plainM, plainV := slices.Clone(w), slices.Clone(mom), slices.Clone(vel)
		w64, g64, mom64, vel64 := convert[float64](w), convert[float64](g), convert[float64](mom), convert[float64](vel)
		for i := range n {
			a, b := offsets[i], offsets[i+1]
			adamStep(plainW[a:b], g[a:b], plainM[a:b], plainV[a:b], lambDecays[i], constants)
			adamStep(w64[a:b], g64[a:b], mom64[a:b], vel64[a:b], float64(lambDecays[i]), constants)
		}
		onEveryDevice(t, func(t *testing.T, m machine) {
			dw, dg, dm, dv := tensor(t, m, w), tensor(t, m, g), tensor(t, m, mom), tensor(t, m, vel)
			m.AdamW(dw, dm, dv, dg, tensor(t, m, offsets), tensor(t, m, lambDecays), n, constants)
			compare(t, name+": m", values[float32](t, m, dm), plainM, mom64)
			compare(t, name+": v", values[float32](t, m, dv), plainV, vel64)
			compare(t, name+": w", values[float32](t, m, dw), plainW, w64)
			if !slices.Equal(values[float32](t, m, dg), g) {
				t.Errorf("%s: gradients changed", name)
			}
		})
	}
}

func TestAdamWThreads(t *testing.T) {
	w, g, mom, vel := lambArena(4)
	sameForAnyThreads(t, func(t *testing.T, m machine) []float32 {
		dw, dm, dv := tensor(t, m, w), tensor(t, m, mom), tensor(t, m, vel)
		m.AdamW(dw, dm, dv, tensor(t, m, g), tensor(t, m, offsetsOf(lambTensors)), tensor(t, m, lambDecays), len(lambTensors), lambConstants)
		return slices.Concat(values[float32](t, m, dw), values[float32](t, m, dm), values[float32](t, m, dv))
	})
}

func TestSquaredSums(t *testing.T) {
	offsets, n := offsetsOf(lambTensors), len(lambTensors)
	_, x, _, _ := lambArena(1)
	x[offsets[5]+2] = 1e30 // its square is no float32
	want := make([]float64, n)
	for i := range n {
		for _, v := range x[offsets[i]:offsets[i+1]] {
			want[i] += float64(v) * float64(v)
		}
	}
	onEveryDevice(t, func(t *testing.T, m machine) {
		sums := tensor(t, m, make([]float64, n))
		m.SquaredSums(sums, tensor(t, m, x), tensor(t, m, offsets), n)
		near(t, "sum of squares", values[float64](t, m, sums), want, 1e-12)
	})
}

func TestSquaredSumsNaN(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		x := make([]float32, 70000)
		x[65600] = float32(math.NaN())
		sums := tensor(t, m, make([]float64, 2))
		m.SquaredSums(sums, tensor(t, m, x), tensor(t, m, []int64{0, 65590, 70000}), 2)
		if got := values[float64](t, m, sums); got[0] != 0 || !math.IsNaN(got[1]) {
			t.Errorf("sums of squares %v, expected 0 and NaN", got)
		}
	})
}

func TestLambThreads(t *testing.T) {
	offsets, n := offsetsOf(lambTensors), len(lambTensors)
	w, g, mom, vel := lambArena(2)
	sameForAnyThreads(t, func(t *testing.T, m machine) []float32 {
		dw, dg := tensor(t, m, w), tensor(t, m, g)
		wSums, uSums := tensor(t, m, make([]float64, n)), tensor(t, m, make([]float64, n))
		at, decay := tensor(t, m, offsets), tensor(t, m, lambDecays)
		m.LambDirection(dg, tensor(t, m, mom), tensor(t, m, vel), wSums, uSums, dw, at, decay, n, lambConstants)
		m.LambApply(dw, dg, wSums, uSums, at, decay, n, lambConstants)
		return values[float32](t, m, dw)
	})
}

// near checks float64 sums: relative error at most limit.
func near(t *testing.T, what string, got, want []float64, limit float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= limit*math.Abs(want[i])) {
			t.Errorf("%s of tensor %d: %v, expected %v", what, i, got[i], want[i])
		}
	}
}
