// Glueft fine-tunes BERT on a task of the GLUE benchmark and evaluates it, alone or on many ranks.
//
// Synopsis
//
//	glueft --task NAME --data DIR --init PATH -o OUT --train --eval [option...]
//	glueft --task NAME --data DIR --init OUT -o OUT --predict --test [option...]
//	mpirun -np N glueft ...
//
// Glueft starts from a checkpoint of any kind (a folder of bertrain's or that of a whole run, one of Hugging Face, NVIDIA's .pt, TensorFlow's), puts
// a layer on the pooled first token that tells the classes, or the value, and does what is asked for, in this order:
//
//	--train    trains on the task's train.tsv; checkpoints go to OUT/step-NNNNNNNN, which Hugging Face opens, losses to OUT/metrics.jsonl. The same
//	           command run again goes on from the newest checkpoint
//	--eval     computes loss and metrics on dev.tsv
//	--predict  writes the labels that it gives the examples of dev.tsv to OUT/predictions.json
//	--test     writes the labels of test.tsv in the form that the benchmark takes: OUT/MRPC.tsv and the like
//
// Without --train the model is that of --init, which must have the layer. The tasks, their files and metrics:
//
//	cola    CoLA    is a sentence grammatical                  mcc (Matthews correlation)
//	mnli    MNLI    does a sentence follow from another        acc on dev_matched.tsv; mnli-mm/acc on dev_mismatched.tsv where that is there
//	mrpc    MRPC    do two sentences say the same              acc, f1, acc_and_f1 (their mean)
//	qnli    QNLI    does a sentence answer a question          acc
//	qqp     QQP     do two questions ask the same              acc, f1, acc_and_f1
//	rte     RTE     does a sentence follow from another        acc
//	sst-2   SST-2   is a film review good                      acc
//	sts-b   STS-B   how similar are two sentences, 0 to 5      pearson, spearmanr, corr (their mean)
//	wnli    WNLI    what does a pronoun mean                   acc
//
// Files are UTF-8 with tabs between columns, as the benchmark publishes them (getdata mrpc, sst-2, cola and mnli fetch theirs), and may be
// compressed. A line with columns missing is an error, but in QQP, where published ones are. For mnli --test writes MNLI-m.tsv and MNLI-mm.tsv, and
// AX.tsv where diagnostic.tsv is there.
//
// Results go to OUT/results.txt, a JSON object on one line with the original's keys, and to standard output: global_step, train:* (loss is the mean
// over the updates of the last time through the data), eval:loss (the mean over the examples; the original's is over batches), infer:* (times of
// batches of --predict-batch on the first rank: percentiles, mean, deviation, sum) and the metrics, from 0 or -1 to 1. OUT/dllogger.json is the
// original's log. --seeds 1..5 does everything with each seed, in OUT/seed-N, and prints a table of the metrics with mean and standard deviation,
// which is OUT/stability.tsv too.
//
// Padding is never computed, and examples become tokens within a second, so there is no cache of them. A pair that is too long for --max-length loses
// tokens from the end of its longer text, of the second one when both are as long. Text is put in lower case unless the vocabulary has
// capitals; --cased and --do_lower_case decide it.
//
// The optimizer is the original's, BertAdam: AdamW without bias correction, weight decay 0.01 but for biases and LayerNorm; epsilon 1e-6, with
// --precision fp16 1e-8. Gradients are clipped to norm 1, all together (the original clips each tensor by itself, with --fp16 none); --max-grad-norm
// changes it. The learning rate rises over the warm-up and falls to 0 with the last update. Epochs follow each other without a
// gap, each in an order of its own. The loss is the mean over the global batch; so neither the micro-batch nor the number of ranks changes
// anything but rounding.
//
// --recipe takes batch, learning rate, warm-up, epochs, precision and seed from a file of configs/glue, which are the original's glue_config.sh: the
// global batch is divided over the ranks that there are. What is given on the command line goes before it.
//
// # The original's command lines
//
// The flags of NVIDIA's run_glue.py are taken, with _ or -. Most are options by another name: --help-all lists them. The others:
//
//	--train_batch_size B --gradient_accumulation_steps K   B sequences of an update on each rank, in K micro-batches
//	--do_predict         writes predictions of dev.tsv, as there
//	--max_steps N        N updates (there one more), -1: as --epochs say
//	--fp16, --amp        --precision fp16
//	--loss_scale 0       as if not given
//	--skip_checkpoint    saves no checkpoints
//	--no_cuda            --device cpu
//	--local_rank N       is not needed: MPI tells. Ranks of PyTorch's launcher are refused
//	--bert_model, --server_ip, --server_port   never read
//
// Checkpoints are folders instead of pytorch_model.bin: --init OUT takes the newest; ckpt convert writes the original's file.
//
// Exit status: 0 done, or stopped by USR2 or the time limit with everything saved; 1 failed; 2 wrong usage; 128+n after signal n.
//
// Memory: as bertrain: four float32 copies of the parameters, two packed ones of the matrices, the activations of one micro-batch, when training;
// one and one, and the activations of a layer otherwise.
//
// Reproducibility: same options and data, same bytes, whatever the threads, at the same number of ranks.
package main

