package bert

import "hpcbert/kernels"

// mlmHead predicts the masked tokens from the gathered rows of the last layer: dense, GELU, layer normalisation, decoder.
type mlmHead struct {
	transform dense // [H, H], GELU
	norm      norm
	decoder   dense          // [P, H]: the word embeddings, padded by rows of 0
	bias      kernels.Tensor // [V], the decoder's own; decoder.bias is the padded copy
	dbias     kernels.Tensor
	lastRows  kernels.Tensor // [2, H] float32: the last row of an odd vocabulary and one of 0

	rows, targets, predicted kernels.Tensor // [M] of the batch
	x                        kernels.Tensor // [M, H] gathered rows
	pre, act, y              kernels.Tensor // [M, H]
	mean, rstd, loss         kernels.Tensor // [M]
	logits                   kernels.Tensor // [M, P]
	dy                       kernels.Tensor // [M, H]
}

func (m *Model) mlmParams() *mlmHead {
	c := m.Config
	padded := (c.VocabSize + vocabularyAlign - 1) / vocabularyAlign * vocabularyAlign
	return &mlmHead{
		transform: m.dense("cls.predictions.transform.dense", c.HiddenSize, c.HiddenSize),
		norm:      m.norm("cls.predictions.transform.LayerNorm"),
		decoder:   dense{out: padded, in: c.HiddenSize},
		bias:      m.Weight("cls.predictions.bias"), dbias: m.gradient("cls.predictions.bias"),
	}
}

func (p *mlmHead) planPacked(m *Model, a *arena) {
	p.transform.planPacked(m, a)
	p.decoder.planPacked(m, a)
	a.floats(p.decoder.out, &p.decoder.bias)
	a.floats(2*p.decoder.in, &p.lastRows)
}

func (p *mlmHead) planActivations(m *Model, a *arena) {
	n, h := m.limits.Masked, m.Config.HiddenSize
	a.ints(n, &p.rows, &p.targets, &p.predicted)
	a.values(n*h, &p.x, &p.pre, &p.act, &p.y)
	a.floats(n, &p.mean, &p.rstd, &p.loss)
	a.values(n*p.decoder.out, &p.logits)
	if m.trains() {
		a.values(n*h, &p.dy)
	}
}

func (p *mlmHead) refresh(m *Model) {
	p.transform.pack(m.s, p.transform.weight, 0, p.transform.out)
	n, h := m.Config.VocabSize, m.Config.HiddenSize
	if n%2 == 1 { // products in types of 16 bits want whole pairs of rows
		n--
		m.s.Copy(p.lastRows, m.word.rows.Slice(n*h, (n+1)*h))
		p.decoder.pack(m.s, p.lastRows, n, 2)
	}
	if n > 0 {
		p.decoder.pack(m.s, m.word.rows, 0, n)
	}
	m.s.Copy(p.decoder.bias.Slice(0, m.Config.VocabSize), p.bias)
}

// forward makes the logits of the masked rows of hidden.
func (p *mlmHead) forward(m *Model, hidden kernels.Tensor) {
	s, n, h := m.s, m.run.m, m.Config.HiddenSize
	s.GatherRows(p.x, hidden, p.rows, n, h)
	p.transform.applyGELU(s, p.act, p.pre, p.x, n)
	s.LayerNormForward(p.y, p.mean, p.rstd, p.act, p.norm.gamma, p.norm.beta, n, h, float32(m.Config.LayerNormEps))
	p.decoder.apply(s, p.logits, p.y, n)
}

// losses makes loss and predicted; with scale not 0 the logits become their gradient.
func (p *mlmHead) losses(m *Model, scale float32) {
	var dlogits kernels.Tensor
	if scale != 0 {
		dlogits = p.logits
	}
	m.s.CrossEntropy(p.loss, p.predicted, dlogits, p.logits, p.targets, scale, m.run.m, m.Config.VocabSize, p.decoder.out)
}

// backward adds the head's part to dhidden and to the gradients. The decoder's weight is that of the word embeddings.
func (p *mlmHead) backward(m *Model, dhidden kernels.Tensor) {
	s, n, h := m.s, m.run.m, m.Config.HiddenSize
	decoder := dense{dweight: m.word.gradient, dbias: p.dbias, out: m.Config.VocabSize, in: h}
	decoder.addWeight(s, p.logits, p.decoder.out, p.y, n)
	p.decoder.input(s, p.dy, p.logits, n)
	s.LayerNormBackward(p.dy, p.norm.dgamma, p.norm.dbeta, p.dy, p.act, p.mean, p.rstd, p.norm.gamma, n, h)
	s.GELUBackward(p.dy, p.dy, p.pre.Slice(0, n*h))
	p.transform.addWeight(s, p.dy, 0, p.x, n)
	p.transform.input(s, p.y, p.dy, n) // y has done its work
	s.ScatterRowsAdd(dhidden, p.y, p.rows, n, h)
}

// nspHead tells from the pooled vector whether the second text followed the first.
type nspHead struct {
	dense                             // [2, H]
	targets, predicted kernels.Tensor // [B]
	loss               kernels.Tensor // [B]
	logits             kernels.Tensor // [B, 2]
}

func (p *nspHead) planActivations(m *Model, a *arena) {
	n := m.limits.Sequences
	a.ints(n, &p.targets, &p.predicted)
	a.floats(n, &p.loss)
	a.values(n*p.out, &p.logits)
}

func (p *nspHead) losses(m *Model, scale float32) {
	var dlogits kernels.Tensor
	if scale != 0 {
		dlogits = p.logits
	}
	m.s.CrossEntropy(p.loss, p.predicted, dlogits, p.logits, p.targets, scale, m.run.b, p.out, p.out)
}
