package bert

import "hpcbert/kernels"

// Memory is what a model takes on its device, in bytes.
type Memory struct {
	Weights     int64 // float32
	Gradients   int64 // float32
	Packed      int64 // the weights again, in the forms that products read
	Activations int64 // of one micro-batch, with their gradients and the batch itself
}

// Total returns the sum.
func (m Memory) Total() int64 { return m.Weights + m.Gradients + m.Packed + m.Activations }

// Plan returns what New would take, and takes nothing.
func Plan(dev *kernels.Device, cfg *Config, lim Limits, mode Mode, task ...Head) (Memory, error) {
	m, err := outline(dev, cfg, lim, mode, task)
	if err != nil {
		return Memory{}, err
	}
	m.listTensors()
	p := Memory{Weights: int64(ArenaLen(m.Params) * kernels.Float32.Size())}
	if m.trains() {
		p.Gradients = p.Weights
	}
	for _, dtype := range m.dtypes() {
		p.Packed += int64(m.measure(dtype, m.planPacked) * dtype.Size())
		p.Activations += int64(m.measure(dtype, m.planActivations) * dtype.Size())
	}
	return p, nil
}

// arena hands out memory of one type; without memory it only measures.
type arena struct {
	dtype  kernels.DType
	value  kernels.DType // of activations and packed weights
	memory kernels.Tensor
	used   int
}

// take sets each tensor to n elements, when its type is the arena's.
func (a *arena) take(dtype kernels.DType, n int, tensors []*kernels.Tensor) {
	if dtype != a.dtype {
		return
	}
	line := 64 / dtype.Size() // elements of a cache line
	for _, t := range tensors {
		start := a.used
		a.used += (n + line - 1) / line * line
		if !a.memory.IsZero() {
			*t = a.memory.Slice(start, start+n)
		}
	}
}

func (a *arena) floats(n int, tensors ...*kernels.Tensor) { a.take(kernels.Float32, n, tensors) }

func (a *arena) values(n int, tensors ...*kernels.Tensor) { a.take(a.value, n, tensors) }

func (a *arena) ints(n int, tensors ...*kernels.Tensor) { a.take(kernels.Int32, n, tensors) }

// allocate makes the arenas and points everything into them. Each layout runs twice: to measure, then to hand out the memory.
func (m *Model) allocate() error {
	n := ArenaLen(m.Params)
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
	for _, layout := range []func(*arena){m.planPacked, m.planActivations} {
		for _, dtype := range m.dtypes() {
			memory, err := m.alloc(dtype, m.measure(dtype, layout))
			if err != nil {
				return err
			}
			layout(&arena{dtype: dtype, value: m.dtype, memory: memory})
		}
	}
	m.link()
	results := max(m.limits.Masked, m.limits.Sequences)
	m.run.hostSamples, m.run.seen = make([]int32, m.limits.Tokens), make([]bool, m.limits.Tokens)
	m.run.hostPlace = make([]int32, m.limits.Tokens)
	m.run.hostLosses, m.run.hostPredicted = make([]float32, results), make([]int32, results)
	return nil
}

// dtypes are those of the model's arenas.
func (m *Model) dtypes() []kernels.DType {
	types := []kernels.DType{kernels.Float32, kernels.Int32}
	if m.dtype != kernels.Float32 {
		types = append(types, m.dtype)
	}
	return types
}

// measure returns how many elements of a type a layout takes.
func (m *Model) measure(dtype kernels.DType, layout func(*arena)) int {
	a := arena{dtype: dtype, value: m.dtype}
	layout(&a)
	return a.used
}

func (m *Model) alloc(dtype kernels.DType, n int) (kernels.Tensor, error) {
	if n == 0 {
		return kernels.Tensor{}, nil
	}
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
	if m.mode&PreTraining != 0 {
		m.mlm = m.mlmParams()
		m.nsp = &nspHead{dense: m.dense("cls.seq_relationship", 2, h)}
	}
	if m.task != nil {
		m.task = m.taskParams(m.task.Head)
	}
}

// planPacked lays out the forms of the weights that products read.
func (m *Model) planPacked(a *arena) {
	for i := range m.layers {
		m.layers[i].planPacked(m, a)
	}
	m.pooler.planPacked(m, a)
	if m.mlm != nil {
		m.mlm.planPacked(m, a)
		m.nsp.planPacked(m, a)
	}
	if m.task != nil {
		m.task.planPacked(m, a)
	}
}

