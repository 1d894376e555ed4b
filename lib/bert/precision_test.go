package bert

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hpcbert/kernels"
	"hpcbert/lib/optim"
)

// precisions are the types of 16 bits.
var precisions = []struct {
	name      string
	mode      Mode
	store     func(float32) float32
	lossScale float32
}{
	{"bfloat16", BFloat16, nearestBFloat16, 1},
	{"half", Float16, nearestHalf, 1 << 10},
	{"half, largest loss scale", Float16, nearestHalf, 1 << 15},
}

// In 16 bits the model is as near to the truth as the plainest implementation in that precision.
func TestModelIn16BitsIsTheOracle(t *testing.T) {
	for _, c := range []struct {
		name                             string
		hidden, heads, inner, vocabulary int
		lengths                          []int
		dropout                          bool
		draws                            int
	}{
		{"one token", 8, 1, 8, 3, []int{1}, false, 200},
		{"odd sizes", 22, 2, 37, 67, []int{7, 13, 1, 5}, false, 8},
		{"even vocabulary", 18, 3, 40, 66, []int{9, 8}, false, 8},
		{"dropout", 22, 2, 37, 67, []int{7, 13, 1, 5}, true, 8},
		{"dropout, long", 40, 5, 96, 129, []int{33, 40, 2, 39}, true, 4},
	} {
		for _, p := range precisions {
			t.Run(c.name+"/"+p.name, func(t *testing.T) {
				eachISA(t, func(t *testing.T, isa string) {
					config := smallConfig(c.hidden, c.heads, c.inner, c.vocabulary)
					config.HiddenDropoutProb, config.AttentionProbsDropoutProb = 0.1, 0.2
					r := newRig(t, isa, 2, config, roomy, PreTraining|p.mode)
					sums := newErrorSums()
					var own, allowed float64 // of the losses
					for draw := range uint64(c.draws) {
						b := randomBatch(rand.New(rand.NewPCG(draw, 2)), config, c.lengths...)
						goal := Objective{Seed: 0x123456789a + draw, Step: 77, Dropout: c.dropout, MLMScale: 0.125, NSPScale: 0.25}
						scaled := goal
						scaled.MLMScale *= p.lossScale
						scaled.NSPScale *= p.lossScale
						weights := setRandomWeights(t, r, draw)
						truth, plain := newOracle[float64](config, r.Params, weights), newOracle[float32](config, r.Params, weights)
						plain.store = p.store
						want := truth.lossOf(b, goal)
						allowed += 4 * math.Pow(float64(plain.lossOf(b, scaled)/p.lossScale)-want, 2)
						r.ZeroGradients()
						goal.LossScale = p.lossScale
						own += math.Pow(lossOf(step(t, r, b, goal), goal)-want, 2)
						sums.add(t, r, plain, truth, float64(p.lossScale))
					}
					sums.check(t, r.Params)
					if !(own <= allowed) {
						t.Errorf("losses: error %.2g, allowed %.2g", math.Sqrt(own), math.Sqrt(allowed))
					}
				})
			})
		}
	}
}

func TestForwardOnlyAndCheckpointedGiveTheSameBitsIn16(t *testing.T) {
	c := smallConfig(48, 4, 100, 200)
	c.NumHiddenLayers = 4
	c.HiddenDropoutProb, c.AttentionProbsDropoutProb = 0.1, 0.1
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 1, 33)
	for _, p := range precisions {
		goal := objective(b)
		goal.Dropout, goal.LossScale = true, p.lossScale
		r := newRig(t, "", 1, c, roomy, PreTraining|p.mode)
		r.Init(3)
		want, expected := gradientsOf(t, r, goal, b)
		for _, threads := range []int{1, 2, 3} {
			x := newRig(t, "", threads, c, roomy, PreTraining|p.mode|CheckpointActivations)
			x.Init(3)
			if got, gradients := gradientsOf(t, x, goal, b); got != want || !slices.Equal(gradients, expected) {
				t.Errorf("%s, checkpointed on %d threads: %+v, expected %+v, or other gradients", p.name, threads, got, want)
			}
		}
		f := newRig(t, "", 1, c, roomy, PreTraining|ForwardOnly|p.mode)
		f.Init(3)
		loss, err := r.Forward(b, Objective{})
		if got, e := f.Forward(b, Objective{}); got != loss || err != nil || e != nil {
			t.Errorf("%s, forward only: %+v, expected %+v; %v, %v", p.name, got, loss, err, e)
		}
		hidden, pooled, err := r.Encode(b)
		h, v, e := f.Encode(b)
		if err != nil || e != nil || !slices.Equal(h, hidden) || !slices.Equal(v, pooled) || norm2(v) == 0 {
			t.Errorf("%s: forward only encodes otherwise: %v, %v", p.name, err, e)
		}
	}
}

// What Encode gives is the type's nearest to what float32 has, but for the layers' roundings: some steps of the type.
func TestEncodeIn16BitsIsNearFloat32(t *testing.T) {
	c := smallConfig(48, 4, 100, 200)
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 1, 33)
	encode := func(mode Mode) []float32 {
		r := newRig(t, "", 1, c, roomy, mode|ForwardOnly)
		r.Init(3)
		hidden, pooled, err := r.Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		return append(hidden, pooled...)
	}
	want := encode(0)
	for _, p := range precisions {
		difference, rounding := encode(p.mode), make([]float32, len(want))
		for i, v := range want {
			difference[i] -= v
			rounding[i] = p.store(v) - v
		}
		if e, one := norm2(difference), norm2(rounding); !(e <= 8*one) {
			t.Errorf("%s: %.2g from float32, where one rounding makes %.2g", p.name, e, one)
		}
	}
}

