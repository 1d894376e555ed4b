package kernels

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkMemoryBound runs the operations that are judged by the memory they move, in the sizes of BERT-base with 4096 tokens on two threads.
// Read the copy beside them: it is the ceiling of the same run.
func BenchmarkMemoryBound(b *testing.B) {
	const tokens, h, vocabulary, ld, masked, weights = 4096, 768, 30522, 30528, 640, 8 << 20
	m, r := onThreads(b, 2), rand.New(rand.NewPCG(1, 0))
	randoms := func(n int) Tensor { return tensor(b, m, normal(r, n, 0, 1)) }
	indices := func(n, below int) Tensor {
		x := make([]int32, n)
		for i := range x {
			x[i] = int32(r.IntN(below))
		}
		return tensor(b, m, x)
	}
	x, y, z, mean, rstd := randoms(tokens*h), randoms(tokens*h), randoms(tokens*h), randoms(tokens), randoms(tokens)
	gamma, dgamma, dbeta := randoms(h), randoms(h), randoms(h)
	samples, positions, segments, ids := indices(tokens, 32), indices(tokens, 128), indices(tokens, 2), indices(tokens, vocabulary)
	word, place, typ := randoms(vocabulary*h), randoms(512*h), randoms(2*h)
	logits, loss, predicted := randoms(masked*ld), randoms(masked), indices(masked, 1)
	targets, rows := indices(masked, vocabulary), indices(masked, tokens)
	w, g, first, second := randoms(weights), randoms(weights), randoms(weights), randoms(weights)
	m.Zero(second) // its square roots are taken
	offsets, decay, sums := tensor(b, m, []int64{0, weights}), tensor(b, m, []float32{0.01}), tensor(b, m, make([]float64, 2))
	drop := Dropout{Seed: 1, P: 0.1}
	for _, c := range []struct {
		name  string
		bytes int // moved between memory and core at least
		run   func()
	}{
		{"copy", 8 * tokens * h, func() { m.Copy(y, x) }},
		{"layernorm forward", 8 * tokens * h, func() { m.LayerNormForward(y, mean, rstd, x, gamma, gamma, tokens, h, epsilon) }},
		{"layernorm backward", 12 * tokens * h, func() { m.LayerNormBackward(y, dgamma, dbeta, x, z, mean, rstd, gamma, tokens, h) }},
		{"dropout", 8 * tokens * h, func() { m.Dropout(y, x, samples, positions, drop, tokens, h) }},
		{"dropout residual layernorm forward", 16 * tokens * h, func() {
			m.DropoutResidualLayerNormForward(y, z, mean, rstd, x, x, gamma, gamma, samples, positions, drop, tokens, h, epsilon)
		}},
		{"dropout residual layernorm backward", 16 * tokens * h, func() {
			m.DropoutResidualLayerNormBackward(y, x, dgamma, dbeta, x, z, mean, rstd, gamma, samples, positions, drop, tokens, h)
		}},
		{"embedding forward", 16 * tokens * h, func() { m.EmbeddingForward(y, ids, positions, segments, word, place, typ, tokens, h) }},
		{"embedding backward", 12 * tokens * h, func() { m.EmbeddingBackward(word, place, typ, y, ids, positions, segments, tokens, h) }},
		{"gather rows", 8 * masked * h, func() { m.GatherRows(z, x, rows, masked, h) }},
		{"cross entropy", 12 * masked * ld, func() { m.CrossEntropy(loss, predicted, logits, logits, targets, 1e-3, masked, vocabulary, ld) }},
		{"squared sums", 4 * weights, func() { m.SquaredSums(sums, w, offsets, 1) }},
		{"lamb direction", 28 * weights, func() { m.LambDirection(g, first, second, sums, sums.Slice(1, 2), w, offsets, decay, 1, lambConstants) }},
		{"lamb apply", 12 * weights, func() { m.LambApply(w, g, sums, sums.Slice(1, 2), offsets, decay, 1, lambConstants) }},
	} {
		b.Run(m.dev.Name()+"/"+c.name, func(b *testing.B) {
			b.SetBytes(int64(c.bytes))
			for b.Loop() {
				c.run()
			}
			if err := m.Synchronize(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
