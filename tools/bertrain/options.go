package main

import (
	"cmp"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/launch"
	"hpcbert/lib/train"
)

var program = cli.Program{
	Name:    "bertrain",
	Source:  source,
	Summary: "pre-trains BERT with LAMB, alone or under mpirun",
	Help: `Reads the HDF5 training shards of --data and the model shape --config; writes checkpoints OUT/step-NNNNNNNN in Hugging Face's form and OUT/metrics.jsonl. The same command run again goes on from the newest whole checkpoint. OUT/DONE says that the last step is done, OUT/STOPPED that the run ended before.

The loss is the mean over the masked tokens of the global batch plus the mean over its next-sentence labels (the original averages each micro-batch). The learning rate rises over the warm-up, then falls as a square root.

USR2, TERM, INT and HUP save and stop within seconds; a second TERM or INT ends at once. USR1 prints progress. Flags of the original trainer are taken, too: --help-all.`,
	Examples: `
  bertrain --config configs/model/tiny.json --data hdf5 -o out --global-batch 32 --micro-batch 8 --steps 200
  mpirun -np 4 --bind-to none bertrain --config configs/model/base.json --data hdf5 -o one --global-batch 256 --steps 7038 --save-every 200
  bertrain --config configs/model/base.json --data hdf5-512 -o two --phase2 --init one --global-batch 128 --steps 1563 --learning-rate 4e-3 --warmup 0.128`,
}

type options struct {
	cli.Common
	Config      string   `long:"config" also:"config-file" value-name:"FILE" required:"true" description:"model shape, as config.json"`
	Data        string   `long:"data" also:"input-dir" value-name:"DIR" required:"true" description:"folder of HDF5 training shards"`
	Output      string   `short:"o" long:"output" also:"output-dir" value-name:"DIR" required:"true" description:"folder of checkpoints and metrics"`
	GlobalBatch int      `long:"global-batch" value-name:"N" default:"32" description:"sequences of an update"`
	MicroBatch  int      `long:"micro-batch" value-name:"N" default:"8" description:"sequences computed at once"`
	Steps       int      `long:"steps" also:"max-steps" value-name:"N" default:"1000" description:"updates"`
	LogEvery    int      `long:"log-every" also:"log-freq" value-name:"N" default:"1" hidden:"true" description:"updates between metrics"`
	DryRun      bool     `long:"dry-run" description:"print what would be done, and whether it can be"`
	Measured    string   `long:"measured" value-name:"FILE" hidden:"true" description:"with --dry-run: metrics.jsonl of a run like this one, for the time"`
	DLLogger    string   `long:"dllogger" also:"json-summary" value-name:"FILE" hidden:"true" description:"append the original's log to FILE"`
	Seed        uint64   `long:"seed" value-name:"N" default:"42" description:"of weights, order, dropout"`
	Dropout     *float64 `long:"dropout" value-name:"P" hidden:"true" description:"(default: the model shape's)"`
	Order       string   `long:"order" value-name:"ORDER" default:"shuffle" hidden:"true" description:"of rows: shuffle or file"`
	Vocab       string   `long:"vocab" value-name:"FILE" description:"vocabulary (default: vocab.txt of the data)"`
	Precision   string   `long:"precision" value-name:"TYPE" default:"fp32" description:"fp32, bf16, fp16 or tf32"`
	Checkpoint  bool     `long:"checkpoint-activations" description:"less memory, same numbers, slower"`
	MemoryLimit cli.Size `long:"memory-limit" value-name:"SIZE" hidden:"true" description:"of a node, as 64G (default: free)"`
	Device      string   `long:"device" value-name:"DEVICE" default:"auto" hidden:"true" description:"cpu or auto"`
	maskOptions
	updateOptions
	saveOptions
	healthOptions
	recipeOptions
	referenceOptions

	began time.Time
}

func (o *options) check(args []string) error {
	switch {
	case len(args) > 0:
		return fault.Usagef("unexpected argument %q", args[0])
	case o.GlobalBatch < 1 || o.MicroBatch < 1 || o.Steps < 1 || o.LogEvery < 1:
		return fault.Usagef("--global-batch, --micro-batch, --steps and --log-every must be at least 1")
	case o.Dropout != nil && !(*o.Dropout >= 0 && *o.Dropout < 1):
		return fault.Usagef("--dropout %g: must be from 0 to below 1", *o.Dropout)
	case o.Order != "shuffle" && o.Order != "file":
		return fault.Usagef("--order %q: must be shuffle or file", o.Order)
	}
	return cmp.Or(o.maskOptions.check(), o.updateOptions.check(o.Steps, o.Precision), o.saveOptions.check(), o.healthOptions.check(), o.referenceOptions.check())
}

// settle gives the options the values that recipe, machine and the original's flags mean. What needs the number of ranks is left to divide.
func (o *options) settle(env *cli.Env, args []string) error {
	if err := o.check(args); err != nil { // before any file is read
		return err
	}
	if err := o.useRecipe(env); err != nil {
		return err
	}
	if err := o.translate(env); err != nil {
		return err
	}
	if err := o.check(args); err != nil || o.WarmupSteps == nil {
		return err
	}
	if env.Given("warmup") != "" {
		return fault.Usagef("--warmup and --warmup-steps: one of them")
	}
	cli.Default(env, "--warmup-steps", "warmup", &o.Warmup, float64(*o.WarmupSteps)/float64(o.Steps))
	return nil
}

// training says what to train and how.
func (o *options) training(env *cli.Env, dev *kernels.Device) train.Options {
	opt := train.Options{Out: o.Output, Init: o.Init, InitStep: o.Phase1End, ResetMoments: o.ResetMoments, Seed: o.Seed, GlobalBatch: o.GlobalBatch, MicroBatch: o.MicroBatch,
		Steps: o.Steps, SaveEvery: o.SaveEvery, Keep: o.Keep, SaveSync: o.SaveSync || o.NoSave, Deadline: env.Deadline(o.TimeLimit), Until: o.until(), SaveNothing: o.NoSave,
		LogEvery: o.LogEvery, DLLogger: o.DLLogger, Began: o.began, Schedule: o.schedule(o.Steps), Optimizer: o.Optim(o.Optimizer), Reduction: o.Reduction(), VerifyEvery: o.VerifyEvery,
		FileOrder: o.Order == "file", DynamicMasking: o.Dynamic, WholeWords: o.WholeWords, Memory: launch.Memory(dev, o.MemoryLimit), Warn: env.Warnf, Planned: func(train.Plan) {}}
	opt.Scaling, _ = o.Scaling(o.Precision) // checked
	opt.Mode, _ = bert.Precision(o.Precision)
	if o.Checkpoint {
		opt.Mode |= bert.CheckpointActivations
	}
	return opt
}
