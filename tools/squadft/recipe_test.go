package main

import (
	"path/filepath"
	"testing"

	"hpcbert/lib/plan"
)

// The rows are those of the original's scripts/configs/squad_config.sh, of 2020 and what 2022 added. dgx2_16gpu_fp32 says fp16 there, by a slip.
func TestRecipesAreTheOriginals(t *testing.T) {
	rows := []struct {
		name, precision string
		devices, batch  int // sequences of an update on each
		rate, warmup    float64
	}{
		{"dgxa100_8gpu_fp16", "fp16", 8, 32, 3e-5, 0.1},
		{"dgxa100_8gpu_tf32", "tf32", 8, 16, 3e-5, 0.1},
		{"dgx2_16gpu_fp16", "fp16", 16, 16, 3e-5, 0.1},
		{"dgx2_16gpu_fp32", "fp32", 16, 8, 3e-5, 0.1},
		{"dgx1_8gpu_fp16", "fp16", 8, 10, 3e-5, 0.1},
		{"dgx1_8gpu_fp32", "fp32", 8, 4, 3e-5, 0.1},
		{"dgxa100-80g_8gpu_fp16", "fp16", 8, 32, 4.6e-5, 0.2},
		{"dgxa100-80g_8gpu_tf32", "tf32", 8, 32, 4.6e-5, 0.2},
		{"dgx1-32g_8gpu_fp16", "fp16", 8, 32, 4.6e-5, 0.2},
		{"dgx1-32g_8gpu_fp32", "fp32", 8, 16, 4.6e-5, 0.2},
	}
	files, err := filepath.Glob("../../configs/squad/*.json")
	if err != nil || len(files) != len(rows) {
		t.Errorf("%d files in configs/squad, expected %d", len(files), len(rows))
	}
	for _, row := range rows {
		r, err := plan.ReadTuning("../../configs/squad/" + row.name + ".json")
		if err != nil {
			t.Error(err)
			continue
		}
		if r.Task != "squad" || r.Precision != row.precision || r.LearningRate != row.rate || r.Warmup != row.warmup || r.Epochs != 2 || r.Seed != 1 || r.MaxLength != 384 {
			t.Errorf("%s: %+v, expected %+v", row.name, r, row)
		}
		if b := r.Batch(row.devices); b.Global != row.devices*row.batch || b.Micro != row.batch || b.Accumulation() != 1 {
			t.Errorf("%s: %+v, expected %d on each of %d", row.name, b, row.batch, row.devices)
		}
	}
}
