package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/pretrain"
)

// Evaluation says what to evaluate, on what and how.
type Evaluation struct {
	Checkpoint string // a path that ckpt.Open knows
	Config     *bert.Config
	Set        *pretrain.Set
	MicroBatch int                           // sequences computed at once on a rank
	Sequences  int64                         // at most so many; 0 = all
	Mode       bert.Mode                     // BFloat16 or Float16
	Memory     int64                         // available on this node, bytes
	Warn       func(format string, a ...any) // told what the user should know; never nil
	Notify     func(sequences int64)         // told how far this rank is, counted as if all were; never nil
}

// Score is what a model makes of sequences, over all ranks: sums and exact counts.
type Score struct {
	Sequences, Tokens, Masked int64
	MLMCorrect, NSPCorrect    int64
	MLMLossSum, NSPLossSum    float64 // nats
	Seconds                   float64 // of the forward passes, reading included
}

// MLMLoss is the mean over the masked tokens of all sequences, 0 when there are none.
func (s *Score) MLMLoss() float64 { return s.MLMLossSum / math.Max(1, float64(s.Masked)) }

// NSPLoss is the mean over the sequences.
func (s *Score) NSPLoss() float64 { return s.NSPLossSum / math.Max(1, float64(s.Sequences)) }

// batchesAhead is how many micro-batches of a rank are divided at once: among many sequences equal parts are found.
const batchesAhead = 8

// Evaluate computes the losses of sequences in the order of their files, divided over the ranks, without dropout. All ranks call it; an error of
// one is an error of all.
func Evaluate(ctx context.Context, e Evaluation, dev *kernels.Device, c comm.Comm) (*Score, error) {
	stream, err := dev.NewStream()
	if err == nil {
		defer stream.Close()
		e.Set, err = fitting(e.Set, e.Config)
	}
	if err = comm.Together(c, err); err != nil {
		return nil, err
	}
	lim := bert.Limits{Tokens: e.MicroBatch * e.Set.Seq, Sequences: e.MicroBatch, Masked: e.MicroBatch * e.Set.MaxPred}
	if err := e.fit(lim, dev, c); err != nil {
		return nil, err
	}
	model, err := bert.New(dev, stream, e.Config, lim, e.mode())
	if err == nil {
		defer model.Close()
		err = e.load(model)
	}
	if err = comm.Together(c, err); err != nil {
		return nil, err
	}
	score, err := e.run(ctx, model, c)
	if err != nil {
		return nil, err
	}
	return score, score.sum(c)
}

func (e *Evaluation) mode() bert.Mode { return bert.PreTraining | bert.ForwardOnly | e.Mode }

// fit refuses what some node has no room for.
func (e *Evaluation) fit(lim bert.Limits, dev *kernels.Device, c comm.Comm) error {
	memory, err := bert.Plan(dev, e.Config, lim, e.mode())
	if err := comm.Together(c, err); err != nil {
		return err
	}
	available, ranks, err := shareNode(c, e.Memory)
	if err != nil {
		return err
	}
	batch := batchesAhead * e.MicroBatch
	need, room := memory.Total()+dev.StreamBytes()+dataBytes(e.Set, batch*c.Size(), batch), available/int64(ranks)
	if need > room {
		err = fault.WithHint(fmt.Errorf("rank %d on %s: micro-batches of %d sequences need %s of memory, each of the node's %d rank(s) can have %s", c.Rank(), c.Host(), e.MicroBatch,
			cli.Bytes(need), ranks, cli.Bytes(room)), "give smaller micro-batches, or fewer ranks a node")
	}
	return comm.Together(c, err)
}

