package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/curve"
	"hpcbert/lib/plan"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/stream"
	"hpcbert/lib/train"
)

// assumedMFU is the share of the peak that a run is taken to reach when no earlier one tells: what models from BERT base on reach with float32.
const assumedMFU = 0.8

// dryRun prints on standard output what a run would be. What would make it fail is an error here.
func (o *options) dryRun(ctx context.Context, env *cli.Env, c comm.Comm, cfg *bert.Config, set *pretrain.Set, dev *kernels.Device) error {
	opt := o.training(env, dev)
	opt.Planned = func(train.Plan) {}
	f, err := train.Foresee(ctx, opt, cfg, set, dev, c)
	if err != nil {
		return err
	}
	if err := o.checkStart(env, f.Step); err != nil || c.Rank() != 0 {
		return err
	}
	rows := [][2]string{
		{"model", fmt.Sprintf("%s: %d layers x %d, vocabulary %d, %d parameters", o.Config, cfg.NumHiddenLayers, cfg.HiddenSize, cfg.VocabSize, f.Parameters)},
		{"data", fmt.Sprintf("%s: %d file(s), %d sequences of up to %d tokens and %d predictions; the next %d have %.1f tokens and %.1f predictions on the average",
			set.Dir, len(set.Files), set.TotalRows(), set.Seq, set.MaxPred, f.Looked, f.Tokens, f.Masked)},
		{"start", o.describeStart(f)},
	}
	rows = append(rows, o.describeUpdates(env, c, f, set)...)
	rows = append(rows, o.describeCosts(env, dev, f)...)
	speed, err := o.describeTime(ctx, env, f)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range append(rows, speed) {
		fmt.Fprintf(out, "%s\t%s\n", row[0], row[1])
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write standard output: %w", err)
	}
	env.Summaryf("would make %d step(s), nothing was written", max(0, f.End-f.Step))
	return nil
}

func (o *options) describeStart(f train.Forecast) string {
	switch {
	case f.Step >= o.Steps:
		return fmt.Sprintf("%s: already complete, nothing to do", f.From)
	case f.Step > 0:
		return fmt.Sprintf("%s, step %d of this run", f.From, f.Step)
	case f.From != "":
		return f.From + ", the update count at 0"
	}
	return fmt.Sprintf("random weights, seed %d", o.Seed)
}

// describeUpdates tells what is learnt: batches, steps, rates.
func (o *options) describeUpdates(env *cli.Env, c comm.Comm, f train.Forecast, set *pretrain.Set) [][2]string {
	b := plan.Batch{Global: o.GlobalBatch, Micro: o.MicroBatch, Nodes: 1, Devices: c.Size()}
	rows := [][2]string{{"batch", fmt.Sprintf("%d sequences an update (%s); on each of %d rank(s) %d in %d micro-batch(es) of %d (%s)", b.Global, o.source(env, "global-batch"),
		c.Size(), b.Share(), b.Accumulation(), min(b.Micro, b.Share()), o.source(env, "micro-batch"))}}
	if each, accumulation, exact := b.Reference(); exact {
		rows = append(rows, [2]string{"", fmt.Sprintf("in the original: --train_batch_size=%d --gradient_accumulation_steps=%d", each, accumulation)})
	}
	end := ""
	if f.End < o.Steps {
		end = fmt.Sprintf(", this run to %d", f.End)
	}
	left := float64(max(0, f.End-f.Step)) * float64(o.GlobalBatch)
	rows = append(rows, [2]string{"steps", fmt.Sprintf("%d (%s)%s: %.0f sequences to go, %.4g times through the data", o.Steps, o.source(env, "steps"), end, left, left/float64(set.TotalRows()))})
	return append(rows, o.describeSchedule(env)...)
}

func (o *options) describeSchedule(env *cli.Env) [][2]string {
	s := o.schedule(o.Steps)
	warm := 0 // the last update that is warmed up
	for warm < o.Steps && float64(warm+1)/float64(o.Steps) < s.Warmup {
		warm++
	}
	var rates []string
	for _, update := range slices.Compact([]int{1, max(1, warm), min(warm+1, o.Steps), o.Steps}) {
		rates = append(rates, fmt.Sprintf("%.4g in step %d", s.Rate(update), update))
	}
	from := o.source(env, "warmup")
	if o.WarmupSteps != nil {
		from = "--warmup-steps"
	}
	return [][2]string{
		{"schedule", fmt.Sprintf("%s (%s), learning rate %g (%s), warm-up %.4g of the steps (%s), to step %d", s.Name, o.source(env, "schedule"), s.Base, o.source(env, "learning-rate"), s.Warmup, from, warm)},
		{"", "learning rate " + strings.Join(rates, ", ")},
		{"optimizer", fmt.Sprintf("%s (%s); gradients travel as %s (%s), all-reduce: %s (%s)", o.Optimizer, o.source(env, "optimizer"), o.Wire, o.source(env, "allreduce-precision"), o.Allreduce, o.source(env, "allreduce"))},
	}
}

