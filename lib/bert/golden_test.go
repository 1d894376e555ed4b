package bert

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"hpcbert/kernels"
	"hpcbert/lib/optim"
)

// rig is a model on a device with a number of threads.
type rig struct {
	*Model
	dev *kernels.Device
	s   *kernels.Stream
}

func newRig(t *testing.T, isa string, threads int, c *Config, lim Limits, mode Mode, task ...Head) rig {
	t.Helper()
	dev, err := kernels.Open("cpu", kernels.Options{Threads: threads, ISA: isa})
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	m, err := New(dev, s, c, lim, mode, task...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return rig{m, dev, s}
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

// near fails when got is further from want than tolerance times the size of want.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*math.Abs(want)) {
		t.Errorf("%s: %.12g, expected %.12g: off by %.2g of it", what, got, want, math.Abs(got-want)/math.Abs(want))
	}
}

// The model, batch and numbers of the golden values: two layers, ran in float64 on the reference.
func goldenConfig() *Config {
	return &Config{
		VocabSize: 32, HiddenSize: 16, NumHiddenLayers: 2, NumAttentionHeads: 2, IntermediateSize: 32, HiddenAct: "gelu",
		MaxPositionEmbeddings: 16, TypeVocabSize: 2, InitializerRange: 0.02, LayerNormEps: 1e-12,
	}
}

// goldenWeight is element i of the p-th parameter.
func goldenWeight(p, i int, param Param) float64 {
	v := 0.3 * math.Sin(float64(0.7*float64(i))+float64(1.3*float64(p))) // no sum fused with a product: the same weights on every machine
	if param.Init.Form == InitOne {
		v++
	}
	return v
}

func setGoldenWeights(m *Model) {
	for p, param := range m.Params {
		w := make([]float32, param.Len)
		for i := range w {
			w[i] = float32(goldenWeight(p, i, param))
		}
		kernels.Upload(m.s, m.Weight(param.Name), w)
	}
	m.Refresh()
}

// goldenBatch is padded as the reference's: 3 sequences of 8 tokens, the last b of sequence b masked out.
func goldenBatch() *Batch {
	batch := &Batch{CuSeqlens: []int32{0}, NextSentence: []int32{0, 1, 1}}
	for b := range 3 {
		for s := range 8 {
			segment := 0
			if s >= 4+b {
				segment = 1
			}
			batch.IDs = append(batch.IDs, int32((5*b+3*s+1)%32))
			batch.Positions = append(batch.Positions, int32(s))
			batch.Segments = append(batch.Segments, int32(segment))
		}
		batch.CuSeqlens = append(batch.CuSeqlens, int32(8*(b+1)))
		batch.KeyLengths = append(batch.KeyLengths, int32(8-b))
		batch.Samples = append(batch.Samples, int32(b))
		labels := map[int]int{1 + b: (7*b + 2) % 32}
		labels[4] = (3*b + 9) % 32
		for s := range 8 {
			if label, ok := labels[s]; ok {
				batch.MaskedRows = append(batch.MaskedRows, int32(8*b+s))
				batch.MaskedIDs = append(batch.MaskedIDs, int32(label))
			}
		}
	}
	return batch
}

// pack returns the batch without its padding.
func pack(b *Batch) *Batch {
	p := &Batch{CuSeqlens: []int32{0}, Samples: b.Samples, MaskedIDs: b.MaskedIDs, NextSentence: b.NextSentence}
	moved := map[int32]int32{}
	for i := range b.Samples {
		for row := b.CuSeqlens[i]; row < b.CuSeqlens[i]+b.KeyLengths[i]; row++ {
			moved[row] = int32(len(p.IDs))
			p.IDs = append(p.IDs, b.IDs[row])
			p.Positions = append(p.Positions, b.Positions[row])
			p.Segments = append(p.Segments, b.Segments[row])
		}
		p.CuSeqlens = append(p.CuSeqlens, int32(len(p.IDs)))
	}
	for _, row := range b.MaskedRows {
		to, ok := moved[row]
		if !ok {
			panic("a masked row is padding")
		}
		p.MaskedRows = append(p.MaskedRows, to)
	}
	return p
}

func objective(b *Batch) Objective {
	return Objective{MLMScale: 1 / float32(len(b.MaskedRows)), NSPScale: 1 / float32(len(b.Samples))}
}

var goldenGradientNorms = []float64{
	1.7306898, 0.224287002, 0.307004638, 0.0650216406, 0.0777093332,
	0.013732843, 0.0049552255, 0.0141111306, 0, 0.616225572, 0.0777050312, 0.944793328, 0.0806869225, 0.142256362, 0.106076667, 0.20376957,
	0.0373379047, 1.04288042, 0.0927177937, 0.14825851, 0.0932569465,
	0.0500991291, 0.0156377891, 0.0428617188, 0, 0.516613837, 0.0682390671, 0.883483239, 0.0780134971, 0.166305661, 0.138613326, 0.0794475346,
	0.0196770835, 0.614475919, 0.139591321, 0.170099685, 0.107423516,
	0.474218778, 0.121024614, 0.45128179, 1.77936615, 0.480285784, 0.255566487, 0.269539591, 0.996927005, 0.333425371,
}

const goldenTolerance = 1e-5

func TestGoldenModelGradientsAndLAMB(t *testing.T) {
	padded := goldenBatch()
	for _, isa := range []string{"", "plain"} {
		for name, batch := range map[string]*Batch{"padded": padded, "packed": pack(padded)} {
			t.Run(fmt.Sprintf("isa=%q/%s", isa, name), func(t *testing.T) {
				r := newRig(t, isa, 2, goldenConfig(), Limits{Tokens: 24, Sequences: 3, Masked: 6}, PreTraining)
				setGoldenWeights(r.Model)
				goldenForward(t, r, batch)
				goldenBackward(t, r, batch)
				goldenLAMB(t, r, batch)
			})
		}
	}
}

