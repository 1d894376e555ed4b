package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/finetune"
	"hpcbert/lib/train"
)

// dryRun prints what would be done, or fails as that would. All ranks call it.
func (j *job) dryRun(ctx context.Context) error {
	t, err := finetune.New(j.Training(j.env, j.model, j.Seed, j.Output), j.model.Config, head, j.model.Device, j.comm)
	if err != nil {
		return err
	}
	defer t.Close()
	var f train.Forecast
	if j.Train {
		if f, err = t.Foresee(ctx, j.training); err != nil {
			return err
		}
	}
	if j.comm.Rank() == 0 {
		err = j.describe(&f)
	}
	return comm.Together(j.comm, err)
}

func (j *job) describe(f *train.Forecast) error {
	w := tabwriter.NewWriter(j.env.Stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, a ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, a...)) }
	row("model", "%s: %d layers x %d, vocabulary %d, %s", start(j.model.Checkpoint), j.model.Config.NumHiddenLayers, j.model.Config.HiddenSize, j.model.Config.VocabSize,
		map[bool]string{true: "uncased", false: "cased"}[j.model.LowerCase])
	row("ranks", "%d x %d thread(s), %s, %s", j.comm.Size(), j.model.Device.Threads(), j.model.Device.Name(), j.Precision)
	row("windows", "up to %d tokens, %d apart, %d of the question", j.Length, j.Stride, j.MaxQuery)
	if j.Train {
		row("training", "%d questions, %d left out, %d windows", j.trained, len(j.dropped), len(j.training))
		row("update", "%d windows, micro-batches of %d", j.GlobalBatch, j.MicroBatch)
		row("updates", "%d, %d done, learning rate up to %g within %.4g of them, %s", f.End, f.Step, j.LearningRate, j.Warmup, j.Optimizer)
		row("memory", "%s on each rank; a checkpoint has %s", cli.Bytes(f.Total()), cli.Bytes(f.CheckpointBytes))
	}
	if j.answers() {
		row("answering", "%d questions, %d windows, %d at once", len(j.asked), len(j.predicting), j.PredictBatch)
	}
	return w.Flush()
}

// start names what a training starts from.
func start(checkpoint string) string {
	if checkpoint == "" {
		return "random weights"
	}
	return checkpoint
}
