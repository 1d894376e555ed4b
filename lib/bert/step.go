package bert

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"hpcbert/kernels"
	"hpcbert/lib/ckpt"
)

// embeddingSite is the dropout site of the embeddings; layer i has 4i to 4i+2.
const embeddingSite = 4095

// Objective is what a step computes beside the batch.
type Objective struct {
	Seed     uint64
	Step     uint32 // with Seed names the dropout draws
	Dropout  bool
	MLMScale float32 // 1 / masked tokens of the global batch: what each token's loss weighs in the gradient
	NSPScale float32 // 1 / sequences of the global batch

	TaskScale float32 // the same, for the head of a task

	// LossScale multiplies the gradients, from those of the logits on; 0 counts as 1. Half precision has 0 for what is below 2^-25: a power
	// of two, as large as no gradient becomes infinite, keeps what would be lost. Whoever reads the parameters' gradients divides by it; losses
	// are not scaled.
	LossScale float32
}

// scaled returns a loss's scale with that of the gradients.
func (o Objective) scaled(scale float32) float32 {
	if o.LossScale == 0 {
		return scale
	}
	return scale * o.LossScale
}

// Result is what a micro-batch adds to the sums of the global batch.
type Result struct {
	MLMLossSum, NSPLossSum float64
	MLMCorrect, NSPCorrect int
	TaskLossSum            float64
	TaskCorrect            int // sequences whose class, or start and end, got the largest logit
	Masked, Sequences      int // what was counted; Sequences are those with a class
}

// Add adds the sums of another micro-batch.
func (r *Result) Add(o Result) {
	r.MLMLossSum += o.MLMLossSum
	r.NSPLossSum += o.NSPLossSum
	r.MLMCorrect += o.MLMCorrect
	r.NSPCorrect += o.NSPCorrect
	r.TaskLossSum += o.TaskLossSum
	r.TaskCorrect += o.TaskCorrect
	r.Masked += o.Masked
	r.Sequences += o.Sequences
}

// Done is called when the gradients of a stretch of the arena, first to end-1, are final. Stretches come from the end of the arena to its
// start, without gaps, but for the word embeddings of a batch with Late ids: those come as soon as the heads are ready.
type Done func(first, end int)

// Refresh makes the forms of the weights that the products read; call it after the weights changed.
func (m *Model) Refresh() {
	for i := range m.layers {
		m.layers[i].refresh(m.s)
	}
	m.pooler.pack(m.s, m.pooler.weight, 0, m.pooler.out)
	if m.mlm != nil {
		m.mlm.refresh(m)
		m.nsp.pack(m.s, m.nsp.weight, 0, m.nsp.out)
	}
	if m.task != nil {
		m.task.pack(m.s, m.task.weight, 0, m.task.out)
	}
}

// Forward returns the losses of a micro-batch.
func (m *Model) Forward(b *Batch, o Objective) (Result, error) {
	if err := m.needHeads("forward"); err != nil {
		return Result{}, err
	}
	if err := m.begin(b, o, forLosses); err != nil {
		return Result{}, err
	}
	m.encode()
	if err := m.headsForward(b, Objective{}); err != nil {
		return Result{}, err
	}
	return m.result(b)
}

// ForwardBackward returns the losses of a micro-batch and adds to the gradients LossScale times those of
// MLMScale * sum of the MLM losses + NSPScale * sum of the NSP losses, or of TaskScale * sum of the task's.
func (m *Model) ForwardBackward(b *Batch, o Objective) (Result, error) {
	return m.ForwardBackwardLayers(b, o, nil)
}

// ForwardBackwardLayers is ForwardBackward that tells as soon as gradients are final, for a reduction that overlaps the rest.
func (m *Model) ForwardBackwardLayers(b *Batch, o Objective, done Done) (Result, error) {
	if err := m.needHeads("backward"); err != nil {
		return Result{}, err
	}
	if err := m.begin(b, o, forLosses); err != nil {
		return Result{}, err
	}
	m.encode()
	if err := m.headsForward(b, o); err != nil {
		return Result{}, err
	}
	dhidden := m.scratch.dhidden.Slice(0, m.rowsOf(len(m.layers)-1).n*m.Config.HiddenSize)
	dpooled := m.headsBackward(dhidden, o)
	if err := m.encodeBackward(m.scratch.dhidden, dpooled, done); err != nil {
		return Result{}, err
	}
	return m.result(b)
}

