package train

import (
	"strings"
	"testing"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
	"hpcbert/lib/optim"
	"hpcbert/lib/pretrain"
)

// The checkpoints foretold are those that the loop's rule makes, step by step.
func TestCheckpointsForetold(t *testing.T) {
	for _, steps := range []int{1, 7, 10} {
		for _, every := range []int{0, 1, 3, 5, 10, 20} {
			for from := range steps + 1 {
				for _, end := range []int{from, min(from+2, steps), steps} {
					run := &Trainer{opt: Options{Steps: steps, Until: end, SaveEvery: every, Keep: 2}}
					want := 0
					for step := from + 1; step <= end; step++ {
						if run.savedAt(step) {
							want++
						}
					}
					f := Forecast{Step: from, End: end, run: run}
					if count, kept := f.checkpoints(); count != want || kept != min(want, 2) {
						t.Errorf("every %d, from %d to %d of %d: %d, %d kept; expected %d", every, from, end, steps, count, kept, want)
					}
				}
			}
		}
	}
}

func TestRowsOfAForecast(t *testing.T) {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Out: "out", Seed: 7, GlobalBatch: 8, MicroBatch: 4, Steps: 100, SaveEvery: 30, Keep: 3, Optimizer: optim.Options{Name: "lamb"},
		Reduction: Reduction{Wire: comm.Float16, After: true}}
	var warnings []string
	opt.Warn = func(format string, a ...any) { warnings = append(warnings, format) }
	set := &pretrain.Set{Dir: "data", Files: []string{"a"}, Rows: []int{16}, Seq: 64, MaxPred: 10}
	f := Forecast{Parameters: 1000, CheckpointBytes: 12000, FreeBytes: 40000, End: 100, Looked: 16, Tokens: 60, Masked: 9, FLOPs: 5e9, PeakGFLOPS: 100,
		config: &bert.Config{NumHiddenLayers: 2, HiddenSize: 32, VocabSize: 99}, run: &Trainer{opt: opt, comm: comm.Single("node"), dev: dev,
			task:     &pretraining{set: set},
			schedule: optim.Schedule{Name: "linear", Base: 0.5, Warmup: 0.25, Steps: 100, Degree: 1}}}
	text := func(w Wording) string {
		w.Model, w.Data, w.Precision, w.Source = "shape.json", set, "tf32", func(option string) string { return "<" + option + ">" }
		var lines []string
		for _, row := range f.Rows(w) {
			lines = append(lines, row[0]+": "+row[1])
		}
		return strings.Join(lines, "\n")
	}
	got := text(Wording{})
	for _, want := range []string{
		"model: shape.json: 2 layers x 32, vocabulary 99, 1000 parameters\n",
		"start: random weights, seed 7\n",
		"batch: 8 sequences an update (<global-batch>); on each of 1 rank(s) 8 in 2 micro-batch(es) of 4 (<micro-batch>)\n",
		": in the original: --train_batch_size=8 --gradient_accumulation_steps=2\n",
		"steps: 100 (<steps>): 800 sequences to go, 50 times through the data\n",
		"learning rate 0.5 (<learning-rate>), warm-up 0.25 of the steps (<warmup>), to step 24\n",
		": learning rate 0.02 in step 1, 0.48 in step 24, 0.5 in step 25, 0 in step 100\n",
		"gradients travel as fp16 (<allreduce-precision>), all-reduce: after (<allreduce>)\n",
		"precision: tf32 (<precision>) on " + dev.Name() + ", 1 thread(s) a rank\n",
		"checkpoints: 4, every 30 steps (<save-every>), 11.7 KiB each, 3 of them kept in out; 39.1 KiB free there\n",
		"time: 50.0 s in all, 0.5 s a step: 5 GFLOP a sequence, 40 GFLOP an update, 4 TFLOP in all, at 80 % (assumed;",
	} {
		if !strings.Contains(got+"\n", want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got, want := text(Wording{MFU: 0.4, MFUFrom: "m"}), "time: 1 min 40 s in all, 1 s a step: 5 GFLOP a sequence, 40 GFLOP an update, 4 TFLOP in all, at 40 % (the median of m) of"; !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
	for free, want := range map[int64]int{40000: 1, 48000: 0} { // four checkpoints at a time
		warnings = nil
		f.FreeBytes = free
		if f.CheckRoom(); len(warnings) != want {
			t.Errorf("%d bytes free: warnings %q", free, warnings)
		}
	}
}