// planActivations lays out what one micro-batch needs.
func (m *Model) planActivations(a *arena) {
	outputs := len(m.layers)
	if !m.trains() {
		outputs = 1
	}
	for i := range m.layers[:outputs] {
		a.values(m.limits.Tokens*m.Config.HiddenSize, &m.layers[i].y)
		if i == 0 || !m.recomputes() {
			m.layers[i].activations.plan(m, a)
		}
	}
	m.run.plan(m, a)
	m.scratch.plan(m, a)
	if m.mlm != nil {
		m.mlm.planActivations(m, a)
		m.nsp.planActivations(m, a)
	}
	if m.task != nil {
		m.task.planActivations(m, a)
	}
}

// link makes each layer's input the output of the one before. Where each layer keeps only its input for the backward pass, all use the other
// activations of the first. A forward pass alone keeps nothing: two buffers are input and output in turn.
func (m *Model) link() {
	first := &m.layers[0]
	turns := [2]kernels.Tensor{first.y, m.scratch.input}
	x := m.scratch.input
	for i := range m.layers {
		l := &m.layers[i]
		l.x = x
		if !m.trains() || m.recomputes() {
			l.activations = first.activations
		}
		if !m.trains() {
			l.y = turns[i%2]
		}
		x = l.y
	}
}

// run is the micro-batch in work: its sizes and what the kernels read of it.
type run struct {
	t, b, m int
	allRows rowSet // the T

	// Where the heads read few rows of the last layer, it computes no others behind its attention: the first tokens' and the masked ones',
	// in their order. No values where they read all.
	readRows rowSet
	read     kernels.Tensor // [readRows.n] which of the T they are
	first    kernels.Tensor // [B] the rows of the first tokens in the last layer's output

	ids, positions, segments, tokenSamples kernels.Tensor // [T]
	cuSeqlens                              kernels.Tensor // [B+1]
	samples                                kernels.Tensor // [B]
	keyLengths                             kernels.Tensor // [B], none without padding
	lengths                                kernels.Tensor // memory of keyLengths
	hostSamples                            []int32        // [T]
	seen                                   []bool         // [T]
	hostRead                               reading
	hostLosses                             []float32 // [max(M, B)] read back
	hostPredicted                          []int32

	late      []int32        // ids of the batch's late words
	lateWords kernels.Tensor // the same
	latePlace kernels.Tensor // [T] of each token's word among them
	lateRows  kernels.Tensor // [late, H] float32
	hostPlace []int32        // [T]

	hidden, attention kernels.Dropout // sites are filled in
}

func (r *run) plan(m *Model, a *arena) {
	a.ints(m.limits.Tokens, &r.ids, &r.positions, &r.segments, &r.tokenSamples)
	a.ints(m.limits.Sequences+1, &r.cuSeqlens)
	a.ints(m.limits.Sequences, &r.samples, &r.lengths, &r.first)
	a.ints(m.mostRead(), &r.read, &r.readRows.samples, &r.readRows.positions)
	if m.trains() && m.limits.Late > 0 {
		a.ints(m.limits.Tokens, &r.latePlace)
		a.ints(m.limits.Late, &r.lateWords)
		a.floats(m.limits.Late*m.Config.HiddenSize, &r.lateRows)
	}
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
	lastInput, lastContext               kernels.Tensor // the rows that are read of the last layer: its input, what its attention makes
	dpooled, dfirst                      kernels.Tensor // [B, H]
}

func (w *scratch) plan(m *Model, a *arena) {
	t, b, h := m.limits.Tokens, m.limits.Sequences, m.Config.HiddenSize
	a.values(t*h, &w.embedded, &w.input)
	a.floats(t, &w.embeddedMean, &w.embeddedRstd)
	a.values(b*h, &w.first, &w.pooled)
	a.values(m.mostRead()*h, &w.lastInput, &w.lastContext)
	if m.trains() {
		a.values(t*h, &w.dhidden, &w.dz, &w.dcontext)
		a.values(t*max(m.Config.IntermediateSize, 3*h), &w.wide)
		a.values(b*h, &w.dpooled, &w.dfirst)
	}
}
