package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/bert"
	"hpcbert/lib/cli/clitest"
)

func run(args ...string) (status int, stdout, stderr string) {
	o := newOptions()
	return clitest.Run(program, o, o.run, "", args...)
}

func TestWrongUsage(t *testing.T) {
	for line, says := range map[string]string{
		"":                                    "none of --train, --predict, --eval",
		"--do_eval":                           "need --predict-file",
		"--do_train --predict-file f":         "--train needs --train-file",
		"--train --train-file f --seeds 1..5": "nothing to compare",
		"--predict --predict-file f --doc-stride 0":                                   "--doc-stride 0",
		"--predict --predict-file f --n-best-size 0":                                  "--n-best-size 0",
		"--train --train-file f --gradient-accumulation-steps 0":                      "--gradient-accumulation-steps 0",
		"--train --train-file f --epochs 0":                                           "--epochs 0",
		"--train --train-file f --precision fp8":                                      "fp8",
		"--train --train-file f --fp16 --precision bf16":                              "contradicts --fp16",
		"--train --train-file f --train-batch-size 5 --gradient-accumulation-steps 2": "not divisible",
	} {
		status, stdout, stderr := run(append([]string{"--init", "none", "-o", t.TempDir() + "/out"}, strings.Fields(line)...)...)
		if status != 2 || !strings.Contains(stderr, says) || stdout != "" {
			t.Errorf("%s: exit %d, %q, %s; expected %q", line, status, stdout, stderr, says)
		}
	}
}

// words are what the made-up contexts have.
var words = []string{"good", "bad", "film", "is", "very", "not", "queen", "river", "city", "tower"}

