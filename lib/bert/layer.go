package bert

import "hpcbert/kernels"

// layer is one encoder layer: its parameters, and what the forward pass keeps for the backward pass.
type layer struct {
	query, key, value dense // parameters and gradients; the products use qkv
	qkv               dense // the three as one of 3H rows
	attention         dense // output of the attention, [H, H]
	attentionNorm     norm
	intermediate      dense // [I, H], GELU
	output            dense // [H, I]
	outputNorm        norm

	activations
	x, y kernels.Tensor // [T, H] input and output
}

// activations are what the backward pass of a layer reads.
type activations struct {
	projections                kernels.Tensor // [T, 3H]
	context                    kernels.Tensor // [T, H]
	lse                        kernels.Tensor // [heads, T]
	z1, y1                     kernels.Tensor // [T, H] before and after the first layer normalisation
	pre, act                   kernels.Tensor // [T, I] before and after GELU
	z2                         kernels.Tensor // [T, H] before the second layer normalisation
	mean1, rstd1, mean2, rstd2 kernels.Tensor // [T]
}

func (m *Model) layerParams(i int) layer {
	h, inner, name := m.Config.HiddenSize, m.Config.IntermediateSize, layerName(i)
	return layer{
		query:         m.dense(name+"attention.self.query", h, h),
		key:           m.dense(name+"attention.self.key", h, h),
		value:         m.dense(name+"attention.self.value", h, h),
		qkv:           dense{out: 3 * h, in: h},
		attention:     m.dense(name+"attention.output.dense", h, h),
		attentionNorm: m.norm(name + "attention.output.LayerNorm"),
		intermediate:  m.dense(name+"intermediate.dense", inner, h),
		output:        m.dense(name+"output.dense", h, inner),
		outputNorm:    m.norm(name + "output.LayerNorm"),
	}
}

// planPacked makes room for the forms of the weights that the products read.
func (l *layer) planPacked(m *Model, a *arena) {
	for _, d := range []*dense{&l.qkv, &l.attention, &l.intermediate, &l.output} {
		d.planPacked(m, a)
	}
	a.floats(l.qkv.out, &l.qkv.bias)
}

// plan makes room for what the layer keeps beside its output.
func (l *activations) plan(m *Model, a *arena) {
	t, h := m.limits.Tokens, m.Config.HiddenSize
	a.values(t*3*h, &l.projections)
	a.values(t*h, &l.context, &l.z1, &l.y1, &l.z2)
	a.floats(t*m.Config.NumAttentionHeads, &l.lse)
	a.values(t*m.Config.IntermediateSize, &l.pre, &l.act)
	a.floats(t, &l.mean1, &l.rstd1, &l.mean2, &l.rstd2)
}

// refresh writes the forms of the weights that the products read.
func (l *layer) refresh(s *kernels.Stream) {
	h := l.qkv.in
	for i, d := range []*dense{&l.query, &l.key, &l.value} {
		l.qkv.pack(s, d.weight, i*h, h)
		s.Copy(l.qkv.bias.Slice(i*h, (i+1)*h), d.bias)
	}
	for _, d := range []*dense{&l.attention, &l.intermediate, &l.output} {
		d.pack(s, d.weight, 0, d.out)
	}
}

