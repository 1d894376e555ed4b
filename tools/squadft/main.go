// Squadft fine-tunes BERT on SQuAD and answers its questions, alone or on many ranks.
//
// Synopsis
//
//	squadft --init PATH --train --train-file FILE -o OUT [option...]
//	squadft --init PATH --predict --predict-file FILE -o OUT [option...]
//	mpirun -np N squadft ...
//
// Squadft starts from a checkpoint of any kind (a folder of bertrain's or that of a whole run, one of Hugging Face, NVIDIA's .pt, TensorFlow's),
// puts a layer on it that says how likely an answer starts and ends at each token, and does what is asked for, in this order:
//
//	--train    trains on the questions of --train-file; checkpoints go to OUT/step-NNNNNNNN, losses to OUT/metrics.jsonl. The same command
//	           run again goes on from the newest checkpoint
//	--predict  answers the questions of --predict-file with the trained model, without --train with that of --init: OUT/predictions.json (answers),
//	           OUT/nbest_predictions.json (the --n-best-size likeliest ones with probability and scores) and, for SQuAD 2.0, OUT/null_odds.json (the
//	           score of no answer less that of the best one)
//	--eval     marks the answers and prints exact match and F1 as evalsquad does; --predict does it too where the file has the right answers
//
// Files are those of SQuAD 1.1; with --squad2 those of 2.0, where questions may have no answer: the answer is empty where that
// scores more than --null-threshold above the best one. They may be compressed. Contexts longer than --max-length are read in windows,
// --doc-stride tokens apart. Padding is never computed. Questions become windows within seconds, so there is no cache of them.
//
// --seeds 1..5 trains once with each seed, in OUT/seed-N, and prints a table of exact match and F1 with mean and standard deviation.
//
// The loss is the mean over the windows of the global batch, of the cross-entropies of start and end, divided by two. Answers that are not in a
// window are [CLS] there. The optimizer is the original's (BertAdam: no bias correction, weight decay 0.01 but for biases and LayerNorm; gradients
// clipped to norm 1), the learning rate rises over --warmup of the updates and falls to 0. Each epoch has an order of its own.
//
// --recipe takes batch, schedule, epochs, precision and seed from a file of configs/squad. What is given on the command line goes before.
//
// --dry-run prints how many questions, windows and updates there are, on what, and whether it can be. It writes nothing.
//
// # The original's command lines
//
// The flags of NVIDIA's run_squad.py are taken, with _ or -. Most are options by another name (--help-all lists them). The others:
//
//	--train_batch_size B --gradient_accumulation_steps K   windows of an update on each rank, in K micro-batches
//	--max_steps N        N updates, not one more
//	--do_lower_case      as the vocabulary says without it: one with capitals is cased
//	--do_eval            marks by itself; --eval_script is never read. Without --do_predict it writes no files
//	--fp16, --amp        --precision fp16
//	--skip_checkpoint    saves nothing
//	--verbose_logging    tells which questions are not trained on, as -v does
//	--json-summary FILE  the original's log, appended
//	--skip_cache, --cache_dir   there is no cache
//	--bert_model, --use_env   never read
//
// Other than the original: the schedule is made of the updates that there are, not of the number of questions; the order is another one in each epoch
// and depends on --seed on many ranks too; a question's scores for no answer are its own in the list of guesses; where a question has no legal
// answer at all it gets the empty one.
//
// Exit status: 0 done, or stopped by USR2 or the time limit with everything saved; 1 failed; 2 wrong usage; 128+n after signal n.
//
// Memory: as bertrain for training, a quarter of it to predict; the windows take about 1 KiB each, the scores of those predicted 3 KiB each.
//
// Reproducibility: same options, data and ranks, same bytes in every file, whatever the threads.
package main

import (
	"context"
	_ "embed"
	"fmt"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/launch"
	"hpcbert/lib/squad"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "squadft",
	Source:  source,
	Summary: "fine-tunes BERT on SQuAD and answers its questions, alone or under mpirun",
	Help: `--train trains on --train-file, from a checkpoint of any kind, and goes on when run again: OUT/step-NNNNNNNN, OUT/metrics.jsonl. --predict answers --predict-file: OUT/predictions.json, OUT/nbest_predictions.json, and with --squad2 OUT/null_odds.json. --eval marks the answers and prints exact match and F1 as evalsquad does.

Memory: as bertrain for training, a quarter of it to predict. Flags of NVIDIA's run_squad.py are taken, too: --help-all.`,
	Examples: `
  squadft --init bert-base-uncased --train --train-file train-v1.1.json --predict --predict-file dev-v1.1.json --epochs 2 --learning-rate 3e-5 -o out
  squadft --init out --predict --predict-file questions.json -o answers
  mpirun -np 2 --bind-to none squadft --init one --recipe configs/squad/dgx1_8gpu_fp32.json --train --train-file train-v1.1.json -o out`,
}

