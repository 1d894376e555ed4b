// Bertrain pre-trains BERT with LAMB, alone or on many ranks.
//
// Synopsis
//
//	bertrain --config MODEL.json --data HDF5 -o OUT [option...]
//	mpirun -np N bertrain ...
//
// Bertrain reads the training shards of the folder --data (HDF5 as mkpretrain or the original program writes them), trains the model whose
// shape is in --config for --steps updates of --global-batch sequences, and writes checkpoints OUT/step-NNNNNNNN that Hugging Face's
// from_pretrained opens, and OUT/metrics.jsonl. The same command run again goes on from the newest whole checkpoint.
//
// The loss is the mean over the masked tokens of the global batch plus the mean over its next-sentence labels; so neither the micro-batch
// nor the number of ranks changes anything but rounding. (The original averages each micro-batch for itself.)
//
// The optimizer is LAMB: betas 0.9 and 0.999, epsilon 1e-6, weight decay 0.01 but for biases and LayerNorm, gradients clipped to norm 1. The last
// step has learning rate 0. --optimizer nvlamb gives every tensor the trust ratio, adamw none, bertadam has no bias correction either.
//
// With --precision fp16, and where gradients travel as fp16, the mean loss of a micro-batch is multiplied by a scale that starts at
// --init-loss-scale, is halved when a gradient is not finite and doubled after 2000 good updates, up to 2^24. An update with such a gradient is
// skipped: its data are used up, the step and so the learning rate stay; metrics.jsonl has loss_scale and skipped_steps, the checkpoint holds
// both. --max-skips in a row end the run, as does any gradient or weight that is not finite elsewhere: the error names the first such tensor, the
// step, and the rank where it arose, and nothing is saved. --loss-scale X is a fixed scale, and then too the first such gradient is an error.
//
// Gradients are summed in buckets during the last backward pass of an update, or with --allreduce after behind it; --allreduce-precision
// rounds them on the way. With --shard-optimizer a rank has the moments of its part of the parameters alone, gets the sums of that part, updates
// it and sends it round. Checkpoints are the same files; any number of ranks goes on from them, with parts or without.
//
// The sequences of an update are divided over the ranks, and over the micro-batches of a rank, so that their costs are nearly equal: short ones
// cost less. With --dynamic-masking the tokens to predict are chosen anew in each epoch, in the way of mkpretrain: the shards' own masks are undone
// first, so any shards do; the folder needs its vocab.txt, or --vocab. --whole-word-masking chooses all pieces of a word or none. Order and masks
// are functions of the seed and the epoch, whatever the number of ranks.
//
// A rank that others wait for longer than --comm-timeout (10m) is named with its host where it does not answer by TCP or its process is gone, and the
// job ends. One that answers is at work: it is warned about, and ends the job after ten times as long. A rank whose computing takes 1.2 times the
// ranks' median over 50 updates, or that waits as much for its data, is named once, and again when it is well. With --verify-every N each rank
// computes in every Nth update, and in each that is saved, the first micro-batch of another one too, and the ranks compare the bits: where they
// differ the job ends, the hosts are named (of three or more ranks the one at fault), and checkpoints behind the last good check are put aside.
//
// SIGUSR2, SIGTERM, SIGINT and SIGHUP give the step at work up, save, write OUT/STOPPED and end; a finished run writes OUT/DONE. Send USR2 to the ranks:
// mpirun kills them about two seconds after it gets TERM. SIGUSR1 prints a progress line. --time-limit (3h55m, or 04:00:00), counted from the start
// of the program, and the end of the Slurm job, where SLURM_JOB_END_TIME tells it, do as SIGUSR2 does, early enough to save: by the time that the
// last checkpoint took, or 100 MB/s before the first.
//
// A checkpoint is written while training goes on, from a copy in memory; a failure to write ends the run at the next step. --save-sync makes no
// copy, training waits. A checkpoint without DONE, or whose files differ from the sums in it, is named and skipped: the one before counts.
//
// Phase 2 has steps and a folder of its own: --phase2 --init ONE goes on from the newest whole checkpoint of the run in ONE, or from that of
// --phase1-end-step, with its moments, and counts updates from 0 (--reset-optimizer: moments too). Without --init, ONE is -o and phase 2 is in
// OUT/phase2. --init takes a single checkpoint too; one of bertrain's must be whole. A run that goes on from its own folder ignores it.
//
// --recipe takes what to train (batch, schedule, optimizer, steps, precision, seed, dropout) from a file of configs/recipe, --machine how from one of
// configs/machine (micro-batch, precision, checkpoints, all-reduce). What is given on the command line goes before both. Data of another sequence length than
// the recipe's are refused. The global batch is the recipe's, whatever the number of ranks.
//
// --dry-run prints on standard output, once, what the run would be: the batch on each rank, the schedule with the learning rates of its first, last
// and turning steps, memory, checkpoints and the disk they need, operations and time, and where each value comes from. It reads what the run would read
// and fails as that would, but takes no memory for the model and writes nothing; under mpirun too. The time is that of the operations at a share of
// the multiply-add peak, which is measured then: the median of --measured METRICS, or of the run's own metrics.jsonl if it goes on, else
// 80 %, which small models do not reach. What ranks wait for each other is not in it.
//
// # The original's command lines
//
// The flags of NVIDIA's run_pretraining.py are taken, with _ or -, as its scripts give them. Most are options by another name (--help-all lists
// them; two names of one option with two values are refused). The others:
//
//	--train_batch_size B --gradient_accumulation_steps K   B sequences of an update on each rank, in K micro-batches: --global-batch is
//	                     B x ranks, --micro-batch B / K (K is 1 where it is not given). B must be divisible by K
//	--max_seq_length, --max_predictions_per_seq   must fit the data; the original never reads the first
//	--fp16, --amp        --precision fp16
//	--loss_scale 0       as if not given. Another value is the scale; the original takes --init_loss_scale instead
//	--allreduce_post_accumulation[_fp16]   --allreduce after [--allreduce-precision fp16]; the second alone, which the original ignores, is refused
//	--resume_from_checkpoint   refuses to start anew: bertrain goes on by itself where there is something to go on from. It never trains anew into a
//	                     folder that has checkpoints, and --init_checkpoint needs no other flag
//	--resume_step N      refuses to go on from another step than N (of both phases together with --phase2)
//	--phase2             phase 1 is in the output folder, phase 2 goes to its sub-folder phase2
//	--steps_this_run N   saves and stops at step N, leaves STOPPED, exit status 0
//	--skip_checkpoint    saves nothing
//	--local_rank N       is not needed: MPI tells. Ranks of PyTorch's launcher are refused, each would train alone
//	--do_train, --disable_progress_bar   as they say
//	--bert_model, --num_train_epochs, --use_env   never read, here as there; a warning says so
//
// Defaults are ours: a warning names those of the original where --do_train is given without them.
//
// # Metrics
//
// OUT/metrics.jsonl holds JSON objects, one a line: first the configuration, with a key "run", then one for every --log-every steps, the
// first and the last. Steps that a killed run made after its last checkpoint are removed when it goes on. The keys of a step, over all ranks:
//
//	step, epoch                      updates done; times through the data before this one
//	loss, mlm_loss, nsp_loss         in nats: loss is the sum; means over masked tokens and over sequences of the global batch
//	mlm_accuracy, nsp_accuracy       from 0 to 1
//	learning_rate, gradient_norm     of this update; the norm is that before clipping
//	loss_scale, skipped_steps        1 = none; updates skipped so far because gradients overflowed
//	sequences, tokens, masked_tokens in this update; padding is no token
//	seconds, data_seconds            of this update; waited for data in it
//	save_seconds                     training stood still for a checkpoint before this update, where it did
//	sequences_per_s, tokens_per_s, gflop_per_s
//	mfu                              share of the multiply-add peak of all ranks, measured at the start
//	slowest_rank, slowest_over_median  whose computing took longest for what it was; its time over the ranks' median
//	wait_share                       of the time, that ranks wait in collectives and no computing hides; mean of the ranks
//
// --dllogger FILE (--json-summary) writes the original's log beside it: lines of "DLLL " and an object, each at once. average_loss is the mean over
// the micro-batches of rank 0 since the last line, each a mean of its own, step_loss the last of them, final_loss the mean over ranks of
// the last window; training_sequences_per_second and raw_train_time count from the first batch to the last update, e2e_train_time from the start
// of the program. An existing log is appended to, never truncated: a run that goes on begins with the parameters anew, and steps that a killed
// run made after its last checkpoint are there twice, where the later line counts.
//
// Exit status: 0 trained to the last step, or stopped by USR2 or the time limit with everything saved; 1 failed; 2 wrong usage; 128+n after signal n.
//
// Memory: four float32 copies of the parameters (weights, gradients, two moments; with --shard-optimizer a rank has its part of the moments), two
// packed copies of the matrices, and the activations of one micro-batch. It is counted and told before it is taken; where a node has less, the
// error names the largest micro-batch that fits. --checkpoint-activations keeps the layers' inputs alone. --precision bf16 and fp16 halve the
// activations, and bf16 the packed copies where the CPU multiplies bfloat16: sums, statistics, losses, gradients of the parameters and all that a
// checkpoint holds stay float32. tf32 is for GPUs: a CPU computes it as fp32.
//
// Reproducibility: same options and data, same bytes in every checkpoint, whatever the threads, with --checkpoint-activations or without, at the
// same number of ranks.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/launch"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/train"
)

