package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli/clitest"
)

func run(args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, "", args...)
}

// data is the folder of real data.
func data(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("HPCBERT_DATA")
	if folder == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	return folder
}

// score runs a line that has to succeed.
func score(t *testing.T, args ...string) (r result, stderr string) {
	t.Helper()
	status, stdout, stderr := run(args...)
	if status != 0 {
		t.Fatalf("evalpretrain %s: exit status %d: %s", strings.Join(args, " "), status, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	return r, stderr
}

func near(t *testing.T, what string, got *float64, want, tolerance float64) {
	t.Helper()
	if got == nil || !(math.Abs(*got-want) <= tolerance*math.Abs(want)) {
		t.Errorf("%s: %v, expected %v", what, got, want)
	}
}

// The numbers are those of transformers in float64 (testdata/expected.py).
func TestScoresAreThoseOfFloat64(t *testing.T) {
	folder := data(t)
	text, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]struct {
		Sequences, Tokens, Masked int64
		MLMLoss                   float64 `json:"mlm_loss"`
		NSPLoss                   float64 `json:"nsp_loss"`
		MaskedTokens              int64   `json:"masked_tokens"`
		MLMCorrect                int64   `json:"mlm_correct"`
		NSPCorrect                int64   `json:"nsp_correct"`
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	for name, want := range expected {
		if name == "wiki_seq512_pred80" && os.Getenv("HPCBERT_SLOW") == "" {
			continue // takes many seconds
		}
		r, _ := score(t, "--checkpoint", folder+"/checkpoints/pretrain_tiny", "--batch", "24", filepath.Join(folder, "hdf5", name+".hdf5"))
		if r.Sequences != want.Sequences || r.Tokens != want.Tokens || r.Masked != want.MaskedTokens || *r.MLMCorrect != want.MLMCorrect || *r.NSPCorrect != want.NSPCorrect {
			t.Errorf("%s: %+v, expected %+v", name, r, want)
		}
		near(t, name+": MLM loss", r.MLMLoss, want.MLMLoss, 1e-6)
		near(t, name+": NSP loss", r.NSPLoss, want.NSPLoss, 1e-6)
		near(t, name+": loss", r.Loss, want.MLMLoss+want.NSPLoss, 1e-6)
		near(t, name+": perplexity", r.Perplexity, math.Exp(want.MLMLoss), 1e-5)
		near(t, name+": MLM accuracy", r.MLMAccuracy, float64(want.MLMCorrect)/float64(want.MaskedTokens), 1e-12)
		near(t, name+": NSP accuracy", r.NSPAccuracy, float64(want.NSPCorrect)/float64(want.Sequences), 1e-12)
	}
}

// The first 32 rows are those of the first update of checkpoints/pretrain_tiny/trajectory.json, whose losses are float64's.
func TestSomeBatchesAndTheOriginalsFlags(t *testing.T) {
	folder := data(t)
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(folder, "hdf5/wiki_seq128_pred20.hdf5"), filepath.Join(dir, "wiki_test_0.hdf5")); err != nil {
		t.Fatal(err)
	}
	start, log := folder+"/checkpoints/pretrain_tiny", filepath.Join(dir, "log")
	const mlm, nsp = 10.356062901885338, 0.6929506085764261
	tolerance := map[string]float64{"fp32": 1e-6, "tf32": 1e-6, "bf16": 1e-3, "fp16": 1e-4}
	for precision, most := range tolerance {
		r, _ := score(t, "--checkpoint", start, "--data", dir, "--batch", "8", "--max-batches", "4", "--precision", precision)
		near(t, precision+": MLM loss", r.MLMLoss, mlm, most)
		near(t, precision+": NSP loss", r.NSPLoss, nsp, most)
	}
	r, stderr := score(t, "--input_dir", dir, "--ckpt_path", start+"/model.safetensors", "--config_file", start+"/config.json", "--eval", "--eval_batch_size", "16", "--max_steps", "2",
		"--log_path", log, "--max_seq_length=512", "--seed", "42")
	if r.Sequences != 32 || strings.Count(stderr, "warning: ") != 2 || !strings.Contains(stderr, "--max-seq-length changes nothing") {
		t.Errorf("%d sequences, says %s", r.Sequences, stderr)
	}
	near(t, "loss", r.Loss, mlm+nsp, 1e-6)
	r, _ = score(t, "--input_dir", dir, "--ckpt_path", start, "--prediction", "--max_steps", "1", "--log_path", log)
	if r.Sequences != 8 || r.Loss != nil || r.MLMAccuracy != nil || !(r.SequencesPer > 0) {
		t.Errorf("--prediction: %+v", r)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 3 {
		t.Fatalf("log of %d lines:\n%s", len(lines), text)
	}
	for i, want := range []struct{ step, key string }{{"Inference Loss", "final_loss"}, {"Inference perf", "inference_sequences_per_second"}, {"Inference perf", "inference_sequences_per_second"}} {
		var line struct {
			Step string
			Data map[string]float64
		}
		object, marked := strings.CutPrefix(lines[i], "DLLL ")
		if err := json.Unmarshal([]byte(object), &line); err != nil || !marked || line.Step != want.step || !(line.Data[want.key] > 0) || len(line.Data) != 1 {
			t.Errorf("log: %s: %v", lines[i], err)
		}
	}
}

func TestWrongUsageOfEvalpretrain(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args, want string
		status     int
	}{
		{"--data x", "option --checkpoint PATH is missing", 2},
		{"--checkpoint x", "either --data or files", 2},
		{"--checkpoint x --data y z.hdf5", "either --data or files", 2},
		{"--checkpoint x --ckpt_dir y --data z", "which means the same", 2},
		{"--checkpoint x --data y --batch 0", "--batch 0: must be at least 1", 2},
		{"--checkpoint x --data y --ckpt-step 0", "--ckpt-step 0", 2},
		{"--checkpoint x --data y --eval --prediction", "one of them", 2},
		{"--checkpoint x --data y --fp16 --precision bf16", "--fp16, but --precision bf16", 2},
		{"--checkpoint x --data y --precision fp8", `precision "fp8"`, 2},
		{"--checkpoint x --data y --log_path main.go", `append to main.go: its lines do not begin with "DLLL "`, 1},
		{"--checkpoint " + dir + " --data y", "no config.json or bert_config.json", 1},
		{"--checkpoint " + dir + "/none --data y", "no config.json", 1},
	} {
		status, stdout, stderr := run(strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%s: exit status %d, says %s", c.args, status, stderr)
		}
	}
}

// What cannot be evaluated is refused with a hint.
func TestCheckpointsThatAreRefused(t *testing.T) {
	folder := data(t)
	shard := folder + "/hdf5/wiki_seq512_pred80.hdf5"
	short := filepath.Join(t.TempDir(), "config.json")
	text, err := os.ReadFile(folder + "/checkpoints/pretrain_tiny/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(short, []byte(strings.Replace(string(text), `"max_position_embeddings": 512`, `"max_position_embeddings": 128`, 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	config := &bert.Config{VocabSize: 30522, HiddenSize: 4, NumHiddenLayers: 1, NumAttentionHeads: 1, IntermediateSize: 4, HiddenAct: "gelu", MaxPositionEmbeddings: 512, TypeVocabSize: 2, LayerNormEps: 1e-12}
	var encoder []ckpt.Entry
	for _, p := range config.EncoderParams() {
		encoder = append(encoder, ckpt.Entry{Name: p.Name, Shape: p.Shape, Values: make([]float32, p.Len)})
	}
	headless := t.TempDir()
	if err := errors.Join(ckpt.Write(headless+"/model.safetensors", encoder, nil), os.WriteFile(headless+"/config.json", config.JSON(), 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"--checkpoint " + headless + " " + shard, "model.safetensors: no cls.predictions."},
		{"--checkpoint " + folder + "/checkpoints/pretrain_tiny --config " + short + " " + shard, "sequences of 512 tokens, the model has 128 positions"},
		{"--checkpoint " + folder + "/checkpoints/pretrain_tiny --data " + folder + "/hdf5", "has no test shards"},
	} {
		if status, _, stderr := run(strings.Fields(c.args)...); status != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit status %d, says %s", c.args, status, stderr)
		}
	}
}

func TestNVIDIAsFilesAreFoundByStep(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []int{20, 7038, 100} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("ckpt_%d.pt", step)), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for step, want := range map[int]string{-1: "ckpt_7038.pt", 20: "ckpt_20.pt", 100: "ckpt_100.pt"} {
		o := options{Checkpoint: dir, Step: step}
		if got, err := o.find(nil); err != nil || got != filepath.Join(dir, want) {
			t.Errorf("step %d: %s, %v", step, got, err)
		}
	}
}
