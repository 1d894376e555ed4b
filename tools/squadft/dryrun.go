package main

import (
	"fmt"
	"math"
	"text/tabwriter"

	"hpcbert/lib/comm"
)

// dryRun prints what would be done. What could not be read or does not fit together has been refused before.
func (j *job) dryRun() error {
	if j.comm.Rank() != 0 {
		return comm.Together(j.comm, nil)
	}
	w := tabwriter.NewWriter(j.env.Stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, a ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, a...)) }
	row("model", "%s: %d layers x %d, vocabulary %d, %s", j.model.Checkpoint, j.model.Config.NumHiddenLayers, j.model.Config.HiddenSize, j.model.Config.VocabSize,
		map[bool]string{true: "uncased", false: "cased"}[j.model.LowerCase])
	row("ranks", "%d x %d thread(s), %s, %s", j.comm.Size(), j.model.Device.Threads(), j.model.Device.Name(), j.Precision)
	row("windows", "up to %d tokens, %d apart, %d of the question", j.Length, j.Stride, j.MaxQuery)
	if j.Train {
		row("training", "%d questions, %d left out, %d windows", j.trained, len(j.dropped), len(j.training))
		row("update", "%d windows, micro-batches of %d", j.GlobalBatch, j.MicroBatch)
		row("updates", "%d, learning rate up to %g within %.4g of them, %s", j.updates(), j.LearningRate, j.Warmup, j.Optimizer)
	}
	if j.answers() {
		row("answering", "%d questions, %d windows", len(j.asked), len(j.predicting))
	}
	return comm.Together(j.comm, w.Flush())
}

// updates is how many the training has.
func (j *job) updates() int {
	n := int(math.Ceil(float64(len(j.training)) * j.Epochs / float64(j.GlobalBatch)))
	if j.MaxSteps > 0 {
		n = int(j.MaxSteps)
	}
	return n
}