func goldenForward(t *testing.T, r rig, batch *Batch) {
	got, err := r.Forward(batch, Objective{})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "MLM loss", got.MLMLossSum/6, 3.50480264251792, goldenTolerance)
	near(t, "NSP loss", got.NSPLossSum/3, 0.716648745197442, goldenTolerance)
	if got.Masked != 6 || got.Sequences != 3 {
		t.Errorf("%d masked tokens, %d sequences", got.Masked, got.Sequences)
	}
	logits := download(t, r.s, r.mlm.logits)
	for i, want := range []float64{-0.856567612, 0.8328896117, 1.5002550467, 0.1016761619} {
		near(t, fmt.Sprintf("logits[0,1,%d]", i), float64(logits[i]), want, goldenTolerance)
	}
	nsp := download(t, r.s, r.nsp.logits)
	for i, want := range []float64{0.5097023607, 0.1313380215, 0.2640357199, 0.061955955, 0.5348194704, 0.2795431242} {
		near(t, fmt.Sprintf("NSP logit %d", i), float64(nsp[i]), want, goldenTolerance)
	}
}

// goldenBackward compares the reference's gradient norms, which are of weights in float64, with the oracle's to the last digit that is given; and
// the model's with the oracle's at the float32 weights that the model has.
func goldenBackward(t *testing.T, r rig, batch *Batch) {
	r.ZeroGradients()
	if _, err := r.ForwardBackward(batch, objective(batch)); err != nil {
		t.Fatal(err)
	}
	oracle := newOracle[float64](goldenConfig(), r.Params, func(p Param) []float32 { return download(t, r.s, r.Weight(p.Name)) })
	oracle.lossOf(batch, objective(batch))
	want := make([]float64, len(r.Params))
	for p, param := range r.Params {
		want[p] = norm2(oracle.w[param.Name].d)
		for i := range param.Len {
			oracle.w[param.Name].v[i] = goldenWeight(p, i, param)
		}
	}
	oracle.lossOf(batch, objective(batch))
	var total float64
	for p, reference := range goldenGradientNorms {
		name := r.Params[p].Name
		got := norm2(download(t, r.s, r.gradient(name)))
		total += got * got
		if reference == 0 { // analytically zero, noise in float32
			if got > 1e-6 {
				t.Errorf("gradient norm of %s: %g, expected 0", name, got)
			}
			continue
		}
		near(t, "gradient norm of "+name, got, want[p], goldenTolerance)
		near(t, "gradient norm of the oracle's "+name, norm2(oracle.w[name].d), reference, 1e-7)
	}
	near(t, "global gradient norm", math.Sqrt(total), 3.503369972234073, goldenTolerance)
}

func goldenLAMB(t *testing.T, r rig, batch *Batch) {
	lamb := newLAMB(t, r)
	losses := []float64{4.221451387715362, 3.7883480480663514, 3.673552922413385, 3.6445307386741153}
	norms := []float64{3.503369972234073, 3.2906229718266844, 3.0913438056144247}
	reachable := reachableNorms(len(norms))
	for step, want := range losses {
		r.ZeroGradients()
		got, err := r.ForwardBackward(batch, objective(batch))
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprintf("loss after %d steps", step), got.MLMLossSum/6+got.NSPLossSum/3, want, goldenTolerance)
		if step == len(norms) {
			break
		}
		norm, err := lamb.Step(r.Weights, r.Gradients, step+1, 0.01, 1)
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprintf("norm of step %d", step+1), norm, norms[step], max(goldenTolerance, reachable[step]))
		r.Refresh()
	}
	word := download(t, r.s, r.Weight("bert.embeddings.word_embeddings.weight"))
	near(t, "word_embeddings[0,0]", float64(word[0]), -0.006655682014771187, goldenTolerance)
}

// reachableNorms returns, for the norm of each LAMB step, twice how far (relatively) it moves in float64 when nothing but the starting
// weights is rounded to float32, up or down. LAMB divides by the size of gradients that are nearly zero, which makes the third norm that
// sensitive: the golden value itself moves by 2e-5 when its weights are rounded to nearest.
func reachableNorms(steps int) []float64 {
	c, batch := goldenConfig(), goldenBatch()
	rng := rand.New(rand.NewPCG(1, 2))
	run := func(round func(float64) float64) []float64 {
		o := newOracle[float64](c, c.Params(), func(p Param) []float32 { return make([]float32, p.Len) })
		for p, param := range c.Params() {
			for i := range o.w[param.Name].v {
				o.w[param.Name].v[i] = round(goldenWeight(p, i, param))
			}
		}
		moments, norms := map[string][2][]float64{}, make([]float64, steps)
		for step := range norms {
			o.lossOf(batch, objective(batch))
			norms[step] = o.lamb(c.Params(), moments, step+1, 0.01)
		}
		return norms
	}
	exact, moved := run(func(v float64) float64 { return v }), make([]float64, steps)
	for range 16 {
		for i, norm := range run(func(v float64) float64 {
			near := float32(v)
			far := math.Nextafter32(near, near+float32(v-float64(near))*math.MaxInt32) // on the other side of v
			return float64([]float32{near, far}[rng.IntN(2)])
		}) {
			moved[i] = max(moved[i], 2*math.Abs(norm-exact[i])/exact[i])
		}
	}
	return moved
}

func newLAMB(t *testing.T, r rig) *optim.Optimizer {
	t.Helper()
	lamb, err := optim.New(r.dev, r.s, optim.Tensors{Offsets: r.Offsets(), Decay: r.Decays()}, optim.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lamb.Close)
	return lamb
}

func norm2[N number](x []N) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}
