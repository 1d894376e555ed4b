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

// smallConfig has odd sizes everywhere.
func smallConfig(hidden, heads, inner, vocabulary int) *Config {
	c := goldenConfig()
	c.HiddenSize, c.NumAttentionHeads, c.IntermediateSize, c.VocabSize = hidden, heads, inner, vocabulary
	c.MaxPositionEmbeddings = 40
	return c
}

// randomBatch packs sequences of the given lengths; about a quarter of the tokens are masked, none in sequences of one token.
func randomBatch(rng *rand.Rand, c *Config, lengths ...int) *Batch {
	b := &Batch{CuSeqlens: []int32{0}}
	for i, length := range lengths {
		for p := range length {
			if length > 1 && rng.IntN(4) == 0 {
				b.MaskedRows = append(b.MaskedRows, int32(len(b.IDs)))
				b.MaskedIDs = append(b.MaskedIDs, rng.Int32N(int32(c.VocabSize)))
			}
			b.IDs = append(b.IDs, rng.Int32N(int32(c.VocabSize)))
			b.Positions = append(b.Positions, int32(p))
			b.Segments = append(b.Segments, int32(2*p/length))
		}
		b.CuSeqlens = append(b.CuSeqlens, int32(len(b.IDs)))
		b.Samples = append(b.Samples, int32(10+i))
		b.NextSentence = append(b.NextSentence, rng.Int32N(2))
	}
	return b
}

// pad spreads a packed batch to sequences of one length.
func pad(b *Batch, length int) *Batch {
	p := &Batch{CuSeqlens: []int32{0}, Samples: b.Samples, MaskedIDs: b.MaskedIDs, NextSentence: b.NextSentence}
	for i := range b.Samples {
		first, end := b.CuSeqlens[i], b.CuSeqlens[i+1]
		for _, row := range b.MaskedRows {
			if row >= first && row < end {
				p.MaskedRows = append(p.MaskedRows, row-first+int32(i*length))
			}
		}
		p.IDs = append(p.IDs, b.IDs[first:end]...)
		p.Positions = append(p.Positions, b.Positions[first:end]...)
		p.Segments = append(p.Segments, b.Segments[first:end]...)
		for at := int(end - first); at < length; at++ {
			p.IDs, p.Positions, p.Segments = append(p.IDs, 0), append(p.Positions, int32(at)), append(p.Segments, 0)
		}
		p.KeyLengths = append(p.KeyLengths, end-first)
		p.CuSeqlens = append(p.CuSeqlens, int32((i+1)*length))
	}
	return p
}

// part is the sequences first to end-1 of a packed batch.
func part(b *Batch, first, end int) *Batch {
	from, to := b.CuSeqlens[first], b.CuSeqlens[end]
	p := &Batch{IDs: b.IDs[from:to], Positions: b.Positions[from:to], Segments: b.Segments[from:to], Samples: b.Samples[first:end], NextSentence: b.NextSentence[first:end]}
	for _, at := range b.CuSeqlens[first : end+1] {
		p.CuSeqlens = append(p.CuSeqlens, at-from)
	}
	for i, row := range b.MaskedRows {
		if row >= from && row < to {
			p.MaskedRows = append(p.MaskedRows, row-from)
			p.MaskedIDs = append(p.MaskedIDs, b.MaskedIDs[i])
		}
	}
	return p
}

var roomy = Limits{Tokens: 200, Sequences: 8, Masked: 80}

func eachISA(t *testing.T, test func(t *testing.T, isa string)) {
	for _, isa := range []string{"avx512bf16", "avx512", "avx2", "neon", "plain"} {
		if _, err := kernels.Open("cpu", kernels.Options{Threads: 1, ISA: isa}); err == nil {
			t.Run(isa, func(t *testing.T) { test(t, isa) })
		}
	}
}

