package bert

import (
	"errors"
	"fmt"
	"math"

	"hpcbert/kernels"
)

// HeadKind says what a head computes from the encoder's output, and its loss.
type HeadKind int

// The heads of tasks, with the names and shapes of Hugging Face. A sequence's loss is that of a Span's start and end in the mean.
const (
	Span       HeadKind = iota + 1 // qa_outputs [2, H] on every row of the last layer: start and end logits; cross-entropy over the positions of a sequence, those of padding among them
	Classifier                     // classifier [Outputs, H] on the pooled vector after dropout; cross-entropy
	Regression                     // the same with one output; squared error
)

// Head is what a model for a task has behind its encoder.
type Head struct {
	Kind    HeadKind
	Outputs int // classes of a Classifier; a Span has 2, a Regression 1
}

// Check tells what is wrong with a head.
func (h Head) Check() error {
	outputs := map[HeadKind]int{Span: 2, Classifier: max(2, h.Outputs), Regression: 1}[h.Kind]
	if outputs == 0 || outputs != h.Outputs {
		return fmt.Errorf("head of kind %d with %d outputs", h.Kind, h.Outputs)
	}
	return nil
}

// Pools tells whether the head reads the pooled vectors.
func (h Head) Pools() bool { return h.Kind != Span }

// name is the parameters' in Hugging Face's models.
func (h Head) name() string {
	if h.Kind == Span {
		return "qa_outputs"
	}
	return "classifier"
}

// taskSite is the dropout site before the head, beyond those of all layers.
const taskSite = embeddingSite - 1

// TaskParams lists the parameters of a model with the head of a task. A Span does not read the pooler: weight decay leaves it as it is.
func (c *Config) TaskParams(h Head) []Param {
	l := c.encoderParams()
	if h.Kind == Span {
		for i := len(l.params) - 2; i < len(l.params); i++ {
			l.params[i].Decay = false
		}
	}
	l.dense(h.name(), h.Outputs, c.HiddenSize)
	return l.params
}

// taskHead is the head of a task. Its losses are made on the host, in float64: they are few.
type taskHead struct {
	Head
	dense
	first    kernels.Tensor // [B] of 0: the position of the tokens whose vectors are pooled
	dropped  kernels.Tensor // [B, H] pooled vectors after dropout
	logits   kernels.Tensor // [rows, Outputs] float32; a Span has a row for each token
	gradient kernels.Tensor // of the logits, in the activations' type

	z, d      []float32 // logits and gradient on the host, where that is not the device
	narrow    []uint16
	loss      float64 // of the latest batch
	predicted int     // rightly
}

func (m *Model) taskParams(h Head) *taskHead {
	return &taskHead{Head: h, dense: m.dense(h.name(), h.Outputs, m.Config.HiddenSize)}
}

// most is the number of rows that the head is asked for at most.
func (p *taskHead) most(lim Limits) int {
	if p.Kind == Span {
		return lim.Tokens
	}
	return lim.Sequences
}

func (p *taskHead) planActivations(m *Model, a *arena) {
	n := p.most(m.limits) * p.out
	a.floats(n, &p.logits)
	if p.Pools() {
		a.ints(m.limits.Sequences, &p.first)
		a.values(m.limits.Sequences*p.in, &p.dropped)
	}
	if m.trains() {
		a.values(n, &p.gradient)
	}
}

// rows of the batch in work.
func (p *taskHead) rows(m *Model) int {
	return p.most(Limits{Tokens: m.run.t, Sequences: m.run.b})
}

// input is what the head reads of the encoder.
func (p *taskHead) input(m *Model) kernels.Tensor {
	switch {
	case p.Kind == Span:
		return m.hidden()
	case m.run.hiddenDrop(taskSite).P > 0:
		return p.dropped
	}
	return m.scratch.pooled
}

// forward makes the logits.
func (p *taskHead) forward(m *Model) {
	if drop := m.run.hiddenDrop(taskSite); p.Pools() && drop.P > 0 {
		m.s.Dropout(p.dropped, m.scratch.pooled, m.run.samples, p.first, drop, m.run.b, p.in)
	}
	p.apply(m.s, p.logits, p.input(m), p.rows(m))
}

// onHost returns the logits of the batch.
func (p *taskHead) onHost(m *Model) ([]float32, error) {
	n := p.rows(m) * p.out
	if err := m.s.Synchronize(); err != nil {
		return nil, err
	}
	if z := kernels.Host[float32](p.logits); z != nil {
		return z[:n], nil
	}
	p.z = append(p.z[:0], make([]float32, n)...)
	kernels.Download(m.s, p.z, p.logits.Slice(0, n))
	return p.z, m.s.Synchronize()
}

// losses sums the losses of a batch; with scale not 0 it makes the logits' gradient.
func (p *taskHead) losses(m *Model, b *Batch, scale float32) error {
	z, err := p.onHost(m)
	if err != nil {
		return err
	}
	p.loss, p.predicted = 0, 0
	p.d = append(p.d[:0], make([]float32, len(z))...)
	for i := range b.Samples {
		loss, right := p.sequence(b, i, z, float64(scale))
		p.loss += loss
		if right {
			p.predicted++
		}
	}
	if scale != 0 {
		p.upload(m)
	}
	return nil
}

