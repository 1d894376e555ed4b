package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// learn are options that make the small model learn the small task by heart.
var learn = strings.Fields("--train --global-batch 8 --epochs 30 --learning-rate 0.02 --optimizer adamw --dropout 0 -q")

// succeed runs a line and returns what it prints, an object.
func succeed(t *testing.T, args ...string) (results map[string]float64) {
	t.Helper()
	status, stdout, stderr := run(args...)
	if status != 0 {
		t.Fatalf("glueft %s: exit status %d: %s", strings.Join(args, " "), status, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &results); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	return results
}

// text is the content of a file.
func text(t *testing.T, folder, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestTask trains, evaluates, predicts and hands in; then it does the last three with the model that was saved.
func TestTask(t *testing.T) {
	dir, args := small(t)
	out := filepath.Join(dir, "out")
	results := succeed(t, append(append(args, learn...), "-o", out, "--eval", "--predict", "--test")...)
	if results["acc"] != 1 || !(results["eval:loss"] < 0.1) || results["global_step"] != 120 || results["train:num_steps"] != 4 || results["train:num_samples_per_gpu"] != 960 ||
		results["eval:num_samples_per_gpu"] != 32 || results["eval:num_steps"] != 4 {
		t.Errorf("results: %v", results)
	}
	for _, key := range strings.Split("train:loss train:latency train:throughput infer:latency(ms):50% infer:latency(ms):90% infer:latency(ms):95% infer:latency(ms):99% "+
		"infer:latency(ms):100% infer:latency(ms):avg infer:latency(ms):std infer:latency(ms):sum infer:throughput(samples/s):avg", " ") {
		if x, given := results[key]; !given || !(x >= 0) {
			t.Errorf("%s: %v", key, x)
		}
	}
	if got := text(t, out, "SST-2.tsv"); got != "index\tprediction\n0\t1\n1\t0\n" {
		t.Errorf("handed in: %q", got)
	}
	predictions := text(t, out, "predictions.json")
	if start := `{"dev-1": "1", "dev-2": "0", "dev-3": "1", "dev-4": "0", "dev-5": "1", `; !strings.HasPrefix(predictions, start) {
		t.Errorf("predictions: %q", predictions)
	}
	checkLog(t, text(t, out, "dllogger.json"))

	again := succeed(t, append(args, "--init", out, "-o", filepath.Join(dir, "again"), "--eval", "--predict", "--test")...)
	if again["acc"] != 1 || again["eval:loss"] != results["eval:loss"] {
		t.Errorf("the saved model: accuracy %v, loss %v, before %v", again["acc"], again["eval:loss"], results["eval:loss"])
	}
	if _, trained := again["train:loss"]; trained || text(t, dir, "again/predictions.json") != predictions {
		t.Errorf("the saved model predicts otherwise, or is trained: %v", again)
	}
	done := succeed(t, append(append(args, learn...), "-o", out, "--eval")...)
	if _, trained := done["train:loss"]; trained || done["acc"] != 1 {
		t.Errorf("a finished training: %v", done)
	}
}

// checkLog looks for the original's lines, in their order.
func checkLog(t *testing.T, log string) {
	t.Helper()
	want := []string{"Config", "SEED", "num_parameters", "exact_match e2e_train_time training_sequences_per_second e2e_inference_time inference_sequences_per_second"}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if len(lines) != len(want) {
		t.Fatalf("log: %s", log)
	}
	for i, line := range lines {
		var object struct{ Data map[string]any }
		body, marked := strings.CutPrefix(line, "DLLL ")
		if err := json.Unmarshal([]byte(body), &object); err != nil || !marked {
			t.Errorf("log: %s: %v", line, err)
		}
		for _, key := range strings.Fields(want[i]) {
			if _, given := object.Data[key]; !given {
				t.Errorf("log: no %s in %s", key, line)
			}
		}
	}
}

// Same options, same bytes, whatever the threads.
func TestSameBytes(t *testing.T) {
	dir, args := small(t)
	train := func(out string, more ...string) string {
		line := append(append(append(args, learn...), "--epochs", "3", "--dropout", "0.1", "-o", filepath.Join(dir, out)), more...)
		if status, _, stderr := run(line...); status != 0 {
			t.Fatalf("%s: %s", out, stderr)
		}
		found, _ := filepath.Glob(filepath.Join(dir, out, "step-*12", "model.safetensors"))
		if len(found) != 1 {
			t.Fatalf("%s: checkpoints %v", out, found)
		}
		return text(t, found[0], "")
	}
	whole := train("one")
	if train("threads", "-j", "2") != whole {
		t.Error("two threads, other bytes")
	}
	if train("seed", "--seed", "2") == whole {
		t.Error("another seed, the same bytes")
	}
}

func TestSeedsTable(t *testing.T) {
	dir, args := small(t)
	out := filepath.Join(dir, "out")
	status, stdout, stderr := run(append(append(args, learn...), "--epochs", "30", "-o", out, "--eval", "--seeds", "1,4")...)
	if status != 0 || !slices.Equal(strings.Fields(stdout), strings.Fields("metric 1 4 mean deviation acc 1.0000 1.0000 1.0000 0.0000")) {
		t.Errorf("exit status %d, %q, %s", status, stdout, stderr)
	}
	for _, name := range []string{"stability.tsv", "seed-1/results.txt", "seed-4/results.txt"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
}

// A value is learnt and predicted, one that each word adds to: so small a model learns that from almost any seed, and how alike words are from few.
func TestValues(t *testing.T) {
	dir, args := small(t)
	var b strings.Builder
	b.WriteString(strings.Repeat("x\t", 9) + "score\n")
	for range 8 {
		for _, row := range []string{"good\tgood\t5", "good\tbad\t2.5", "bad\tbad\t0", "bad\tgood\t2.5", "film\tfilm\t3", "film\tgood\t4"} {
			b.WriteString(strings.Repeat("0\t", 7) + row + "\n")
		}
	}
	for _, name := range []string{"train.tsv", "dev.tsv"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	args[slices.Index(args, "sst-2")] = "sts-b"
	results := succeed(t, append(append(args, learn...), "--epochs", "60", "--learning-rate", "0.005", "-o", filepath.Join(dir, "out"), "--eval")...)
	if !(results["pearson"] > 0.9 && results["spearmanr"] > 0.8) || results["corr"] != (results["pearson"]+results["spearmanr"])/2 {
		t.Errorf("results: %v", results)
	}
}
