package main

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"hpcbert/lib/finetune"
	"hpcbert/lib/plan"
)

// dryRun prints on standard output what a run would be. What would make it fail is an error here.
func (j *job) dryRun() error {
	opt := j.Training(j.env, j.model, j.Seed, j.Output)
	opt.Labels = j.task.Labels
	t, err := finetune.New(opt, j.model.Config, j.head(), j.model.Device, j.comm)
	if err != nil {
		return err
	}
	defer t.Close()
	if j.comm.Rank() != 0 {
		return nil
	}
	cfg, start := j.model.Config, j.model.Checkpoint
	if start == "" {
		start = "random weights"
	}
	text := "upper and lower case"
	if j.model.LowerCase {
		text = "lower case"
	}
	rows := [][2]string{
		{"task", fmt.Sprintf("%s: %d output(s); %s", j.task.Name, j.task.Outputs(), strings.Join(j.task.Labels, ", "))},
		{"model", fmt.Sprintf("%s: %d layers x %d, %d parameters", start, cfg.NumHiddenLayers, cfg.HiddenSize, j.parameters())},
		{"text", fmt.Sprintf("%s, %d pieces in %s", text, j.model.Tokenizer.Vocabulary().Size(), j.model.Vocabulary)},
	}
	if j.train != nil {
		rows = append(rows, j.describeTraining()...)
	}
	for _, p := range append(j.dev, j.test...) {
		rows = append(rows, [2]string{"predict", fmt.Sprintf("%s: %d examples, %d tokens, in batches of %d", p.Path, len(p.examples), p.tokens(), j.PredictBatch)})
	}
	out := tabwriter.NewWriter(j.env.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(out, "%s\t%s\n", row[0], row[1])
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write standard output: %w", err)
	}
	j.env.Summaryf("nothing was written")
	return nil
}

// describeTraining tells what is learnt.
func (j *job) describeTraining() [][2]string {
	b := plan.Batch{Global: j.GlobalBatch, Micro: j.MicroBatch, Nodes: 1, Devices: j.comm.Size()}
	updates := int(math.Ceil(float64(len(j.train.examples)) * j.Epochs / float64(j.GlobalBatch)))
	if j.MaxSteps > 0 {
		updates = min(updates, int(j.MaxSteps))
	}
	seeds := fmt.Sprint(j.Seed)
	if len(j.Seeds) > 0 {
		seeds = fmt.Sprint([]uint64(j.Seeds))
	}
	rows := [][2]string{
		{"train", fmt.Sprintf("%s: %d examples, %d tokens, %g times", j.train.Path, len(j.train.examples), j.train.tokens(), j.Epochs)},
		{"batch", fmt.Sprintf("%d sequences an update; on each of %d rank(s) %d in %d micro-batch(es) of %d", b.Global, b.Devices, b.Share(), b.Accumulation(), min(b.Micro, b.Share()))},
	}
	if each, accumulation, exact := b.Reference(); exact {
		rows = append(rows, [2]string{"", fmt.Sprintf("in the original: --train_batch_size=%d --gradient_accumulation_steps=%d", each, accumulation)})
	}
	return append(rows, [2]string{"updates", fmt.Sprintf("%d of %s, %s, %s learning rate %g with %g of the updates to warm up; seed %s", updates, j.Optimizer, j.Precision, j.Schedule,
		j.LearningRate, j.Warmup, seeds)})
}
