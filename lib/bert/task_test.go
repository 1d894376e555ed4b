package bert

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hpcbert/kernels"
	"hpcbert/lib/ckpt"
)

var heads = []struct {
	name string
	head Head
}{{"span", Head{Span, 2}}, {"two classes", Head{Classifier, 2}}, {"seventeen classes", Head{Classifier, 17}}, {"regression", Head{Regression, 1}}}

// taskBatch is a random batch with targets for every head.
func taskBatch(rng *rand.Rand, c *Config, head Head, lengths ...int) *Batch {
	b := randomBatch(rng, c, lengths...)
	b.MaskedRows, b.MaskedIDs = nil, nil
	for _, length := range lengths {
		b.Classes = append(b.Classes, rng.Int32N(int32(max(2, head.Outputs))))
		b.Values = append(b.Values, float32(5*rng.Float64()))
		first := rng.IntN(length)
		b.Starts, b.Ends = append(b.Starts, int32(first)), append(b.Ends, int32(first+rng.IntN(length-first)))
	}
	return b
}

func newTaskOracle[N number](c *Config, head Head, params []Param, weights func(p Param) []float32) *oracle[N] {
	o := newOracle[N](c, params, weights)
	o.task = head
	return o
}

func TestOraclesTaskGradientsAreTheLosssDerivatives(t *testing.T) {
	c := smallConfig(6, 2, 5, 9)
	c.HiddenDropoutProb = 0.2
	for _, h := range heads {
		rng := rand.New(rand.NewPCG(3, 4))
		b := taskBatch(rng, c, h.head, 5, 1, 7)
		o := newTaskOracle[float64](c, h.head, c.TaskParams(h.head), func(p Param) []float32 {
			w := make([]float32, p.Len)
			for i := range w {
				w[i] = float32(0.5 * rng.NormFloat64())
			}
			return w
		})
		goal := Objective{Seed: 8, Step: 3, Dropout: true, TaskScale: 0.25}
		for _, name := range []string{h.head.name() + ".weight", h.head.name() + ".bias", "bert.encoder.layer.0.output.dense.weight", "bert.pooler.dense.bias"} {
			const step = 1e-5
			m := o.w[name]
			old := m.v[0]
			m.v[0] = old + step
			up := o.lossOf(b, goal)
			m.v[0] = old - step
			down := o.lossOf(b, goal)
			m.v[0] = old
			o.lossOf(b, goal)
			if want := (up - down) / (2 * step); math.Abs(m.d[0]-want) > 1e-8 {
				t.Errorf("%s, %s: %v, differences say %v", h.name, name, m.d[0], want)
			}
		}
	}
}

func TestTaskModelIsTheOracle(t *testing.T) {
	for _, h := range heads {
		for _, p := range append(precisions[:2:2], struct {
			name      string
			mode      Mode
			store     func(float32) float32
			lossScale float32
		}{"float32", 0, nil, 1}) {
			for _, dropout := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/dropout %v", h.name, p.name, dropout), func(t *testing.T) {
					config := smallConfig(22, 2, 37, 67)
					config.HiddenDropoutProb, config.AttentionProbsDropoutProb = 0.1, 0.2
					r := newRig(t, "", 2, config, roomy, p.mode, h.head)
					sums := newErrorSums()
					var own, allowed float64
					for draw := range uint64(8) {
						b := taskBatch(rand.New(rand.NewPCG(draw, 2)), config, h.head, 7, 13, 1, 33)
						goal := Objective{Seed: 0x123456789a + draw, Step: 77, Dropout: dropout, TaskScale: 0.25}
						scaled := goal
						scaled.TaskScale *= p.lossScale
						weights := setRandomWeights(t, r, draw)
						truth, plain := newTaskOracle[float64](config, h.head, r.Params, weights), newTaskOracle[float32](config, h.head, r.Params, weights)
						plain.store = p.store
						want := truth.lossOf(b, goal)
						allowed += 4 * math.Pow(float64(plain.lossOf(b, scaled)/p.lossScale)-want, 2)
						r.ZeroGradients()
						goal.LossScale = p.lossScale
						got := step(t, r, b, goal)
						own += math.Pow(got.TaskLossSum*0.25-want, 2)
						if got.Sequences != 4 {
							t.Errorf("%d sequences", got.Sequences)
						}
						sums.add(t, r, plain, truth, float64(p.lossScale))
						if p.store == nil {
							near(t, "loss", got.TaskLossSum*0.25, want, 2e-6)
						}
					}
					sums.check(t, r.Params)
					if p.store != nil && !(own <= allowed) {
						t.Errorf("losses: error %.2g, allowed %.2g", math.Sqrt(own), math.Sqrt(allowed))
					}
				})
			}
		}
	}
}