// setRandomWeights draws weights of a size at which every part of the model matters.
func setRandomWeights(t *testing.T, r rig, seed uint64) func(p Param) []float32 {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	weights := map[string][]float32{}
	for _, p := range r.Params {
		w := make([]float32, p.Len)
		for i := range w {
			w[i] = float32(0.25 * rng.NormFloat64())
			if p.Init.Form == InitOne {
				w[i]++
			}
		}
		weights[p.Name] = w
		kernels.Upload(r.s, r.Weight(p.Name), w)
	}
	r.Refresh()
	return func(p Param) []float32 { return weights[p.Name] }
}

func step(t *testing.T, r rig, b *Batch, o Objective) Result {
	t.Helper()
	got, err := r.ForwardBackward(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func lossOf(r Result, o Objective) float64 {
	return r.MLMLossSum*float64(o.MLMScale) + r.NSPLossSum*float64(o.NSPScale)
}

// The oracle's gradients are checked by central differences in float64, so that the oracle can check the model's.
func TestOraclesGradientIsTheLosssDerivative(t *testing.T) {
	c := smallConfig(6, 2, 5, 9)
	c.HiddenDropoutProb, c.AttentionProbsDropoutProb = 0.2, 0.3
	rng := rand.New(rand.NewPCG(3, 4))
	b := pad(randomBatch(rng, c, 5, 1, 7), 8)
	params := c.Params()
	o := newOracle[float64](c, params, func(p Param) []float32 {
		w := make([]float32, p.Len)
		for i := range w {
			w[i] = float32(0.5 * rng.NormFloat64())
		}
		return w
	})
	goal := Objective{Seed: 8, Step: 3, Dropout: true, MLMScale: 0.5, NSPScale: 0.25}
	for _, p := range params {
		m := o.w[p.Name]
		i := rng.IntN(p.Len)
		if p.Name == "bert.embeddings.word_embeddings.weight" {
			i = int(b.IDs[0]) * c.HiddenSize
		}
		const h = 1e-5
		old := m.v[i]
		m.v[i] = old + h
		up := o.lossOf(b, goal)
		m.v[i] = old - h
		down := o.lossOf(b, goal)
		m.v[i] = old
		o.lossOf(b, goal)
		if want := (up - down) / (2 * h); math.Abs(m.d[i]-want) > 1e-8 {
			t.Errorf("%s, element %d: %v, differences say %v", p.Name, i, m.d[i], want)
		}
	}
}

// errors sums the squared errors of gradients, by parameter: of the model, of the plainest float32 implementation, and the truth's squares.
type errorSums struct{ own, plain, size map[string]float64 }

func newErrorSums() *errorSums {
	return &errorSums{map[string]float64{}, map[string]float64{}, map[string]float64{}}
}

// add takes the model's gradients, and the plain ones, as so many times those of the truth.
func (e *errorSums) add(t *testing.T, r rig, plain *oracle[float32], truth *oracle[float64], scale float64) {
	t.Helper()
	for _, p := range r.Params {
		own := download(t, r.s, r.gradient(p.Name))
		for i, want := range truth.w[p.Name].d {
			e.own[p.Name] += math.Pow(float64(own[i])/scale-want, 2)
			e.plain[p.Name] += math.Pow(float64(plain.w[p.Name].d[i])/scale-want, 2)
			e.size[p.Name] += want * want
		}
	}
}

// check fails where the model is further from the truth than twice the plainest implementation: of the same parameter, or of a typical one
// (root mean square of the relative errors) where chance favoured it.
func (e *errorSums) check(t *testing.T, params []Param) {
	t.Helper()
	var typical, counted float64
	for _, p := range params {
		if !isKeyBias(p.Name) && e.size[p.Name] > 0 {
			typical += e.plain[p.Name] / e.size[p.Name]
			counted++
		}
	}
	typical /= counted
	for _, p := range params {
		size := e.size[p.Name]
		if isKeyBias(p.Name) { // analytically zero: the rounding of what cancels
			size = e.size[strings.Replace(p.Name, "key", "query", 1)]
		}
		if allowed := 4 * max(e.plain[p.Name], typical*size); !(e.own[p.Name] <= allowed) {
			t.Errorf("gradient of %s: error %.2g of %.2g, plain float32 %.2g, allowed %.2g", p.Name, math.Sqrt(e.own[p.Name]), math.Sqrt(size),
				math.Sqrt(e.plain[p.Name]), math.Sqrt(allowed))
		}
	}
}

func isKeyBias(name string) bool { return strings.HasSuffix(name, "self.key.bias") }

func TestModelIsTheOracle(t *testing.T) {
	for _, c := range []struct {
		name                             string
		hidden, heads, inner, vocabulary int
		lengths                          []int
		dropout                          bool
	}{
		{"one token", 8, 1, 8, 3, []int{1}, false},
		{"odd sizes", 21, 3, 37, 67, []int{7, 13, 1, 5}, false},
		{"vocabulary of one block", 24, 3, 40, 64, []int{9, 8}, false},
		{"vocabulary one over", 24, 2, 31, 65, []int{17}, false},
		{"dropout", 21, 3, 37, 67, []int{7, 13, 1, 5}, true},
		{"dropout, long", 40, 5, 96, 129, []int{33, 40, 2, 39}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachISA(t, func(t *testing.T, isa string) {
				config := smallConfig(c.hidden, c.heads, c.inner, c.vocabulary)
				config.HiddenDropoutProb, config.AttentionProbsDropoutProb = 0.1, 0.2
				r := newRig(t, isa, 2, config, roomy, PreTraining)
				sums := newErrorSums()
				for draw := range uint64(8) {
					b := randomBatch(rand.New(rand.NewPCG(draw, 2)), config, c.lengths...)
					goal := Objective{Seed: 0x123456789a + draw, Step: 77, Dropout: c.dropout, MLMScale: 0.125, NSPScale: 0.25}
					weights := setRandomWeights(t, r, draw)
					truth, plain := newOracle[float64](config, r.Params, weights), newOracle[float32](config, r.Params, weights)
					want := truth.lossOf(b, goal)
					plain.lossOf(b, goal)
					r.ZeroGradients()
					near(t, "loss", lossOf(step(t, r, b, goal), goal), want, 1e-6)
					sums.add(t, r, plain, truth, 1)
				}
				sums.check(t, r.Params)
			})
		})
	}
}

func TestForwardOnlyModelAndForwardGiveTheSameLosses(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	c.NumHiddenLayers = 5
	b := randomBatch(rand.New(rand.NewPCG(1, 1)), c, 7, 20, 1)
	r := newRig(t, "", 2, c, roomy, PreTraining)
	r.Init(1)
	f := newRig(t, "", 1, c, roomy, PreTraining|ForwardOnly)
	f.Init(1)
	e := newRig(t, "", 1, c, roomy, Encoder|ForwardOnly)
	e.Init(1)
	want := step(t, r, b, objective(b))
	for _, m := range []rig{r, f} {
		if got, err := m.Forward(b, Objective{}); err != nil || got != want {
			t.Errorf("%+v, %v, expected %+v", got, err, want)
		}
	}
	hidden, pooled, err := r.Encode(b)
	if err != nil || len(hidden) != 28*24 || len(pooled) != 3*24 {
		t.Fatalf("%d hidden, %d pooled values: %v", len(hidden), len(pooled), err)
	}
	for _, m := range []rig{f, e} {
		h, p, err := m.Encode(b)
		if err != nil || !slices.Equal(h, hidden) || !slices.Equal(p, pooled) {
			t.Errorf("a model for forward passes encodes otherwise: %v", err)
		}
	}
	if _, err := f.ForwardBackward(b, objective(b)); err == nil {
		t.Error("a model for forward passes learns")
	}
	if _, err := e.Forward(b, Objective{}); err == nil {
		t.Error("a model without heads gives losses")
	}
}

// gradientsOf runs the batches one after the other into cleared gradients.
func gradientsOf(t *testing.T, r rig, o Objective, batches ...*Batch) (Result, []float32) {
	t.Helper()
	r.ZeroGradients()
	var sum Result
	for _, b := range batches {
		sum.Add(step(t, r, b, o))
	}
	return sum, download(t, r.s, r.Gradients)
}

// agree compares two computations of the same in another order: the difference of the gradients is rounding.
func agree(t *testing.T, what string, got, want Result, gradients, expected []float32) {
	t.Helper()
	near(t, what+": MLM loss", got.MLMLossSum, want.MLMLossSum, 1e-6)
	near(t, what+": NSP loss", got.NSPLossSum, want.NSPLossSum, 1e-6)
	if got.MLMCorrect != want.MLMCorrect || got.NSPCorrect != want.NSPCorrect || got.Masked != want.Masked || got.Sequences != want.Sequences {
		t.Errorf("%s: counts %+v, expected %+v", what, got, want)
	}
	difference := make([]float32, len(expected))
	for i := range expected {
		difference[i] = gradients[i] - expected[i]
	}
	if e, size := norm2(difference), norm2(expected); !(e <= 2e-6*size) {
		t.Errorf("%s: gradients differ by %.2g of %.2g", what, e, size)
	}
}

func TestPackingPaddingAndSplittingChangeRoundingOnly(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 7, 20, 1, 33)
	for _, dropout := range []bool{false, true} {
		c.HiddenDropoutProb, c.AttentionProbsDropoutProb = 0.1, 0.1
		r := newRig(t, "", 2, c, roomy, PreTraining)
		setRandomWeights(t, r, 9)
		goal := objective(b)
		goal.Seed, goal.Step, goal.Dropout = 5, 6, dropout
		want, expected := gradientsOf(t, r, goal, b)
		for name, batches := range map[string][]*Batch{
			"padded":       {pad(b, 36)},
			"split 2+2":    {part(b, 0, 2), part(b, 2, 4)},
			"split 1+3":    {part(b, 0, 1), part(b, 1, 4)},
			"one by one":   {part(b, 0, 1), part(b, 1, 2), part(b, 2, 3), part(b, 3, 4)},
			"other order":  {part(b, 3, 4), part(b, 0, 3)},
			"packed again": {pack(pad(b, 40))},
		} {
			got, gradients := gradientsOf(t, r, goal, batches...)
			agree(t, fmt.Sprintf("dropout %v, %s", dropout, name), got, want, gradients, expected)
		}
	}
}

