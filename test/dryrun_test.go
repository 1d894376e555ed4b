package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// found returns the number that a pattern finds in a text.
func found(t *testing.T, text, pattern string) float64 {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %q in\n%s", pattern, text)
	}
	x, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// What --dry-run says is what the run does then, alone and on two ranks; it writes nothing.
func TestDryRunIsTheRun(t *testing.T) {
	needMPI(t)
	needData(t)
	for _, ranks := range []int{0, 2} {
		out := filepath.Join(t.TempDir(), "out")
		line := trainLine(ranks, out, "--steps 16 --save-every 5 --keep 0 --warmup 0.3")
		plan := must(t, line+" --dry-run").stdout
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%d ranks: --dry-run made %s", ranks, out)
		}
		if n := strings.Count(plan, "\nsteps "); n != 1 || strings.Count(plan, "\n") != 13 {
			t.Errorf("%d ranks: %d lines\n%s", ranks, strings.Count(plan, "\n"), plan)
		}
		must(t, line)
		all := steps(t, out)
		saved, _ := filepath.Glob(out + "/step-*")
		var size int64
		for _, name := range []string{"model.safetensors", "optimizer-00000-of-00001.safetensors"} {
			info, err := os.Stat(filepath.Join(out, "step-00000016", name))
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		work := 0.0
		for _, s := range all {
			work += s.GFLOPs * s.Seconds
		}
		for _, c := range []struct {
			pattern string
			want    float64
			within  float64
		}{
			{`, (\d+) parameters\n`, runLine(t, out)["parameters"].(float64), 0},
			{`memory +([0-9.]+) MiB a rank`, runLine(t, out)["memory_bytes"].(float64) / (1 << 20), 0.002},
			{`checkpoints +(\d+), every 5 steps`, float64(len(saved)), 0},
			{`([0-9.]+) MiB each`, float64(size) / (1 << 20), 0.05}, // headers of the files are not counted
			{`learning rate ([0-9.e-]+) in step 1,`, all[0].LearningRate, 1e-3},
			{`, ([0-9.e-]+) in step 4,`, all[3].LearningRate, 1e-3},
			{`, ([0-9.e-]+) in step 5,`, all[4].LearningRate, 1e-3},
			{`, ([0-9.e-]+) in step 16\n`, all[15].LearningRate, 0},
			{`, ([0-9.]+) GFLOP in all`, work, 0.02}, // of the next 256 sequences at most
			{`on each of (\d+) rank`, float64(max(ranks, 1)), 0},
			{`--gradient_accumulation_steps=(\d+)\n`, 4 / float64(max(ranks, 1)), 0},
		} {
			if got := found(t, plan, c.pattern); got != c.want && relative(got, c.want) > c.within {
				t.Errorf("%d ranks: %s: %v, in the run %v", ranks, c.pattern, got, c.want)
			}
		}
		if again := must(t, line+" --dry-run").stdout; !strings.Contains(again, "step-00000016: already complete, nothing to do\n") {
			t.Errorf("%d ranks: after the run\n%s", ranks, again)
		}
	}
}

