package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
	"hpcbert/lib/comm/commtest"
	"hpcbert/lib/fault"
	"hpcbert/lib/optim"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/train"
)

// trainHere trains the small model on the small data with ranks that are goroutines of this process, and returns their errors: options that no
// flag gives, and faults on one rank.
func trainHere(t *testing.T, ranks int, out string, change func(rank int, o *train.Options)) []error {
	t.Helper()
	return commtest.Run(ranks, func(c comm.Comm) error {
		return trainRank(t.Context(), c, out, func(o *train.Options) { change(c.Rank(), o) })
	})
}

// trainRank trains as one of the ranks.
func trainRank(ctx context.Context, c comm.Comm, out string, change func(o *train.Options)) error {
	cfg, err := bert.ReadConfig(filepath.Join(work, "small.json"))
	if err != nil {
		return err
	}
	set, err := pretrain.OpenSet(filepath.Join(work, "hdf5"))
	if err != nil {
		return err
	}
	cfg.VocabSize = set.VocabSize
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1, Crowded: true})
	if err != nil {
		return err
	}
	o := train.Options{Out: out, Seed: 42, GlobalBatch: 16, MicroBatch: 2, Steps: 6, SaveEvery: 3, LogEvery: 1, Optimizer: optim.Defaults(),
		Schedule: optim.Schedule{Name: "polynomial", Base: 6e-3, Warmup: 0.1, Degree: 0.5}, Memory: math.MaxInt64,
		Warn: func(string, ...any) {}, Planned: func(train.Plan) {}}
	change(&o)
	tr, err := train.New(o, cfg, set, dev, c)
	if err != nil {
		return err
	}
	defer tr.Close()
	if err := tr.SameOnAllRanks(); err != nil {
		return err
	}
	_, err = tr.Run(ctx, func() bool { return false })
	return err
}