// headsBackward writes the gradients of the last layer's rows, all or those that are read, and returns those of the pooled vectors, none where
// no head has any.
func (m *Model) headsBackward(dhidden kernels.Tensor, o Objective) (dpooled kernels.Tensor) {
	if m.task != nil {
		return m.task.backward(m, dhidden)
	}
	m.s.Zero(dhidden)
	if m.run.m > 0 && o.MLMScale != 0 {
		m.mlm.backward(m, dhidden)
	}
	if o.NSPScale != 0 {
		dpooled = m.scratch.dpooled
		m.nsp.addWeight(m.s, m.nsp.logits, 0, m.scratch.pooled, m.run.b)
		m.nsp.input(m.s, dpooled, m.nsp.logits, m.run.b)
	}
	return dpooled
}

// Encode returns the last layer's rows [T, H] and the pooled vectors [B, H] of a batch, without dropout.
func (m *Model) Encode(b *Batch) (hidden, pooled []float32, err error) {
	h, p, err := m.EncodeForward(b, Objective{})
	if err != nil {
		return nil, nil, err
	}
	hidden, pooled = m.download(h), m.download(p)
	return hidden, pooled, m.s.Synchronize()
}

// download returns activations as float32.
func (m *Model) download(x kernels.Tensor) []float32 {
	values := make([]float32, x.Len())
	if x.DType() == kernels.Float32 {
		kernels.Download(m.s, values, x)
		return values
	}
	narrow := make([]uint16, x.Len())
	kernels.Download(m.s, narrow, x)
	for i, bits := range narrow {
		if x.DType() == kernels.Float16 {
			values[i] = ckpt.Float16(bits)
		} else {
			values[i] = math.Float32frombits(uint32(bits) << 16) // bfloat16 is the upper half of a float32
		}
	}
	return values
}

// EncodeForward is the forward pass up to the last layer's rows [T, H] and the pooled vectors [B, H], on the device, for heads outside this
// package. Both are of the activations' type and hold until the next forward pass.
func (m *Model) EncodeForward(b *Batch, o Objective) (hidden, pooled kernels.Tensor, err error) {
	if err := m.begin(b, o, forRows); err != nil {
		return hidden, pooled, err
	}
	m.encode()
	h := m.Config.HiddenSize
	return m.hidden().Slice(0, m.run.t*h), m.scratch.pooled.Slice(0, m.run.b*h), m.s.Err()
}

// encodeBackward adds the gradients of the encoder, given those of the last layer's rows, all or those that are read, at the start of dhidden
// [T, H], and of the pooled vectors, dpooled [B, H] or none; both are of the activations' type and overwritten. The gradients of heads must be
// final before: done, which may be nil, is told of them first.
func (m *Model) encodeBackward(dhidden, dpooled kernels.Tensor, done Done) error {
	if !m.trains() {
		return errors.New("backward: the model was made for forward passes only")
	}
	if !dpooled.IsZero() {
		m.poolerBackward(dhidden, dpooled)
	}
	end := m.finished(done, m.offset("bert.pooler.dense.weight"), m.Gradients.Len())
	rest := 0
	if len(m.run.late) > 0 { // the decoder's share, and that of earlier batches
		rest = m.offset("bert.embeddings.position_embeddings.weight")
		m.finished(done, 0, rest)
	}
	last := len(m.layers) - 1
	for i := last; i >= 0; i-- {
		if m.recomputes() && i < last { // of the last layer everything is still there
			m.layers[i].forward(m, i)
		}
		m.layers[i].feedForwardBackward(m, i, dhidden)
		end = m.finished(done, m.offset(layerName(i)+"intermediate.dense.weight"), end)
		m.layers[i].attentionBackward(m, i, dhidden)
		end = m.finished(done, m.offset(layerName(i)+"attention.self.query.weight"), end)
	}
	m.embeddingsBackward(dhidden)
	m.finished(done, rest, end)
	return m.s.Err()
}

// Late returns what the latest backward pass kept of the gradients of the word embeddings: a row for each of the batch's Late ids, none where it has none.
func (m *Model) Late() kernels.Tensor {
	if len(m.run.late) == 0 {
		return kernels.Tensor{}
	}
	return m.run.lateRows.Slice(0, len(m.run.late)*m.Config.HiddenSize)
}