// What would fail fails in --dry-run too, with the same status, and what was there stays as it was.
func TestDryRunFailsAsTheRun(t *testing.T) {
	needData(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	must(t, trainLine(0, out, "--steps 4 --steps-this-run 2"))
	before := must(t, "cd "+out+" && find . | sort && cat metrics.jsonl STOPPED").stdout
	recipe := "--recipe ../configs/recipe/"
	for _, c := range []struct {
		out, options string
		status       int
		says         string
	}{
		{out, "--steps 4", 0, "step-00000002, step 2 of this run\n"},
		{out, "--steps 4", 0, "the median of " + out + "/metrics.jsonl"},
		{out, "--steps 4 --steps-this-run 3", 0, "this run to 3: 16 sequences to go"},
		{out, "--steps 4 --seed 43", 1, "seed was 42, now it is 43"},
		{out, "--steps 4 --resume-step 3", 1, "--resume-step 3: the newest whole checkpoint"},
		{dir + "/new", "--steps 4 --resume-from-checkpoint", 1, "has no checkpoint"},
		{dir + "/new", "--init " + out, 0, "step-00000002, the update count at 0\n"},
		{dir + "/new", "--init " + dir + "/none", 1, "none"},
		{dir + "/new", "--memory-limit 1M", 1, "no micro-batch fits"},
		{dir + "/new", "--data " + dir, 1, "has no training shards"},
		{dir + "/new", "--max_seq_length 128", 2, "sequences of 64 tokens, the command line wants 128"},
		{dir + "/new", recipe + "demo.json", 2, "demo.json wants 128"},
		{dir + "/new", "--micro-batch 0", 2, "must be at least 1"},
		{out + "/STOPPED/new", "", 1, "STOPPED is no folder"},
		{dir + "/new", "--measured " + out + "/none", 1, "none"},
		{dir + "/new", "--skip-checkpoint", 0, "none (--skip-checkpoint)\n"},
	} {
		r := sh(t, trainLine(0, c.out, c.options+" --dry-run"))
		if r.status != c.status || !strings.Contains(r.stdout+r.stderr, c.says) || (r.stdout == "") != (c.status != 0) {
			t.Errorf("%s: exit status %d, expected %d and %q\n%s%s", c.options, r.status, c.status, c.says, r.stdout, r.stderr)
		}
	}
	if after := must(t, "cd "+out+" && find . | sort && cat metrics.jsonl STOPPED").stdout; after != before {
		t.Errorf("--dry-run changed the folder from\n%s\nto\n%s", before, after)
	}
	if _, err := os.Stat(dir + "/new"); err == nil {
		t.Error("--dry-run made its output folder")
	}
}

// Recipe and machine are defaults: what is given goes before them, and the plan says what came from where.
func TestRecipeAndMachine(t *testing.T) {
	needData(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	recipe := write("r.json", `{"source": "test", "phase": 1, "sequence_length": 64, "max_predictions": 10, "global_batch": 12, "micro_batch": 3, "learning_rate": 0.002, "warmup": 0.25, "schedule": "linear",
"steps": 8, "save_every": 4, "seed": 7, "precision": "fp32", "dropout": 0}`)
	machine := write("m.json", `{"source": "test", "name": "m", "nodes": 2, "devices_per_node": 1, "device": "cpu", "precision": "bf16", "half_allreduce": false, "allreduce_overlapped": false,
"device_link": "shared", "node_link": "10gbe", "node_links": 1, "phases": {"1": {"sequences_per_update_per_device": 6, "accumulation": 3, "save_every": 2}}}`)
	const plain = "bertrain -j 1 --config $WORK/small.json --data $WORK/hdf5 --recipe %s -o " // no other options
	for _, c := range []struct {
		options string
		want    map[string]any
	}{
		{"", map[string]any{"global_batch": 12.0, "micro_batch": 3.0, "base_learning_rate": 0.002, "warmup": 0.25, "schedule": "linear", "steps": 8.0, "seed": 7.0, "precision": "fp32"}},
		{" --learning_rate 0.001 --max_steps 2 --micro-batch 4", map[string]any{"global_batch": 12.0, "micro_batch": 4.0, "base_learning_rate": 0.001, "steps": 2.0, "seed": 7.0}},
		{" --machine " + machine, map[string]any{"global_batch": 12.0, "micro_batch": 2.0, "precision": "bf16", "steps": 8.0}},
		{" --precision fp32 --machine " + machine, map[string]any{"micro_batch": 2.0, "precision": "fp32"}},
		{" --train_batch_size 8 --gradient_accumulation_steps 4", map[string]any{"global_batch": 8.0, "micro_batch": 2.0}},
	} {
		out := filepath.Join(t.TempDir(), "out")
		must(t, fmt.Sprintf(plain, recipe)+out+c.options)
		line := runLine(t, out)
		for key, want := range c.want {
			if line[key] != want {
				t.Errorf("%q: %s is %v, expected %v", c.options, key, line[key], want)
			}
		}
	}
	plan := must(t, fmt.Sprintf(plain, recipe)+dir+"/none --dry-run --max_steps 9 --machine "+machine).stdout
	for _, want := range []string{"12 sequences an update (r.json)", "micro-batch(es) of 2 (m.json)", "\nsteps        9 (--max-steps)", "linear (r.json)", "every 2 steps (m.json)", "bf16 (m.json)", "all-reduce: after (m.json)", "lamb (r.json)"} {
		if !strings.Contains(plan, want) {
			t.Errorf("no %q in\n%s", want, plan)
		}
	}
	if r := sh(t, fmt.Sprintf(plain, write("bad.json", `{"global_batch": 1, "colour": 2}`))+dir+"/none"); r.status != 1 || !strings.Contains(r.stderr, `read recipe `) {
		t.Errorf("exit status %d: %s", r.status, r.stderr)
	}
}
