package optim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hpcbert/kernels"
)

// oracle is the published update in float64, tensor by tensor.
type oracle struct {
	o          Options
	w, m, v, g []float64
}

func (x *oracle) step(t Tensors, update int, rate, scale float64) float64 {
	var sum float64
	for _, g := range x.g {
		sum += g * scale * g * scale
	}
	norm := math.Sqrt(sum)
	if x.o.MaxGradNorm > 0 && norm > x.o.MaxGradNorm {
		scale *= x.o.MaxGradNorm / norm
	}
	c1, c2 := 1-math.Pow(x.o.Beta1, float64(update)), 1-math.Pow(x.o.Beta2, float64(update))
	if x.o.NoBiasCorrection {
		c1, c2 = 1, 1
	}
	for i := range t.Decay {
		first, end := t.Offsets[i], t.Offsets[i+1]
		decay, wSum, uSum := 0.0, 0.0, 0.0
		if t.Decay[i] {
			decay = x.o.WeightDecay
		}
		u := make([]float64, end)
		for j := first; j < end; j++ {
			g := x.g[j] * scale
			x.m[j] = x.o.Beta1*x.m[j] + (1-x.o.Beta1)*g
			x.v[j] = x.o.Beta2*x.v[j] + (1-x.o.Beta2)*g*g
			u[j] = x.m[j]/c1/(math.Sqrt(x.v[j]/c2)+x.o.Epsilon) + decay*x.w[j]
			wSum += x.w[j] * x.w[j]
			uSum += u[j] * u[j]
		}
		r := rate
		if decay != 0 && wSum > 0 && uSum > 0 && !x.o.NoTrustRatio {
			r *= math.Sqrt(wSum) / math.Sqrt(uSum)
		}
		for j := first; j < end; j++ {
			x.w[j] -= r * u[j]
		}
	}
	return norm
}

// layout has a large tensor, odd ones, one of zeros (weights and gradients) and gaps that must stay zero.
var layout = Tensors{Offsets: []int64{0, 9008, 9024, 9040, 9344}, Decay: []bool{true, false, true, true}}
var lengths = []int64{9001, 7, 16, 293}

const zeros = 2 // the tensor of zeros

func each(f func(i int, j int64)) {
	for i, n := range lengths {
		for j := range n {
			f(i, layout.Offsets[i]+j)
		}
	}
}

type rig struct {
	dev  *kernels.Device
	s    *kernels.Stream
	lamb *LAMB
	w, g kernels.Tensor
}

func newRig(t *testing.T, threads int, o Options) rig {
	t.Helper()
	dev, err := kernels.Open("cpu", kernels.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	r := rig{dev: dev}
	if r.s, err = dev.NewStream(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.s.Close)
	if r.lamb, err = NewLAMB(dev, r.s, layout, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.lamb.Close)
	for _, x := range []*kernels.Tensor{&r.w, &r.g} {
		if *x, err = dev.Alloc(kernels.Float32, int(layout.Offsets[len(lengths)])); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dev.Free(*x) })
	}
	return r
}

func (r rig) weights(t *testing.T) []float32 {
	t.Helper()
	return download(t, r.s, r.w)
}

func download(t *testing.T, s *kernels.Stream, x kernels.Tensor) []float32 {
	t.Helper()
	values := make([]float32, x.Len())
	kernels.Download(s, values, x)
	if err := s.Synchronize(); err != nil {
		t.Fatal(err)
	}
	return values
}