//go:embed main.go
var source string

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	o.began = time.Now()
	if err := o.settle(env, args); err != nil {
		return err
	}
	o.Init, o.Output = o.phase(o.Output)
	stop := env.CatchStop() // first of all: a job may be told to stop while MPI starts
	return launch.Ranks(env, o.CommTimeout, func(c comm.Comm) error { return o.work(ctx, env, c, stop) })
}

// work is what one rank does.
func (o *options) work(ctx context.Context, env *cli.Env, c comm.Comm, stop *cli.Stop) error {
	cfg, set, dev, err := o.open(env, c)
	if err != nil {
		return err
	}
	if o.DryRun {
		return o.dryRun(ctx, env, c, cfg, set, dev)
	}
	t, err := o.prepare(env, c, cfg, set, dev)
	if err != nil {
		return err
	}
	defer t.Close()
	stopped, err := o.train(ctx, env, t, c, stop)
	if err != nil || !stopped {
		return err
	}
	return stop.Outcome()
}

// open finds model shape, data and device, on all ranks or on none.
func (o *options) open(env *cli.Env, c comm.Comm) (*bert.Config, *pretrain.Set, *kernels.Device, error) {
	if err := o.divide(env, c.Size()); err != nil {
		return nil, nil, nil, err
	}
	cfg, set, err := o.read(env)
	if err := comm.Together(c, err); err != nil {
		return nil, nil, nil, err
	}
	dev, err := launch.Device(env, c, o.Device)
	if err == nil && o.Precision == "tf32" && dev.OnHost() {
		env.Infof("--precision tf32: a CPU has no such type and computes in fp32")
	}
	return cfg, set, dev, err
}

