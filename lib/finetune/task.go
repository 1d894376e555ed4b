package finetune

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"

	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/train"
)

// task is the training of a head and its encoder on examples, as lib/train wants it.
type task struct {
	head       Head
	examples   []Example
	order      pretrain.Order
	length     int // tokens of the longest
	pad        int
	sum        string
	vocabulary train.Vocabulary
}

func newTask(cfg *bert.Config, head Head, examples []Example, opt Options) (*task, error) {
	t := &task{head: head, examples: examples, length: max(opt.MaxLength, opt.Pad), pad: opt.Pad}
	if opt.Pad > cfg.MaxPositionEmbeddings {
		return nil, fmt.Errorf("sequences padded to %d tokens, the model has %d positions", opt.Pad, cfg.MaxPositionEmbeddings)
	}
	for i := range examples {
		if err := examples[i].check(cfg, head); err != nil {
			return nil, fmt.Errorf("example %d: %w", i+1, err)
		}
		t.length = max(t.length, len(examples[i].IDs))
	}
	rows := []int{len(examples)}
	t.order = pretrain.NewShuffledOrder(rows, opt.Seed)
	if opt.FileOrder {
		t.order = pretrain.NewFileOrder(rows)
	}
	t.sum = hash(examples)
	return t, nil
}

// check tells what is wrong with an example; the batch that it is in tells of its target.
func (e *Example) check(cfg *bert.Config, head Head) error {
	n := len(e.IDs)
	switch {
	case n == 0 || n > cfg.MaxPositionEmbeddings:
		return fmt.Errorf("%d tokens, the model has positions for 1 to %d", n, cfg.MaxPositionEmbeddings)
	case e.Second < 0 || e.Second > n:
		return fmt.Errorf("the second segment begins at token %d of %d", e.Second, n)
	case head.Kind == Classifier && (e.Class < 0 || int(e.Class) >= head.Outputs):
		return fmt.Errorf("class %d is not one of %d", e.Class, head.Outputs)
	case head.Kind == Regression && (math.IsNaN(float64(e.Value)) || math.IsInf(float64(e.Value), 0)):
		return fmt.Errorf("the value %g is not finite", e.Value)
	case head.Kind == Span && (e.Start < 0 || e.End < e.Start || int(e.End) >= n):
		return fmt.Errorf("answer from token %d to %d of %d", e.Start, e.End, n)
	}
	return nil
}

// hash names the examples: a training goes on with the same alone.
func hash(examples []Example) string {
	h := sha256.New()
	for _, e := range examples {
		binary.Write(h, binary.LittleEndian, []int32{int32(len(e.IDs)), int32(e.Second), e.Class, int32(math.Float32bits(e.Value)), e.Start, e.End})
		binary.Write(h, binary.LittleEndian, e.IDs)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (t *task) Name() string                         { return "fine-tuning" }
func (t *task) Heads() (bert.Mode, []bert.Head)      { return bert.Encoder, []bert.Head{t.head} }
func (t *task) Params(cfg *bert.Config) []bert.Param { return cfg.TaskParams(t.head) }
func (t *task) Sequences() int                       { return len(t.examples) }
func (t *task) Epoch(sample int64) int               { return int(sample / int64(len(t.examples))) }
func (t *task) Vocabulary() train.Vocabulary         { return t.vocabulary }
func (t *task) Count(*bert.Batch)                    {}

func (t *task) ConstantLoss(comm.Comm) (float64, error) { return 0, nil }

func (t *task) Limits(micro int) bert.Limits {
	return bert.Limits{Tokens: micro * t.length, Sequences: micro}
}

// Bytes counts four batches of a rank, as for shards; the examples are there already.
func (t *task) Bytes(global, own int) int64 { return 2 * 4 * int64(own) * int64(t.length) * 12 }

func (t *task) Contents() train.Contents {
	return train.Contents{Head: t.kind(), Seq: t.length, Vocabulary: t.vocabulary.SHA256, Data: t.sum}
}

func (t *task) kind() string {
	if t.pad > 0 {
		return fmt.Sprintf("%s, padded to %d", t.plainKind(), t.pad)
	}
	return t.plainKind()
}

func (t *task) plainKind() string {
	if t.head.Kind == Classifier {
		return fmt.Sprintf("%d classes", t.head.Outputs)
	}
	return map[bert.HeadKind]string{Span: "span", Regression: "regression"}[t.head.Kind]
}

func (t *task) Keys() map[string]any {
	return map[string]any{"head": t.kind(), "examples": len(t.examples), "longest": t.length}
}

func (t *task) Read(context.Context) train.Reader { return &reader{task: t} }

// reader gives the examples in the order of training.
type reader struct {
	task *task
	rows []int
}

func (r *reader) Fetch(first int64, n int) (train.Rows, error) {
	r.rows = r.rows[:0]
	for i := range int64(n) {
		_, row, _ := r.task.order.At(first + i)
		r.rows = append(r.rows, row)
	}
	return rows{r.task.examples, r.rows, r.task.pad}, nil
}

func (r *reader) Close() {}

// rows are the examples of a batch.
type rows struct {
	examples []Example
	which    []int
	pad      int
}

func (r rows) Len() int                        { return len(r.which) }
func (r rows) Size(i int) (tokens, masked int) { return max(r.pad, len(r.examples[r.which[i]].IDs)), 0 }

func (r rows) Pack(which []int) *bert.Batch {
	p := newPacking(len(which))
	for _, at := range which {
		p.add(&r.examples[r.which[at]], int32(at))
		p.padTo(r.pad)
	}
	return p.batch()
}

// packing is a batch that grows by examples.
type packing bert.Batch

func newPacking(sequences int) *packing {
	return &packing{CuSeqlens: append(make([]int32, 0, sequences+1), 0)}
}

func (p *packing) add(e *Example, number int32) {
	for i, id := range e.IDs {
		segment := int32(0)
		if i >= e.Second {
			segment = 1
		}
		p.IDs, p.Positions, p.Segments = append(p.IDs, id), append(p.Positions, int32(i)), append(p.Segments, segment)
	}
	p.CuSeqlens, p.Samples = append(p.CuSeqlens, int32(len(p.IDs))), append(p.Samples, number)
	p.Classes, p.Values = append(p.Classes, e.Class), append(p.Values, e.Value)
	p.Starts, p.Ends = append(p.Starts, e.Start), append(p.Ends, e.End)
}

// padTo pads the latest sequence.
func (p *packing) padTo(length int) {
	if length == 0 {
		return
	}
	last := len(p.Samples) - 1
	tokens := len(p.IDs) - int(p.CuSeqlens[last])
	p.KeyLengths = append(p.KeyLengths, int32(tokens))
	for i := tokens; i < length; i++ {
		p.IDs, p.Positions, p.Segments = append(p.IDs, 0), append(p.Positions, int32(i)), append(p.Segments, 0)
	}
	p.CuSeqlens[last+1] = int32(len(p.IDs))
}

func (p *packing) batch() *bert.Batch { return (*bert.Batch)(p) }