// describeCosts tells what it takes: memory, disk.
func (o *options) describeCosts(env *cli.Env, dev *kernels.Device, f train.Forecast) [][2]string {
	room := ""
	if f.Available < math.MaxInt64 {
		room = fmt.Sprintf("; %s available for %d rank(s) on this node", cli.Bytes(f.Available), f.Ranks)
	}
	rows := [][2]string{
		{"precision", fmt.Sprintf("%s (%s) on %s, %d thread(s) a rank", o.Precision, o.source(env, "precision"), dev.Name(), dev.Threads())},
		{"memory", fmt.Sprintf("%s a rank: activations %s, weights and gradients %s, optimizer %s, the rest %s%s", cli.Bytes(f.Total()), cli.Bytes(f.Activations), cli.Bytes(f.Weights+f.Packed+f.Gradients),
			cli.Bytes(f.Plan.Optimizer), cli.Bytes(f.Total()-f.Activations-f.Weights-f.Packed-f.Gradients-f.Plan.Optimizer), room)},
	}
	if o.NoSave {
		return append(rows, [2]string{"checkpoints", "none (--skip-checkpoint)"})
	}
	count, every := 0, "at the end"
	if f.End > f.Step {
		count = 1
	}
	if o.SaveEvery > 0 && count > 0 {
		count = (f.End+o.SaveEvery-1)/o.SaveEvery - f.Step/o.SaveEvery
		every = fmt.Sprintf("every %d steps", o.SaveEvery)
	}
	kept := count
	if o.Keep > 0 {
		kept = min(count, o.Keep)
	}
	if need := int64(kept+1) * f.CheckpointBytes; f.FreeBytes > 0 && need > f.FreeBytes && count > 0 {
		env.Warnf("%s: %s free; %d checkpoints and one being written take %s", o.Output, cli.Bytes(f.FreeBytes), kept, cli.Bytes(need))
	}
	return append(rows, [2]string{"checkpoints", fmt.Sprintf("%d, %s (%s), %s each, %d of them kept in %s; %s free there", count, every, o.source(env, "save-every"),
		cli.Bytes(f.CheckpointBytes), kept, o.Output, cli.Bytes(f.FreeBytes))})
}

// describeTime tells how long it takes, from the peak just measured and the share of it that an earlier run reached.
func (o *options) describeTime(ctx context.Context, env *cli.Env, f train.Forecast) ([2]string, error) {
	update := f.FLOPs * float64(o.GlobalBatch)
	left := float64(max(0, f.End-f.Step))
	work := fmt.Sprintf("%s a sequence, %s an update, %s in all", operations(f.FLOPs), operations(update), operations(left*update))
	share, from := assumedMFU, "assumed; --measured METRICS tells better"
	if o.Measured == "" && f.Step > 0 {
		o.Measured = filepath.Join(o.Output, "metrics.jsonl")
	}
	if o.Measured != "" {
		var err error
		if share, err = medianMFU(ctx, env, o.Measured); err != nil {
			return [2]string{}, err
		}
		from = "the median of " + o.Measured
	}
	if f.PeakGFLOPS == 0 {
		return [2]string{"time", work + "; the peak of this device is not known"}, nil
	}
	seconds := update * 1e-9 / (f.PeakGFLOPS * share)
	whole := time.Duration(seconds * left * float64(time.Second))
	return [2]string{"time", fmt.Sprintf("%s in all, %.3g s a step: %s, at %.0f %% (%s) of the %.0f GFLOP/s just measured; without communication between ranks", cli.Duration(whole), seconds, work,
		100*share, from, f.PeakGFLOPS)}, nil
}

// operations prints a number of floating-point operations.
func operations(n float64) string {
	units := []string{"MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"}
	n *= 1e-6
	i := 0
	for ; n >= 1000 && i < len(units)-1; i++ {
		n /= 1000
	}
	return fmt.Sprintf("%.4g %s", n, units[i])
}

// medianMFU returns what a run reached, its first step left out.
func medianMFU(ctx context.Context, env *cli.Env, name string) (float64, error) {
	in, err := stream.Open(ctx, name, env.Stdin)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	run, err := curve.Read(in, in.Name)
	if err != nil {
		return 0, err
	}
	points := run.Series("mfu")
	if len(points) < 2 {
		return 0, fmt.Errorf("read %s: %d step(s) have a share of the peak, at least two are needed", in.Name, len(points))
	}
	var shares []float64
	for _, p := range points[1:] {
		shares = append(shares, p.Y)
	}
	slices.Sort(shares)
	return shares[len(shares)/2], nil
}