// forward makes y from x. Behind its attention the last layer goes on with the rows that are read of it.
func (l *layer) forward(m *Model, i int) {
	s, r, h := m.s, &m.run, m.Config.HiddenSize
	eps := float32(m.Config.LayerNormEps)
	l.qkv.apply(s, l.projections, l.x, r.t)
	s.AttentionForward(l.context, l.lse, l.projections, r.cuSeqlens, r.keyLengths, r.samples, r.attentionDrop(i), r.b, r.t, m.Config.NumAttentionHeads, h)
	x, rows := l.x, m.rowsOf(i)
	if m.selects(i) {
		x = m.scratch.lastInput
		s.GatherRows(x, l.x, r.read, rows.n, h)
		s.GatherRows(m.scratch.lastContext, l.context, r.read, rows.n, h)
	}
	l.attention.apply(s, l.z1, l.contextOf(m, i), rows.n)
	s.DropoutResidualLayerNormForward(l.y1, l.z1, l.mean1, l.rstd1, l.z1, x, l.attentionNorm.gamma, l.attentionNorm.beta,
		rows.samples, rows.positions, r.hiddenDrop(4*i+1), rows.n, h, eps)
	l.intermediate.applyGELU(s, l.act, l.pre, l.y1, rows.n)
	l.output.apply(s, l.z2, l.act, rows.n)
	s.DropoutResidualLayerNormForward(l.y, l.z2, l.mean2, l.rstd2, l.z2, l.y1, l.outputNorm.gamma, l.outputNorm.beta,
		rows.samples, rows.positions, r.hiddenDrop(4*i+2), rows.n, h, eps)
}

// contextOf is the attention's output, of the rows that the layer goes on with.
func (l *layer) contextOf(m *Model, i int) kernels.Tensor {
	if m.selects(i) {
		return m.scratch.lastContext
	}
	return l.context
}

// feedForwardBackward turns dy, the gradient of y, into that of y1, and adds the parameters' gradients.
func (l *layer) feedForwardBackward(m *Model, i int, dy kernels.Tensor) {
	s, r, w, h := m.s, &m.run, &m.scratch, m.Config.HiddenSize
	rows := m.rowsOf(i)
	s.DropoutResidualLayerNormBackward(w.dz, dy, l.outputNorm.dgamma, l.outputNorm.dbeta, dy, l.z2, l.mean2, l.rstd2, l.outputNorm.gamma,
		rows.samples, rows.positions, r.hiddenDrop(4*i+2), rows.n, h)
	l.output.addWeight(s, w.dz, 0, l.act, rows.n)
	l.output.inputGELU(s, w.wide, l.pre, w.dz, rows.n)
	l.intermediate.addWeight(s, w.wide, 0, l.y1, rows.n)
	l.intermediate.addInput(s, dy, w.wide, rows.n)
}

// attentionBackward turns dy, the gradient of y1, into that of x [T, H], and adds the parameters' gradients.
func (l *layer) attentionBackward(m *Model, i int, dy kernels.Tensor) {
	s, r, w, h := m.s, &m.run, &m.scratch, m.Config.HiddenSize
	rows := m.rowsOf(i)
	s.DropoutResidualLayerNormBackward(w.dz, dy, l.attentionNorm.dgamma, l.attentionNorm.dbeta, dy, l.z1, l.mean1, l.rstd1, l.attentionNorm.gamma,
		rows.samples, rows.positions, r.hiddenDrop(4*i+1), rows.n, h)
	l.attention.addWeight(s, w.dz, 0, l.contextOf(m, i), rows.n)
	l.attention.input(s, w.dcontext, w.dz, rows.n)
	if m.selects(i) {
		m.spread(w.dcontext)
		m.spread(dy)
	}
	s.AttentionBackward(w.wide, w.dcontext, l.context, l.lse, l.projections, r.cuSeqlens, r.keyLengths, r.samples, r.attentionDrop(i),
		r.b, r.t, m.Config.NumAttentionHeads, h)
	for j, d := range []*dense{&l.query, &l.key, &l.value} {
		d.addWeight(s, w.wide.Slice(j*h, r.t*3*h), 3*h, l.x, r.t)
	}
	l.qkv.addInput(s, dy, w.wide, r.t)
}

// spread puts the gradients of the rows that are read of the last layer where these are among all [T, H]; the others have none.
func (m *Model) spread(gradient kernels.Tensor) {
	s, r, h, some := m.s, &m.run, m.Config.HiddenSize, m.scratch.lastInput
	s.Copy(some.Slice(0, r.readRows.n*h), gradient.Slice(0, r.readRows.n*h))
	s.Zero(gradient.Slice(0, r.t*h))
	s.ScatterRowsAdd(gradient, some, r.read, r.readRows.n, h)
}
