package main

import (
	"fmt"
	"math/rand/v2"

	"hpcbert/kernels"
)

// sizes are the lengths that operations are measured with: T tokens, M masked rows, H hidden, I intermediate, V vocabulary, P the vocabulary
// padded, W weights of a stretch of the optimiser's arenas.
type sizes struct{ t, m, h, i, v, p, w, heads int }

// maskedOf returns the masked tokens among n as the recipes have them, 20 of 128 and 80 of 512.
func maskedOf(n int) int { return max(1, n*20/128) }

const (
	dropped = 0.1
	epsilon = 1e-12
)

func (b *bench) listOperations(s shape, dtype kernels.DType) []operation {
	n := sizes{t: b.Tokens, m: maskedOf(b.Tokens), h: s.HiddenSize, i: s.IntermediateSize, v: s.VocabSize, p: (s.VocabSize + 63) / 64 * 64, w: 8 << 20, heads: s.NumAttentionHeads}
	if b.Quick {
		n.w = 1 << 16
	}
	var all []operation
	for _, list := range [][]operation{
		n.products(), n.attentions(b.Seq), n.norms(dtype), n.activations(dtype), n.embeddings(dtype), n.lossHead(dtype), n.packing(dtype), n.optimiser(),
	} {
		all = append(all, list...)
	}
	return all
}

// matrix is a weight [out, in] and the rows it meets.
type matrix struct {
	name          string
	rows, out, in int
	gelu          bool // after the forward product
	geluGradient  bool // after the gradient of the input
	adds          bool // the gradient of the input, to what another path gave
}

// products are the three of each matrix: forward, gradient of the input, gradient of the weight, as the model asks for them.
func (n sizes) products() []operation {
	var all []operation
	for _, x := range []matrix{
		{"qkv", n.t, 3 * n.h, n.h, false, false, true},
		{"attention output", n.t, n.h, n.h, false, false, false},
		{"ffn_1", n.t, n.i, n.h, true, false, true},
		{"ffn_2", n.t, n.h, n.i, false, true, false},
		{"vocabulary", n.m, n.p, n.h, false, false, false},
	} {
		forward, input := " forward", " dX"
		if x.gelu {
			forward += "+GELU"
		}
		if x.geluGradient {
			input += "*GELU'"
		}
		all = append(all, x.product(forward, x.rows, x.out, x.in, x.forward), x.product(input, x.rows, x.in, x.out, x.input), x.product(" dW", x.out, x.in, x.rows, x.weight))
	}
	return all
}

func (x matrix) product(pass string, m, n, k int, build func(w *workshop) kernels.GEMM) operation {
	flops := 2 * float64(m) * float64(n) * float64(k)
	return operation{name: "gemm " + x.name + pass, shape: fmt.Sprintf("%dx%dx%d", m, n, k), flops: flops, build: func(w *workshop) func() {
		g := build(w)
		g.M, g.N, g.K = m, n, k
		return func() { w.GEMM(g) }
	}}
}

func (x matrix) forward(w *workshop) kernels.GEMM {
	g := w.packedProduct(x.rows, x.out, x.in)
	g.Bias = w.floats(x.out)
	if x.gelu {
		g.Epilogue, g.Pre = kernels.ThenGELU, w.activations(x.rows*x.out)
	}
	return g
}

func (x matrix) input(w *workshop) kernels.GEMM {
	g := w.packedProduct(x.rows, x.in, x.out)
	g.Accumulate = x.adds
	if x.geluGradient {
		g.Epilogue, g.Pre = kernels.ThenGELUGradient, w.activations(x.rows*x.in)
	}
	return g
}

func (x matrix) weight(w *workshop) kernels.GEMM {
	return kernels.GEMM{D: w.floats(x.out * x.in), A: w.activations(x.rows * x.out), ATransposed: true, B: w.activations(x.rows * x.in),
		ASums: w.floats(x.out), Accumulate: true}
}

