package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The original's two command lines, of one output folder and one log, train both phases; given again they say that all is done.
func TestCommandLinesOfTheOriginal(t *testing.T) {
	needMPI(t)
	needData(t)
	out := filepath.Join(t.TempDir(), "results")
	common := "mpirun -np 2 bertrain -j 1 --input_dir=$WORK/hdf5/ --output_dir=" + out + " --config_file=$WORK/small.json --bert_model=bert-large-uncased --max_seq_length=64 --max_predictions_per_seq=10 " +
		"--train_batch_size=8 --gradient_accumulation_steps=4 --num_steps_per_checkpoint=2 --fp16 --allreduce_post_accumulation --allreduce_post_accumulation_fp16 --do_train --disable_progress_bar --json-summary " + out + "/dllogger.json "
	one := common + "--seed=12439 --learning_rate=6e-3 --warmup_proportion=0.2843 --max_steps=6"
	two := common + "--seed=12439 --learning_rate=4e-3 --warmup_proportion=0.128 --max_steps=4 --phase2 --resume_from_checkpoint --phase1_end_step=6"
	if r := sh(t, two); r.status != 1 {
		t.Errorf("phase 2 without phase 1: exit status %d: %s", r.status, r.stderr)
	}
	must(t, one)
	before := must(t, "find "+out).stdout
	plan := must(t, two+" --dry-run").stdout
	for _, want := range []string{
		`start +` + out + `/step-00000006, the update count at 0\n`,
		`batch +16 sequences an update \(--train-batch-size\); on each of 2 rank\(s\) 8 in 4 micro-batch\(es\) of 2 \(--gradient-accumulation-steps\)\n`,
		`in the original: --train_batch_size=8 --gradient_accumulation_steps=4\n`,
		`steps +4 \(--max-steps\): 64 sequences to go`,
		`schedule +polynomial \(default\), learning rate 0.004 \(--learning-rate\), warm-up 0.128 of the steps \(--warmup-proportion\), to step 0\n`,
		`gradients travel as fp16 \(--allreduce-post-accumulation-fp16\), all-reduce: after \(--allreduce-post-accumulation\)\n`,
		`precision +fp16 \(--fp16\)`,
		`checkpoints +2, every 2 steps \(--num-steps-per-checkpoint\), .* kept in ` + out + `/phase2;`,
	} {
		if !regexp.MustCompile(want).MatchString(plan) {
			t.Errorf("--dry-run of phase 2: no %s in\n%s", want, plan)
		}
	}
	if after := must(t, "find "+out).stdout; after != before {
		t.Errorf("--dry-run of phase 2 changed the folder from\n%s\nto\n%s", before, after)
	}
	must(t, two)
	for _, name := range []string{"DONE", "step-00000006/DONE", "phase2/DONE", "phase2/step-00000004/DONE"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	line := runLine(t, out+"/phase2")
	if line["global_batch"] != 16.0 || line["micro_batch"] != 2.0 || line["precision"] != "fp16" || line["steps"] != 4.0 || line["base_learning_rate"] != 4e-3 {
		t.Errorf("phase 2 is %v", line)
	}
	ends := 0
	for _, l := range readLog(t, out+"/dllogger.json") {
		if l.step == -2 {
			ends++
		}
	}
	if ends != 2 {
		t.Errorf("%d runs have ended in the log, expected both phases", ends)
	}
	for _, again := range []string{one, two} {
		if r := must(t, again); !strings.Contains(r.stderr, "already complete") {
			t.Errorf("given again: %s", r.stderr)
		}
	}
}
