package train

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/plan"
	"hpcbert/lib/pretrain"
)

// Wording is what the text of a forecast needs beside it.
type Wording struct {
	Model     string                     // file of the shape
	Data      *pretrain.Set              // what the model is trained on
	Precision string                     // as the user called it
	Source    func(option string) string // where the value of an option comes from
	MFU       float64                    // share of the peak that earlier steps have reached; 0 = unknown
	MFUFrom   string                     // where that was read
}

// assumedMFU is the share of the peak that a run is taken to reach when no earlier one tells: what models from BERT base on reach with float32.
const assumedMFU = 0.8

// String tells what a rank's memory is for.
func (p Plan) String() string {
	available := "what is available is not known"
	if p.Available < math.MaxInt64 {
		available = fmt.Sprintf("%s available for %d rank(s)", cli.Bytes(p.Available), p.Ranks)
	}
	return fmt.Sprintf("%s: parameters %s, gradients %s, optimizer %s, packed weights %s, activations %s, scratch %s, copy to save %s, data %s; %s", cli.Bytes(p.Total()),
		cli.Bytes(p.Weights), cli.Bytes(p.Gradients), cli.Bytes(p.Optimizer), cli.Bytes(p.Packed), cli.Bytes(p.Activations), cli.Bytes(p.Scratch), cli.Bytes(p.Snapshot), cli.Bytes(p.Data), available)
}

// Rows tells what the run would be, in rows of a word and what there is to say of it.
func (f *Forecast) Rows(w Wording) [][2]string {
	cfg, set := f.config, w.Data
	rows := [][2]string{
		{"model", fmt.Sprintf("%s: %d layers x %d, vocabulary %d, %d parameters", w.Model, cfg.NumHiddenLayers, cfg.HiddenSize, cfg.VocabSize, f.Parameters)},
		{"data", fmt.Sprintf("%s: %d file(s), %d sequences of up to %d tokens and %d predictions; the next %d have %.1f tokens and %.1f predictions on the average",
			set.Dir, len(set.Files), set.TotalRows(), set.Seq, set.MaxPred, f.Looked, f.Tokens, f.Masked)},
		{"start", f.start()},
	}
	rows = append(rows, f.updates(w)...)
	rows = append(rows, f.rates(w)...)
	rows = append(rows, f.Costs(w.Precision, w.Source)...)
	return append(rows, [2]string{"time", f.time(w)})
}

func (f *Forecast) start() string {
	switch {
	case f.Step >= f.run.opt.Steps:
		return fmt.Sprintf("%s: already complete, nothing to do", f.From)
	case f.Step > 0:
		return fmt.Sprintf("%s, step %d of this run", f.From, f.Step)
	case f.From != "":
		return f.From + ", the update count at 0"
	}
	return fmt.Sprintf("random weights, seed %d", f.run.opt.Seed)
}

// left is the number of updates still to be made.
func (f *Forecast) left() int { return max(0, f.End-f.Step) }

func (f *Forecast) updates(w Wording) [][2]string {
	opt := f.run.opt
	b := plan.Batch{Global: opt.GlobalBatch, Micro: opt.MicroBatch, Nodes: 1, Devices: f.run.comm.Size()}
	rows := [][2]string{{"batch", fmt.Sprintf("%d sequences an update (%s); on each of %d rank(s) %d in %d micro-batch(es) of %d (%s)", b.Global, w.Source("global-batch"),
		b.Ranks(), b.Share(), b.Accumulation(), min(b.Micro, b.Share()), w.Source("micro-batch"))}}
	if each, accumulation, exact := b.Reference(); exact {
		rows = append(rows, [2]string{"", fmt.Sprintf("in the original: --train_batch_size=%d --gradient_accumulation_steps=%d", each, accumulation)})
	}
	end := ""
	if f.End < opt.Steps {
		end = fmt.Sprintf(", this run to %d", f.End)
	}
	sequences := float64(f.left()) * float64(b.Global)
	return append(rows, [2]string{"steps", fmt.Sprintf("%d (%s)%s: %.0f sequences to go, %.4g times through the data", opt.Steps, w.Source("steps"), end, sequences,
		sequences/float64(f.run.task.Sequences()))})
}

