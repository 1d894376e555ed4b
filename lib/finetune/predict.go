package finetune

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
)

// Predict returns the logits of each example in order: of a Classifier its outputs, of a Regression one, of a Span the start logits of all
// tokens, then their end logits: 2*len(IDs) values. Ranks share the work; all of them call it and all get everything. After Train the weights are
// those that it left; without, those of Init, whose head must be there then.
func (t *Tuner) Predict(ctx context.Context, examples []Example) ([][]float32, error) {
	err := t.checkPredicted(examples)
	if err == nil && t.trainer == nil {
		err = t.load(examples)
	}
	if err := comm.Together(t.comm, err); err != nil {
		return nil, err
	}
	all := newAnswers(t.head, examples, t.batches(examples), t.comm.Size())
	err = t.own(ctx, all)
	if err := comm.Together(t.comm, err); err != nil {
		return nil, cmp.Or(ctx.Err(), err) // a signal that all ranks got is told by each
	}
	if t.comm.Size() > 1 {
		err = t.comm.AllGather(all.values, all.cuts)
	}
	return all.byExample(), err
}

func (t *Tuner) checkPredicted(examples []Example) error {
	for i, e := range examples {
		e.Class, e.Value, e.Start, e.End = 0, 0, 0, 0
		if err := e.check(t.cfg, t.head); err != nil {
			return fmt.Errorf("example %d: %w", i+1, err)
		}
		if limit := t.limits().Tokens; limit > 0 && len(e.IDs) > limit {
			return fmt.Errorf("example %d: %d tokens, the model was made for %d", i+1, len(e.IDs), limit)
		}
	}
	return nil
}

// predictor is a model that has no memory for training.
type predictor struct {
	model  *bert.Model
	stream *kernels.Stream
}

// model is the one that predicts, nil when there is none yet.
func (t *Tuner) model() *bert.Model {
	switch {
	case t.trainer != nil:
		return t.trainer.Model()
	case t.reader != nil:
		return t.reader.model
	}
	return nil
}

func (t *Tuner) limits() bert.Limits {
	if m := t.model(); m != nil {
		return m.Limits()
	}
	return bert.Limits{}
}

// load makes a predictor of Init's weights, with room for these examples. One of an earlier prediction stays where it has that.
func (t *Tuner) load(examples []Example) error {
	if t.opt.Init == "" {
		return fault.Usagef("prediction without a checkpoint")
	}
	if t.opt.PredictBatch < 1 {
		return fault.Usagef("batches of %d sequences to predict", t.opt.PredictBatch)
	}
	if t.reader != nil {
		return nil
	}
	length := max(1, t.opt.MaxLength)
	for _, e := range examples {
		length = max(length, len(e.IDs))
	}
	stream, err := t.dev.NewStream()
	if err != nil {
		return err
	}
	p := &predictor{stream: stream}
	lim := bert.Limits{Tokens: t.opt.PredictBatch * length, Sequences: t.opt.PredictBatch}
	if p.model, err = bert.New(t.dev, stream, t.cfg, lim, bert.ForwardOnly|t.opt.Mode&(bert.BFloat16|bert.Float16), t.head); err == nil {
		err = p.load(t.opt.Init, t.head, t.opt.Warn)
	}
	if err != nil {
		p.close()
		return err
	}
	t.reader = p
	return nil
}

