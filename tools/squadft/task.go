package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/finetune"
	"hpcbert/lib/launch"
	"hpcbert/lib/squad"
)

// task is the questions as the model reads them.
type task struct {
	training []finetune.Example // windows
	trained  int                // questions that they are of
	dropped  []squad.Dropped

	data       *squad.Data // to be answered
	asked      []squad.Example
	windows    []squad.Window // of those
	predicting []finetune.Example
}

// read reads the files and makes the windows.
func (o *options) read(ctx context.Context, env *cli.Env, m *launch.Model) (*task, error) {
	t := &task{}
	converter := squad.NewConverter(m.Tokenizer, o.windowing())
	if o.Train {
		data, err := readQuestions(ctx, env, o.TrainFile)
		if err != nil {
			return nil, err
		}
		var examples []squad.Example
		if examples, t.dropped, err = data.Training(o.Version2); err != nil {
			return nil, err
		}
		windows, err := converter.Windows(ctx, examples, env.Threads())
		if err != nil {
			return nil, err
		}
		if t.training, t.trained = sequences(windows), len(examples); len(windows) == 0 {
			return nil, fmt.Errorf("%s: nothing to train on", o.TrainFile)
		}
	}
	if o.answers() {
		if err := o.ask(ctx, env, t, converter); err != nil {
			return nil, err
		}
	}
	t.say(env, o.Detail)
	return t, nil
}

func readQuestions(ctx context.Context, env *cli.Env, name string) (*squad.Data, error) {
	data, err := squad.Read(ctx, name, env.Stdin)
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.WithHint(err, "getdata squad fetches the files of SQuAD 1.1 into data/squad/v1.1, getdata squad2 those of 2.0")
	}
	return data, err
}

// ask reads the questions to answer.
func (o *options) ask(ctx context.Context, env *cli.Env, t *task, converter *squad.Converter) (err error) {
	if t.data, err = readQuestions(ctx, env, o.PredictFile); err != nil {
		return err
	}
	if o.Eval && !t.data.Marked() {
		return fault.WithHint(fmt.Errorf("--eval: %s has questions without the key \"answers\"", t.data.Name), "--predict alone answers the questions of a test set")
	}
	if t.data.IsVersion2() && !o.Version2 {
		env.Warnf("%s is SQuAD 2.0, whose unanswerable questions get an answer without --squad2", t.data.Name)
	}
	if t.asked, err = t.data.Asked(); err != nil {
		return err
	}
	if t.windows, err = converter.Windows(ctx, t.asked, env.Threads()); err != nil {
		return err
	}
	if t.predicting = sequences(t.windows); len(t.windows) == 0 {
		return fmt.Errorf("%s: nothing to answer, all contexts are empty", o.PredictFile)
	}
	return nil
}

// answerable returns the number of questions that have windows.
func (t *task) answerable() int {
	n, last := 0, -1
	for _, w := range t.windows {
		if w.Example != last {
			n, last = n+1, w.Example
		}
	}
	return n
}

// sequences are windows as a model learns them.
func sequences(windows []squad.Window) []finetune.Example {
	all := make([]finetune.Example, len(windows))
	for i, w := range windows {
		all[i] = finetune.Example{IDs: w.IDs, Second: w.Second}
		if w.Start <= w.End { // an answer without any piece, as of signs that tokenizing drops, is none
			all[i].Start, all[i].End = w.Start, w.End
		}
	}
	return all
}