// AddLate adds those rows to the arena.
func (m *Model) AddLate() {
	if n := len(m.run.late); n > 0 {
		m.s.ScatterRowsAdd(m.word.gradient, m.Late(), m.run.lateWords, n, m.Config.HiddenSize)
	}
}

// finished waits for the gradients first to end-1, tells of them and returns first.
func (m *Model) finished(done Done, first, end int) int {
	if done != nil && m.s.Synchronize() == nil {
		done(first, end)
	}
	return first
}

func (m *Model) needHeads(pass string) error {
	if m.mlm == nil && m.task == nil {
		return errors.New(pass + ": the model has no heads")
	}
	if pass == "backward" && !m.trains() {
		return errors.New("backward: the model was made for forward passes only")
	}
	return nil
}

func (m *Model) offset(name string) int { return m.Params[m.index[name]].Offset }

// hidden is the last layer's output: all rows, or those that are read.
func (m *Model) hidden() kernels.Tensor { return m.layers[len(m.layers)-1].y }

// purpose is what a forward pass is for.
type purpose int

const (
	forRows   purpose = iota // all rows of the last layer
	forLogits                // what the heads read
	forLosses                // that, with targets
)

// begin checks a batch and puts it on the device.
func (m *Model) begin(b *Batch, o Objective, what purpose) error {
	if err := b.check(m.Config, m.limits); err != nil {
		return err
	}
	if what == forLosses {
		if err := m.checkTargets(b); err != nil {
			return err
		}
	}
	r := &m.run
	r.t, r.b, r.m = len(b.IDs), len(b.Samples), len(b.MaskedRows)
	for i, sample := range b.Samples {
		for t := b.CuSeqlens[i]; t < b.CuSeqlens[i+1]; t++ {
			r.hostSamples[t] = sample
		}
	}
	m.upload(r.ids, b.IDs)
	m.upload(r.positions, b.Positions)
	m.upload(r.segments, b.Segments)
	m.upload(r.tokenSamples, r.hostSamples[:r.t])
	m.upload(r.cuSeqlens, b.CuSeqlens)
	m.upload(r.samples, b.Samples)
	r.keyLengths = kernels.Tensor{}
	if b.KeyLengths != nil {
		r.keyLengths = r.lengths
		m.upload(r.lengths, b.KeyLengths)
	}
	if what == forLosses && m.mlm != nil {
		m.upload(m.mlm.targets, b.MaskedIDs)
		m.upload(m.nsp.targets, b.NextSentence)
	}
	m.beginRows(b, what)
	if r.late = b.Late; len(r.late) > 0 {
		if err := m.placeLate(b); err != nil {
			return err
		}
	}
	r.hidden = kernels.Dropout{Seed: o.Seed, Step: o.Step}
	r.attention = r.hidden
	if o.Dropout {
		r.hidden.P = float32(m.Config.HiddenDropoutProb)
		r.attention.P = float32(m.Config.AttentionProbsDropoutProb)
	}
	return m.s.Err()
}

// placeLate finds each token's row.
func (m *Model) placeLate(b *Batch) error {
	r := &m.run
	for t, id := range b.IDs {
		at, found := slices.BinarySearch(b.Late, id)
		if !found {
			return fmt.Errorf("batch: %s: id %d is not among the late ones", b.where(t), id)
		}
		r.hostPlace[t] = int32(at)
	}
	m.upload(r.latePlace, r.hostPlace[:r.t])
	m.upload(r.lateWords, b.Late)
	return m.s.Err()
}

func (m *Model) checkTargets(b *Batch) error {
	if m.task != nil {
		return m.task.checkTargets(b)
	}
	return b.checkTargets(m.Config, m.run.seen[:len(b.IDs)])
}

func (m *Model) upload(dst kernels.Tensor, values []int32) {
	kernels.Upload(m.s, dst.Slice(0, len(values)), values)
}

// encode runs embeddings, layers and pooler.
func (m *Model) encode() {
	s, r, w, h := m.s, &m.run, &m.scratch, m.Config.HiddenSize
	s.EmbeddingForward(w.embedded, r.ids, r.positions, r.segments, m.word.rows, m.position.rows, m.segment.rows, r.t, h)
	s.LayerNormForward(w.input, w.embeddedMean, w.embeddedRstd, w.embedded, m.embeddingNorm.gamma, m.embeddingNorm.beta, r.t, h, float32(m.Config.LayerNormEps))
	if drop := r.hiddenDrop(embeddingSite); drop.P > 0 {
		s.Dropout(w.input, w.input, r.tokenSamples, r.positions, drop, r.t, h)
	}
	for i := range m.layers {
		m.layers[i].forward(m, i)
	}
	s.GatherRows(w.first, m.hidden(), r.first, r.b, h)
	m.pooler.apply(s, w.pooled, w.first, r.b)
	pooled := w.pooled.Slice(0, r.b*h)
	s.TanhForward(pooled, pooled)
}