type options struct {
	cli.Common
	launch.Tuning
	TrainFile     string  `long:"train-file" value-name:"FILE" description:"questions to train on"`
	PredictFile   string  `long:"predict-file" value-name:"FILE" description:"questions to answer"`
	Version2      bool    `long:"squad2" also:"version-2-with-negative" description:"some questions have no answer"`
	NullThreshold float64 `long:"null-threshold" also:"null-score-diff-threshold" value-name:"X" default:"0" description:"2.0: no answer if X above the best"`
	Stride        int     `long:"doc-stride" value-name:"N" default:"128" hidden:"true" description:"tokens between windows of a context"`
	MaxQuery      int     `long:"max-query-length" value-name:"N" default:"64" hidden:"true" description:"tokens of a question; the rest is cut off"`
	NBest         int     `long:"n-best-size" value-name:"N" default:"20" hidden:"true" description:"guesses to keep of a question"`
	MaxAnswer     int     `long:"max-answer-length" value-name:"N" default:"30" hidden:"true" description:"tokens of an answer"`
	referenceOptions
}

// newOptions returns options with the defaults of the task.
func newOptions() *options {
	o := &options{Tuning: launch.NewTuning()}
	o.Length, o.Seed = 384, 42
	return o
}

func main() {
	o := newOptions()
	cli.Main(program, o, o.run)
}

func (o *options) check(args []string) error {
	switch {
	case len(args) > 0:
		return fault.Usagef("unexpected argument %q", args[0])
	case !o.Train && !o.Predict && !o.Eval:
		return fault.WithHint(fault.Usagef("nothing to do: none of --train, --predict, --eval"), "--train-file alone trains nothing, --predict-file alone answers nothing")
	case o.Train && o.TrainFile == "":
		return fault.Usagef("--train needs --train-file")
	case o.answers() && o.PredictFile == "":
		return fault.Usagef("--predict and --eval need --predict-file")
	case len(o.Seeds) > 0 && !o.answers():
		return fault.Usagef("--seeds goes with --eval: there is nothing to compare")
	}
	if err := o.windowing().Check(); err != nil {
		return err
	}
	return o.decoding(false).Check()
}

// answers tells whether questions are answered.
func (o *options) answers() bool { return o.Predict || o.Eval }

func (o *options) windowing() squad.Options {
	return squad.Options{MaxSeq: o.Length, Stride: o.Stride, MaxQuery: o.MaxQuery}
}

func (o *options) decoding(lowerCase bool) squad.Decoding {
	return squad.Decoding{NBest: o.NBest, MaxAnswer: o.MaxAnswer, LowerCase: lowerCase, Null: o.Version2, Threshold: o.NullThreshold}
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	if err := o.Settle(env, "squad"); err != nil {
		return err
	}
	o.warn(env)
	stop := env.CatchStop()
	return o.Ranks(env, func(c comm.Comm) error { return o.work(ctx, env, c, stop) })
}

// work is what one rank does.
func (o *options) work(ctx context.Context, env *cli.Env, c comm.Comm, stop *cli.Stop) error {
	m, err := o.Open(ctx, env, c)
	if err != nil {
		return err
	}
	task, err := o.read(ctx, env, m)
	if err := comm.Together(c, err); err != nil {
		return err
	}
	j := &job{options: o, task: task, model: m, env: env, comm: c, stop: stop}
	if o.DryRun {
		return j.dryRun(ctx)
	}
	return o.EachSeed(env, c, func(seed uint64, out string) ([]launch.Result, error) { return j.run(ctx, seed, out) })
}

// say tells how many of what there are.
func (t *task) say(env *cli.Env, detail bool) {
	tell := env.Debugf
	if detail {
		tell = env.Infof
	}
	for _, d := range t.dropped {
		tell("question %s is not trained on: its answer %q is not in %q", d.ID, d.Answer, d.Found)
	}
	if n := len(t.dropped); n > 0 {
		env.Warnf("%d question(s) are not trained on: their answers are not where they should be in the context (-v lists them)", n)
	}
	if n := len(t.asked) - t.answerable(); n > 0 {
		env.Warnf("%d question(s) about an empty context get no answer", n)
	}
	env.Infof("%s", t)
}

func (t *task) String() string {
	return fmt.Sprintf("%d windows of %d questions to train on, %d windows of %d questions to answer", len(t.training), t.trained, len(t.predicting), len(t.asked))
}
