package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/launch"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/stream"
)

// referenceOptions are the flags of the original trainer that mean something of their own. Those that are our options by another name stand in
// the tags of these.
type referenceOptions struct {
	launch.PerRank
	SeqLength    int      `long:"max-seq-length" value-name:"N" hidden:"true" description:"tokens that the data's sequences must have"`
	MaxPred      int      `long:"max-predictions-per-seq" value-name:"N" hidden:"true" description:"predictions that the data's sequences may have"`
	FP16         bool     `long:"fp16" hidden:"true" description:"--precision fp16"`
	AMP          bool     `long:"amp" hidden:"true" description:"--precision fp16"`
	After        bool     `long:"allreduce-post-accumulation" hidden:"true" description:"--allreduce after"`
	AfterHalf    bool     `long:"allreduce-post-accumulation-fp16" hidden:"true" description:"with the former: --allreduce-precision fp16"`
	Resume       bool     `long:"resume-from-checkpoint" hidden:"true" description:"refuse to start anew (going on needs no option)"`
	ResumeStep   *int     `long:"resume-step" value-name:"N" hidden:"true" description:"refuse to go on from another step (-1: none)"`
	StepsThisRun *int     `long:"steps-this-run" value-name:"N" hidden:"true" description:"save and stop at this step (-1: --steps)"`
	NoSave       bool     `long:"skip-checkpoint" hidden:"true" description:"write no checkpoints"`
	NoBar        bool     `long:"disable-progress-bar" hidden:"true" description:"plain lines on a terminal too"`
	DoTrain      bool     `long:"do-train" hidden:"true" description:"what bertrain does anyway"`
	BertModel    string   `long:"bert-model" value-name:"NAME" hidden:"true" description:"never read"`
	Epochs       *float64 `long:"num-train-epochs" value-name:"X" hidden:"true" description:"never read"`
	UseEnv       bool     `long:"use-env" hidden:"true" description:"never read"`
}

func (o *referenceOptions) check() error {
	switch {
	case o.AfterHalf && !o.After:
		return fault.WithHint(fault.Usagef("--allreduce-post-accumulation-fp16 goes with --allreduce-post-accumulation"), "the original ignores it alone; --allreduce-precision fp16 needs nothing else")
	case o.ResumeStep != nil && *o.ResumeStep < -1:
		return fault.Usagef("--resume-step %d: must be a step, or -1", *o.ResumeStep)
	case o.StepsThisRun != nil && *o.StepsThisRun < 1 && *o.StepsThisRun != -1:
		return fault.Usagef("--steps-this-run %d: must be a step, or -1", *o.StepsThisRun)
	}
	return o.PerRank.Check()
}

// translate sets the options that flags of the original stand for, and says what those do not do.
func (o *options) translate(env *cli.Env) error {
	err := cmp.Or(
		launch.Imply(env, o.FP16, "--fp16", "precision", &o.Precision, "fp16"),
		launch.Imply(env, o.AMP, "--amp", "precision", &o.Precision, "fp16"),
		launch.Imply(env, o.After, "--allreduce-post-accumulation", "allreduce", &o.Allreduce, "after"),
		launch.Imply(env, o.AfterHalf, "--allreduce-post-accumulation-fp16", "allreduce-precision", &o.Wire, "fp16"))
	if err != nil {
		return err
	}
	if err := o.CheckLauncher(env); err != nil {
		return err
	}
	o.warn(env)
	return nil
}

// warn tells of flags that do nothing, and of what a command line of the original leaves to other defaults than ours.
func (o *options) warn(env *cli.Env) {
	var idle, differ []string
	for name, given := range map[string]bool{"--bert-model": o.BertModel != "", "--num-train-epochs": o.Epochs != nil, "--use-env": o.UseEnv} {
		if given {
			idle = append(idle, name)
		}
	}
	if len(idle) > 0 {
		env.Warnf("never read, here as in the original: %s", list(idle))
	}
	for name, was := range map[string]string{"learning-rate": "5e-5", "warmup": "0.01", "save-every": "100"} {
		if o.DoTrain && env.Source(name) == "default" {
			differ = append(differ, fmt.Sprintf("--%s %s", name, was))
		}
	}
	if len(differ) > 0 {
		env.Warnf("the original has other defaults, which are not used: %s", list(differ))
	}
	if o.NoSave {
		env.Warnf("--skip-checkpoint: nothing is saved; a run that ends early is lost")
	}
}

// divide makes global batch and micro-batch of what is given for each of so many ranks.
func (o *options) divide(env *cli.Env, ranks int) error {
	if o.After && ranks == 1 {
		env.Warnf("one rank alone: there is nothing to reduce, --allreduce-post-accumulation does nothing")
	}
	if o.TrainBatch == nil && o.Accumulation == nil {
		return nil
	}
	chosen := env.Given("micro-batch") != "" || o.recipe != nil
	global, micro, err := o.Divide(env, ranks, o.GlobalBatch, o.MicroBatch, chosen)
	if err != nil {
		return err
	}
	if o.TrainBatch != nil {
		cli.Default(env, "--train-batch-size", "global-batch", &o.GlobalBatch, global)
		cli.Default(env, "--train-batch-size", "micro-batch", &o.MicroBatch, micro)
	}
	if o.Accumulation != nil {
		cli.Default(env, "--gradient-accumulation-steps", "micro-batch", &o.MicroBatch, micro)
	}
	return nil
}

// checkData compares the data with what was said of them.
func (o *options) checkData(env *cli.Env, set *pretrain.Set) error {
	err := set.Suits(o.SeqLength, o.MaxPred, "the command line", env.Warnf)
	if err == nil && o.recipe != nil {
		err = set.Suits(o.recipe.SequenceLength, o.recipe.MaxPredictions, o.Recipe, env.Warnf)
	}
	return err
}

// checkStart refuses a start that the original's flags do not mean.
func (o *options) checkStart(env *cli.Env, step int) error {
	wanted := step
	if o.ResumeStep != nil && *o.ResumeStep >= 0 {
		if wanted = *o.ResumeStep; o.Phase2 {
			wanted -= o.Phase1End // the original counts on
		}
	}
	if wanted != step {
		return fault.WithHint(fmt.Errorf("--resume-step %d: the newest whole checkpoint of %s is of step %d", *o.ResumeStep, o.Output, step),
			"move the newer ones away to go back, or start another folder with --init")
	}
	if o.recipe != nil && o.recipe.Phase == 2 && step == 0 && o.Init == "" {
		env.Warnf("%s is a recipe of phase 2, but training starts from random weights: --phase2 --init names a run of phase 1", o.Recipe)
	}
	if !o.Resume || step > 0 || o.Init != "" {
		return nil
	}
	err := fmt.Errorf("--resume-from-checkpoint: %s has no checkpoint", o.Output)
	if foreign, _ := stream.InFolder(o.Output, "ckpt_*.pt"); len(foreign) > 0 {
		return fault.WithHint(err, "those of the original are a start, with its moments: --init %s", foreign[len(foreign)-1])
	}
	return fault.WithHint(err, "leave the option out: bertrain goes on where there is something to go on from")
}

// until is the step at which this run stops, 0 when it goes to the end.
func (o *referenceOptions) until() int {
	if o.StepsThisRun == nil {
		return 0
	}
	return max(0, *o.StepsThisRun)
}

// list names things in alphabetical order.
func list(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), ", ") }
