package launch

import (
	"context"
	"fmt"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/finetune"
	"hpcbert/lib/train"
)

// Session is a model that was trained for a task, if that was asked for, and predicts.
type Session struct {
	Trained   *Trained // nil: it was not
	Latencies Latencies

	env   *cli.Env
	comm  comm.Comm
	tuner *finetune.Tuner
	bar   *cli.Progress
}

// Trained is what a training did.
type Trained struct {
	train.Summary
	Seconds    float64
	EpochLoss  float64 // mean over the updates of the last time through the data
	EpochSteps int     // how many those are
}

// Begin makes a model with that head, ready to predict, and trains it before if the options say so. All ranks call it. One that is told to stop
// saves and returns the outcome as an error.
func (o *Tuning) Begin(ctx context.Context, env *cli.Env, c comm.Comm, opt finetune.Options, m *Model, head finetune.Head, examples []finetune.Example, stop *cli.Stop) (*Session, error) {
	s := &Session{env: env, comm: c}
	losses := &recent{most: max(1, (len(examples)+o.GlobalBatch-1)/o.GlobalBatch)}
	opt.Notify = func(r train.Report) {
		losses.add(r.Loss)
		s.bar.Set(int64(r.Step), fmt.Sprintf("of %d, loss %.4f, learning rate %.3g, %.1f sequences/s", r.Steps, r.Loss, r.LearningRate, r.SequencesPerSecond))
	}
	opt.Predicted = s.predicted
	var err error
	if s.tuner, err = finetune.New(opt, m.Config, head, m.Device, c); err != nil || !o.Train {
		return s, err
	}
	began := time.Now()
	s.bar = env.Progress("training", "steps", 0)
	summary, err := s.tuner.Train(ctx, examples, stop.Asked)
	s.bar.Finish()
	switch {
	case err != nil:
		err = Abort(env, c, err)
	case summary.Stopped:
		err = stop.Outcome()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	if summary.LastStep < summary.FirstStep {
		env.Infof("%s: already complete at step %d, nothing to train", opt.Out, summary.LastStep)
		return s, nil
	}
	if summary.Skipped > 0 {
		env.Infof("%d updates skipped: their gradients overflowed", summary.Skipped)
	}
	s.Trained = &Trained{Summary: summary, Seconds: time.Since(began).Seconds(), EpochLoss: losses.mean(), EpochSteps: len(losses.values)}
	env.Infof("%d steps to step %d, %d sequences, %d tokens, %.1f sequences/s; loss %.4f", summary.LastStep-summary.FirstStep+1, summary.LastStep, summary.Sequences, summary.Tokens,
		float64(summary.Sequences)/s.Trained.Seconds, summary.LastLoss)
	return s, nil
}

// Predict returns the logits of the examples. All ranks call it.
func (s *Session) Predict(ctx context.Context, what string, examples []finetune.Example) ([][]float32, error) {
	s.Latencies = Latencies{}
	s.bar = s.env.Progress("predicting "+what, "sequences", int64(len(examples)))
	defer s.bar.Finish()
	outputs, err := s.tuner.Predict(ctx, examples)
	if err != nil {
		return nil, Abort(s.env, s.comm, err)
	}
	return outputs, nil
}

func (s *Session) predicted(p finetune.Predicted) {
	s.Latencies.Add(p.Took, p.Sequences)
	s.bar.Set(int64(p.Done*s.comm.Size()), "")
}

// Close releases the device's memory.
func (s *Session) Close() { s.tuner.Close() }

// recent keeps the last of many values.
type recent struct {
	most   int
	values []float64
}

func (r *recent) add(x float64) {
	if r.values = append(r.values, x); len(r.values) > r.most {
		r.values = r.values[1:]
	}
}

func (r *recent) mean() float64 {
	sum := 0.0
	for _, x := range r.values {
		sum += x
	}
	return sum / float64(max(1, len(r.values)))
}