// The original pads every sequence, and the padding's logits are in the loss of its spans; in that of the other heads it changes nothing.
func TestPaddedTaskBatches(t *testing.T) {
	c := smallConfig(22, 2, 37, 67)
	for _, h := range heads {
		packed := taskBatch(rand.New(rand.NewPCG(7, 2)), c, h.head, 7, 13, 1, 33)
		padded := pad(packed, 36)
		padded.Classes, padded.Values, padded.Starts, padded.Ends = packed.Classes, packed.Values, packed.Starts, packed.Ends
		r := newRig(t, "", 2, c, roomy, Encoder, h.head)
		weights := setRandomWeights(t, r, 3)
		truth, plain := newTaskOracle[float64](c, h.head, r.Params, weights), newTaskOracle[float32](c, h.head, r.Params, weights)
		goal := Objective{TaskScale: 0.25}
		want := truth.lossOf(padded, goal)
		plain.lossOf(padded, goal)
		const word = "bert.embeddings.word_embeddings.weight"
		clear(truth.w[word].d[:22]) // token 0 is the padding
		clear(plain.w[word].d[:22])
		r.ZeroGradients()
		near(t, h.name+": loss", step(t, r, padded, goal).TaskLossSum*0.25, want, 2e-6)
		sums := newErrorSums()
		sums.add(t, r, plain, truth, 1)
		sums.check(t, r.Params)
		without := truth.lossOf(packed, goal)
		if same := math.Abs(without-want) <= 1e-9*want; same != h.head.Pools() {
			t.Errorf("%s: loss %v with padding, %v without", h.name, want, without)
		}
	}
}

// Logits are those that the losses come from, whatever the packing; a prediction that is counted as right has the largest logit.
func TestLogitsExplainLossesAndCounts(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	for _, h := range heads {
		b := taskBatch(rand.New(rand.NewPCG(5, 1)), c, h.head, 7, 20, 1, 33)
		r := newRig(t, "", 2, c, roomy, ForwardOnly, h.head)
		setRandomWeights(t, r, 9)
		z, err := r.Logits(b)
		if err != nil {
			t.Fatal(err)
		}
		rows := [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}}
		if h.head.Kind == Span {
			rows = [][2]int{{0, 7}, {7, 27}, {27, 28}, {28, 61}}
		}
		var loss float64
		right := 0
		for i, row := range rows {
			own, err := r.Logits(part(b, i, i+1))
			if err != nil || !slices.Equal(own, z[row[0]*h.head.Outputs:row[1]*h.head.Outputs]) {
				t.Errorf("%s: sequence %d alone has other logits: %v", h.name, i, err)
			}
			l, ok := lossOfLogits(h.head, b, i, own)
			loss += l
			if ok {
				right++
			}
		}
		got, err := r.Forward(b, Objective{})
		if err != nil || got.TaskCorrect != right {
			t.Errorf("%s: %d right, expected %d: %v", h.name, got.TaskCorrect, right, err)
		}
		near(t, h.name+": loss", got.TaskLossSum, loss, 1e-9)
	}
}

// lossOfLogits is the loss as the definition has it.
func lossOfLogits(h Head, b *Batch, i int, z []float32) (loss float64, right bool) {
	column := func(first, target int) float64 {
		sum := 0.0
		var all []float32
		for k := first; k < len(z); k += map[bool]int{true: 2, false: 1}[h.Kind == Span] {
			sum += math.Exp(float64(z[k]))
			all = append(all, z[k])
		}
		right = (first == 0 || right) && slices.Max(all) == all[target]
		return math.Log(sum) - float64(all[target])
	}
	switch h.Kind {
	case Classifier:
		return column(0, int(b.Classes[i])), right
	case Regression:
		return math.Pow(float64(z[0])-float64(b.Values[i]), 2), false
	}
	loss = column(0, int(b.Starts[i])) / 2
	return loss + column(1, int(b.Ends[i]))/2, right
}