func TestThreadsChangeNothing(t *testing.T) {
	c := smallConfig(48, 4, 100, 200)
	c.HiddenDropoutProb, c.AttentionProbsDropoutProb = 0.1, 0.1
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 37, 40, 1, 33, 40)
	goal := objective(b)
	goal.Dropout = true
	eachISA(t, func(t *testing.T, isa string) {
		var want Result
		var expected []float32
		for threads := 1; threads <= 3; threads++ {
			r := newRig(t, isa, threads, c, roomy, PreTraining)
			r.Init(3)
			lamb := newLAMB(t, r)
			var got Result
			for update := 1; update <= 3; update++ {
				r.ZeroGradients()
				got.Add(step(t, r, b, goal))
				if _, err := lamb.Step(r.Weights, r.Gradients, update, 0.01, 1); err != nil {
					t.Fatal(err)
				}
				r.Refresh()
			}
			weights := download(t, r.s, r.Weights)
			if threads == 1 {
				want, expected = got, weights
			} else if got != want || !slices.Equal(weights, expected) {
				t.Errorf("%d threads give other bits than one", threads)
			}
		}
	})
}

func TestDropoutIsUnbiasedAndNamedBySeedAndStep(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	c.HiddenDropoutProb = 0.3
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 9)
	r := newRig(t, "", 1, c, roomy, PreTraining)
	setRandomWeights(t, r, 9)
	embedded := func(o Objective) []float32 {
		if _, _, err := r.EncodeForward(b, o); err != nil {
			t.Fatal(err)
		}
		return download(t, r.s, r.scratch.input.Slice(0, 9*24))
	}
	want := embedded(Objective{})
	mean := make([]float64, len(want))
	const steps = 4000
	for i := range uint32(steps) {
		for j, v := range embedded(Objective{Seed: 1, Step: i, Dropout: true}) {
			mean[j] += float64(v) / steps
		}
	}
	for j := range want {
		deviation := math.Abs(float64(want[j])) * math.Sqrt(0.3/0.7/steps)
		if math.Abs(mean[j]-float64(want[j])) > 5*deviation {
			t.Errorf("value %d: mean %v over the masks, without dropout %v", j, mean[j], want[j])
		}
	}
	one := embedded(Objective{Seed: 1, Step: 2, Dropout: true})
	if !slices.Equal(one, embedded(Objective{Seed: 1, Step: 2, Dropout: true})) {
		t.Error("the same seed and step drop other values")
	}
	for _, o := range []Objective{{Seed: 2, Step: 2, Dropout: true}, {Seed: 1, Step: 3, Dropout: true}} {
		if slices.Equal(one, embedded(o)) {
			t.Errorf("seed %d, step %d drop the same values as seed 1, step 2", o.Seed, o.Step)
		}
	}
}

