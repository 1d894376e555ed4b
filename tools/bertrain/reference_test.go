package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/cli"
	"hpcbert/lib/cli/clitest"
	"hpcbert/lib/plan"
	"hpcbert/lib/pretrain"
)

// settled parses a command line as the program does, up to where it would start MPI, and divides the batch over so many ranks.
func settled(ranks int, line string) (o *options, status int, stderr string) {
	o = &options{}
	status, _, stderr = clitest.Run(program, o, func(_ context.Context, env *cli.Env, args []string) error {
		if err := o.settle(env, args); err != nil {
			return err
		}
		o.Init, o.Output = o.phase(o.Output)
		return o.divide(env, ranks)
	}, "", strings.Fields(line)...)
	return o, status, stderr
}

// What the original's scripts run: scripts/run_pretraining.sh with the parameters of its configurations, and run.sub.
const (
	script1 = "--input_dir=one/ --output_dir=results/checkpoints --config_file=bert_config.json --bert_model=bert-large-uncased --max_seq_length=128 --max_predictions_per_seq=20 " +
		"--max_steps=7038 --warmup_proportion=0.2843 --num_steps_per_checkpoint=200 --learning_rate=6e-3 --do_train --json-summary results/dllogger.json --disable_progress_bar "
	script2 = "--input_dir=two/ --output_dir=results/checkpoints --config_file=bert_config.json --bert_model=bert-large-uncased --max_seq_length=512 --max_predictions_per_seq=80 " +
		"--max_steps=1563 --warmup_proportion=0.128 --num_steps_per_checkpoint=200 --learning_rate=4e-3 --do_train --phase2 --resume_from_checkpoint --phase1_end_step=7038 --json-summary results/dllogger.json "
	half   = "--fp16 --allreduce_post_accumulation --allreduce_post_accumulation_fp16 "
	after  = "--allreduce_post_accumulation "
	common = "--input_dir=/workspace/data --output_dir=/results --config_file=bert_config.json --seed=42 --do_train --json-summary /results/dllogger.json --log_freq=1 --local_rank=0 "
)

var (
	rates1 = map[int]float64{1: 2.9986455118223097e-06, 2000: 0.00599729102364462, 2001: 0.005075894589365794, 7037: 7.151985398522354e-05, 7038: 0}
	rates2 = map[int]float64{1: 1.999360204734485e-05, 200: 0.00399872040946897, 201: 0.0037339547970086148, 1563: 0}
)

// k are the flags of a batch on each rank and the micro-batches of it.
func k(batch, steps int) string {
	return fmt.Sprintf("--train_batch_size=%d --gradient_accumulation_steps=%d ", batch, steps)
}