func TestTaskParams(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	for _, h := range heads {
		params := c.TaskParams(h.head)
		last := params[len(params)-2:]
		name := map[HeadKind]string{Span: "qa_outputs"}[h.head.Kind]
		if name == "" {
			name = "classifier"
		}
		if last[0].Name != name+".weight" || !slices.Equal(last[0].Shape, []int{h.head.Outputs, 24}) || last[1].Name != name+".bias" || !last[0].Decay || last[1].Decay {
			t.Errorf("%s: %+v", h.name, last)
		}
		pooler := params[slices.IndexFunc(params, func(p Param) bool { return p.Name == "bert.pooler.dense.weight" })]
		if pooler.Decay != (h.head.Kind != Span) {
			t.Errorf("%s: the pooler decays: %v", h.name, pooler.Decay)
		}
	}
	for _, bad := range []Head{{}, {Span, 3}, {Classifier, 1}, {Regression, 2}, {9, 2}} {
		if bad.Check() == nil {
			t.Errorf("%+v is a head", bad)
		}
	}
}

func TestTargetsThatDoNotFit(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	for _, e := range []struct {
		head   Head
		damage func(b *Batch)
		want   string
	}{
		{Head{Classifier, 3}, func(b *Batch) { b.Classes[1] = 3 }, "sequence 1 (sample 11): class 3 is not one of 3"},
		{Head{Classifier, 3}, func(b *Batch) { b.Classes[0] = -1 }, "sequence 0 (sample 10): class -1"},
		{Head{Classifier, 3}, func(b *Batch) { b.Classes = nil }, "0 classes"},
		{Head{Regression, 1}, func(b *Batch) { b.Values = b.Values[:1] }, "1 values"},
		{Head{Span, 2}, func(b *Batch) { b.Starts[1] = 4 }, "sequence 1 (sample 11): answer from token 4"},
		{Head{Span, 2}, func(b *Batch) { b.Ends[0] = -1 }, "to -1 of 5"},
		{Head{Span, 2}, func(b *Batch) { b.Ends = nil }, "0 ends"},
	} {
		r := newRig(t, "", 1, c, roomy, Encoder, e.head)
		b := taskBatch(rand.New(rand.NewPCG(5, 3)), c, e.head, 5, 4, 7)
		e.damage(b)
		if _, err := r.ForwardBackward(b, Objective{TaskScale: 1}); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("error %v, expected %q", err, e.want)
		}
	}
}

func TestNarrow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := []float32{0, 1, -1, 65504, 65519.99, 65520, 1e9, 0x1p-14, 0x1p-24, 0x1p-25, 0x1.8p-24, 1 + 0x1p-11, 1 + 0x3p-11, float32(math.Inf(1)), float32(math.Inf(-1))}
	for range 20000 {
		values = append(values, float32(math.Ldexp(rng.Float64()*2-1, rng.IntN(50)-30)))
	}
	for _, x := range values {
		if got, want := ckpt.Float16(narrow(x, kernels.Float16)), nearestHalf(x); got != want {
			t.Errorf("%v as half is %v, expected %v", x, got, want)
		}
		if got, want := math.Float32frombits(uint32(narrow(x, kernels.BFloat16))<<16), nearestBFloat16(x); got != want {
			t.Errorf("%v as bfloat16 is %v, expected %v", x, got, want)
		}
	}
	nan := math.Float32frombits(0x7f800001)
	for _, dtype := range []kernels.DType{kernels.Float16, kernels.BFloat16} {
		if bits := narrow(nan, dtype) & 0x7fff; bits <= map[kernels.DType]uint16{kernels.Float16: 0x7c00, kernels.BFloat16: 0x7f80}[dtype] {
			t.Errorf("not a number is %#x as %s", bits, dtype)
		}
	}
}