func (w *workshop) packedProduct(m, n, k int) kernels.GEMM {
	return kernels.GEMM{D: w.activations(m * n), A: w.activations(m * k), B: w.packed(n, k), BLayout: kernels.BPacked}
}

// packed returns an operand of random values in packed form.
func (w *workshop) packed(n, k int) kernels.Tensor {
	t, b := w.zeros(w.dtype, w.dev.PackedLen(n, k, w.dtype)), w.floats(n*k)
	if w.err == nil {
		w.PackGEMM(t, b, kernels.BKN, 0, n, k, 0, n, 0, k)
	}
	return t
}

// attentions are forward and backward for each length. A backward pass has twice the products; what it makes again is not counted.
func (n sizes) attentions(lengths []int) []operation {
	var all []operation
	drop := kernels.Dropout{Seed: 1, P: dropped}
	for _, length := range lengths {
		b := n.t / length
		t := b * length
		flops := 4 * float64(n.h) * float64(t) * float64(length)
		label := fmt.Sprintf("%d x %d tokens, dropout %g", b, length, dropped)
		index := func(w *workshop) (starts, samples kernels.Tensor) {
			return w.ints(b+1, func(i int) int { return i * length }), w.ints(b, func(i int) int { return i })
		}
		all = append(all, operation{name: "attention forward", shape: label, flops: flops, build: func(w *workshop) func() {
			ctx, lse, qkv := w.activations(t*n.h), w.floats(n.heads*t), w.activations(3*t*n.h)
			starts, samples := index(w)
			return func() { w.AttentionForward(ctx, lse, qkv, starts, kernels.Tensor{}, samples, drop, b, t, n.heads, n.h) }
		}}, operation{name: "attention backward", shape: label, flops: 2 * flops, build: func(w *workshop) func() {
			ctx, lse, qkv, dctx, dqkv := w.activations(t*n.h), w.floats(n.heads*t), w.activations(3*t*n.h), w.activations(t*n.h), w.activations(3*t*n.h)
			starts, samples := index(w)
			if w.err == nil {
				w.AttentionForward(ctx, lse, qkv, starts, kernels.Tensor{}, samples, drop, b, t, n.heads, n.h)
			}
			return func() {
				w.AttentionBackward(dqkv, dctx, ctx, lse, qkv, starts, kernels.Tensor{}, samples, drop, b, t, n.heads, n.h)
			}
		}})
	}
	return all
}

// tokens returns what names each token's dropout draws.
func (n sizes) tokens(w *workshop) (samples, positions kernels.Tensor) {
	return w.ints(n.t, func(i int) int { return i / 128 }), w.ints(n.t, func(i int) int { return i % 128 })
}

func (n sizes) norms(dtype kernels.DType) []operation {
	drop, area, label := kernels.Dropout{Seed: 1, P: dropped}, n.t*n.h, fmt.Sprintf("%dx%d", n.t, n.h)
	moved := func(arrays int) float64 { return float64(arrays) * float64(dtype.Size()) * float64(area) }
	return []operation{
		{name: "layernorm forward", shape: label, bytes: moved(2), build: func(w *workshop) func() {
			y, x, mean, rstd, gamma, beta := w.activations(area), w.activations(area), w.floats(n.t), w.floats(n.t), w.floats(n.h), w.floats(n.h)
			return func() { w.LayerNormForward(y, mean, rstd, x, gamma, beta, n.t, n.h, epsilon) }
		}},
		{name: "layernorm backward", shape: label, bytes: moved(3), build: func(w *workshop) func() {
			dx, dy, x, mean, rstd := w.activations(area), w.activations(area), w.activations(area), w.floats(n.t), w.floats(n.t)
			gamma, dgamma, dbeta := w.floats(n.h), w.floats(n.h), w.floats(n.h)
			return func() { w.LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, n.t, n.h) }
		}},
		{name: "dropout", shape: label, bytes: moved(2), build: func(w *workshop) func() {
			y, x := w.activations(area), w.activations(area)
			samples, positions := n.tokens(w)
			return func() { w.Dropout(y, x, samples, positions, drop, n.t, n.h) }
		}},
		{name: "dropout+residual+layernorm forward", shape: label, bytes: moved(4), build: func(w *workshop) func() {
			y, z, x, residual, mean, rstd := w.activations(area), w.activations(area), w.activations(area), w.activations(area), w.floats(n.t), w.floats(n.t)
			gamma, beta := w.floats(n.h), w.floats(n.h)
			samples, positions := n.tokens(w)
			return func() {
				w.DropoutResidualLayerNormForward(y, z, mean, rstd, x, residual, gamma, beta, samples, positions, drop, n.t, n.h, epsilon)
			}
		}},
		{name: "dropout+residual+layernorm backward", shape: label, bytes: moved(4), build: func(w *workshop) func() {
			dx, dz, dy, z, mean, rstd := w.activations(area), w.activations(area), w.activations(area), w.activations(area), w.floats(n.t), w.floats(n.t)
			gamma, dgamma, dbeta := w.floats(n.h), w.floats(n.h), w.floats(n.h)
			samples, positions := n.tokens(w)
			return func() {
				w.DropoutResidualLayerNormBackward(dx, dz, dgamma, dbeta, dy, z, mean, rstd, gamma, samples, positions, drop, n.t, n.h)
			}
		}},
	}
}