func TestShapesAndModesRefusedIn16Bits(t *testing.T) {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range precisions {
		if _, err := Plan(dev, smallConfig(21, 3, 37, 67), roomy, PreTraining|p.mode); err == nil || !strings.Contains(err.Error(), "hidden_size") {
			t.Errorf("%s, odd hidden size: error %v", p.name, err)
		}
	}
	if _, err := Plan(dev, smallConfig(24, 3, 37, 67), roomy, PreTraining|BFloat16|Float16); err == nil || !strings.Contains(err.Error(), "two types") {
		t.Errorf("both types: error %v", err)
	}
}

// Training in 16 bits falls as training in float32 does.
func TestLossFallsIn16BitsAsInFloat32(t *testing.T) {
	c := smallConfig(64, 4, 128, 100)
	c.HiddenDropoutProb, c.AttentionProbsDropoutProb = 0.1, 0.1
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 12, 33)
	train := func(mode Mode, lossScale float32) (losses []float64) {
		goal := objective(b)
		goal.Dropout, goal.LossScale = true, lossScale
		r := newRig(t, "", 2, c, roomy, PreTraining|mode)
		r.Init(3)
		lamb := newLAMB(t, r)
		for update := range 60 {
			goal.Step = uint32(update)
			r.ZeroGradients()
			losses = append(losses, lossOf(step(t, r, b, goal), goal))
			if _, err := lamb.Step(r.Weights, r.Gradients, update+1, 0.005, 1/float64(lossScale)); err != nil {
				t.Fatal(err)
			}
			r.Refresh()
		}
		return losses
	}
	want := train(0, 1)
	for _, p := range precisions {
		losses := train(p.mode, p.lossScale)
		for update := range want {
			near(t, fmt.Sprintf("%s: loss of update %d", p.name, update+1), losses[update], want[update], 0.01)
		}
		if first, last := losses[0], losses[len(losses)-1]; !(last < 0.7*first) {
			t.Errorf("%s: the loss went from %v to %v", p.name, first, last)
		}
	}
}

// The scale multiplies the gradients and nothing else: a power of two changes no bit but the exponents where there is room.
func TestLossScaleMultipliesGradients(t *testing.T) {
	c := smallConfig(24, 4, 100, 200)
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 1, 33)
	r := newRig(t, "", 2, c, roomy, PreTraining)
	setRandomWeights(t, r, 9)
	goal := objective(b)
	want, expected := gradientsOf(t, r, goal, b)
	for i := range expected {
		expected[i] *= 1 << 15
	}
	goal.LossScale = 1 << 15
	if got, gradients := gradientsOf(t, r, goal, b); got != want || !slices.Equal(gradients, expected) {
		t.Errorf("losses %+v, expected %+v, or other gradients than 32768 times those without scale", got, want)
	}
}

// Gradients of a large global batch are too small for half precision; the scale saves them.
func TestLossScaleSavesSmallGradients(t *testing.T) {
	c := smallConfig(24, 4, 100, 200)
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 1, 33)
	gradients := func(mode Mode, lossScale float32) []float32 {
		r := newRig(t, "", 2, c, roomy, PreTraining|mode)
		setRandomWeights(t, r, 9)
		_, g := gradientsOf(t, r, Objective{MLMScale: 0x1p-20, NSPScale: 0x1p-16, LossScale: lossScale}, b)
		for i := range g {
			g[i] /= lossScale
		}
		return g
	}
	want := gradients(0, 1)
	lost := func(lossScale float32) float64 {
		g := gradients(Float16, lossScale)
		for i, v := range want {
			g[i] -= v
		}
		return norm2(g) / norm2(want)
	}
	if without, with := lost(1), lost(1<<15); !(without > 0.1 && with < 0.01) {
		t.Errorf("error of the gradients %.2g without a scale, %.2g with one", without, with)
	}
}

// With too large a scale gradients are not finite; losses are as ever, nothing is updated, and the next step is as if this one had not been.
func TestTooLargeALossScale(t *testing.T) {
	c := smallConfig(24, 4, 100, 200)
	c.HiddenDropoutProb, c.AttentionProbsDropoutProb = 0.1, 0.1
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 1, 33)
	eachISA(t, func(t *testing.T, isa string) {
		r := newRig(t, isa, 2, c, roomy, PreTraining|Float16)
		weights := setRandomWeights(t, r, 9)
		lamb := newLAMB(t, r)
		goal := objective(b)
		goal.Dropout, goal.LossScale = true, 1<<10
		want, expected := gradientsOf(t, r, goal, b)
		for _, scale := range []float32{1 << 24, 0x1p100, float32(math.Inf(1))} {
			large := goal
			large.LossScale = scale
			got, gradients := gradientsOf(t, r, large, b)
			if got != want || !math.IsInf(norm2(gradients), 0) && !math.IsNaN(norm2(gradients)) {
				t.Errorf("scale %g: losses %+v, expected %+v; gradients of norm %v", scale, got, want, norm2(gradients))
			}
			var not *optim.NotFinite
			if _, err := lamb.Step(r.Weights, r.Gradients, 1, 0.01, 1/float64(scale)); !errors.As(err, &not) {
				t.Errorf("scale %g: an update without error: %v", scale, err)
			}
		}
		for _, p := range r.Params {
			if !slices.Equal(download(t, r.s, r.Weight(p.Name)), weights(p)) {
				t.Errorf("%s was updated", p.Name)
			}
		}
		if got, gradients := gradientsOf(t, r, goal, b); got != want || !slices.Equal(gradients, expected) {
			t.Errorf("the step after an overflow: %+v, expected %+v, or other gradients", got, want)
		}
	})
}