func mustTrain(t *testing.T, ranks int, out string, change func(o *train.Options)) {
	t.Helper()
	errs := trainHere(t, ranks, out, func(_ int, o *train.Options) { change(o) })
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func asIs(*train.Options) {}

// sameLosses compares the losses of two runs.
func sameLosses(t *testing.T, what, got, want string, tolerance float64) {
	t.Helper()
	a, b := steps(t, got), steps(t, want)
	if len(a) != len(b) {
		t.Fatalf("%s: %d steps, expected %d", what, len(a), len(b))
	}
	for i := range a {
		if e := relative(a[i].Loss, b[i].Loss); !(e <= tolerance) {
			t.Errorf("%s, step %d: loss %v, expected %v (%.1e)", what, i+1, a[i].Loss, b[i].Loss, e)
		}
	}
}

func TestReductionsChangeOnlyRounding(t *testing.T) {
	needData(t)
	alone := t.TempDir()
	mustTrain(t, 1, alone, asIs)
	for _, ranks := range []int{1, 2, 3, 4} {
		overlap := t.TempDir()
		mustTrain(t, ranks, overlap, asIs)
		sameLosses(t, fmt.Sprint(ranks, " ranks"), overlap, alone, 1e-6)
		for _, reduction := range []train.Reduction{{After: true}, {Shard: true}, {Shard: true, After: true}} {
			what := fmt.Sprintf("%d ranks, %+v", ranks, reduction)
			out := t.TempDir()
			mustTrain(t, ranks, out, func(o *train.Options) { o.Reduction = reduction })
			sameLosses(t, what, out, overlap, 1e-6)
			if ranks == 1 || !reduction.Shard { // the sums have the same terms in the same order
				sameFiles(t, filepath.Join(out, "step-00000006"), filepath.Join(overlap, "step-00000006"))
			}
		}
		for wire, tolerance := range map[comm.Wire]float64{comm.BFloat16: 5e-3, comm.Float16: 1e-3} {
			for _, shard := range []bool{false, true} {
				out := t.TempDir()
				mustTrain(t, ranks, out, func(o *train.Options) {
					o.Reduction, o.Scaling = train.Reduction{Wire: wire, Shard: shard}, optim.Scaling{Start: 1024}
				})
				what := fmt.Sprintf("%d ranks, form %d, shard %v", ranks, wire, shard)
				sameLosses(t, what, out, alone, tolerance)
				if got, want := steps(t, out)[5].Loss, steps(t, overlap)[5].Loss; (got == want) != (ranks == 1) {
					t.Errorf("%s: last loss %v, unrounded %v", what, got, want)
				}
			}
		}
	}
}

// Who has which moments is no matter of the checkpoint: a run goes on with any number of ranks, in parts or not.
func TestPartsGoOnAsAnyOther(t *testing.T) {
	needData(t)
	shapes := []struct {
		ranks int
		shard bool
	}{{1, false}, {1, true}, {2, false}, {2, true}, {3, true}, {4, true}}
	whole := make([]string, len(shapes))
	for i, s := range shapes {
		whole[i] = t.TempDir()
		mustTrain(t, s.ranks, whole[i], func(o *train.Options) { o.Reduction.Shard = s.shard })
	}
	for i, first := range shapes {
		for j, second := range shapes {
			what := fmt.Sprintf("%+v, then %+v", first, second)
			out := t.TempDir()
			must(t, "cp -r "+whole[i]+"/step-00000003 "+whole[i]+"/metrics.jsonl "+out)
			mustTrain(t, second.ranks, out, func(o *train.Options) { o.Reduction.Shard = second.shard })
			sameLosses(t, what, out, whole[j], 1e-6)
			if i == j {
				sameFiles(t, filepath.Join(out, "step-00000006"), filepath.Join(whole[j], "step-00000006"))
			}
		}
	}
}

// Under mpirun: ranks that are killed and other numbers of ranks, with parts; gradients that travel in half.
func TestPartsUnderMPI(t *testing.T) {
	needMPI(t)
	needData(t)
	whole, killed, other := t.TempDir(), t.TempDir(), t.TempDir()
	options := "--steps 8 --save-every 4 --keep 0 --shard-optimizer "
	must(t, trainLine(2, whole, options))
	for out, ranks := range map[string]int{killed: 2, other: 3} {
		must(t, "cp -r "+whole+"/step-00000004 "+whole+"/metrics.jsonl "+out)
		if r := must(t, trainLine(ranks, out, options)); !strings.Contains(r.stderr, "going on from step 4") {
			t.Errorf("%d ranks did not go on:\n%s", ranks, r.stderr)
		}
	}
	sameFiles(t, filepath.Join(killed, "step-00000008"), filepath.Join(whole, "step-00000008"))
	sameLosses(t, "3 ranks", other, whole, 1e-5)
	plain := t.TempDir()
	must(t, trainLine(0, plain, "--steps 8 --save-every 0"))
	sameLosses(t, "2 ranks with parts", whole, plain, 1e-5)
	for _, c := range []struct {
		options   string
		tolerance float64
	}{{"--allreduce after", 1e-5}, {"--allreduce-precision bf16", 5e-3}, {"--allreduce-precision fp16 --loss-scale 1024", 1e-3}, {"--allreduce-precision fp16 --loss-scale 1024 --shard-optimizer", 1e-3}} {
		out := t.TempDir()
		must(t, trainLine(2, out, "--steps 8 --save-every 0 "+c.options))
		sameLosses(t, c.options, out, plain, c.tolerance)
	}
	out := t.TempDir()
	r := must(t, trainLine(2, out, "--steps 8 --save-every 0 --allreduce-precision fp16 --init-loss-scale 1048576"))
	if lines := steps(t, out); lines[7].Skipped < 1 || strings.Count(r.stderr, "the gradients overflow with loss scale") != lines[7].Skipped {
		t.Errorf("a scale of 2^20 in half: %+v\n%s", lines, r.stderr)
	}
}

// A loss scale that is a power of two changes no bit in float32.
func TestLossScaleAloneChangesNothing(t *testing.T) {
	needData(t)
	plain := t.TempDir()
	mustTrain(t, 2, plain, asIs)
	for _, scaling := range []optim.Scaling{{Start: 1024}, {Start: 0x1p-10}, optim.DynamicScaling()} {
		out := t.TempDir()
		mustTrain(t, 2, out, func(o *train.Options) { o.Scaling = scaling })
		for _, name := range []string{"model.safetensors", "optimizer-00000-of-00001.safetensors"} {
			a, b := contents(t, plain, "step-00000006", name), contents(t, out, "step-00000006", name)
			if a != b {
				t.Errorf("scaling %+v: %s differs", scaling, name)
			}
		}
	}
}

func contents(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The first updates overflow in half precision: they are skipped, use data up, and take no step; a run that is cut anywhere goes on to the
// same bytes.
func TestSkippedUpdates(t *testing.T) {
	needData(t)
	half := func(o *train.Options) {
		o.Mode = bert.Float16
		o.Scaling = optim.Scaling{Start: 0x1p32, Dynamic: true, Cap: 0x1p32, Floor: 1, Window: 2, MaxSkips: 30}
		o.SaveEvery = 1
	}
	whole := t.TempDir()
	mustTrain(t, 2, whole, half)
	lines := steps(t, whole)
	if len(lines) != 6 || lines[0].Skipped < 2 || lines[5].Skipped <= lines[0].Skipped {
		t.Fatalf("expected skips before the first step and, as the scale doubles every two, later: %+v", lines)
	}
	schedule := optim.Schedule{Name: "polynomial", Base: 6e-3, Warmup: 0.1, Degree: 0.5, Steps: 6}
	for i, l := range lines {
		if l.Step != i+1 || l.LearningRate != schedule.Rate(i+1) {
			t.Errorf("line %d: %+v", i+1, l)
		}
	}
	for step := 1; step < 6; step++ {
		var state struct{ Samples, Step int }
		if err := json.Unmarshal([]byte(contents(t, whole, fmt.Sprintf("step-%08d", step), "trainer.json")), &state); err != nil {
			t.Fatal(err)
		}
		if want := 16 * (step + lines[step-1].Skipped); state.Samples != want || state.Step != step {
			t.Errorf("step %d: trainer.json says step %d, %d samples, expected %d", step, state.Step, state.Samples, want)
		}
		out := t.TempDir()
		must(t, fmt.Sprintf("cp -r %s/step-%08d %s/metrics.jsonl %s", whole, step, whole, out))
		mustTrain(t, 2, out, half)
		sameFiles(t, filepath.Join(out, "step-00000006"), filepath.Join(whole, "step-00000006"))
	}
}

// What is not finite ends the run at once: the rank where it arose names the first bad tensor, the checkpoint before stays the newest.
func TestWhatIsNotFiniteEndsTheRun(t *testing.T) {
	needData(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	const parameters = "encoder.layer.1.attention.self.key"
	at := func(name string) int { return offsetOf(t, name) }
	weight, bias := at("bert."+parameters+".weight"), at("bert."+parameters+".bias")
	for _, c := range []struct {
		what   string
		hooks  train.Hooks
		change func(o *train.Options)
		want   string // in the error
	}{
		{"gradient", train.Hooks{Gradients: put(4, map[int]float32{bias + 1: nan, weight + 7: inf})}, asIs, "the gradient of bert." + parameters + ".weight is not finite"},
		{"gradient, after", train.Hooks{Gradients: put(4, map[int]float32{bias: inf})}, func(o *train.Options) { o.Reduction.After = true }, "the gradient of bert." + parameters + ".bias"},
		{"gradient, parts", train.Hooks{Gradients: put(4, map[int]float32{bias: nan})}, func(o *train.Options) { o.Reduction.Shard = true }, "the gradient of bert." + parameters + ".bias"},
		{"gradient, static scale", train.Hooks{Gradients: put(4, map[int]float32{bias: nan})}, func(o *train.Options) { o.Scaling.Start = 8 }, "(the loss scale 8 is static)"},
		{"weight", train.Hooks{Weights: putWeight(4, weight, nan)}, asIs, "the weight bert." + parameters + ".weight is not finite"},
		{"weight, dynamic scale", train.Hooks{Weights: putWeight(4, weight, inf)}, dynamicHalf, "the weight bert." + parameters + ".weight is not finite"},
		{"NaN weight, dynamic scale", train.Hooks{Weights: putWeight(4, weight, nan)}, dynamicHalf, "the weight bert." + parameters + ".weight is not finite"},
		{"data", train.Hooks{Batch: func(step int, b *bert.Batch) {
			if step == 4 {
				b.IDs[0] = 1 << 20
			}
		}}, asIs, "1048576"},
	} {
		for _, ranks := range []int{1, 3} {
			out := t.TempDir()
			bad := ranks - 1
			errs := trainHere(t, ranks, out, func(rank int, o *train.Options) {
				if c.change(o); rank == bad {
					o.Hooks = c.hooks
				}
			})
			for rank, err := range errs {
				told := err != nil && fault.KindOf(err) != fault.Elsewhere && !errors.Is(err, commtest.ErrAborted)
				if told != (rank == bad) {
					t.Errorf("%s, %d ranks: rank %d: %v", c.what, ranks, rank, err)
				}
			}
			if err := errs[bad]; err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "step 4: ") {
				t.Errorf("%s, %d ranks: %v, expected %q", c.what, ranks, err, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(out, "*step-*")); !slices.Equal(left, []string{filepath.Join(out, "step-00000003")}) {
				t.Errorf("%s, %d ranks: checkpoints %v", c.what, ranks, left)
			}
		}
	}
}

// put writes values into gradients of a step, by their place in the arena.
func put(step int, values map[int]float32) func(step, first int, stretch []float32) {
	return func(now, first int, stretch []float32) {
		for at, v := range values {
			if now == step && at >= first && at < first+len(stretch) {
				stretch[at-first] = v
			}
		}
	}
}

// putWeight puts a value into the weights at each try of an update.
func putWeight(step, at int, value float32) func(step int, arena []float32) {
	return func(now int, arena []float32) {
		if now == step {
			arena[at] = value
		}
	}
}

// dynamicHalf skips three updates that overflow, and then gives up.
func dynamicHalf(o *train.Options) {
	o.Mode, o.Scaling = bert.Float16, optim.DynamicScaling()
	o.Scaling.MaxSkips = 3
}

func offsetOf(t *testing.T, name string) int {
	t.Helper()
	cfg, err := bert.ReadConfig(filepath.Join(work, "small.json"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.VocabSize = 2000
	for _, p := range cfg.Params() {
		if p.Name == name {
			return p.Offset
		}
	}
	t.Fatalf("no parameter %s", name)
	return 0
}

// So are those that would meet at other times, or bring other things: one would wait for ever.
func TestRanksThatMeetOtherwiseAreRefused(t *testing.T) {
	needData(t)
	for what, other := range map[string]func(o *train.Options){
		"end of the run": func(o *train.Options) { o.Until = 4 },
		"micro-batch":    func(o *train.Options) { o.MicroBatch = 1 },
		"checkpoints":    func(o *train.Options) { o.SaveEvery = 2 },
		"no checkpoints": func(o *train.Options) { o.SaveNothing = true },
		"metrics":        func(o *train.Options) { o.LogEvery = 2 },
		"order of sums":  func(o *train.Options) { o.Reduction.After = true },
		"form of sums":   func(o *train.Options) { o.Reduction.Wire = comm.BFloat16 },
		"parts":          func(o *train.Options) { o.Reduction.Shard = true },
		"end of skipping": func(o *train.Options) {
			o.Scaling = optim.Scaling{Start: 1, Dynamic: true, Cap: 1, Floor: 1, Window: 1, MaxSkips: 1}
		},
		"verification":         func(o *train.Options) { o.VerifyEvery = 1 },
		"moments of the start": func(o *train.Options) { o.ResetMoments = true },
	} {
		out := t.TempDir()
		errs := trainHere(t, 3, out, func(rank int, o *train.Options) {
			if rank == 1 {
				other(o)
			}
		})
		if errs[1] == nil || !strings.Contains(errs[1].Error(), "rank 1 on testhost is at step 0 with other options") {
			t.Errorf("%s: %v", what, errs[1])
		}
		if left, _ := filepath.Glob(filepath.Join(out, "*")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", what, left)
		}
	}
}

// A gradient that is finite on each rank and not in the sum is nobody's: a scale that is too large for half precision on the way.
func TestSumThatOverflows(t *testing.T) {
	needData(t)
	told := 0
	errs := trainHere(t, 2, t.TempDir(), func(rank int, o *train.Options) {
		o.Reduction.Wire, o.Scaling = comm.Float16, optim.Scaling{Start: 0x1p30}
	})
	for _, err := range errs {
		if err != nil && strings.Contains(err.Error(), "the sum over the ranks of the gradient of bert.") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times: %v", told, errs)
	}
}

// Weights that are not finite after an update are not saved.
func TestBadWeightsAreNotSaved(t *testing.T) {
	needData(t)
	out := t.TempDir()
	errs := trainHere(t, 1, out, func(_ int, o *train.Options) {
		o.Optimizer.Name, o.Optimizer.WeightDecay = "adamw", 1e6 // a step beyond the range of float32
		o.Schedule.Base, o.SaveEvery = math.MaxFloat32, 1
	})
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "save step 1: the weight bert.") {
		t.Error(errs[0])
	}
	if left, _ := filepath.Glob(filepath.Join(out, "*step-*")); len(left) > 0 {
		t.Errorf("saved: %v", left)
	}
}
