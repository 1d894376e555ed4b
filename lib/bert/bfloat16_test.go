package bert

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hpcbert/kernels"
)

// In bfloat16 the model is as near to the truth as the plainest implementation in that precision.
func TestModelInBFloat16IsTheOracle(t *testing.T) {
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
		t.Run(c.name, func(t *testing.T) {
			eachISA(t, func(t *testing.T, isa string) {
				config := smallConfig(c.hidden, c.heads, c.inner, c.vocabulary)
				config.HiddenDropoutProb, config.AttentionProbsDropoutProb = 0.1, 0.2
				r := newRig(t, isa, 2, config, roomy, PreTraining|BFloat16)
				sums := newErrorSums()
				var own, allowed float64 // of the losses
				for draw := range uint64(c.draws) {
					b := randomBatch(rand.New(rand.NewPCG(draw, 2)), config, c.lengths...)
					goal := Objective{Seed: 0x123456789a + draw, Step: 77, Dropout: c.dropout, MLMScale: 0.125, NSPScale: 0.25}
					weights := setRandomWeights(t, r, draw)
					truth, plain := newOracle[float64](config, r.Params, weights), newOracle[float32](config, r.Params, weights)
					plain.half = true
					want := truth.lossOf(b, goal)
					allowed += 4 * math.Pow(float64(plain.lossOf(b, goal))-want, 2)
					r.ZeroGradients()
					own += math.Pow(lossOf(step(t, r, b, goal), goal)-want, 2)
					sums.add(t, r, plain, truth)
				}
				sums.check(t, r.Params)
				if !(own <= allowed) {
					t.Errorf("losses: error %.2g, allowed %.2g", math.Sqrt(own), math.Sqrt(allowed))
				}
			})
		})
	}
}

func TestBFloat16ForwardOnlyAndCheckpointedGiveTheSameBits(t *testing.T) {
	c := smallConfig(48, 4, 100, 200)
	c.NumHiddenLayers = 4
	c.HiddenDropoutProb, c.AttentionProbsDropoutProb = 0.1, 0.1
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 1, 33)
	goal := objective(b)
	goal.Dropout = true
	r := newRig(t, "", 1, c, roomy, PreTraining|BFloat16)
	r.Init(3)
	want, expected := gradientsOf(t, r, goal, b)
	for _, threads := range []int{1, 2, 3} {
		x := newRig(t, "", threads, c, roomy, PreTraining|BFloat16|CheckpointActivations)
		x.Init(3)
		if got, gradients := gradientsOf(t, x, goal, b); got != want || !slices.Equal(gradients, expected) {
			t.Errorf("checkpointed on %d threads: %+v, expected %+v, or other gradients", threads, got, want)
		}
	}
	f := newRig(t, "", 1, c, roomy, PreTraining|ForwardOnly|BFloat16)
	f.Init(3)
	loss, err := r.Forward(b, Objective{})
	if got, e := f.Forward(b, Objective{}); got != loss || err != nil || e != nil {
		t.Errorf("forward only: %+v, expected %+v; %v, %v", got, loss, err, e)
	}
	hidden, pooled, err := r.Encode(b)
	h, p, e := f.Encode(b)
	if err != nil || e != nil || !slices.Equal(h, hidden) || !slices.Equal(p, pooled) || norm2(p) == 0 {
		t.Errorf("forward only encodes otherwise: %v, %v", err, e)
	}
}

func TestOddHiddenSizeIsRefusedInBFloat16(t *testing.T) {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Plan(dev, smallConfig(21, 3, 37, 67), roomy, PreTraining|BFloat16); err == nil || !strings.Contains(err.Error(), "hidden_size") {
		t.Errorf("error %v", err)
	}
}

// Training in bfloat16 falls as training in float32 does.
func TestLossFallsInBFloat16AsInFloat32(t *testing.T) {
	c := smallConfig(64, 4, 128, 100)
	c.HiddenDropoutProb, c.AttentionProbsDropoutProb = 0.1, 0.1
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 12, 33)
	goal := objective(b)
	goal.Dropout = true
	const updates = 60
	var losses [2][updates]float64
	for i, mode := range []Mode{PreTraining, PreTraining | BFloat16} {
		r := newRig(t, "", 2, c, roomy, mode)
		r.InitPlain(3)
		lamb := newLAMB(t, r)
		for update := range updates {
			goal.Step = uint32(update)
			r.ZeroGradients()
			losses[i][update] = lossOf(step(t, r, b, goal), goal)
			if _, err := lamb.Step(r.Weights, r.Gradients, update+1, 0.005, 1); err != nil {
				t.Fatal(err)
			}
			r.Refresh()
		}
	}
	for update, want := range losses[0] {
		near(t, fmt.Sprintf("loss of update %d", update+1), losses[1][update], want, 0.01)
	}
	if first, last := losses[1][0], losses[1][updates-1]; !(last < 0.7*first) {
		t.Errorf("the loss went from %v to %v", first, last)
	}
}
