package bert

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"hpcbert/lib/ckpt"
	"hpcbert/lib/optim"
	"hpcbert/lib/pretrain"
)

// rowsOf packs rows of a shard, from the first on and round again at its end.
func rowsOf(shard *pretrain.Shard, first, count int) *Batch {
	b := &Batch{CuSeqlens: []int32{0}}
	for i := range count {
		row := (first + i) % shard.Rows
		start, length := len(b.IDs), shard.Tokens(row)
		b.IDs = append(b.IDs, shard.InputIDs[row*shard.Seq:][:length]...)
		for p := range length {
			b.Positions = append(b.Positions, int32(p))
			b.Segments = append(b.Segments, int32(shard.SegmentIDs[row*shard.Seq+p]))
		}
		for j := row * shard.MaxPred; j < (row+1)*shard.MaxPred && shard.MaskedIDs[j] > 0; j++ {
			b.MaskedRows = append(b.MaskedRows, int32(start)+shard.MaskedPositions[j])
			b.MaskedIDs = append(b.MaskedIDs, shard.MaskedIDs[j])
		}
		b.CuSeqlens = append(b.CuSeqlens, int32(len(b.IDs)))
		b.Samples = append(b.Samples, int32(i))
		b.NextSentence = append(b.NextSentence, int32(shard.NextSentence[row]))
	}
	return b
}

// A whole small pre-training on real shards, both phases, follows what autograd and a plain LAMB gave in float64.
func TestPreTrainingFollowsTheFloat64Trajectory(t *testing.T) {
	data := os.Getenv("HPCBERT_DATA")
	if data == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	if testing.Short() {
		t.Skip("skipped: takes a minute of two cores")
	}
	start := filepath.Join(data, "checkpoints/pretrain_tiny")
	var golden struct {
		Rows []struct {
			Phase, Step    int
			MLM, NSP, Loss float64
			Norm           float64 `json:"gradient_norm"`
			Rate           float64 `json:"learning_rate"`
		} `json:"rows"`
	}
	text, err := os.ReadFile(filepath.Join(start, "trajectory.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	config, err := ReadConfig(filepath.Join(start, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "", 2, config, Limits{Tokens: 8192, Sequences: 32, Masked: 1280}, PreTraining)
	f, err := ckpt.Open(filepath.Join(start, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if loaded, err := r.LoadFile(f); err != nil || len(loaded.Missing) > 0 || len(loaded.Unknown) > 0 {
		t.Fatalf("%+v, %v", loaded, err)
	}
	phases := []struct {
		file     string
		rows     int
		schedule optim.Schedule
	}{
		{"hdf5/wiki_seq128_pred20.hdf5", 32, optim.Schedule{Name: "polynomial", Base: 6e-3, Warmup: 0.2843, Steps: 100, Degree: 0.5}},
		{"hdf5/wiki_seq512_pred80.hdf5", 16, optim.Schedule{Name: "polynomial", Base: 4e-3, Warmup: 0.128, Steps: 30, Degree: 0.5}},
	}
	lamb := newLAMB(t, r)
	var shard *pretrain.Shard
	var worst float64
	for _, want := range golden.Rows {
		phase := phases[want.Phase-1]
		if want.Step == 1 {
			if shard, err = pretrain.ReadShard(filepath.Join(data, phase.file)); err != nil {
				t.Fatal(err)
			}
		}
		b := rowsOf(shard, (want.Step-1)*phase.rows, phase.rows)
		r.ZeroGradients()
		got := step(t, r, b, objective(b))
		rate := phase.schedule.Rate(want.Step)
		norm, err := lamb.Step(r.Weights, r.Gradients, want.Step, rate, 1)
		if err != nil {
			t.Fatal(err)
		}
		r.Refresh()
		loss := got.MLMLossSum/float64(got.Masked) + got.NSPLossSum/float64(got.Sequences)
		worst = max(worst, math.Abs(loss-want.Loss)/want.Loss)
		where := fmt.Sprintf("phase %d, step %d: ", want.Phase, want.Step)
		near(t, where+"learning rate", rate, want.Rate, 1e-14)
		near(t, where+"loss", loss, want.Loss, 1e-5)
		near(t, where+"gradient norm", norm, want.Norm, 1e-5)
	}
	t.Logf("largest relative error of a loss: %.2g", worst)
}
