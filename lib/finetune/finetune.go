// Package finetune trains a BERT with a head for a task, and predicts with it: it joins examples, lib/bert's heads and lib/train's loop.
package finetune

import (
	"context"
	"errors"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
	"hpcbert/lib/train"
)

// Head is what is computed from the encoder's output.
type Head = bert.Head

// The kinds of heads, see lib/bert. A Span leaves the pooler as it is.
const (
	Span       = bert.Span
	Classifier = bert.Classifier
	Regression = bert.Regression
)

// Example is one sequence and what is to be predicted of it; a prediction does not read that.
type Example struct {
	IDs        []int32 // wordpieces from [CLS] to the last [SEP], without padding
	Second     int     // where the second segment begins; len(IDs) when there is none
	Class      int32   // of a Classifier
	Value      float32 // of a Regression
	Start, End int32   // of a Span: first and last token of the answer; 0, 0 = none ([CLS])
}

// Options say what to start from, what to train and how. Of the loop's own options GlobalBatch is the batch over all ranks, and Steps is set by
// Epochs or MaxSteps. An empty Out trains without checkpoints.
type Options struct {
	train.Options                    // Init is any checkpoint that ckpt.Open knows
	Epochs        float64            // passes over the examples
	MaxSteps      int                // updates, where Epochs would be more; 0 = no such bound
	MaxLength     int                // tokens of the longest example that is trained or predicted
	PredictBatch  int                // sequences predicted at once on a rank; 0 = MicroBatch
	Vocabulary    string             // vocab.txt that the examples were made with: goes into the checkpoints; "" = Init's
	LowerCase     bool               // as the vocabulary's tokenizer is to be told
	Labels        []string           // names of a Classifier's classes, for config.json; nil = LABEL_0, LABEL_1, …
	Notify        func(train.Report) // told of logged updates, on rank 0; may be nil
	Predicted     func(Predicted)    // told of each batch that this rank has predicted; may be nil
}

// Predicted is one batch of a prediction on this rank.
type Predicted struct {
	Sequences int           // in the batch
	Done, All int           // sequences of this rank so far, and in all
	Took      time.Duration // the forward pass, from the batch's packing to its logits on the host
}

// Summary is what a training did.
type Summary = train.Summary

// Tuner is a model with a head. Its weights come from Options.Init, from the newest checkpoint in Options.Out when Train goes on from it,
// or are random.
type Tuner struct {
	opt  Options
	cfg  *bert.Config
	head Head
	dev  *kernels.Device
	comm comm.Comm
}

// New checks the options and that Init covers the encoder; the memory is taken by Train or Predict. All ranks call it; an error of one is an
// error of all.
func New(opt Options, cfg *bert.Config, head Head, dev *kernels.Device, c comm.Comm) (*Tuner, error) {
	return &Tuner{opt: opt, cfg: cfg, head: head, dev: dev, comm: c}, nil
}

var errNotYet = errors.New("fine-tuning is not built yet")

// Train trains on the examples, the same on all ranks, in an order that seed and epoch choose; epochs follow each other without a gap, so a
// batch may hold the last examples of one and the first of the next. It goes on from the newest checkpoint in Out, and when that is complete
// there is nothing to do but load it. When stop says so, it saves and returns with Summary.Stopped. All ranks call it.
func (t *Tuner) Train(ctx context.Context, examples []Example, stop func() bool) (Summary, error) {
	return Summary{}, errNotYet
}

// Predict returns the logits of each example in order: of a Classifier its outputs, of a Regression one, of a Span the start logits of all
// tokens, then their end logits: 2*len(IDs) values. Ranks share the work; all of them call it and all get everything. After Train the weights are
// those that it left; without, those of Init, whose head must be there then.
func (t *Tuner) Predict(ctx context.Context, examples []Example) ([][]float32, error) {
	return nil, errNotYet
}

// Close releases the device's memory.
func (t *Tuner) Close() {}
