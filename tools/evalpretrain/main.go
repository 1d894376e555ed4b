// Evalpretrain computes the losses and accuracies of a pre-trained BERT on held-out shards.
//
// Synopsis
//
//	evalpretrain --checkpoint PATH --data HDF5 [option...]
//	evalpretrain --checkpoint PATH [option...] SHARD.hdf5...
//	mpirun -np N evalpretrain ...
//
// Evalpretrain reads a checkpoint of any kind (a folder of bertrain's, or that of a whole run: its newest whole checkpoint, or that of --ckpt-step;
// a folder of Hugging Face; NVIDIA's ckpt_N.pt; TensorFlow's) and the shards of the folder --data whose names contain "test", or the files that
// are named, of whatever name. It prints one JSON object:
//
//	sequences, tokens, masked_tokens   exact counts
//	mlm_loss, nsp_loss                 means over all masked tokens and over all sequences, in nats; loss is their sum
//	mlm_accuracy, nsp_accuracy         shares of right predictions; mlm_correct, nsp_correct are their counts
//	perplexity                         e to the mlm_loss
//	seconds, sequences_per_s           of the forward passes, reading included
//
// (The original means the means of batches, of which the last may be small, and counts every batch as full.) There is no dropout, and masks are those
// of the shards. --prediction measures the speed alone.
//
// The model shape is --config, or config.json or bert_config.json beside the checkpoint. A checkpoint without both heads of pre-training is
// refused, and one whose vocab.txt is not that of the shards.
//
// Flags of the original, with their meaning: --input_dir, --config_file, --ckpt_dir, --ckpt_path, --ckpt_step, --eval, --prediction,
// --eval_batch_size, --max_steps (so many batches in all, whatever the ranks; not one more), --fp16, --log_path. --bert_model,
// --max_seq_length, --max_predictions_per_seq, --seed, --no_cuda and --local_rank are never read; a warning says so.
//
// Exit status: 0 done; 1 failed; 2 wrong usage; 128+n after signal n.
//
// Memory: one float32 copy of the parameters, two packed copies of the matrices, the activations of one micro-batch on one layer, the shards in use.
//
// Reproducibility: same checkpoint, data and ranks, same numbers whatever the threads; across numbers of ranks they agree to rounding, and all
// counts but those of right predictions that hang on a tie are equal.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/launch"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/train"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "evalpretrain",
	Source:  source,
	Args:    "[SHARD.hdf5...]",
	Summary: "losses and accuracies of a pre-trained BERT on held-out shards",
	Help: `Reads a checkpoint of any kind and the shards of --data whose names contain "test", or the files that are named; prints one JSON object: counts, masked-token and next-sentence loss (means over all tokens and all sequences) and accuracy, perplexity, speed. Under mpirun the sequences are divided over the ranks.

Flags of the original program are taken, too: --help-all.`,
	Examples: `
  evalpretrain --checkpoint out --data hdf5
  evalpretrain --checkpoint out/step-00007038 --batch 32 -o score.json hdf5/test_0.hdf5
  mpirun -np 4 --bind-to none evalpretrain --checkpoint ckpt_8601.pt --config configs/model/large.json --data hdf5`,
}