func (n sizes) activations(dtype kernels.DType) []operation {
	area, label := n.t*n.i, fmt.Sprintf("%dx%d", n.t, n.i)
	return []operation{
		{name: "gelu forward", shape: label, bytes: 2 * float64(dtype.Size()*area), build: func(w *workshop) func() {
			y, x := w.activations(area), w.activations(area)
			return func() { w.GELUForward(y, x) }
		}},
		{name: "gelu backward", shape: label, bytes: 3 * float64(dtype.Size()*area), build: func(w *workshop) func() {
			dx, dy, x := w.activations(area), w.activations(area), w.activations(area)
			return func() { w.GELUBackward(dx, dy, x) }
		}},
	}
}

func (n sizes) embeddings(dtype kernels.DType) []operation {
	area, size, label := float64(n.t*n.h), float64(dtype.Size()), fmt.Sprintf("%dx%d", n.t, n.h)
	indices := func(w *workshop) (ids, positions, segments kernels.Tensor) {
		r := rand.New(rand.NewPCG(2, 2))
		return w.ints(n.t, func(int) int { return r.IntN(n.v) }), w.ints(n.t, func(i int) int { return i % 128 }), w.ints(n.t, func(i int) int { return i / 64 % 2 })
	}
	return []operation{
		{name: "embedding forward", shape: label, bytes: area * (4 + size), build: func(w *workshop) func() {
			z, word, place, kind := w.activations(n.t*n.h), w.floats(n.v*n.h), w.floats(128*n.h), w.floats(2*n.h)
			ids, positions, segments := indices(w)
			return func() { w.EmbeddingForward(z, ids, positions, segments, word, place, kind, n.t, n.h) }
		}},
		{name: "embedding backward", shape: label, bytes: area * (8 + size), build: func(w *workshop) func() {
			dz, word, place, kind := w.activations(n.t*n.h), w.floats(n.v*n.h), w.floats(128*n.h), w.floats(2*n.h)
			ids, positions, segments := indices(w)
			return func() { w.EmbeddingBackward(word, place, kind, dz, ids, positions, segments, n.t, n.h) }
		}},
	}
}

