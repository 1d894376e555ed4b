package bert

import "hpcbert/kernels"

// arena hands out memory of one type; without memory it only measures.
type arena struct {
	dtype  kernels.DType
	memory kernels.Tensor
	used   int
}

// take sets each tensor to n elements, when its type is the arena's.
func (a *arena) take(dtype kernels.DType, n int, tensors []*kernels.Tensor) {
	if dtype != a.dtype {
		return
	}
	for _, t := range tensors {
		start := a.used
		a.used += aligned(n)
		if !a.memory.IsZero() {
			*t = a.memory.Slice(start, start+n)
		}
	}
}

func (a *arena) floats(n int, tensors ...*kernels.Tensor) { a.take(kernels.Float32, n, tensors) }

func (a *arena) ints(n int, tensors ...*kernels.Tensor) { a.take(kernels.Int32, n, tensors) }

// allocate makes the arenas and points everything into them. The plan runs twice: to measure, then to hand out the memory.
func (m *Model) allocate() error {
	n := arenaLen(m.Params)
	var err error
	if m.Weights, err = m.alloc(kernels.Float32, n); err != nil {
		return err
	}
	if m.trains() {
		if m.Gradients, err = m.alloc(kernels.Float32, n); err != nil {
			return err
		}
	}
	m.listTensors()
	for _, dtype := range []kernels.DType{kernels.Float32, kernels.Int32} {
		measure := arena{dtype: dtype}
		m.plan(&measure)
		memory, err := m.alloc(dtype, measure.used)
		if err != nil {
			return err
		}
		m.plan(&arena{dtype: dtype, memory: memory})
	}
	m.link()
	results := max(m.limits.Masked, m.limits.Sequences)
	m.run.hostSamples, m.run.seen = make([]int32, m.limits.Tokens), make([]bool, m.limits.Tokens)
	m.run.hostLosses, m.run.hostPredicted = make([]float32, results), make([]int32, results)
	return nil
}

func (m *Model) alloc(dtype kernels.DType, n int) (kernels.Tensor, error) {
	t, err := m.dev.Alloc(dtype, n)
	if err == nil {
		m.owned = append(m.owned, t)
	}
	return t, err
}

// listTensors names the parts of the weights' and gradients' arenas.
func (m *Model) listTensors() {
	h := m.Config.HiddenSize
	m.word = m.table("bert.embeddings.word_embeddings")
	m.position = m.table("bert.embeddings.position_embeddings")
	m.segment = m.table("bert.embeddings.token_type_embeddings")
	m.embeddingNorm = m.norm("bert.embeddings.LayerNorm")
	m.layers = make([]layer, m.Config.NumHiddenLayers)
	for i := range m.layers {
		m.layers[i] = m.layerParams(i)
	}
	m.pooler = m.dense("bert.pooler.dense", h, h)
	if m.heads&PreTraining != 0 {
		m.mlm = m.mlmParams()
		m.nsp = &nspHead{dense: m.dense("cls.seq_relationship", 2, h)}
	}
}

// plan lays out everything in the arena's memory.
func (m *Model) plan(a *arena) {
	for i := range m.layers {
		m.layers[i].planWeights(m, a)
		if i == 0 || m.trains() {
			m.layers[i].planActivations(m, a)
		}
	}
	m.run.plan(m, a)
	m.scratch.plan(m, a)
	if m.mlm != nil {
		m.mlm.plan(m, a)
		m.nsp.plan(m, a)
	}
}

// link makes each layer's input the output of the one before. A forward pass alone keeps nothing: all layers use the activations of the
// first, and two buffers are input and output in turn.
func (m *Model) link() {
	first := &m.layers[0]
	turns := [2]kernels.Tensor{first.y, m.scratch.input}
	x := m.scratch.input
	for i := range m.layers {
		l := &m.layers[i]
		l.x = x
		if !m.trains() {
			l.activations = first.activations
			l.y = turns[i%2]
		}
		x = l.y
	}
}

// run is the micro-batch in work: its sizes and what the kernels read of it.
type run struct {
	t, b, m int

	ids, positions, segments, tokenSamples kernels.Tensor // [T]
	cuSeqlens                              kernels.Tensor // [B+1]; the first B are the rows of the first tokens
	samples                                kernels.Tensor // [B]
	keyLengths                             kernels.Tensor // [B], none without padding
	lengths                                kernels.Tensor // memory of keyLengths
	hostSamples                            []int32        // [T]
	seen                                   []bool         // [T]
	hostLosses                             []float32      // [max(M, B)] read back
	hostPredicted                          []int32

	hidden, attention kernels.Dropout // sites are filled in
}

func (r *run) plan(m *Model, a *arena) {
	a.ints(m.limits.Tokens, &r.ids, &r.positions, &r.segments, &r.tokenSamples)
	a.ints(m.limits.Sequences+1, &r.cuSeqlens)
	a.ints(m.limits.Sequences, &r.samples, &r.lengths)
}

func (r *run) hiddenDrop(site int) kernels.Dropout {
	d := r.hidden
	d.Site = uint32(site)
	return d
}

func (r *run) attentionDrop(layer int) kernels.Dropout {
	d := r.attention
	d.Site = uint32(4 * layer)
	return d
}

// scratch is memory outside the layers.
type scratch struct {
	embedded, embeddedMean, embeddedRstd kernels.Tensor // [T, H], [T]: sums of the embeddings, kept for the backward pass
	input                                kernels.Tensor // [T, H] of the first layer
	first, pooled                        kernels.Tensor // [B, H] first tokens, and after the pooler
	dhidden, dz, dcontext                kernels.Tensor // [T, H] free again after each layer
	wide                                 kernels.Tensor // [T, max(I, 3H)]
	dpooled, dfirst                      kernels.Tensor // [B, H]
}

func (w *scratch) plan(m *Model, a *arena) {
	t, b, h := m.limits.Tokens, m.limits.Sequences, m.Config.HiddenSize
	a.floats(t*h, &w.embedded, &w.input)
	a.floats(t, &w.embeddedMean, &w.embeddedRstd)
	a.floats(b*h, &w.first, &w.pooled)
	if m.trains() {
		a.floats(t*h, &w.dhidden, &w.dz, &w.dcontext)
		a.floats(t*max(m.Config.IntermediateSize, 3*h), &w.wide)
		a.floats(b*h, &w.dpooled, &w.dfirst)
	}
}