func TestLinesOfTheOriginal(t *testing.T) {
	for _, c := range []struct {
		name           string
		ranks          int
		line           string
		global, micro  int
		k              int
		precision      string
		wire, when     string
		steps, save    int
		rates          map[int]float64 // of some updates, as the original computes them
		out, from, log string
	}{
		{"script, phase 1, its defaults", 8, script1 + half + "--seed=12439 " + k(8192, 128), 65536, 64, 128, "fp16", "fp16", "after", 7038, 200,
			rates1, "results/checkpoints", "", "results/dllogger.json"},
		{"script, phase 2, its defaults", 8, script2 + half + "--seed=12439 " + k(4096, 512), 32768, 8, 512, "fp16", "fp16", "after", 1563, 200,
			rates2, "results/checkpoints/phase2", "results/checkpoints", "results/dllogger.json"},
		{"dgxa100_8gpu_tf32, 1", 8, script1 + after + k(8192, 128), 65536, 64, 128, "fp32", "fp32", "after", 7038, 200, nil, "results/checkpoints", "", "results/dllogger.json"},
		{"dgx2_16gpu_fp16, 1", 16, script1 + half + k(4096, 64), 65536, 64, 64, "fp16", "fp16", "after", 7038, 200, nil, "results/checkpoints", "", "results/dllogger.json"},
		{"dgx2_16gpu_fp32, 2", 16, script2 + after + k(2048, 256), 32768, 8, 256, "fp32", "fp32", "after", 1563, 200, nil, "results/checkpoints/phase2", "results/checkpoints", "results/dllogger.json"},
		{"dgx1_8gpu_fp16, 1", 8, script1 + half + k(8192, 512), 65536, 16, 512, "fp16", "fp16", "after", 7038, 200, nil, "results/checkpoints", "", "results/dllogger.json"},
		{"dgx1_8gpu_fp32, 2", 8, script2 + after + k(4096, 1024), 32768, 4, 1024, "fp32", "fp32", "after", 1563, 200, nil, "results/checkpoints/phase2", "results/checkpoints", "results/dllogger.json"},
		{"run.sub, 4 DGX-1, phase 1", 32, common + half + k(2048, 128) + "--learning_rate=6e-3 --warmup_proportion=0.2843 --max_seq_length=128 --max_predictions_per_seq=20 --max_steps=7038 --num_steps_per_checkpoint=2500",
			65536, 16, 128, "fp16", "fp16", "after", 7038, 2500, nil, "/results", "", "/results/dllogger.json"},
		{"run.sub, 4 DGX-1, phase 2", 32, common + half + k(1024, 256) + "--learning_rate=4e-3 --warmup_proportion=0.128 --phase2 --resume_from_checkpoint --phase1_end_step=7038 --max_seq_length=512 --max_predictions_per_seq=80 --max_steps=1563 --num_steps_per_checkpoint=1000",
			32768, 4, 256, "fp16", "fp16", "after", 1563, 1000, nil, "/results/phase2", "/results", "/results/dllogger.json"},
		{"run.sub, its defaults on 8", 8, common + half + k(16, 2) + "--learning_rate=6e-3 --warmup_proportion=0.2843 --max_steps=7038 --num_steps_per_checkpoint=2500", 128, 8, 2, "fp16", "fp16", "after", 7038, 2500, nil, "/results", "", "/results/dllogger.json"},
		{"DGX2_64x16x64, no accumulation", 1024, common + "--amp " + k(64, 1) + "--max_steps=7038", 65536, 64, 1, "fp16", "fp32", "overlap", 7038, 200, nil, "/results", "", "/results/dllogger.json"},
	} {
		o, status, stderr := settled(c.ranks, c.line)
		if status != 0 {
			t.Errorf("%s: exit status %d: %s", c.name, status, stderr)
			continue
		}
		for _, x := range []struct {
			what      string
			got, want any
		}{
			{"global batch", o.GlobalBatch, c.global}, {"micro-batch", o.MicroBatch, c.micro}, {"precision", o.Precision, c.precision}, {"wire", o.Wire, c.wire}, {"all-reduce", o.Allreduce, c.when},
			{"steps", o.Steps, c.steps}, {"save every", o.SaveEvery, c.save}, {"output", o.Output, c.out}, {"start", o.Init, c.from}, {"log", o.DLLogger, c.log},
			{"accumulation", plan.Batch{Global: o.GlobalBatch, Micro: o.MicroBatch, Nodes: 1, Devices: c.ranks}.Accumulation(), c.k},
		} {
			if x.got != x.want {
				t.Errorf("%s: %s %v, expected %v", c.name, x.what, x.got, x.want)
			}
		}
		s := o.schedule(o.Steps)
		for update, want := range c.rates {
			if got := s.Rate(update); math.Abs(got-want) > 1e-12*want {
				t.Errorf("%s: learning rate of update %d is %v, expected %v", c.name, update, got, want)
			}
		}
		if !strings.Contains(stderr, "never read, here as in the original: --bert-model\n") && strings.Contains(c.line, "--bert_model") {
			t.Errorf("%s: no word of --bert-model: %s", c.name, stderr)
		}
	}
}

// What the original changes or ignores without a word.
func TestFlagsOfTheOriginalThatDoNotFit(t *testing.T) {
	const line = "--input_dir=d --output_dir=o --config_file=c "
	for _, c := range []struct {
		ranks  int
		flags  string
		status int
		says   string
	}{
		{8, k(32, 0), 2, "--gradient-accumulation-steps 0: must be at least 1"},
		{8, k(33, 4), 2, "--train-batch-size 33 is not divisible by --gradient-accumulation-steps 4"},
		{8, "--train_batch_size=0", 2, "--train-batch-size 0: must be at least 1"},
		{8, k(32, 4) + "--global-batch 256 --micro-batch 8", 0, ""},
		{8, k(32, 4) + "--global-batch 255", 2, "--global-batch 255 contradicts --train-batch-size, which means 256 on 8 rank(s)"},
		{8, k(32, 4) + "--micro-batch 4", 2, "--micro-batch 4 contradicts --gradient-accumulation-steps, which means 8 on 8 rank(s)"},
		{3, "--gradient_accumulation_steps=2 --global-batch 32", 2, "32 sequences cannot be divided into as many equal micro-batches on 3 rank(s)"},
		{4, "--gradient_accumulation_steps=2 --global-batch 32", 0, ""},
		{1, "--fp16 --precision fp32", 2, "--precision fp32 contradicts --fp16, which means fp16"},
		{1, "--fp16 --amp --precision fp16", 0, ""},
		{2, after + "--allreduce overlap", 2, "--allreduce overlap contradicts --allreduce-post-accumulation"},
		{1, after, 0, "warning: one rank alone: there is nothing to reduce"},
		{2, "--allreduce_post_accumulation_fp16", 2, "goes with --allreduce-post-accumulation"},
		{2, half + "--allreduce-precision fp32", 2, "--allreduce-precision fp32 contradicts --allreduce-post-accumulation-fp16"},
		{1, "--max_steps 7 --steps 8", 2, "--steps is 8, but --max-steps, which means the same, is 7"},
		{1, "--data e", 2, "--data is e, but --input-dir, which means the same, is d"},
		{1, "--init_checkpoint x --init y", 2, "--init is y, but --init-checkpoint, which means the same, is x"},
		{1, "--json-summary x --dllogger y", 2, "--dllogger is y, but --json-summary, which means the same, is x"},
		{1, "--num_train_epochs 3 --use_env", 0, "warning: never read, here as in the original: --num-train-epochs, --use-env"},
		{1, "--do_train", 0, "warning: the original has other defaults, which are not used: --learning-rate 5e-5, --save-every 100, --warmup 0.01"},
		{1, "--skip_checkpoint", 0, "warning: --skip-checkpoint: nothing is saved"},
		{1, "--resume_step=-2", 2, "--resume-step -2: must be a step, or -1"},
		{1, "--steps_this_run=0", 2, "--steps-this-run 0: must be a step, or -1"},
		{1, "--local_rank=3", 2, "each would train alone"},
		{1, "--local_rank=-1 --steps_this_run=-1 --resume_step=-1", 0, ""},
		{1, "--loss_scale=0.0 --fp16", 0, ""},
		{1, "--warmup 0.1 --warmup_steps 7", 2, "--warmup and --warmup-steps: one of them"},
		{1, "--machine m", 2, "--machine goes with --recipe"},
		{1, "--recipe ../../configs/recipe/phase2.json --machine ../../configs/machine/dgx2.json", 2, "hint: give a machine file with batches for phase 2"},
		{1, "--recipe ../../configs/recipe/node_phase1.json --machine ../../configs/machine/dgx2.json", 2, "hint: a machine file is of the recipes with its global batch"},
	} {
		_, status, stderr := settled(c.ranks, line+c.flags)
		if status != c.status || !strings.Contains(stderr, c.says) || c.says == "" && stderr != "" {
			t.Errorf("%s: exit status %d, says %q, expected %d, %q", c.flags, status, stderr, c.status, c.says)
		}
	}
}