import (
	"context"
	_ "embed"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/glue"
	"hpcbert/lib/launch"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "glueft",
	Source:  source,
	Summary: "fine-tunes BERT on a GLUE task, evaluates, predicts, writes what is handed in",
	Help: `Does what is asked for, in the order --train, --eval, --predict (dev.tsv to OUT/predictions.json), --test (test.tsv to the file that the benchmark takes). Tasks: cola, mnli, mrpc, qnli, qqp, rte, sst-2, sts-b, wnli. Results go to OUT/results.txt and standard output as a JSON object. The same command run again goes on from the newest checkpoint.

USR2, TERM, INT and HUP save and stop. Memory as bertrain's. Flags of the original program are taken, too: --help-all.`,
	Examples: `
  glueft --task mrpc --data glue/MRPC --init bert-base -o out --train --eval
  glueft --task sst-2 --data glue/SST-2 --init bert-base -o out --train --eval --learning-rate 2e-5 --seeds 1..5
  mpirun -np 4 --bind-to none glueft --task mrpc --data glue/MRPC --init pretrain/phase2 -o out --train --eval --recipe configs/glue/mrpc_dgxa100_tf32.json
  glueft --task mrpc --data glue/MRPC --init out -o out --test`,
}

type options struct {
	cli.Common
	Task  string `long:"task" also:"task-name" value-name:"NAME" required:"true" description:"cola, mnli, mrpc, qnli, qqp, rte, sst-2, sts-b or wnli"`
	Data  string `long:"data" also:"data-dir" value-name:"DIR" required:"true" description:"folder of the task's files"`
	Test  bool   `long:"test" description:"write what the benchmark takes"`
	Limit int    `long:"limit" value-name:"N" hidden:"true" description:"train on the first N examples alone; 0 = all"`
	launch.Tuning
	ServerIP   string `long:"server-ip" value-name:"ADDRESS" hidden:"true" description:"never read"`
	ServerPort string `long:"server-port" value-name:"PORT" hidden:"true" description:"never read"`

	began time.Time
}

// newOptions returns the options with their defaults.
func newOptions() *options {
	o := &options{Tuning: launch.NewTuning()}
	o.Seed, o.Length = 1, 128
	return o
}

func main() {
	o := newOptions()
	cli.Main(program, o, o.run)
}

// settle checks the options and finds the task.
func (o *options) settle(env *cli.Env, args []string) (*glue.Task, error) {
	switch {
	case len(args) > 0:
		return nil, fault.Usagef("unexpected argument %q", args[0])
	case !o.Train && !o.Eval && !o.Predict && !o.Test:
		return nil, fault.Usagef("nothing to do: give --train, --eval, --predict or --test, or more of them")
	case o.Length < 3:
		return nil, fault.Usagef("--max-length %d: must be at least 3", o.Length)
	case o.Limit < 0:
		return nil, fault.Usagef("--limit %d: must not be negative", o.Limit)
	}
	task, err := glue.Find(o.Task)
	if err != nil {
		return nil, err
	}
	return task, o.Settle(env, task.Name)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	task, err := o.settle(env, args)
	if err != nil {
		return err
	}
	o.began = time.Now()
	stop := env.CatchStop() // first of all: a job may be told to stop while MPI starts
	return o.Ranks(env, func(c comm.Comm) error {
		j := &job{options: o, task: task, env: env, comm: c, stop: stop}
		if err := j.open(ctx); err != nil || o.DryRun {
			return err
		}
		return o.EachSeed(env, c, func(seed uint64, out string) ([]launch.Result, error) { return j.run(ctx, seed, out) })
	})
}