func draw(rng *rand.Rand, deviation float64) []float32 {
	x := make([]float32, layout.Offsets[len(lengths)])
	each(func(i int, j int64) {
		if i != zeros {
			x[j] = float32(deviation * rng.NormFloat64())
		}
	})
	return x
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func TestUpdatesAreThePublishedOnes(t *testing.T) {
	adam := Defaults()
	adam.NoTrustRatio = true
	bertAdam := adam
	bertAdam.NoBiasCorrection, bertAdam.MaxGradNorm = true, 0
	for _, c := range []struct {
		name             string
		options          Options
		deviation, scale float64
	}{
		{"clipped", Defaults(), 1, 1},
		{"not clipped", Defaults(), 1e-3, 1},
		{"loss scale", Defaults(), 100, 1.0 / 65536},
		{"AdamW", adam, 1, 1},
		{"BertAdam, not clipped", bertAdam, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			r := newRig(t, 2, c.options)
			start := draw(rng, 0.5)
			n := len(start)
			truth := &oracle{o: c.options, w: widen(start), m: make([]float64, n), v: make([]float64, n)}
			kernels.Upload(r.s, r.w, start)
			for update := 1; update <= 5; update++ {
				g := draw(rng, c.deviation)
				truth.g = widen(g)
				kernels.Upload(r.s, r.g, g)
				norm, err := r.lamb.Step(r.w, r.g, update, 0.01, c.scale)
				if err != nil {
					t.Fatal(err)
				}
				if want := truth.step(layout, update, 0.01, c.scale); math.Abs(norm-want) > 1e-7*want {
					t.Errorf("update %d: norm %v, expected %v", update, norm, want)
				}
			}
			var moved, e float64
			for i, w := range r.weights(t) {
				e += math.Pow(float64(w)-truth.w[i], 2)
				moved += math.Pow(truth.w[i]-float64(start[i]), 2)
			}
			if !(math.Sqrt(e) <= 1e-5*math.Sqrt(moved)) {
				t.Errorf("weights are off by %.2g of a way of %.2g", math.Sqrt(e), math.Sqrt(moved))
			}
			checkGaps(t, r)
		})
	}
}

func checkGaps(t *testing.T, r rig) {
	t.Helper()
	own := make([]bool, r.w.Len())
	each(func(i int, j int64) { own[j] = i != zeros })
	for name, x := range map[string]kernels.Tensor{"weights": r.w, "first moments": r.lamb.Moments1, "second moments": r.lamb.Moments2} {
		for i, v := range download(t, r.s, x) {
			if !own[i] && v != 0 {
				t.Errorf("%s: element %d of a gap or of the zero tensor is %v", name, i, v)
				break
			}
		}
	}
}

func TestGradientsThatAreNotFiniteChangeNothing(t *testing.T) {
	for _, bad := range []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())} {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			r := newRig(t, 2, Defaults())
			start, g := draw(rng, 1), draw(rng, 1)
			g[9023-16] = bad
			kernels.Upload(r.s, r.w, start)
			kernels.Upload(r.s, r.g, g)
			_, err := r.lamb.Step(r.w, r.g, 1, 0.01, 1)
			if !errors.Is(err, ErrNotFinite) {
				t.Errorf("error %v", err)
			}
			if !slices.Equal(r.weights(t), start) {
				t.Error("weights changed")
			}
			for _, v := range download(t, r.s, r.lamb.Moments2) {
				if v != 0 {
					t.Fatal("moments changed")
				}
			}
			if kernels.Upload(r.s, r.g, draw(rng, 1)); r.s.Err() != nil {
				t.Fatal(r.s.Err())
			}
			if _, err := r.lamb.Step(r.w, r.g, 1, 0.01, 1); err != nil {
				t.Errorf("the next step: %v", err)
			}
		})
	}
}

func TestMomentsAreTheWholeState(t *testing.T) {
	run := func(restart bool) []float32 {
		rng := rand.New(rand.NewPCG(1, 2))
		r := newRig(t, 1, Defaults())
		kernels.Upload(r.s, r.w, draw(rng, 1))
		for update := 1; update <= 4; update++ {
			if restart && update == 3 {
				next := newRig(t, 2, Defaults())
				kernels.Upload(next.s, next.w, r.weights(t))
				kernels.Upload(next.s, next.lamb.Moments1, download(t, r.s, r.lamb.Moments1))
				kernels.Upload(next.s, next.lamb.Moments2, download(t, r.s, r.lamb.Moments2))
				r = next
			}
			kernels.Upload(r.s, r.g, draw(rng, 1))
			if _, err := r.lamb.Step(r.w, r.g, update, 0.01, 1); err != nil {
				t.Fatal(err)
			}
		}
		return r.weights(t)
	}
	if !slices.Equal(run(false), run(true)) {
		t.Error("a run that was interrupted goes another way")
	}
}

func TestWrongUseIsRefused(t *testing.T) {
	r := newRig(t, 1, Defaults())
	if _, err := r.lamb.Step(r.w, r.g, 0, 0.01, 1); err == nil {
		t.Error("update 0 is taken")
	}
	if _, err := NewLAMB(r.dev, r.s, Tensors{Offsets: []int64{0, 1}, Decay: nil}, Defaults()); err == nil {
		t.Error("no tensors are taken")
	}
}
