package optim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hpcbert/kernels"
	"hpcbert/lib/comm"
	"hpcbert/lib/comm/commtest"
	"hpcbert/lib/fault"
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
	if x.o.Name == "bertadam" {
		c1, c2 = 1, 1
	}
	for i := range t.Decay {
		first, end := t.Offsets[i], t.Offsets[i+1]
		decay, wSum, uSum := 0.0, 0.0, 0.0
		if t.Decay[i] {
			decay = x.o.WeightDecay
		}
		trust := decay != 0 && x.o.Name == "lamb" || x.o.Name == "nvlamb"
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
		if trust && wSum > 0 && uSum > 0 {
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
	opt  *Optimizer
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
	if r.opt, err = New(dev, r.s, layout, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.opt.Close)
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
	named := func(name string, change func(o *Options)) Options {
		o := Defaults()
		o.Name = name
		change(&o)
		return o
	}
	asIs := func(*Options) {}
	others := func(o *Options) {
		o.Beta1, o.Beta2, o.Epsilon, o.WeightDecay, o.MaxGradNorm = 0.8, 0.95, 1e-3, 0.1, 0.3
	}
	for _, c := range []struct {
		name             string
		options          Options
		deviation, scale float64
	}{
		{"clipped", Defaults(), 1, 1},
		{"not clipped", Defaults(), 1e-3, 1},
		{"loss scale", Defaults(), 100, 1.0 / 65536},
		{"other constants", named("lamb", others), 1, 1},
		{"no decay, no trust ratio", named("lamb", func(o *Options) { o.WeightDecay = 0 }), 1, 1},
		{"NVLAMB", named("nvlamb", asIs), 1, 1},
		{"NVLAMB, no decay, ratio all the same", named("nvlamb", func(o *Options) { o.WeightDecay = 0 }), 1, 1},
		{"AdamW", named("adamw", asIs), 1, 1},
		{"AdamW, other constants", named("adamw", others), 1, 1},
		{"BertAdam, never clipped", named("bertadam", func(o *Options) { o.MaxGradNorm = 0 }), 1, 1},
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
				norm, err := r.opt.Step(r.w, r.g, update, 0.01, c.scale)
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
	for name, x := range map[string]kernels.Tensor{"weights": r.w, "first moments": r.opt.Moments1, "second moments": r.opt.Moments2} {
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
			g[9040+5], g[9008] = bad, bad
			kernels.Upload(r.s, r.w, start)
			kernels.Upload(r.s, r.g, g)
			_, err := r.opt.Step(r.w, r.g, 1, 0.01, 1)
			var not *NotFinite
			if !errors.As(err, &not) || not.Tensor != 1 {
				t.Errorf("error %v", err)
			}
			if !slices.Equal(r.weights(t), start) {
				t.Error("weights changed")
			}
			for _, v := range download(t, r.s, r.opt.Moments2) {
				if v != 0 {
					t.Fatal("moments changed")
				}
			}
			if kernels.Upload(r.s, r.g, draw(rng, 1)); r.s.Err() != nil {
				t.Fatal(r.s.Err())
			}
			if _, err := r.opt.Step(r.w, r.g, 1, 0.01, 1); err != nil {
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
				kernels.Upload(next.s, next.opt.Moments1, download(t, r.s, r.opt.Moments1))
				kernels.Upload(next.s, next.opt.Moments2, download(t, r.s, r.opt.Moments2))
				r = next
			}
			kernels.Upload(r.s, r.g, draw(rng, 1))
			if _, err := r.opt.Step(r.w, r.g, update, 0.01, 1); err != nil {
				t.Fatal(err)
			}
		}
		return r.weights(t)
	}
	if !slices.Equal(run(false), run(true)) {
		t.Error("a run that was interrupted goes another way")
	}
}

// Ranks that have a part each make together the update that one makes alone: of the odd cuts all but the norms' rounding is the same.
func TestPartsMakeTheWholeUpdate(t *testing.T) {
	for _, name := range []string{"lamb", "nvlamb", "adamw"} {
		for _, cuts := range [][]int{{0, 9344}, {0, 4672, 9344}, {0, 16, 9012, 9330, 9344}} {
			o := Defaults()
			o.Name = name
			one := newRig(t, 1, o)
			start := draw(rand.New(rand.NewPCG(1, 2)), 1)
			kernels.Upload(one.s, one.w, start)
			whole := steps(t, one, 3)
			parts := make([][]float32, len(cuts)-1)
			rigs := make([]rig, len(parts))
			for i := range parts {
				rigs[i] = newRig(t, 1, o)
				kernels.Upload(rigs[i].s, rigs[i].w, start)
			}
			errs := commtest.Run(len(parts), func(c comm.Comm) (err error) {
				r := &rigs[c.Rank()]
				r.opt.Close()
				first, end := cuts[c.Rank()], cuts[c.Rank()+1]
				if r.opt, err = NewPart(r.dev, r.s, layout, o, Part{first, end, c.AllreduceFloat64}); err != nil {
					return err
				}
				parts[c.Rank()] = steps(t, *r, 3)[first:end]
				return nil
			})
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			got := slices.Concat(parts...)
			if len(parts) == 1 && !slices.Equal(got, whole) {
				t.Errorf("%s: one rank alone gets other bits", name)
			}
			for i := range whole {
				if math.Abs(float64(got[i]-whole[i])) > 1e-6*math.Abs(float64(whole[i]-start[i]))+1e-7*math.Abs(float64(start[i])) {
					t.Fatalf("%s, cuts %v: weight %d is %v, alone %v", name, cuts, i, got[i], whole[i])
				}
			}
		}
	}
}

// steps makes updates with the same gradients each time it is called, and returns the weights. The gradients are clipped.
func steps(t *testing.T, r rig, n int) []float32 {
	rng := rand.New(rand.NewPCG(3, 4))
	for update := 1; update <= n; update++ {
		kernels.Upload(r.s, r.g, draw(rng, 0.1))
		if _, err := r.opt.Step(r.w, r.g, update, 0.01, 1); err != nil {
			t.Error(err)
		}
	}
	return r.weights(t)
}

func TestFirstBadTensorOfAnyPart(t *testing.T) {
	cuts := []int{0, 4672, 9344}
	rigs := []rig{newRig(t, 1, Defaults()), newRig(t, 1, Defaults())}
	errs := commtest.Run(2, func(c comm.Comm) error {
		r := rigs[c.Rank()]
		part, err := NewPart(r.dev, r.s, layout, Defaults(), Part{cuts[c.Rank()], cuts[c.Rank()+1], c.AllreduceFloat64})
		if err != nil {
			return err
		}
		defer part.Close()
		g := draw(rand.New(rand.NewPCG(1, 2)), 1)
		g[9010] = float32(math.Inf(-1)) // in the second part
		kernels.Upload(r.s, r.g, g)
		_, err = part.Step(r.w, r.g, 1, 0.01, 1)
		return err
	})
	for rank, err := range errs {
		var not *NotFinite
		if !errors.As(err, &not) || not.Tensor != 1 {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

func TestWrongUseIsRefused(t *testing.T) {
	r := newRig(t, 1, Defaults())
	if _, err := r.opt.Step(r.w, r.g, 0, 0.01, 1); err == nil {
		t.Error("update 0 is taken")
	}
	if _, err := New(r.dev, r.s, Tensors{Offsets: []int64{0, 1}, Decay: nil}, Defaults()); err == nil {
		t.Error("no tensors are taken")
	}
	for what, change := range map[string]func(o *Options){
		"name": func(o *Options) { o.Name = "sgd" }, "beta 1": func(o *Options) { o.Beta1 = 1 }, "beta 2": func(o *Options) { o.Beta2 = math.NaN() },
		"epsilon": func(o *Options) { o.Epsilon = 0 }, "decay": func(o *Options) { o.WeightDecay = -1 }, "norm": func(o *Options) { o.MaxGradNorm = math.NaN() },
	} {
		o := Defaults()
		change(&o)
		if _, err := New(r.dev, r.s, layout, o); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %+v: %v", what, o, err)
		}
	}
}