// headsForward makes the losses, and the logits' gradients where a scale is not 0.
func (m *Model) headsForward(b *Batch, o Objective) error {
	if m.task != nil {
		m.task.forward(m)
		return m.task.losses(m, b, o.scaled(o.TaskScale))
	}
	if m.run.m > 0 {
		m.mlm.forward(m, m.hidden())
		m.mlm.losses(m, o.scaled(o.MLMScale))
	}
	m.nsp.apply(m.s, m.nsp.logits, m.scratch.pooled, m.run.b)
	m.nsp.losses(m, o.scaled(o.NSPScale))
	return m.s.Err()
}

// poolerBackward adds to the rows of the first tokens.
func (m *Model) poolerBackward(dhidden, dpooled kernels.Tensor) {
	s, r, w, h := m.s, &m.run, &m.scratch, m.Config.HiddenSize
	s.TanhBackward(dpooled.Slice(0, r.b*h), dpooled.Slice(0, r.b*h), w.pooled.Slice(0, r.b*h))
	m.pooler.addWeight(s, dpooled, 0, w.first, r.b)
	m.pooler.input(s, w.dfirst, dpooled, r.b)
	s.ScatterRowsAdd(dhidden, w.dfirst, r.first, r.b, h)
}

func (m *Model) embeddingsBackward(dhidden kernels.Tensor) {
	s, r, w, h := m.s, &m.run, &m.scratch, m.Config.HiddenSize
	if drop := r.hiddenDrop(embeddingSite); drop.P > 0 {
		s.Dropout(dhidden, dhidden, r.tokenSamples, r.positions, drop, r.t, h)
	}
	s.LayerNormBackward(dhidden, m.embeddingNorm.dgamma, m.embeddingNorm.dbeta, dhidden, w.embedded, w.embeddedMean, w.embeddedRstd,
		m.embeddingNorm.gamma, r.t, h)
	words, ids, padding := m.word.gradient, r.ids, true
	if len(r.late) > 0 {
		words, ids, padding = m.Late(), r.latePlace, r.late[0] == 0
		s.Zero(words)
	}
	s.EmbeddingBackward(words, m.position.gradient, m.segment.gradient, dhidden, ids, r.positions, r.segments, r.t, h)
	if m.task != nil && !r.keyLengths.IsZero() && padding { // the original never learns the embedding of its padding, token 0
		s.Zero(words.Slice(0, h))
	}
}

// result reads the losses back.
func (m *Model) result(b *Batch) (Result, error) {
	var r Result
	if m.task != nil {
		r = Result{TaskLossSum: m.task.loss, TaskCorrect: m.task.predicted, Sequences: len(b.Samples)}
		return r, m.s.Synchronize()
	}
	r.MLMLossSum, r.MLMCorrect, r.Masked = m.tally(m.mlm.loss, m.mlm.predicted, b.MaskedIDs)
	r.NSPLossSum, r.NSPCorrect, r.Sequences = m.tally(m.nsp.loss, m.nsp.predicted, b.NextSentence)
	if err := m.s.Synchronize(); err != nil {
		return Result{}, fmt.Errorf("micro-batch of %d tokens: %w", len(b.IDs), err)
	}
	return r, nil
}

// tally sums losses and counts right predictions over the rows that have a target.
func (m *Model) tally(loss, predicted kernels.Tensor, targets []int32) (sum float64, correct, count int) {
	losses, guesses := m.run.hostLosses[:len(targets)], m.run.hostPredicted[:len(targets)]
	kernels.Download(m.s, losses, loss.Slice(0, len(targets)))
	kernels.Download(m.s, guesses, predicted.Slice(0, len(targets)))
	for i, target := range targets {
		if target < 0 {
			continue
		}
		sum += float64(losses[i])
		count++
		if guesses[i] == target {
			correct++
		}
	}
	return sum, correct, count
}