func TestBatchWithoutMaskedTokensOrClasses(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	r := newRig(t, "", 1, c, roomy, PreTraining)
	setRandomWeights(t, r, 9)
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 9, 4)
	b.MaskedRows, b.MaskedIDs = nil, nil
	b.NextSentence[1] = -1
	got, gradients := gradientsOf(t, r, Objective{MLMScale: 1, NSPScale: 1}, b)
	if got.Masked != 0 || got.MLMLossSum != 0 || got.Sequences != 1 || !(got.NSPLossSum > 0) {
		t.Errorf("got %+v", got)
	}
	if n := norm2(gradients); !(n > 0) || math.IsInf(n, 0) {
		t.Errorf("gradient norm %v", n)
	}
	if n := norm2(download(t, r.s, r.gradient("cls.predictions.bias"))); n != 0 {
		t.Errorf("the decoder's bias has a gradient of norm %v", n)
	}
	none, err := New(r.dev, r.s, c, Limits{Tokens: 13, Sequences: 2}, PreTraining)
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if _, err := none.ForwardBackward(b, Objective{MLMScale: 1, NSPScale: 1}); err != nil {
		t.Errorf("a model with room for no masked token: %v", err)
	}
}

func TestGradientsAreFinalWhenTold(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	r := newRig(t, "", 2, c, roomy, PreTraining)
	setRandomWeights(t, r, 9)
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 9, 4)
	told := make([]float32, r.Gradients.Len())
	end := len(told)
	calls := 0
	r.ZeroGradients()
	_, err := r.ForwardBackwardLayers(b, objective(b), func(first, last int) {
		if last != end || first >= last {
			t.Errorf("told of %d to %d, expected an end of %d", first, last, end)
		}
		copy(told[first:last], download(t, r.s, r.Gradients.Slice(first, last)))
		end = first
		calls++
	})
	if err != nil || end != 0 || calls != 2*c.NumHiddenLayers+2 {
		t.Fatalf("%d calls down to %d: %v", calls, end, err)
	}
	if !slices.Equal(told, download(t, r.s, r.Gradients)) {
		t.Error("gradients changed after they were told to be final")
	}
}

