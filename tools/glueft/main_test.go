package main

import (
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

// vocabulary has the words of the made-up data.
const vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nfilm\nthe\nvery\nnot\n.\n"

// small makes a folder with a shape, a vocabulary and data of sst-2: films are good or bad. It returns options of a run there.
func small(t *testing.T) (dir string, args []string) {
	t.Helper()
	dir = t.TempDir()
	cfg := &bert.Config{VocabSize: 12, HiddenSize: 16, NumHiddenLayers: 1, NumAttentionHeads: 2, IntermediateSize: 32, HiddenAct: "gelu", MaxPositionEmbeddings: 16,
		TypeVocabSize: 2, InitializerRange: 0.02, LayerNormEps: 1e-12}
	labelled := "sentence\tlabel\n" + strings.Repeat("the film good .\t1\nthe film bad .\t0\nvery good film\t1\nvery bad\t0\n", 8)
	for name, text := range map[string]string{"config.json": string(cfg.JSON()), "vocab.txt": vocabulary, "train.tsv": labelled, "dev.tsv": labelled,
		"test.tsv": "index\tsentence\n0\tthe film good .\n1\tvery bad\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir, strings.Fields("--task sst-2 --data " + dir + " --config " + dir + "/config.json --vocab " + dir + "/vocab.txt --max-length 16 -j 1")
}

func TestWrongUsage(t *testing.T) {
	dir, _ := small(t)
	for _, c := range []struct {
		args, want string
		status     int
	}{
		{"--task mrpc --data x --init y --train", "option -o/--output DIR is missing", 2},
		{"--task mrpc --data x --train -o z", "option --init PATH is missing", 2},
		{"--task mrpc --data x --init y -o z", "nothing to do", 2},
		{"--task mrpc --data x --init y -o z --train x", `unexpected argument "x"`, 2},
		{"--task mrp --data x --init y -o z --train", `task "mrp"`, 2},
		{"--task mrpc --data x --config y -o z --eval", "--init must name a fine-tuned checkpoint", 2},
		{"--task mrpc --data x --init y -o z --eval --seeds 1..5", "--seeds goes with --train", 2},
		{"--task mrpc --data x --init y -o z --train --seeds 5..1", "no list of seeds", 2},
		{"--task mrpc --data x --init y -o z --train --gradient_accumulation_steps 0", "must be at least 1", 2},
		{"--task mrpc --data x --init y -o z --train --train_batch_size 8 --gradient_accumulation_steps 9", "not divisible", 2},
		{"--task mrpc --data x --init y -o z --train --precision fp8", `precision "fp8"`, 2},
		{"--task mrpc --data x --init y -o z --train --fp16 --precision fp32", "contradicts --fp16", 2},
		{"--task mrpc --data x --init y -o z --train --cased --do_lower_case", "one of them", 2},
		{"--task mrpc --data x --init y -o z --train --max_steps 1.5", "--max-steps 1.5", 2},
		{"--task mrpc --data x --init y -o z --train --epochs nan", "--epochs", 2},
		{"--task mrpc --data x --init y -o z --train --learning-rate 0", "learning rate 0", 2},
		{"--task mrpc --data x --init y -o z --train --recipe ../../configs/glue/sst-2_dgx2_fp16.json", "is for the task sst-2, not mrpc", 2},
		{"--task mrpc --data x --init y -o z --train --max-length 2", "--max-length 2", 2},
		{"--task mrpc --data x --config " + dir + "/config.json -o z --train", "no --vocab", 2},
		{"--task sst-2 --data " + dir + " --config " + dir + "/config.json --vocab " + dir + "/vocab.txt -o z --train", "--max-length 128: the model has 16 positions", 2},
		{"--task sst-2 --data " + dir + " --init " + dir + "/none -o z --train", "stat " + dir + "/none: no such file", 1},
		{"--task sst-2 --data " + dir + " --init " + dir + " -o z --train", dir + ": no checkpoint in this folder", 1},
		{"--task sst-2 --data " + dir + "/none --config " + dir + "/config.json --vocab " + dir + "/vocab.txt --max-length 16 -o z --train", "train.tsv", 1},
	} {
		status, stdout, stderr := run(strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%s: exit status %d, says %s", c.args, status, stderr)
		}
	}
	if _, err := os.Stat("z"); err == nil {
		t.Error("an output folder was made")
	}
}

func TestDryRun(t *testing.T) {
	dir, args := small(t)
	out := filepath.Join(dir, "out")
	status, stdout, stderr := run(append(args, "-o", out, "--train", "--eval", "--test", "--global-batch", "8", "--micro-batch", "3", "--dry-run")...)
	for _, want := range []string{"sst-2: 2 output(s); 0, 1", "random weights: 1 layers x 16", "lower case, 12 pieces", "train.tsv: 32 examples, 168 tokens, 3 times",
		"on each of 1 rank(s) 8 in 3 micro-batch(es) of 3", "12 of bertadam, 0 done; linear learning rate 5e-05 with 0.1", "fp32 (default) on cpu",
		" a rank: activations ", "1, at the end (default), ", "dev.tsv: 32 examples", "test.tsv: 2 examples"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("does not say %q:\n%s", want, stdout)
		}
	}
	if _, err := os.Stat(out); status != 0 || err == nil {
		t.Errorf("exit status %d: %s; or it wrote something", status, stderr)
	}
}

// What the original's run_glue.sh runs, with the parameters of sst-2_dgxa100_2gpu_tf32 on one rank.
func TestLineOfTheOriginal(t *testing.T) {
	dir, _ := small(t)
	line := "--task_name sst-2 --data_dir=" + dir + " --bert_model bert-large-uncased --seed 2 --vocab_file=" + dir + "/vocab.txt --config_file=" + dir + "/config.json --output_dir=" + dir + "/out " +
		"--do_train --train_batch_size=256 --do_eval --eval_batch_size=256 --max_seq_length 16 --learning_rate 2e-5 --num_train_epochs 3 --max_steps -1.0 --warmup_proportion 0.1 " +
		"--gradient_accumulation_steps=4 --do_lower_case --init_checkpoint= --dry-run"
	status, stdout, stderr := run(strings.Fields(line)...)
	for _, want := range []string{"256 sequences an update", "in 4 micro-batch(es) of 64", "learning rate 2e-05 with 0.1 of the updates", "seed 2"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("does not say %q:\n%s", want, stdout)
		}
	}
	if status != 0 || !strings.Contains(stderr, "never read: --bert-model\n") {
		t.Errorf("exit status %d, says %s", status, stderr)
	}
}