// load reads all weights that the head's logits come from: random ones would predict nothing.
func (p *predictor) load(path string, head Head, warn func(format string, a ...any)) error {
	f, err := ckpt.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	loaded, err := p.model.LoadFile(f)
	if err != nil {
		return err
	}
	if loaded.DroppedRows > 0 {
		warn("%s: %d rows beyond the vocabulary dropped", f.Name, loaded.DroppedRows)
	}
	var missing []string
	for _, name := range loaded.Missing {
		if !strings.HasPrefix(name, "bert.pooler.") || head.Pools() {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	err = fmt.Errorf("%s: no %s", f.Name, strings.Join(missing, ", "))
	if len(loaded.Other) > 0 {
		err = fmt.Errorf("%s: %s are of another number of outputs", f.Name, strings.Join(loaded.Other, ", "))
	}
	return fault.WithHint(err, "a checkpoint that was fine-tuned for this task is wanted: train first")
}

func (p *predictor) close() {
	if p.model != nil {
		p.model.Close()
	}
	p.stream.Close()
}

// batches cuts the examples into those that are computed at once, in their order.
func (t *Tuner) batches(examples []Example) (ends []int) {
	lim := t.limits()
	most := min(t.opt.PredictBatch, lim.Sequences)
	first, tokens := 0, 0
	for i, e := range examples {
		if i > first && (i-first == most || tokens+len(e.IDs) > lim.Tokens) {
			ends = append(ends, i)
			first, tokens = i, 0
		}
		tokens += len(e.IDs)
	}
	if len(examples) > 0 {
		ends = append(ends, len(examples))
	}
	return ends
}

// answers are the logits of all examples, those of a rank behind each other: batch b is rank b mod ranks' work.
type answers struct {
	head     Head
	examples []Example
	ranges   [][][2]int // of each rank: first and end of its batches
	cuts     []int      // where the ranks' logits begin
	values   []float32
}

func newAnswers(head Head, examples []Example, ends []int, ranks int) *answers {
	a := &answers{head: head, examples: examples, ranges: make([][][2]int, ranks), cuts: make([]int, ranks+1)}
	sizes, first := make([]int, ranks), 0
	for b, end := range ends {
		r := b % ranks
		a.ranges[r] = append(a.ranges[r], [2]int{first, end})
		for _, e := range examples[first:end] {
			sizes[r] += a.outputs(&e)
		}
		first = end
	}
	for r, size := range sizes {
		a.cuts[r+1] = a.cuts[r] + size
	}
	a.values = make([]float32, a.cuts[ranks])
	return a
}

// outputs is the number of an example's logits.
func (a *answers) outputs(e *Example) int {
	if a.head.Kind == Span {
		return 2 * len(e.IDs)
	}
	return a.head.Outputs
}

// own computes this rank's batches.
func (t *Tuner) own(ctx context.Context, a *answers) error {
	at, told := a.cuts[t.comm.Rank()], Predicted{}
	for _, r := range a.ranges[t.comm.Rank()] {
		told.All += r[1] - r[0]
	}
	for _, r := range a.ranges[t.comm.Rank()] {
		if err := ctx.Err(); err != nil {
			return err
		}
		comm.Doing(t.comm, "predicts examples %d to %d", r[0]+1, r[1])
		begin := time.Now()
		batch := newPacking(r[1] - r[0])
		for i := r[0]; i < r[1]; i++ {
			batch.add(&a.examples[i], int32(i-r[0]))
		}
		z, err := t.model().Logits(batch.batch())
		if err != nil {
			return fmt.Errorf("examples %d to %d: %w", r[0]+1, r[1], err)
		}
		told.Took = time.Since(begin)
		copy(a.values[at:], z)
		at += len(z)
		told.Sequences = r[1] - r[0]
		told.Done += told.Sequences
		t.opt.Predicted(told)
	}
	return nil
}

// byExample gives each example its logits.
func (a *answers) byExample() [][]float32 {
	out := make([][]float32, len(a.examples))
	rest := a.values
	for _, ranges := range a.ranges {
		for _, r := range ranges {
			for i := r[0]; i < r[1]; i++ {
				n := a.outputs(&a.examples[i])
				out[i], rest = rest[:n:n], rest[n:]
				if a.head.Kind == Span {
					out[i] = apart(out[i])
				}
			}
		}
	}
	return out
}

// apart puts all start logits before all end logits.
func apart(pairs []float32) []float32 {
	n := len(pairs) / 2
	out := make([]float32, 2*n)
	for i := range n {
		out[i], out[n+i] = pairs[2*i], pairs[2*i+1]
	}
	return out
}