// read finds the data and reads the model's shape. It has no collective in it.
func (o *options) read(env *cli.Env) (*bert.Config, *pretrain.Set, error) {
	set, err := pretrain.OpenSet(o.Data)
	if err != nil {
		return nil, nil, err
	}
	if err := o.checkData(env, set); err != nil {
		return nil, nil, err
	}
	if o.Vocab != "" {
		if err := set.UseVocabulary(o.Vocab); err != nil {
			return nil, nil, err
		}
	}
	cfg, err := train.ReadShape(o.Config, set)
	if err == nil && o.Dropout != nil {
		cfg.HiddenDropoutProb, cfg.AttentionProbsDropoutProb = *o.Dropout, *o.Dropout
	}
	return cfg, set, err
}

// prepare makes everything that training needs, on all ranks or on none.
func (o *options) prepare(env *cli.Env, c comm.Comm, cfg *bert.Config, set *pretrain.Set, dev *kernels.Device) (*train.Trainer, error) {
	o.tellRecipe(env)
	opt := o.training(env, dev)
	opt.Planned = func(p train.Plan) { env.Infof("memory %v", p) }
	t, err := train.New(opt, cfg, set, dev, c)
	if err != nil {
		return nil, err
	}
	if err := o.checkStart(env, t.Step()); err != nil {
		return nil, err
	}
	env.Infof("%d parameters, %d layers x %d, vocabulary %d; %d sequences of %d in %d files; %d rank(s) x %d thread(s) on %s",
		t.Parameters(), cfg.NumHiddenLayers, cfg.HiddenSize, cfg.VocabSize, set.TotalRows(), set.Seq, len(set.Files), c.Size(), dev.Threads(), dev.Name())
	env.Infof("%d steps of %d sequences in micro-batches of %d, %s, %s, %s learning rate %g with %.4g of the steps to warm up, seed %d, to %s",
		o.Steps, o.GlobalBatch, o.MicroBatch, o.Precision, o.Optimizer, o.Schedule, o.LearningRate, opt.Schedule.Warmup, o.Seed, o.Output)
	return t, t.SameOnAllRanks()
}

// train runs the loop and tells how it goes.
func (o *options) train(ctx context.Context, env *cli.Env, t *train.Trainer, c comm.Comm, stop *cli.Stop) (stopped bool, err error) {
	if t.Step() > 0 && t.Step() < o.Steps {
		env.Infof("going on from step %d", t.Step())
	}
	if o.NoBar {
		env.NoBar()
	}
	p := env.Progress("training", "steps", int64(o.Steps))
	p.Start(int64(t.Step()))
	t.Notify = func(r train.Report) {
		p.Set(int64(r.Step), fmt.Sprintf("loss %.4f, learning rate %.3g, %.1f sequences/s", r.Loss, r.LearningRate, r.SequencesPerSecond))
	}
	s, err := t.Run(ctx, stop.Asked)
	p.Finish()
	if err != nil {
		return false, launch.Abort(env, c, err)
	}
	if s.TimeUp {
		env.Infof("the time is nearly up: saved, %s before the end", cli.Duration(time.Until(env.Deadline(o.TimeLimit))))
	}
	if s.LastStep < s.FirstStep {
		if !s.Stopped {
			env.Infof("%s: already complete at step %d, nothing to do", o.Output, t.Step())
		}
		return s.Stopped, nil
	}
	env.Infof("loss of step %d %.4f, mean of the last ten %.4f, best constant prediction (unigram) %.4f", s.FirstStep, s.FirstLoss, s.LastLoss, s.ConstantLoss)
	if s.Skipped > 0 {
		env.Infof("%d updates skipped: their gradients overflowed", s.Skipped)
	}
	env.Summaryf("%d steps to step %d, %d sequences, %d tokens", s.LastStep-s.FirstStep+1, s.LastStep, s.Sequences, s.Tokens)
	return s.Stopped, nil
}