// Late gradients of words are those that the arena lacks, and its stretch of the word embeddings is final when the heads are ready.
func TestLateGradients(t *testing.T) {
	for _, c := range []struct {
		name string
		task []Head
		mode Mode
		late []int32
	}{
		{"all words", nil, PreTraining, nil},
		{"recomputed", nil, PreTraining | CheckpointActivations, nil},
		{"task with padding", []Head{{Classifier, 2}}, Encoder, nil},
		{"some words, bfloat16", nil, PreTraining | BFloat16, []int32{3}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			config := smallConfig(24, 3, 40, 65)
			lim := roomy
			lim.Late = config.VocabSize
			r := newRig(t, "", 2, config, lim, c.mode, c.task...)
			r.Init(4)
			b := randomBatch(rand.New(rand.NewPCG(5, 1)), config, 9, 4)
			goal := objective(b)
			if c.task != nil {
				b.MaskedRows, b.MaskedIDs, b.Classes = nil, nil, []int32{0, 1}
				b.KeyLengths = make([]int32, len(b.Samples))
				for i := range b.KeyLengths {
					b.KeyLengths[i] = max(1, b.CuSeqlens[i+1]-b.CuSeqlens[i]-1)
				}
				goal.TaskScale = 0.25
			}
			_, want := gradientsOf(t, r, goal, b)
			b.Late = slices.Compact(slices.Sorted(slices.Values(append(c.late, b.IDs...))))
			if c.late == nil {
				b.Late = make([]int32, config.VocabSize)
				for i := range b.Late {
					b.Late[i] = int32(i)
				}
			}
			told := make([]float32, r.Gradients.Len())
			var firsts []int
			r.ZeroGradients()
			if _, err := r.ForwardBackwardLayers(b, goal, func(first, end int) {
				copy(told[first:end], download(t, r.s, r.Gradients.Slice(first, end)))
				firsts = append(firsts, first)
			}); err != nil {
				t.Fatal(err)
			}
			got := download(t, r.s, r.Gradients)
			if !slices.Equal(told, got) || len(firsts) != 2*config.NumHiddenLayers+3 || firsts[1] != 0 {
				t.Errorf("told from %v on: gradients changed after they were told to be final", firsts)
			}
			late, h := download(t, r.s, r.Late()), config.HiddenSize
			for i, id := range b.Late {
				for j, g := range late[i*h : (i+1)*h] {
					told[int(id)*h+j] += g
				}
			}
			r.AddLate()
			if got = download(t, r.s, r.Gradients); !slices.Equal(told, got) {
				t.Error("the late gradients are not added where their words are")
			}
			for i, g := range got {
				if e := math.Abs(float64(g - want[i])); e > 1e-6*math.Abs(float64(want[i]))+1e-7 {
					t.Fatalf("gradient %d is %g, in one arena %g", i, g, want[i])
				}
			}
			if _, again := gradientsOf(t, r, goal, withoutLate(b)); !slices.Equal(again, want) || !r.Late().IsZero() {
				t.Error("a batch without late words leaves some")
			}
			for _, late := range [][]int32{b.Late[1:], slices.Concat(b.Late, []int32{int32(config.VocabSize)}), slices.Concat([]int32{b.Late[0]}, b.Late)} {
				bad := *b
				if bad.Late = late; slices.Contains(b.IDs, b.Late[0]) || len(late) > len(b.Late) {
					if _, err := r.ForwardBackward(&bad, goal); err == nil {
						t.Errorf("late words %v of %v are accepted", late, b.IDs)
					}
				}
			}
		})
	}
}