func (f *Forecast) rates(w Wording) [][2]string {
	s, opt := f.run.schedule, f.run.opt
	warm := 0 // the last update that is warmed up
	for warm < s.Steps && float64(warm+1)/float64(s.Steps) < s.Warmup {
		warm++
	}
	var rates []string
	for _, update := range slices.Compact([]int{1, max(1, warm), min(warm+1, s.Steps), s.Steps}) {
		rates = append(rates, fmt.Sprintf("%.4g in step %d", s.Rate(update), update))
	}
	wire := map[comm.Wire]string{comm.Float32: "fp32", comm.BFloat16: "bf16", comm.Float16: "fp16"}[opt.Reduction.Wire]
	when := map[bool]string{true: "after", false: "overlap"}[opt.Reduction.After]
	return [][2]string{
		{"schedule", fmt.Sprintf("%s (%s), learning rate %g (%s), warm-up %.4g of the steps (%s), to step %d", s.Name, w.Source("schedule"), s.Base, w.Source("learning-rate"), s.Warmup,
			w.Source("warmup"), warm)},
		{"", "learning rate " + strings.Join(rates, ", ")},
		{"optimizer", fmt.Sprintf("%s (%s); gradients travel as %s (%s), all-reduce: %s (%s)", opt.Optimizer.Name, w.Source("optimizer"), wire, w.Source("allreduce-precision"),
			when, w.Source("allreduce"))},
	}
}

// Costs tells what the run takes in that precision: memory, disk. source tells where the value of an option comes from.
func (f *Forecast) Costs(precision string, source func(option string) string) [][2]string {
	room := ""
	if f.Available < math.MaxInt64 {
		room = fmt.Sprintf("; %s available for %d rank(s) on this node", cli.Bytes(f.Available), f.Ranks)
	}
	stored := f.Weights + f.Packed + f.Gradients
	rows := [][2]string{
		{"precision", fmt.Sprintf("%s (%s) on %s, %d thread(s) a rank", precision, source("precision"), f.run.dev.Name(), f.run.dev.Threads())},
		{"memory", fmt.Sprintf("%s a rank: activations %s, weights and gradients %s, optimizer %s, the rest %s%s", cli.Bytes(f.Total()), cli.Bytes(f.Activations), cli.Bytes(stored),
			cli.Bytes(f.Optimizer), cli.Bytes(f.Total()-f.Activations-stored-f.Optimizer), room)},
	}
	if f.run.opt.SaveNothing {
		return append(rows, [2]string{"checkpoints", "none (--skip-checkpoint)"})
	}
	every := "at the end"
	if f.run.opt.SaveEvery > 0 && f.left() > 0 {
		every = fmt.Sprintf("every %d steps", f.run.opt.SaveEvery)
	}
	count, kept := f.checkpoints()
	return append(rows, [2]string{"checkpoints", fmt.Sprintf("%d, %s (%s), %s each, %d of them kept in %s; %s free there", count, every, source("save-every"),
		cli.Bytes(f.CheckpointBytes), kept, f.run.opt.Out, cli.Bytes(f.FreeBytes))})
}

// checkpoints returns how many the run would write, and how many of them it would keep.
func (f *Forecast) checkpoints() (count, kept int) {
	every := cmp.Or(f.run.opt.SaveEvery, f.End)
	if f.left() > 0 {
		count = (f.End+every-1)/every - f.Step/every
	}
	if kept = count; f.run.opt.Keep > 0 {
		kept = min(count, f.run.opt.Keep)
	}
	return count, kept
}

// CheckRoom warns where the disk has no room for the checkpoints.
func (f *Forecast) CheckRoom() {
	count, kept := f.checkpoints()
	if need := int64(kept+1) * f.CheckpointBytes; count > 0 && !f.run.opt.SaveNothing && f.FreeBytes > 0 && need > f.FreeBytes {
		f.run.opt.Warn("%s: %s free; %d checkpoints and one being written take %s", f.run.opt.Out, cli.Bytes(f.FreeBytes), kept, cli.Bytes(need))
	}
}

// time tells how long the run takes, from the peak just measured and the share of it that an earlier run reached.
func (f *Forecast) time(w Wording) string {
	update := f.FLOPs * float64(f.run.opt.GlobalBatch)
	work := fmt.Sprintf("%s a sequence, %s an update, %s in all", operations(f.FLOPs), operations(update), operations(float64(f.left())*update))
	if f.PeakGFLOPS == 0 {
		return work + "; the peak of this device is not known"
	}
	share, from := assumedMFU, "assumed; --measured METRICS tells better"
	if w.MFU > 0 {
		share, from = w.MFU, "the median of "+w.MFUFrom
	}
	seconds := update * 1e-9 / (f.PeakGFLOPS * share)
	whole := time.Duration(seconds * float64(f.left()) * float64(time.Second))
	return fmt.Sprintf("%s in all, %.3g s a step: %s, at %.0f %% (%s) of the %.0f GFLOP/s just measured; without communication between ranks", cli.Duration(whole), seconds, work,
		100*share, from, f.PeakGFLOPS)
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