// sequence returns the loss of a sequence and whether its prediction is right, and writes its logits' gradient.
func (p *taskHead) sequence(b *Batch, i int, z []float32, scale float64) (loss float64, right bool) {
	switch p.Kind {
	case Classifier:
		first, end := i*p.out, (i+1)*p.out
		loss, best := softmax(p.d[first:end], z[first:end], 1, int(b.Classes[i]), scale)
		return loss, best == int(b.Classes[i])
	case Regression:
		difference := float64(z[i]) - float64(b.Values[i])
		p.d[i] = float32(2 * difference * scale)
		return difference * difference, false
	}
	first, end := 2*b.CuSeqlens[i], 2*b.CuSeqlens[i+1]
	d, z := p.d[first:end], z[first:end]
	atStart, start := softmax(d, z, 2, int(b.Starts[i]), scale/2)
	atEnd, last := softmax(d[1:], z[1:], 2, int(b.Ends[i]), scale/2)
	return (atStart + atEnd) / 2, start == int(b.Starts[i]) && last == int(b.Ends[i])
}

// softmax returns the cross-entropy of every stride-th of the logits z and the first of the largest, and writes scale times the gradient to d.
func softmax(d, z []float32, stride, target int, scale float64) (loss float64, best int) {
	for k := 0; k < len(z); k += stride {
		if z[k] > z[best*stride] {
			best = k / stride
		}
	}
	largest, sum := float64(z[best*stride]), 0.0
	for k := 0; k < len(z); k += stride {
		sum += math.Exp(float64(z[k]) - largest)
	}
	for k := 0; k < len(z); k += stride {
		d[k] = float32(math.Exp(float64(z[k])-largest) / sum * scale)
	}
	at := target * stride
	d[at] = float32((math.Exp(float64(z[at])-largest)/sum - 1) * scale)
	return math.Log(sum) + largest - float64(z[at]), best
}

// upload gives the device the logits' gradient.
func (p *taskHead) upload(m *Model) {
	to := p.gradient.Slice(0, len(p.d))
	if m.dtype == kernels.Float32 {
		kernels.Upload(m.s, to, p.d)
		return
	}
	p.narrow = p.narrow[:0]
	for _, x := range p.d {
		p.narrow = append(p.narrow, narrow(x, m.dtype))
	}
	kernels.Upload(m.s, to, p.narrow)
}

// backward adds the head's gradients and makes those of its input: dhidden is written; dpooled is none for a Span.
func (p *taskHead) backward(m *Model, dhidden kernels.Tensor) (dpooled kernels.Tensor) {
	n := p.rows(m)
	p.addWeight(m.s, p.gradient, 0, p.input(m), n)
	if p.Kind == Span {
		p.dense.input(m.s, dhidden, p.gradient, n)
		return kernels.Tensor{}
	}
	m.s.Zero(dhidden)
	dpooled = m.scratch.dpooled
	p.dense.input(m.s, dpooled, p.gradient, n)
	if drop := m.run.hiddenDrop(taskSite); drop.P > 0 {
		m.s.Dropout(dpooled, dpooled, m.run.samples, p.first, drop, m.run.b, p.in)
	}
	return dpooled
}

// checkTargets looks at what the losses read.
func (p *taskHead) checkTargets(b *Batch) error {
	n := len(b.Samples)
	switch p.Kind {
	case Classifier:
		if len(b.Classes) != n {
			return fmt.Errorf("batch: %d sequences, %d classes", n, len(b.Classes))
		}
		for i, class := range b.Classes {
			if class < 0 || int(class) >= p.Outputs {
				return fmt.Errorf("batch: sequence %d (sample %d): class %d is not one of %d", i, b.Samples[i], class, p.Outputs)
			}
		}
		return nil
	case Regression:
		if len(b.Values) != n {
			return fmt.Errorf("batch: %d sequences, %d values", n, len(b.Values))
		}
		return nil
	}
	if len(b.Starts) != n || len(b.Ends) != n {
		return fmt.Errorf("batch: %d sequences, %d starts, %d ends", n, len(b.Starts), len(b.Ends))
	}
	for i := range n {
		length := b.end(i) - b.CuSeqlens[i]
		if first, last := b.Starts[i], b.Ends[i]; first < 0 || last < 0 || first >= length || last >= length {
			return fmt.Errorf("batch: sequence %d (sample %d): answer from token %d to %d of %d", i, b.Samples[i], first, last, length)
		}
	}
	return nil
}

// Logits returns what the head of a task makes of a batch, without dropout: Outputs of each sequence, of a Span start and end of each token.
func (m *Model) Logits(b *Batch) ([]float32, error) {
	if m.task == nil {
		return nil, errors.New("logits: the model has no head of a task")
	}
	if err := m.begin(b, Objective{}, forLogits); err != nil {
		return nil, err
	}
	m.encode()
	m.task.forward(m)
	z, err := m.task.onHost(m)
	if err != nil {
		return nil, fmt.Errorf("batch of %d tokens: %w", len(b.IDs), err)
	}
	return append([]float32(nil), z...), nil
}

// narrow rounds to a type of 16 bits, to even between two neighbours.
func narrow(x float32, to kernels.DType) uint16 {
	bits := math.Float32bits(x)
	sign, size := uint16(bits>>16)&0x8000, bits&0x7fffffff
	switch {
	case to == kernels.BFloat16 && size > 0x7f800000: // not a number: rounding could make it an infinity
		return sign | 0x7fc0
	case to == kernels.BFloat16:
		return uint16((bits + 0x7fff + bits>>16&1) >> 16)
	case size > 0x7f800000:
		return sign | 0x7e00
	case size >= 0x47800000: // from 2^16 on
		return sign | 0x7c00
	case size < 0x38800000: // below 2^-14: multiples of 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(size))*0x1p24))
	}
	return sign | uint16((size+0xfff+size>>13&1-0x38000000)>>13)
}