// load reads all weights: heads that start from random values would predict nothing.
func (e *Evaluation) load(model *bert.Model) error {
	if err := sameVocabulary(ckpt.Folder(e.Checkpoint), vocabularyOf(e.Set)); err != nil {
		return err
	}
	f, err := ckpt.Open(e.Checkpoint)
	if err != nil {
		return err
	}
	defer f.Close()
	loaded, err := model.LoadFile(f)
	if err != nil {
		return err
	}
	if loaded.DroppedRows > 0 {
		e.Warn("%s: %d rows beyond the vocabulary dropped", f.Name, loaded.DroppedRows)
	}
	if len(loaded.Missing) > 0 {
		return fault.WithHint(fmt.Errorf("%s: no %s", f.Name, strings.Join(loaded.Missing, ", ")), "a checkpoint of pre-training is wanted, with both of its heads")
	}
	return nil
}

// run computes this rank's share. The ranks meet after each batch: an error of one ends all, and none waits for long.
func (e *Evaluation) run(ctx context.Context, model *bert.Model, c comm.Comm) (*Score, error) {
	end := int64(e.Set.TotalRows())
	if e.Sequences > 0 {
		end = min(end, e.Sequences)
	}
	task := &pretraining{set: e.Set, order: pretrain.NewFileOrder(e.Set.Rows)}
	f := &feed{config: e.Config, read: task.Read, global: batchesAhead * e.MicroBatch * c.Size(), micro: e.MicroBatch, end: end,
		rank: c.Rank(), ranks: c.Size()}
	ctx, cancel := context.WithCancel(ctx)
	batches := f.start(ctx, 0)
	defer func() {
		cancel()
		for range batches { // until the reader has ended
		}
	}()
	s, begin := &Score{}, time.Now()
	told := func() { e.Notify(min(end, s.Sequences*int64(c.Size()))) }
	for b := range batches {
		comm.Doing(c, "computes behind its first %d sequences", s.Sequences)
		if err := comm.Together(c, s.forward(ctx, model, b, told)); err != nil {
			return nil, cmp.Or(ctx.Err(), err) // a signal that all ranks got is told by each
		}
	}
	s.Seconds = time.Since(begin).Seconds()
	return s, comm.Together(c, ctx.Err()) // the reader ends early then, without a word
}

// forward adds the micro-batches of a share.
func (s *Score) forward(ctx context.Context, model *bert.Model, b share, added func()) error {
	if b.err != nil {
		return b.err
	}
	for _, micro := range b.micros {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := model.Forward(micro, bert.Objective{})
		if err != nil {
			return err
		}
		s.add(r, len(micro.IDs))
		added()
	}
	return nil
}

func (s *Score) add(r bert.Result, tokens int) {
	s.Sequences += int64(r.Sequences)
	s.Tokens += int64(tokens)
	s.Masked += int64(r.Masked)
	s.MLMCorrect += int64(r.MLMCorrect)
	s.NSPCorrect += int64(r.NSPCorrect)
	s.MLMLossSum += r.MLMLossSum
	s.NSPLossSum += r.NSPLossSum
}

// sum makes the score that of all ranks, its time that of the slowest.
func (s *Score) sum(c comm.Comm) error {
	counts := []int64{s.Sequences, s.Tokens, s.Masked, s.MLMCorrect, s.NSPCorrect}
	if err := c.AllreduceInt64(counts); err != nil {
		return err
	}
	losses := make([]float64, 2+c.Size())
	losses[0], losses[1], losses[2+c.Rank()] = s.MLMLossSum, s.NSPLossSum, s.Seconds
	if err := c.AllreduceFloat64(losses); err != nil {
		return err
	}
	*s = Score{Sequences: counts[0], Tokens: counts[1], Masked: counts[2], MLMCorrect: counts[3], NSPCorrect: counts[4], MLMLossSum: losses[0], NSPLossSum: losses[1]}
	for _, seconds := range losses[2:] {
		s.Seconds = max(s.Seconds, seconds)
	}
	if total := s.MLMLossSum + s.NSPLossSum; math.IsNaN(total) || math.IsInf(total, 0) {
		return errors.New("the loss is not finite")
	}
	return nil
}
