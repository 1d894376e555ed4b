package plan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The batch on each GPU and the micro-batches of an update are those of the table that the original's scripts/configs/glue_config.sh resolves to.
func TestGLUEConfigurations(t *testing.T) {
	type batch struct{ each, accumulation int }
	full, halved := map[int]batch{1: {128, 1}, 2: {64, 1}, 4: {32, 1}, 8: {16, 1}}, map[int]batch{1: {128, 2}, 2: {64, 1}, 4: {32, 1}, 8: {16, 1}}
	reviews := map[int]batch{1: {1024, 8}, 2: {512, 4}, 4: {256, 2}, 8: {128, 1}}
	wide := func(m map[int]batch, last int) map[int]batch {
		all := map[int]batch{16: {last, 1}}
		for n, b := range m {
			all[n] = b
		}
		return all
	}
	for _, c := range []struct {
		file      string
		rate      float64
		warmup    float64
		precision string
		batches   map[int]batch
	}{
		{"mrpc_dgxa100_fp16", 2.4e-5, 0.1, "fp16", full},
		{"mrpc_dgxa100_tf32", 2.4e-5, 0.1, "tf32", halved},
		{"mrpc_dgx2_fp16", 2.4e-5, 0.1, "fp16", wide(full, 8)},
		{"mrpc_dgx2_fp32", 2.4e-5, 0.1, "fp32", wide(halved, 8)},
		{"sst-2_dgxa100_fp16", 3e-5, 0.1, "fp16", reviews},
		{"sst-2_dgxa100_tf32", 2e-5, 0.1, "tf32", map[int]batch{1: {512, 8}, 2: {256, 4}, 4: {128, 2}, 8: {64, 1}}},
		{"sst-2_dgx2_fp16", 3e-5, 0.1, "fp16", wide(reviews, 64)},
		{"sst-2_dgx2_fp32", 3e-5, 0.1, "fp32", map[int]batch{1: {1024, 16}, 2: {512, 8}, 4: {256, 4}, 8: {128, 2}, 16: {64, 1}}},
		{"mrpc_dgxa100-80g_fp16", 1.8e-5, 0.3, "fp16", full},
		{"mrpc_dgxa100-80g_tf32", 1.8e-5, 0.3, "tf32", full},
		{"mrpc_dgx1-32g_fp16", 1.8e-5, 0.3, "fp16", full},
		{"mrpc_dgx1-32g_fp32", 1.8e-5, 0.3, "fp32", halved},
		{"sst-2_dgxa100-80g_fp16", 1e-5, 0.1, "fp16", map[int]batch{1: {1024, 4}, 2: {512, 2}, 4: {256, 1}, 8: {128, 1}}},
		{"sst-2_dgxa100-80g_tf32", 1e-5, 0.1, "tf32", reviews},
		{"sst-2_dgx1-32g_fp16", 1e-5, 0.1, "fp16", reviews},
		{"sst-2_dgx1-32g_fp32", 1e-5, 0.1, "fp32", map[int]batch{1: {512, 8}, 2: {256, 4}, 4: {128, 2}, 8: {64, 1}}},
	} {
		r, err := ReadTuning(filepath.Join("../../configs/glue", c.file+".json"))
		if err != nil {
			t.Error(err)
			continue
		}
		if task, _, _ := strings.Cut(c.file, "_"); r.Task != task || r.LearningRate != c.rate || r.Warmup != c.warmup || r.Precision != c.precision || r.Epochs != 3 || r.MaxLength != 128 || r.Seed != 2 || len(r.Devices) != len(c.batches) {
			t.Errorf("%s: %+v", c.file, r)
		}
		for _, n := range r.Devices {
			each, accumulation, exact := r.Batch(n).Reference()
			if got := (batch{each, accumulation}); !exact || got != c.batches[n] {
				t.Errorf("%s on %d: %v, expected %v", c.file, n, got, c.batches[n])
			}
		}
	}
	if files, _ := filepath.Glob("../../configs/glue/*"); len(files) != 16 {
		t.Errorf("%d files, 16 are checked", len(files))
	}
}

func TestTuningsThatAreRefused(t *testing.T) {
	const whole = `{"source": "x", "task": "mrpc", "global_batch": 8, "capacity": 8, "devices": [1], "learning_rate": 1e-5, "warmup": 0.1, "epochs": 3, "precision": "fp32", "seed": 1}`
	for _, c := range []struct{ from, to, want string }{
		{`"mrpc"`, `""`, "task: is missing"},
		{`"global_batch": 8`, `"global_batch": 0`, "global_batch: 0"},
		{`"capacity": 8`, `"capacity": 0`, "capacity: 0"},
		{`[1]`, `[]`, "devices: 0"},
		{`[1]`, `[4, 0]`, "the least of devices: 0"},
		{`1e-5`, `0`, "learning_rate: 0"},
		{`0.1`, `1`, "warmup: 1"},
		{`"epochs": 3`, `"epochs": 0`, "epochs: 0"},
		{`"fp32"`, `"fp8"`, "precision"},
		{`"seed"`, `"sede"`, "unknown field"},
		{`x`, `x`, ""},
	} {
		path := filepath.Join(t.TempDir(), "t.json")
		if err := os.WriteFile(path, []byte(strings.Replace(whole, c.from, c.to, 1)), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadTuning(path); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.to, err, c.want)
		}
	}
}
