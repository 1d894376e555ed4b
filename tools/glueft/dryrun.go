package main

import (
	"context"
	"fmt"
	"strings"

	"hpcbert/lib/finetune"
	"hpcbert/lib/launch"
)

// dryRun prints on standard output what a run would be. What would make it fail is an error here. All ranks call it.
func (j *job) dryRun(ctx context.Context) error {
	var examples []finetune.Example
	if j.train != nil {
		examples = j.train.examples
	}
	opt := j.Training(j.env, j.model, j.Seed, j.Output)
	opt.Labels = j.task.Labels
	training, err := j.Foresee(ctx, j.env, j.comm, opt, j.model, j.head(), examples)
	if err != nil || j.comm.Rank() != 0 {
		return err
	}
	cfg, text := j.model.Config, "upper and lower case"
	if j.model.LowerCase {
		text = "lower case"
	}
	rows := [][2]string{
		{"task", fmt.Sprintf("%s: %d output(s); %s", j.task.Name, j.task.Outputs(), strings.Join(j.task.Labels, ", "))},
		{"model", fmt.Sprintf("%s: %d layers x %d, %d parameters", j.model.Start(), cfg.NumHiddenLayers, cfg.HiddenSize, j.parameters())},
		{"text", fmt.Sprintf("%s, %d pieces in %s", text, j.model.Tokenizer.Vocabulary().Size(), j.model.Vocabulary)},
	}
	if j.train != nil {
		rows = append(rows, [2]string{"train", fmt.Sprintf("%s: %d examples, %d tokens, %g times", j.train.Path, len(j.train.examples), j.train.tokens(), j.Epochs)})
		rows = append(rows, training...)
	}
	for _, p := range append(j.dev, j.test...) {
		rows = append(rows, [2]string{"predict", fmt.Sprintf("%s: %d examples, %d tokens, in batches of %d", p.Path, len(p.examples), p.tokens(), j.PredictBatch)})
	}
	if err := launch.PrintRows(j.env, rows); err != nil {
		return err
	}
	j.env.Summaryf("nothing was written")
	return nil
}
