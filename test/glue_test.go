package test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// reviews makes a folder with a small task: films are good or bad. It returns the folder and a line that trains on it.
func reviews(t *testing.T, epochs int) (dir, line string) {
	t.Helper()
	dir = t.TempDir()
	must(t, inFolder(t, dir, `printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' good bad film the very . >vocab.txt
		echo '{"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64, "max_position_embeddings": 16}' >config.json
		{ printf 'sentence\tlabel\n'; for i in $(seq 9); do printf 'the film good .\t1\nthe film bad .\t0\nvery good film\t1\nvery bad\t0\n'; done; } | tee train.tsv >dev.tsv
		printf 'index\tsentence\n0\tvery bad\n1\tthe film good .\n' >test.tsv`))
	return dir, fmt.Sprintf("env -C '%s' %%sglueft --task sst-2 --data . --config config.json --vocab vocab.txt --max-length 16 --train --global-batch 8 --micro-batch 3 --epochs %d --learning-rate 0.005 -j 1 -o %%s ", dir, epochs)
}

// TestTuningOnRanks: two ranks learn the same, evaluate and predict the same, and print one object.
func TestTuningOnRanks(t *testing.T) {
	needMPI(t)
	dir, line := reviews(t, 8)
	var results [2]map[string]float64
	for i, launcher := range []string{"", "mpirun -np 2 "} {
		r := must(t, fmt.Sprintf(line, launcher, fmt.Sprint("out", i))+"--eval --predict --test")
		if err := json.Unmarshal([]byte(r.stdout), &results[i]); err != nil {
			t.Fatalf("%v in %q", err, r.stdout)
		}
	}
	for _, key := range []string{"global_step", "train:loss", "eval:loss", "acc"} {
		if one, two := results[0][key], results[1][key]; !(math.Abs(one-two) <= 1e-4*math.Abs(one)) {
			t.Errorf("%s: %v alone, %v on two ranks", key, one, two)
		}
	}
	must(t, inFolder(t, dir, "cmp out0/SST-2.tsv out1/SST-2.tsv && cmp out0/predictions.json out1/predictions.json"))
}

// TestTuningGoesOn: a training that is told to stop saves, says so, and goes on to the model of one that was left alone.
func TestTuningGoesOn(t *testing.T) {
	dir, line := reviews(t, 400) // some seconds
	must(t, fmt.Sprintf(line, "", "whole"))
	cmd := start(t, fmt.Sprintf(line, "", "stopped"))
	waitFor(t, filepath.Join(dir, "stopped", "metrics.jsonl"))
	cmd.Process.Signal(syscall.SIGUSR2)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "stopped", "STOPPED")); err != nil {
		t.Fatalf("%v: if the training was over, make it longer", err)
	}
	r := must(t, fmt.Sprintf(line, "", "stopped"))
	if !strings.Contains(r.stderr, "to step 1800") {
		t.Errorf("says %s", r.stderr)
	}
	must(t, inFolder(t, dir, "cmp whole/step-00001800/model.safetensors stopped/step-00001800/model.safetensors"))
}

// glueTemplate is the job script of fine-tuning on GLUE.
const glueTemplate = "$REPO/sub/glue.sub"

// TestGLUETemplate: the values are those of the reference's run_glue.sh, whose eight ranks have 16 sequences each.
func TestGLUETemplate(t *testing.T) {
	const (
		glueft = "mpirun --map-by ppr:1:node --bind-to none GLUEFT --init pretrain/phase2 "
		values = "--global-batch 128 --learning-rate 2.4e-5 --warmup 0.1 --epochs 3 --seed 2 --precision fp32 "
	)
	for _, c := range []struct{ variables, want string }{
		{"", glueft + values + "--train --eval -o glue-mrpc --task mrpc --data data/glue/MRPC"},
		{"TASK=cola", glueft + values + "--train --eval -o glue-cola --task cola --data data/glue/CoLA"},
		{"TASK=sst-2 RECIPE=r.json OUT=o", glueft + "--recipe r.json --train --eval -o o --task sst-2 --data data/glue/SST-2"},
		{"MODE='train test' SEEDS=1..3 MICROBATCH=4 EPOCHS=1", glueft + "--global-batch 128 --micro-batch 4 --learning-rate 2.4e-5 --warmup 0.1 --epochs 1 --seed 2 --seeds 1..3 --precision fp32 " +
			"--train --test -o glue-mrpc --task mrpc --data data/glue/MRPC"},
	} {
		r := sh(t, inFolder(t, t.TempDir(), c.variables+" DRYRUN=1 bash "+glueTemplate))
		if want := strings.ReplaceAll(c.want, "GLUEFT", filepath.Join(programs, "glueft")) + "\n"; r.stdout != want {
			t.Errorf("%s: printed\n%sexpected\n%s%s", c.variables, r.stdout, want, r.stderr)
		}
	}
	testPreflight(t, glueTemplate, "true", []preflightCase{
		{"task", "TASK=mrcp", 2, "mrpc"},
		{"mode", "MODE=tset", 2, "train, eval, predict, test"},
	})
}
