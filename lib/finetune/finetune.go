// Package finetune trains a BERT with a head for a task, and predicts with it: it joins examples, lib/bert's heads and lib/train's loop.
package finetune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
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

// Options say what to start from, what to train and how. Of the loop's own options GlobalBatch is the batch over all ranks; Steps is set by Epochs
// and MaxSteps, and ResetMoments has no effect: moments always start at zero. Warn and Planned may be nil.
type Options struct {
	train.Options                    // Init is any checkpoint that ckpt.Open knows; "" = random weights
	Epochs        float64            // passes over the examples
	MaxSteps      int                // updates, where Epochs would be more; 0 = no such bound
	MaxLength     int                // tokens of the longest example that is trained or predicted; 0 = of the longest one given first
	PredictBatch  int                // sequences predicted at once on a rank; 0 = MicroBatch
	Pad           int                // pads each sequence that is trained to so many tokens: the original's loss of a Span counts the padding's logits; 0 = none
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

// Tuner is a model with a head. Its weights come from Options.Init, from the newest checkpoint in Options.Out when Train goes on from it,
// or are random.
type Tuner struct {
	opt     Options
	cfg     *bert.Config
	head    Head
	dev     *kernels.Device
	comm    comm.Comm
	trainer *train.Trainer // after Train
	reader  *predictor     // of a prediction without training
}

// New checks the options and that Init covers the encoder; the memory is taken by Train or Predict. All ranks call it; an error of one is an
// error of all.
func New(opt Options, cfg *bert.Config, head Head, dev *kernels.Device, c comm.Comm) (*Tuner, error) {
	t := &Tuner{opt: opt, head: head, dev: dev, comm: c}
	if t.opt.Warn == nil {
		t.opt.Warn = func(string, ...any) {}
	}
	if t.opt.Planned == nil {
		t.opt.Planned = func(train.Plan) {}
	}
	if t.opt.Notify == nil {
		t.opt.Notify = func(train.Report) {}
	}
	if t.opt.Predicted == nil {
		t.opt.Predicted = func(Predicted) {}
	}
	t.opt.ResetMoments = true
	t.opt.PredictBatch = cmp.Or(opt.PredictBatch, opt.MicroBatch)
	err := head.Check()
	if err == nil {
		t.cfg, err = configOf(cfg, head, opt.Labels)
	}
	if err == nil && opt.Init != "" {
		err = t.find()
	}
	return t, comm.Together(c, err)
}

// find finds what Init means, and whether it fits.
func (t *Tuner) find() (err error) {
	if t.opt.Init, err = train.StartingPoint(t.opt.Init, 0, t.opt.Warn); err != nil {
		return err
	}
	source, err := ckpt.Open(t.opt.Init)
	if err != nil {
		return err
	}
	if err = t.cfg.CompleteVocabulary(source); err == nil {
		_, err = t.cfg.Cover(t.cfg.TaskParams(t.head), source)
	}
	return errors.Join(err, source.Close())
}

// Train trains on the examples, the same on all ranks, in an order that seed and epoch choose; epochs follow each other without a gap, so a
// batch may hold the last examples of one and the first of the next. It goes on from the newest checkpoint in Out, and when that is complete
// there is nothing to do but load it. When stop says so, it saves and returns with Summary.Stopped. All ranks call it.
func (t *Tuner) Train(ctx context.Context, examples []Example, stop func() bool) (train.Summary, error) {
	t.Close()
	opt, task, err := t.prepare(ctx, examples)
	if err := comm.Together(t.comm, err); err != nil {
		return train.Summary{}, err
	}
	if t.trainer, err = train.NewTask(opt, t.cfg, task, t.dev, t.comm); err != nil {
		t.trainer = nil
		return train.Summary{}, err
	}
	if t.comm.Size() > 1 {
		if err := t.trainer.SameOnAllRanks(); err != nil {
			return train.Summary{}, err
		}
	}
	t.trainer.Notify = t.opt.Notify
	return t.trainer.Run(ctx, stop)
}

// Foresee finds what Train would do, and what would make it fail. All ranks call it.
func (t *Tuner) Foresee(ctx context.Context, examples []Example) (train.Forecast, error) {
	opt, task, err := t.prepare(ctx, examples)
	if err := comm.Together(t.comm, err); err != nil {
		return train.Forecast{}, err
	}
	return train.ForeseeTask(ctx, opt, t.cfg, task, t.dev, t.comm)
}

// prepare checks what is to be trained and finds how many updates that are.
func (t *Tuner) prepare(ctx context.Context, examples []Example) (train.Options, *task, error) {
	opt := t.opt.Options
	switch {
	case opt.Out == "":
		return opt, nil, fault.Usagef("training without an output folder")
	case len(examples) == 0:
		return opt, nil, errors.New("there is no example to train on")
	case opt.GlobalBatch < 1 || opt.MicroBatch < 1:
		return opt, nil, fault.Usagef("batches of %d and %d sequences: they must have at least one", opt.GlobalBatch, opt.MicroBatch)
	case !(t.opt.Epochs > 0) && t.opt.MaxSteps < 1:
		return opt, nil, fault.Usagef("%g epochs: must be above 0", t.opt.Epochs)
	}
	steps := math.Ceil(t.opt.Epochs * float64(len(examples)) / float64(opt.GlobalBatch))
	if t.opt.MaxSteps > 0 && (!(t.opt.Epochs > 0) || steps > float64(t.opt.MaxSteps)) {
		steps = float64(t.opt.MaxSteps)
	}
	opt.Steps = int(steps)
	opt.Schedule.Whole = opt.Optimizer.Name == "adamw" && opt.Schedule.Name == "linear"
	vocabulary, err := t.vocabulary(ctx)
	if err != nil {
		return opt, nil, err
	}
	task, err := newTask(t.cfg, t.head, examples, t.opt)
	if err != nil {
		return opt, nil, err
	}
	task.vocabulary = vocabulary
	return opt, task, nil
}

// vocabulary finds the one that the examples were made with.
func (t *Tuner) vocabulary(ctx context.Context) (v train.Vocabulary, err error) {
	v = train.Vocabulary{Path: t.opt.Vocabulary, LowerCase: &t.opt.LowerCase, Make: "make the examples with the checkpoint's own vocabulary:"}
	if v.Path == "" && t.opt.Init != "" {
		beside := filepath.Join(ckpt.Folder(t.opt.Init), ckpt.VocabFile)
		if _, err := os.Stat(beside); !errors.Is(err, fs.ErrNotExist) {
			v.Path = beside
		}
	}
	if v.Path == "" {
		return train.Vocabulary{Make: v.Make}, nil
	}
	if v.SHA256, _, err = stream.SHA256(ctx, v.Path); err != nil {
		err = fmt.Errorf("read the vocabulary: %w", err)
	}
	return v, err
}

// Close releases the device's memory.
func (t *Tuner) Close() {
	if t.trainer != nil {
		t.trainer.Close()
		t.trainer = nil
	}
	if t.reader != nil {
		t.reader.close()
		t.reader = nil
	}
}