func withoutLate(b *Batch) *Batch {
	plain := *b
	plain.Late = nil
	return &plain
}

// A head outside the package, here a copy of the NSP head worked on the host, gives the encoder the gradients that the head inside gives.
func TestHeadsOutsideThePackage(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	c.HiddenDropoutProb = 0.1
	b := randomBatch(rand.New(rand.NewPCG(5, 1)), c, 9, 4)
	b.MaskedRows, b.MaskedIDs = nil, nil
	goal := Objective{Seed: 1, Dropout: true, NSPScale: 1}
	inside := newRig(t, "", 2, c, roomy, PreTraining)
	inside.Init(4)
	_, want := gradientsOf(t, inside, goal, b)
	weight := download(t, inside.s, inside.Weight("cls.seq_relationship.weight"))
	logits, h := download(t, inside.s, inside.nsp.logits), c.HiddenSize // now their gradients

	r := newRig(t, "", 2, c, roomy, Encoder, Head{Classifier, 2})
	r.Init(4)
	if p := r.Params[len(r.Params)-2]; p.Name != "classifier.weight" || p.Offset%Align != 0 || p.Len != 2*h || !p.Decay || norm2(download(t, r.s, r.Weight(p.Name))) == 0 {
		t.Errorf("the head's parameter is %+v", p)
	}
	hidden, pooled, err := r.EncodeForward(b, goal)
	if err != nil {
		t.Fatal(err)
	}
	dpooled := make([]float32, pooled.Len())
	for i := range dpooled {
		for class := range 2 {
			dpooled[i] += logits[2*(i/h)+class] * weight[class*h+i%h]
		}
	}
	var dhidden, dp kernels.Tensor
	for _, x := range []struct {
		t *kernels.Tensor
		n int
	}{{&dhidden, hidden.Len()}, {&dp, pooled.Len()}} {
		if *x.t, err = r.dev.Alloc(kernels.Float32, x.n); err != nil {
			t.Fatal(err)
		}
		defer r.dev.Free(*x.t)
	}
	kernels.Upload(r.s, dp, dpooled)
	if err := r.encodeBackward(dhidden, dp, nil); err != nil {
		t.Fatal(err)
	}
	encoder := ArenaLen(c.EncoderParams())
	got, want := download(t, r.s, r.Gradients)[:encoder], want[:encoder]
	difference := make([]float32, encoder)
	for i := range difference {
		difference[i] = got[i] - want[i]
	}
	if e, size := norm2(difference), norm2(want); !(size > 0 && e <= 2e-6*size) {
		t.Errorf("gradients differ by %.2g of %.2g", e, size)
	}
}