// lossHead is what the masked rows' losses need beside products.
func (n sizes) lossHead(dtype kernels.DType) []operation {
	size := float64(dtype.Size())
	rows := func(w *workshop) kernels.Tensor { return w.ints(n.m, func(i int) int { return i * n.t / n.m }) }
	label := fmt.Sprintf("%dx%d", n.m, n.h)
	return []operation{
		{name: "gather rows", shape: label, bytes: 2 * size * float64(n.m*n.h), build: func(w *workshop) func() {
			dst, src, from := w.activations(n.m*n.h), w.activations(n.t*n.h), rows(w)
			return func() { w.GatherRows(dst, src, from, n.m, n.h) }
		}},
		{name: "scatter rows", shape: label, bytes: 3 * size * float64(n.m*n.h), build: func(w *workshop) func() {
			dst, src, to := w.activations(n.t*n.h), w.activations(n.m*n.h), rows(w)
			return func() { w.ScatterRowsAdd(dst, src, to, n.m, n.h) }
		}},
		{name: "cross-entropy", shape: fmt.Sprintf("%dx%d", n.m, n.v), bytes: 2 * size * float64(n.m*n.p), build: func(w *workshop) func() {
			loss, predicted, logits := w.floats(n.m), w.ints(n.m, func(int) int { return 0 }), w.activations(n.m*n.p)
			targets := w.ints(n.m, func(i int) int { return i * 47 % n.v })
			return func() { w.CrossEntropy(loss, predicted, logits, logits, targets, 1e-3, n.m, n.v, n.p) }
		}},
	}
}

// packing writes the forms of the widest weight of a layer that its products read.
func (n sizes) packing(dtype kernels.DType) []operation {
	bytes := float64(n.i*n.h) * float64(4+dtype.Size())
	pack := func(name string, layout kernels.BLayout, out, in int) operation {
		return operation{name: name, shape: fmt.Sprintf("%dx%d", n.i, n.h), bytes: bytes, build: func(w *workshop) func() {
			to, from := w.zeros(w.dtype, w.dev.PackedLen(out, in, w.dtype)), w.floats(n.i*n.h)
			return func() { w.PackGEMM(to, from, layout, 0, out, in, 0, out, 0, in) }
		}}
	}
	return []operation{pack("pack for forward", kernels.BNK, n.i, n.h), pack("pack for dX", kernels.BKN, n.h, n.i)}
}

func (n sizes) optimiser() []operation {
	label, weights := fmt.Sprintf("%d weights", n.w), float64(n.w)
	offsets := func(w *workshop) kernels.Tensor {
		t := w.alloc(kernels.Int64, 2)
		kernels.Upload(w.Stream, t, []int64{0, int64(n.w)})
		return t
	}
	constants := kernels.Lamb{LearningRate: 1e-4, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-6, Correction1: 1, Correction2: 1, GradientScale: 1}
	return []operation{
		{name: "squared sums", shape: label, bytes: 4 * weights, float32: true, build: func(w *workshop) func() {
			sums, x, at := w.zeros(kernels.Float64, 1), w.floats(n.w), offsets(w)
			return func() { w.SquaredSums(sums, x, at, 1) }
		}},
		{name: "lamb direction", shape: label, bytes: 28 * weights, float32: true, build: func(w *workshop) func() {
			g, m, v, x := w.floats(n.w), w.floats(n.w), w.zeros(kernels.Float32, n.w), w.floats(n.w)
			wSums, uSums, at, decay := w.zeros(kernels.Float64, 1), w.zeros(kernels.Float64, 1), offsets(w), w.zeros(kernels.Float32, 1)
			return func() { w.LambDirection(g, m, v, wSums, uSums, x, at, decay, 1, constants) }
		}},
		{name: "lamb apply", shape: label, bytes: 12 * weights, float32: true, build: func(w *workshop) func() {
			x, u, wSums, uSums, at, decay := w.floats(n.w), w.floats(n.w), w.zeros(kernels.Float64, 1), w.zeros(kernels.Float64, 1), offsets(w), w.zeros(kernels.Float32, 1)
			return func() { w.LambApply(x, u, wSums, uSums, at, decay, 1, constants) }
		}},
		{name: "adamw", shape: label, bytes: 28 * weights, float32: true, build: func(w *workshop) func() {
			x, m, v, g := w.floats(n.w), w.floats(n.w), w.zeros(kernels.Float32, n.w), w.floats(n.w)
			at, decay := offsets(w), w.zeros(kernels.Float32, 1)
			return func() { w.AdamW(x, m, v, g, at, decay, 1, constants) }
		}},
	}
}
