package bert

import "hpcbert/kernels"

// table is an embedding and its gradient.
type table struct{ rows, gradient kernels.Tensor }

func (m *Model) table(name string) table {
	return table{m.Weight(name + ".weight"), m.gradient(name + ".weight")}
}

// norm is a layer normalisation's parameters and their gradients, [H] each.
type norm struct{ gamma, beta, dgamma, dbeta kernels.Tensor }

func (m *Model) norm(name string) norm {
	return norm{m.Weight(name + ".weight"), m.Weight(name + ".bias"), m.gradient(name + ".weight"), m.gradient(name + ".bias")}
}

// dense is y = x·Wᵀ + bias, with W [out, in] in the forms that the products read fastest.
type dense struct {
	weight, bias   kernels.Tensor // bias may be longer than out
	dweight, dbias kernels.Tensor
	out, in        int
	forward        kernels.Tensor // Wᵀ [in, out], packed
	backward       kernels.Tensor // W [out, in], packed; none where nothing learns
}

func (m *Model) dense(name string, out, in int) dense {
	return dense{
		weight: m.Weight(name + ".weight"), bias: m.Weight(name + ".bias"),
		dweight: m.gradient(name + ".weight"), dbias: m.gradient(name + ".bias"), out: out, in: in,
	}
}

// planPacked makes room for the packed forms.
func (l *dense) planPacked(m *Model, a *arena) {
	a.values(m.dev.PackedLen(l.out, l.in, m.dtype), &l.forward)
	if m.trains() {
		a.values(m.dev.PackedLen(l.in, l.out, m.dtype), &l.backward)
	}
}

// pack writes rows first .. first+n-1 of the weight, given as w [n, in], into the packed forms.
func (l *dense) pack(s *kernels.Stream, w kernels.Tensor, first, n int) {
	s.PackGEMM(l.forward, w, kernels.BNK, l.in, l.out, l.in, first, n, 0, l.in)
	if !l.backward.IsZero() {
		s.PackGEMM(l.backward, w, kernels.BKN, l.in, l.in, l.out, 0, l.in, first, n)
	}
}

// apply writes y [t, out].
func (l *dense) apply(s *kernels.Stream, y, x kernels.Tensor, t int) {
	s.GEMM(kernels.GEMM{D: y, A: x, B: l.forward, BLayout: kernels.BPacked, Bias: l.bias, M: t, N: l.out, K: l.in})
}

// applyGELU writes pre = x·Wᵀ + bias and y = gelu(pre), [t, out] each.
func (l *dense) applyGELU(s *kernels.Stream, y, pre, x kernels.Tensor, t int) {
	s.GEMM(kernels.GEMM{D: y, Pre: pre, A: x, B: l.forward, BLayout: kernels.BPacked, Bias: l.bias, M: t, N: l.out, K: l.in, Epilogue: kernels.ThenGELU})
}

// input writes dx [t, in] = dy·W.
func (l *dense) input(s *kernels.Stream, dx, dy kernels.Tensor, t int) {
	s.GEMM(kernels.GEMM{D: dx, A: dy, B: l.backward, BLayout: kernels.BPacked, M: t, N: l.in, K: l.out})
}

// addInput adds dy·W to dx [t, in].
func (l *dense) addInput(s *kernels.Stream, dx, dy kernels.Tensor, t int) {
	s.GEMM(kernels.GEMM{D: dx, A: dy, B: l.backward, BLayout: kernels.BPacked, M: t, N: l.in, K: l.out, Accumulate: true})
}

// inputGELU writes dpre [t, in] = (dy·W) * gelu'(pre): the gradient before the activation that made this layer's input.
func (l *dense) inputGELU(s *kernels.Stream, dpre, pre, dy kernels.Tensor, t int) {
	s.GEMM(kernels.GEMM{D: dpre, Pre: pre, A: dy, B: l.backward, BLayout: kernels.BPacked, M: t, N: l.in, K: l.out, Epilogue: kernels.ThenGELUGradient})
}

// addWeight adds dyᵀ·x to the weight's gradient and the column sums of dy to the bias's. dy [t, out] has rows of ld elements.
func (l *dense) addWeight(s *kernels.Stream, dy kernels.Tensor, ld int, x kernels.Tensor, t int) {
	s.GEMM(kernels.GEMM{D: l.dweight, A: dy, LDA: ld, ATransposed: true, B: x, BLayout: kernels.BKN, ASums: l.dbias, M: l.out, N: l.in, K: t, Accumulate: true})
}
