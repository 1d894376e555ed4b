package bert

import (
	"math/rand/v2"
	"slices"
	"testing"

	"hpcbert/kernels"
)

// takes says whether the device computes in a mode.
func takes(dev *kernels.Device, mode Mode) bool {
	return mode&BFloat16 == 0 || dev.PackedLen(1, 1, kernels.BFloat16) > 0
}

func TestCheckpointedActivationsChangeNoBit(t *testing.T) {
	c := smallConfig(48, 4, 100, 200)
	c.HiddenDropoutProb, c.AttentionProbsDropoutProb = 0.1, 0.1
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 1, 33)
	goal := objective(b)
	goal.Dropout = true
	for _, layers := range []int{1, 4} {
		c.NumHiddenLayers = layers
		for name, micros := range map[string][]*Batch{"one": {b}, "two": {part(b, 0, 1), part(b, 1, 4)}, "padded": {pad(b, 40)}} {
			var losses []Result
			var gradients, weights [][]float32
			for _, mode := range []Mode{PreTraining, PreTraining | CheckpointActivations} {
				r := newRig(t, "", 2, c, roomy, mode)
				r.Init(3)
				lamb := newLAMB(t, r)
				for update := 1; update <= 3; update++ {
					loss, gradient := gradientsOf(t, r, goal, micros...)
					losses, gradients = append(losses, loss), append(gradients, gradient)
					if _, err := lamb.Step(r.Weights, r.Gradients, update, 0.01, 1); err != nil {
						t.Fatal(err)
					}
					r.Refresh()
				}
				weights = append(weights, download(t, r.s, r.Weights))
			}
			if !slices.Equal(losses[:3], losses[3:]) || !slices.EqualFunc(gradients[:3], gradients[3:], slices.Equal) || !slices.Equal(weights[0], weights[1]) {
				t.Errorf("%d layers, micro-batches %s: other losses, gradients or weights: %+v, %+v", layers, name, losses[:3], losses[3:])
			}
		}
	}
}

func TestPlanIsWhatIsAllocated(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{Encoder, PreTraining, Encoder | ForwardOnly, PreTraining | ForwardOnly, PreTraining | CheckpointActivations,
		PreTraining | BFloat16, PreTraining | BFloat16 | CheckpointActivations, PreTraining | ForwardOnly | BFloat16} {
		if !takes(dev, mode) {
			t.Logf("mode %b: not on %s", mode, dev.Name())
			continue
		}
		for _, lim := range []Limits{roomy, {Tokens: 1, Sequences: 1}, {Tokens: 130, Sequences: 2, Masked: 37}} {
			var task []Head
			if mode&PreTraining == 0 {
				task = []Head{{Classifier, 3}}
			}
			plan, err := Plan(dev, c, lim, mode, task...)
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, "", 1, c, lim, mode, task...)
			var total int64
			for _, x := range r.owned {
				total += int64(x.Len() * x.DType().Size())
			}
			if plan.Total() != total {
				t.Errorf("mode %b, %+v: planned %+v = %d bytes, allocated %d", mode, lim, plan, plan.Total(), total)
			}
		}
	}
}

// The activations of a layer are what the formula of a transformer says; checkpointed, further layers take no more than their inputs.
func TestActivationsOfALayer(t *testing.T) {
	const tokens, h, heads, inner = 64, 48, 4, 96 // whole cache lines, so that no gap disturbs
	c := smallConfig(h, heads, inner, 200)
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	plan := func(layers int, mode Mode) int64 {
		c.NumHiddenLayers = layers
		p, err := Plan(dev, c, Limits{Tokens: tokens, Sequences: 4, Masked: 16}, PreTraining|mode)
		if err != nil {
			t.Fatal(err)
		}
		return p.Activations
	}
	for _, precision := range []Mode{0, BFloat16} {
		if !takes(dev, precision) {
			t.Logf("bfloat16: not on %s", dev.Name())
			continue
		}
		size := int64(4)
		if precision == BFloat16 {
			size = 2
		}
		input := tokens * h * size
		kept := tokens*(3*h+4*h+2*inner)*size + 4*tokens*(heads+4)
		one := plan(1, precision)
		for _, e := range []struct {
			what      string
			got, want int64
		}{
			{"12 layers", plan(12, precision), one + 11*(input+kept)},
			{"one layer, checkpointed", plan(1, precision|CheckpointActivations), one},
			{"12 layers, checkpointed", plan(12, precision|CheckpointActivations), one + 11*input},
		} {
			if e.got != e.want {
				t.Errorf("%d bytes a value, %s: %d bytes, expected %d", size, e.what, e.got, e.want)
			}
		}
	}
}