// toy makes a SQuAD file of n questions whose answer is the word "king", and with unanswerable ones every third context is without.
func toy(t *testing.T, dir, name string, n int, seed uint64, unanswerable bool) string {
	t.Helper()
	draw := rand.New(rand.NewPCG(seed, 0))
	type answer struct {
		Text  string `json:"text"`
		Start int    `json:"answer_start"`
	}
	var paragraphs []any
	for i := range n {
		var text []string
		for range 4 + draw.IntN(4) {
			text = append(text, words[draw.IntN(len(words))])
		}
		at, answers := draw.IntN(len(text)), []answer{}
		none := unanswerable && i%3 == 0
		if !none {
			text[at] = "king"
			answers = append(answers, answer{"king", strings.Index(strings.Join(text, " "), "king")})
		}
		paragraphs = append(paragraphs, map[string]any{"context": strings.Join(text, " "), "qas": []any{map[string]any{"id": fmt.Sprint(name, i), "question": "What ?", "answers": answers, "is_impossible": none}}})
	}
	version := map[bool]string{false: "1.1", true: "v2.0"}[unanswerable]
	text, err := json.Marshal(map[string]any{"version": version, "data": []any{map[string]any{"title": "t", "paragraphs": paragraphs}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name+".json")
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// small makes a folder with a small shape, its vocabulary and questions, and returns options to train there.
func small(t *testing.T, unanswerable bool) (dir string, args []string) {
	t.Helper()
	dir = t.TempDir()
	cfg := &bert.Config{VocabSize: 18, HiddenSize: 32, NumHiddenLayers: 2, NumAttentionHeads: 2, IntermediateSize: 64, HiddenAct: "gelu", MaxPositionEmbeddings: 16, TypeVocabSize: 2,
		InitializerRange: 0.1, LayerNormEps: 1e-12}
	vocabulary := "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nking\nwhat\n?\n" + strings.Join(words, "\n") + "\n"
	for name, text := range map[string]string{"config.json": string(cfg.JSON()), "vocab.txt": vocabulary} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	train, dev := toy(t, dir, "train", 400, 1, unanswerable), toy(t, dir, "dev", 60, 2, unanswerable)
	return dir, strings.Fields("--config " + dir + "/config.json --vocab " + dir + "/vocab.txt --max-length 16 --doc-stride 4 -j 1 --global-batch 20 --learning-rate 5e-3 --epochs 4 --dropout 0 --train --train-file " +
		train + " --predict-file " + dev)
}

// done runs a line that has to succeed.
func done(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	status, stdout, stderr := run(args...)
	if status != 0 {
		t.Fatalf("squadft %s: exit status %d: %s", strings.Join(args, " "), status, stderr)
	}
	return stdout, stderr
}

// f1 is that of a line of marks.
func f1(t *testing.T, stdout string) float64 {
	t.Helper()
	var marks struct{ F1 float64 }
	if err := json.Unmarshal([]byte(stdout), &marks); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	return marks.F1
}

func TestLearnsToAnswer(t *testing.T) {
	for _, unanswerable := range []bool{false, true} {
		dir, args := small(t, unanswerable)
		if unanswerable {
			args = append(args, "--version_2_with_negative")
		}
		out := filepath.Join(dir, "out")
		stdout, stderr := done(t, append(args, "--predict", "--do_eval", "-o", out)...)
		if score := f1(t, stdout); score < 90 {
			t.Errorf("F1 %.1f after training: %s", score, stderr)
		}
		predictions, err := os.ReadFile(filepath.Join(out, "predictions.json"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = os.Stat(filepath.Join(out, "null_odds.json"))
		if unanswerable != (err == nil) {
			t.Errorf("null_odds.json: %v", err)
		}
		again, stderr := done(t, append(args, "--eval", "-o", out)...)
		if again != stdout || !strings.Contains(stderr, "already complete") {
			t.Errorf("run again: %s, expected %s; says %s", again, stdout, stderr)
		}
		kind := []string{}
		if unanswerable {
			kind = []string{"--squad2"}
		}
		answers := filepath.Join(dir, "answers")
		alone, _ := done(t, append(kind, "--init", out, "--predict", "--predict-file", filepath.Join(dir, "dev.json"), "--max-length", "16", "-j", "2", "-o", answers)...)
		text, err := os.ReadFile(filepath.Join(answers, "predictions.json"))
		if alone != stdout || err != nil || string(text) != string(predictions) {
			t.Errorf("predicted from the checkpoint: %s, expected %s; the same answers: %v, %v", alone, stdout, string(text) == string(predictions), err)
		}
	}
}

func TestSeedsMakeATable(t *testing.T) {
	dir, args := small(t, false)
	stdout, _ := done(t, append(args, "--eval", "--seeds", "3,4", "--max-steps", "3", "-o", filepath.Join(dir, "out"))...)
	for _, want := range []string{"exact_match", "f1", "mean", "deviation"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in %s", want, stdout)
		}
	}
	for _, seed := range []string{"seed-3", "seed-4"} {
		if _, err := os.Stat(filepath.Join(dir, "out", seed, "metrics.jsonl")); err != nil {
			t.Error(err)
		}
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	dir, args := small(t, false)
	out := filepath.Join(dir, "out")
	stdout, _ := done(t, append(args, "--predict", "--dry-run", "--micro-batch", "5", "-o", out)...)
	for _, want := range []string{"400 questions, 0 left out, 400 windows", "20 sequences an update; on each of 1 rank(s) 20 in 4 micro-batch(es) of 5",
		"80 of bertadam, 0 done; linear learning rate 0.005", " a rank: activations ", "1, at the end (default), ", "60 questions, 60 windows"} {
		if !strings.Contains(strings.ReplaceAll(stdout, "  ", " "), want) {
			t.Errorf("no %q in %s", want, stdout)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a dry run made the output folder")
	}
}

// The line is that of the original's run_squad.sh, with its other flags added; the model is small, and the half precision left out.
func TestTheOriginalsCommandLine(t *testing.T) {
	dir, _ := small(t, true)
	line := `--init_checkpoint=DIR/start --do_train --train_file=DIR/train.json --train_batch_size=4 --do_predict --predict_file=DIR/dev.json --predict_batch_size=4 --do_eval
		--eval_script=evaluate-v2.0.py --do_lower_case --bert_model=bert-large-uncased --learning_rate=5e-3 --warmup_proportion=0.1 --seed=1 --num_train_epochs=2.0 --max_seq_length=16
		--doc_stride=4 --max_query_length=8 --n_best_size=5 --max_answer_length=3 --output_dir=DIR/out --vocab_file=DIR/vocab.txt --config_file=DIR/config.json --max_steps=-1
		--gradient_accumulation_steps=2 --log_freq=50 --loss_scale=0 --json-summary=DIR/log.json --version_2_with_negative --null_score_diff_threshold=0.5 --verbose_logging --no_cuda
		--local_rank=-1 --use_env --skip_checkpoint --skip_cache --cache_dir=/cache --disable-progress-bar -j 1`
	done(t, append(strings.Fields("--train --epochs 1 --learning-rate 5e-3 --max-length 16 -j 1 -o "+dir+"/start --train-file "+dir+"/train.json --squad2"), "--config", dir+"/config.json", "--vocab", dir+"/vocab.txt")...)
	stdout, stderr := done(t, strings.Fields(strings.ReplaceAll(line, "DIR", dir))...)
	if score := f1(t, stdout); score < 90 {
		t.Errorf("F1 %.1f: %s", score, stderr)
	}
	text, err := os.ReadFile(filepath.Join(dir, "log.json"))
	for _, key := range []string{"training_sequences_per_second", "e2e_inference_time", "inference_sequences_per_second", `"exact_match": `, `"F1": `} {
		if err != nil || !strings.Contains(string(text), key) {
			t.Errorf("no %s in the log, %v", key, err)
		}
	}
	if checkpoints, _ := filepath.Glob(filepath.Join(dir, "out", "step-*")); len(checkpoints) > 0 {
		t.Errorf("saved although told not to: %v", checkpoints)
	}
	if nbest, err := os.ReadFile(filepath.Join(dir, "out", "nbest_predictions.json")); err != nil || strings.Count(string(nbest), `"probability"`) > 5*60 {
		t.Errorf("more than 5 guesses of a question, or %v", err)
	}
}

func TestRefusedData(t *testing.T) {
	dir, args := small(t, false)
	hidden := clitest.WriteFile(t, "hidden.json", `{"data": [{"paragraphs": [{"context": "the king", "qas": [{"id": "x", "question": "What ?"}]}]}]}`)
	for _, c := range []struct {
		what string
		args []string
		says string
	}{
		{"a development set", []string{"--train-file", hidden}, "question x: 0 answers"},
		{"a test set marked", []string{"--eval", "--predict-file", hidden}, "has questions without the key \"answers\""},
		{"1.1 as 2.0", []string{"--squad2", "--train-file", clitest.WriteFile(t, "one.json", `{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "x", "question": "", "answers": []}]}]}]}`)}, "no key \"is_impossible\""},
		{"no room", []string{"--max-length", "5"}, "leave no room for the context in windows of 5"},
		{"no such file", []string{"--train-file", "missing.json"}, "missing.json"},
	} {
		status, stdout, stderr := run(append(append(args, "-o", filepath.Join(dir, "out")), c.args...)...)
		if status != 1 || stdout != "" || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit %d, %q, %s; expected %q", c.what, status, stdout, stderr, c.says)
		}
	}
}