func TestBatchErrorsNameTheSequence(t *testing.T) {
	c := smallConfig(24, 3, 40, 65)
	r := newRig(t, "", 1, c, roomy, PreTraining)
	r.Init(1)
	for _, e := range []struct {
		name   string
		damage func(b *Batch)
		want   string
	}{
		{"id beyond the vocabulary", func(b *Batch) { b.IDs[8] = 65 }, "sequence 1 (sample 11): token 3: id 65"},
		{"negative id", func(b *Batch) { b.IDs[0] = -1 }, "sequence 0 (sample 10): token 0: id -1"},
		{"position too far", func(b *Batch) { b.Positions[9] = 40 }, "sequence 2 (sample 12): token 0: position 40"},
		{"third segment", func(b *Batch) { b.Segments[4] = 2 }, "sequence 0 (sample 10): token 4: segment 2"},
		{"masked row outside", func(b *Batch) { b.MaskedRows[0] = 16 }, "masked row 16"},
		{"masked twice", func(b *Batch) { b.MaskedRows[1] = b.MaskedRows[0] }, "twice"},
		{"masked id", func(b *Batch) { b.MaskedRows[0], b.MaskedIDs[0] = 5, 65 }, "sequence 1 (sample 11): token 0: masked id 65"},
		{"class", func(b *Batch) { b.NextSentence[1] = 2 }, "sequence 1 (sample 11): next-sentence class 2"},
		{"empty sequence", func(b *Batch) { b.CuSeqlens[1] = 9 }, "sequence 1 (sample 11) has 0 tokens"},
		{"lengths that do not end", func(b *Batch) { b.CuSeqlens[3] = 15 }, "15"},
		{"no batch", func(b *Batch) { *b = Batch{} }, "0 sequences"},
		{"too many tokens", func(b *Batch) { *b = *randomBatch(rand.New(rand.NewPCG(1, 1)), c, 40, 40, 40, 40, 41) }, "201 tokens"},
		{"no classes", func(b *Batch) { b.NextSentence = nil }, "classes"},
		{"keys beyond the sequence", func(b *Batch) { b.KeyLengths = []int32{5, 5, 7} }, "sequence 1 (sample 11): 5 real tokens of 4"},
	} {
		b := randomBatch(rand.New(rand.NewPCG(5, 3)), c, 5, 4, 7)
		e.damage(b)
		if _, err := r.ForwardBackward(b, objective(b)); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: error %v, expected %q", e.name, err, e.want)
		}
	}
	if n := norm2(download(t, r.s, r.Gradients)); n != 0 {
		t.Errorf("refused batches left gradients of norm %v", n)
	}
}