type options struct {
	cli.Common
	Checkpoint string `long:"checkpoint" also:"ckpt-dir,ckpt-path" value-name:"PATH" required:"true" description:"checkpoint, or folder of a run"`
	Step       int    `long:"ckpt-step" value-name:"N" default:"-1" description:"of a run: this one (default: the newest)"`
	Data       string `long:"data" also:"input-dir" value-name:"DIR" description:"folder of HDF5 test shards"`
	Config     string `long:"config" also:"config-file" value-name:"FILE" description:"model shape (default: beside the checkpoint)"`
	Output     string `short:"o" long:"output" value-name:"FILE" description:"JSON (default: standard output)"`
	Batch      int    `long:"batch" also:"eval-batch-size" value-name:"N" default:"8" description:"sequences computed at once on a rank"`
	MaxBatches int    `long:"max-batches" also:"max-steps" value-name:"N" default:"-1" description:"end after N batches in all (default: the data's end)"`
	Precision  string `long:"precision" value-name:"TYPE" default:"fp32" description:"fp32, bf16, fp16 or tf32"`
	Prediction bool   `long:"prediction" description:"forward passes for their speed, no losses"`
	Log        string `long:"dllogger" also:"log-path" value-name:"FILE" description:"append the original's log to FILE"`
	Device     string `long:"device" value-name:"DEVICE" default:"auto" hidden:"true" description:"cpu or auto"`
	referenceOptions
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) check(args []string) error {
	switch {
	case (o.Data == "") == (len(args) == 0):
		return fault.Usagef("either --data or files: one of them tells what to evaluate on")
	case o.Batch < 1:
		return fault.Usagef("--batch %d: must be at least 1", o.Batch)
	case o.Step == 0 || o.Step < -1:
		return fault.Usagef("--ckpt-step %d: must be a step, or -1 for the newest", o.Step)
	}
	_, err := bert.Precision(o.Precision)
	return err
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if err := o.translate(env); err != nil {
		return err
	}
	if err := o.check(args); err != nil {
		return err
	}
	const patience = 10 * time.Minute // of ranks that wait for another
	return launch.Ranks(env, patience, func(c comm.Comm) error { return o.evaluate(ctx, env, c, args) })
}

// evaluate is the work of one rank.
func (o *options) evaluate(ctx context.Context, env *cli.Env, c comm.Comm, files []string) error {
	began := time.Now()
	e, err := o.evaluation(env, files)
	if err := comm.Together(c, err); err != nil {
		return err
	}
	dev, err := launch.Device(env, c, o.Device)
	if err != nil {
		return err
	}
	e.Memory = launch.Memory(dev, 0)
	rows := int64(e.Set.TotalRows())
	if e.Sequences > 0 {
		rows = min(rows, e.Sequences)
	}
	env.Infof("%s on %d sequences of up to %d tokens in %d file(s), batches of %d, %s; %d rank(s) x %d thread(s) on %s",
		e.Checkpoint, rows, e.Set.Seq, len(e.Set.Files), o.Batch, o.Precision, c.Size(), dev.Threads(), dev.Name())
	p := env.Progress("evaluating", "sequences", rows)
	e.Notify = func(done int64) { p.Set(done, "") }
	score, err := train.Evaluate(ctx, *e, dev, c)
	p.Finish()
	if err != nil {
		return err
	}
	if c.Rank() == 0 {
		err = o.report(env, score, began)
	}
	return comm.Together(c, err)
}

// evaluation finds checkpoint, shape and data.
func (o *options) evaluation(env *cli.Env, files []string) (e *train.Evaluation, err error) {
	e = &train.Evaluation{MicroBatch: o.Batch, Sequences: int64(max(0, o.MaxBatches)) * int64(o.Batch), Warn: env.Warnf}
	e.Mode, _ = bert.Precision(o.Precision) // checked
	if err := train.CheckLog(o.Log); err != nil {
		return nil, err
	}
	if e.Checkpoint, err = o.find(env); err != nil {
		return nil, err
	}
	if e.Config, err = o.shape(e.Checkpoint); err != nil {
		return nil, err
	}
	if len(files) > 0 {
		e.Set, err = pretrain.OpenFiles(files)
	} else {
		e.Set, err = pretrain.OpenTestSet(o.Data)
	}
	return e, err
}

// shape is that of the model.
func (o *options) shape(checkpoint string) (cfg *bert.Config, err error) {
	if o.Config != "" {
		cfg, err = bert.ReadConfig(o.Config)
	} else {
		cfg, err = bert.FindConfig(ckpt.Folder(checkpoint))
	}
	if err != nil {
		return nil, err
	}
	if cfg == nil {
		return nil, fault.WithHint(fmt.Errorf("%s: no config.json or bert_config.json beside it", checkpoint), "--config FILE gives the model shape, such as configs/model/large.json")
	}
	s, err := ckpt.Open(checkpoint)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return cfg, cfg.CompleteVocabulary(s)
}