func TestDataMustBeWhatWasSaid(t *testing.T) {
	for _, c := range []struct {
		flags string
		says  string
	}{
		{"", ""},
		{"--max_seq_length=128 --max_predictions_per_seq=20", ""},
		{"--max_seq_length=512", "error: d: sequences of 128 tokens, the command line wants 512"},
		{"--max_predictions_per_seq=10", "error: d: sequences of up to 20 predictions, the command line wants 10"},
		{"--max_predictions_per_seq=80", "warning: d: sequences of up to 20 predictions, the command line allows 80"},
		{"--recipe ../../configs/recipe/phase1.json", ""},
		{"--recipe ../../configs/recipe/phase2.json", "sequences of 128 tokens, ../../configs/recipe/phase2.json wants 512"},
	} {
		o := &options{}
		status, _, stderr := clitest.Run(program, o, func(_ context.Context, env *cli.Env, args []string) error {
			if err := o.settle(env, args); err != nil {
				return err
			}
			return o.checkData(env, &pretrain.Set{Dir: "d", Seq: 128, MaxPred: 20})
		}, "", strings.Fields("--config c --data d -o o "+c.flags)...)
		want := map[bool]int{true: 2, false: 0}[strings.Contains(c.says, "wants")]
		if status != want || !strings.Contains(stderr, c.says) || c.says == "" && stderr != "" {
			t.Errorf("%s: exit status %d, says %q, expected %d, %q", c.flags, status, stderr, want, c.says)
		}
	}
}

func TestStartMustBeWhatWasSaid(t *testing.T) {
	empty, foreign := t.TempDir(), filepath.Join(t.TempDir(), "[a]")
	if err := os.Mkdir(foreign, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(foreign, "ckpt_7038.pt"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags string
		step  int
		says  string
	}{
		{"", 0, ""},
		{"", 5, ""},
		{"--resume_from_checkpoint", 5, ""},
		{"--resume_from_checkpoint", 0, "has no checkpoint\n"},
		{"--resume_from_checkpoint --output_dir " + foreign, 0, "--init " + foreign + "/ckpt_7038.pt"},
		{"--resume_from_checkpoint --init_checkpoint x", 0, ""},
		{"--resume_from_checkpoint --phase2 --phase1_end_step=7038", 0, ""},
		{"--resume_from_checkpoint --phase2 --phase1_end_step=7038 --resume_step=7038", 0, ""},
		{"--resume_from_checkpoint --phase2 --phase1_end_step=7038 --resume_step=7238", 200, ""},
		{"--resume_from_checkpoint --phase2 --phase1_end_step=7038 --resume_step=7238", 400, "--resume-step 7238: the newest"},
		{"--resume_from_checkpoint --resume_step=200", 400, "is of step 400"},
		{"--recipe ../../configs/recipe/phase2.json", 0, "starts from random weights"},
		{"--recipe ../../configs/recipe/phase2.json --init x", 0, ""},
	} {
		o := &options{}
		_, _, stderr := clitest.Run(program, o, func(_ context.Context, env *cli.Env, args []string) error {
			if err := o.settle(env, args); err != nil {
				return err
			}
			o.Init, o.Output = o.phase(o.Output)
			return o.checkStart(env, c.step)
		}, "", strings.Fields("--config c --data d "+c.flags+map[bool]string{true: " -o " + empty}[!strings.Contains(c.flags, "--output")])...)
		if !strings.Contains(stderr, c.says) || c.says == "" && stderr != "" {
			t.Errorf("%s at step %d: says %q, expected %q", c.flags, c.step, stderr, c.says)
		}
	}
}
