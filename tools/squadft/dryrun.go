package main

import (
	"context"
	"fmt"

	"hpcbert/lib/launch"
)

// dryRun prints what would be done, or fails as that would. All ranks call it.
func (j *job) dryRun(ctx context.Context) error {
	training, err := j.Foresee(ctx, j.env, j.comm, j.Training(j.env, j.model, j.Seed, j.Output), j.model, head, j.training)
	if err != nil || j.comm.Rank() != 0 {
		return err
	}
	cfg, text := j.model.Config, "cased"
	if j.model.LowerCase {
		text = "uncased"
	}
	rows := [][2]string{
		{"model", fmt.Sprintf("%s: %d layers x %d, vocabulary %d, %s", j.model.Start(), cfg.NumHiddenLayers, cfg.HiddenSize, cfg.VocabSize, text)},
		{"ranks", fmt.Sprintf("%d x %d thread(s)", j.comm.Size(), j.model.Device.Threads())},
		{"windows", fmt.Sprintf("up to %d tokens, %d apart, %d of the question", j.Length, j.Stride, j.MaxQuery)},
	}
	if j.Train {
		rows = append(rows, [2]string{"training", fmt.Sprintf("%d questions, %d left out, %d windows, %g times", j.trained, len(j.dropped), len(j.training), j.Epochs)})
		rows = append(rows, training...)
	}
	if j.answers() {
		rows = append(rows, [2]string{"answering", fmt.Sprintf("%d questions, %d windows, %d at once", len(j.asked), len(j.predicting), j.PredictBatch)})
	}
	if err := launch.PrintRows(j.env, rows); err != nil {
		return err
	}
	j.env.Summaryf("nothing was written")
	return nil
}
