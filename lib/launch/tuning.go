package launch

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/finetune"
	"hpcbert/lib/optim"
	"hpcbert/lib/plan"
)

// Tuning holds the options of programs that fine-tune. Their defaults are those of NewTuning, which a program changes before it parses.
type Tuning struct {
	Init    string `long:"init" also:"init-checkpoint" value-name:"PATH" required-unless:"config" description:"checkpoint or run to start from"`
	Output  string `short:"o" long:"output" also:"output-dir" value-name:"DIR" required:"true" description:"folder of results and checkpoints"`
	Train   bool   `long:"train" also:"do-train" description:"train, or go on with it"`
	Eval    bool   `long:"eval" also:"do-eval" description:"compute the metrics"`
	Predict bool   `long:"predict" also:"do-predict" description:"write predictions"`

	Config string `long:"config" also:"config-file" value-name:"FILE" description:"model shape (default: beside the checkpoint)"`
	Vocab  string `long:"vocab" also:"vocab-file" value-name:"FILE" description:"vocabulary (default: beside the checkpoint)"`
	Cased  bool   `long:"cased" hidden:"true" description:"keep case and accents (default: if the vocabulary has capitals)"`
	Length int    `long:"max-length" also:"max-seq-length" value-name:"N" description:"tokens of the longest sequence"`
	Recipe string `long:"recipe" value-name:"FILE" description:"of configs: other defaults"`

	GlobalBatch  int     `long:"global-batch" value-name:"N" description:"sequences of an update"`
	MicroBatch   int     `long:"micro-batch" value-name:"N" description:"sequences computed at once"`
	PredictBatch int     `long:"predict-batch" also:"predict-batch-size,eval-batch-size" value-name:"N" description:"predicted at once"`
	LearningRate float64 `long:"learning-rate" value-name:"X" description:"peak of the schedule"`
	Epochs       float64 `long:"epochs" also:"num-train-epochs" value-name:"X" description:"times through the data"`
	MaxSteps     float64 `long:"max-steps" value-name:"N" hidden:"true" description:"end after N updates, of which the schedule is made; -1: of --epochs"`
	Warmup       float64 `long:"warmup" also:"warmup-proportion" value-name:"X" description:"share of the updates"`
	Optimizer    string  `long:"optimizer" value-name:"NAME" description:"or adamw, with bias correction; lamb, nvlamb"`
	Schedule     string  `long:"schedule" value-name:"NAME" hidden:"true" description:"or polynomial, cosine, constant"`
	Precision    string  `long:"precision" value-name:"TYPE" description:"fp32, bf16, fp16 or tf32"`
	Seed         uint64  `long:"seed" value-name:"N" description:"of the head, order, dropout"`
	Seeds        Seeds   `long:"seeds" value-name:"A..B" description:"train with each of them, tell mean and deviation"`
	SaveEvery    int     `long:"save-every" value-name:"N" hidden:"true" description:"updates between checkpoints; 0 = at the end"`
	Keep         int     `long:"keep" value-name:"N" hidden:"true" description:"checkpoints to keep; 0 = all"`
	DryRun       bool    `long:"dry-run" description:"print what would be done, and whether it can be"`

	TimeLimit   cli.TimeLimit `long:"time-limit" value-name:"TIME" hidden:"true" description:"save and stop before it, as 3h55m or 04:00:00"`
	LogEvery    int           `long:"log-every" also:"log-freq" value-name:"N" hidden:"true" description:"updates between metrics"`
	DLLogger    string        `long:"dllogger" also:"json-summary" value-name:"FILE" hidden:"true" description:"append the original's log to FILE"`
	Dropout     *float64      `long:"dropout" value-name:"P" hidden:"true" description:"(default: the model shape's)"`
	Order       string        `long:"order" value-name:"ORDER" hidden:"true" description:"of examples: shuffle or file"`
	Checkpoint  bool          `long:"checkpoint-activations" hidden:"true" description:"less memory, same numbers, slower"`
	MemoryLimit cli.Size      `long:"memory-limit" value-name:"SIZE" hidden:"true" description:"of a node, as 64G (default: free)"`
	CommTimeout time.Duration `long:"comm-timeout" value-name:"TIME" hidden:"true" description:"name ranks that others wait for so long, and end; 0 = wait"`
	Device      string        `long:"device" value-name:"DEVICE" hidden:"true" description:"cpu or auto"`
	Update
	PerRank
	tuningReference

	recipe *plan.Tuning
}

// NewTuning returns the defaults that all programs have.
func NewTuning() Tuning {
	return Tuning{GlobalBatch: 32, MicroBatch: 32, PredictBatch: 8, LearningRate: 5e-5, Epochs: 3, MaxSteps: -1, Warmup: 0.1, Optimizer: "bertadam", Schedule: "linear",
		Precision: "fp32", Keep: 1, LogEvery: 1, Order: "shuffle", CommTimeout: 10 * time.Minute, Device: "auto"}
}

// Seeds are the numbers of "1..5" or "1,2,7".
type Seeds []uint64

// UnmarshalFlag reads the value of an option.
func (s *Seeds) UnmarshalFlag(text string) error {
	*s = nil
	wrong := fmt.Errorf("%q is no list of seeds such as 1..5 or 1,2,7", text)
	for item := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(item, "..")
		first, err := strconv.ParseUint(from, 10, 64)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 10, 64)
		}
		if err != nil || last < first || last-first >= 10000 {
			return wrong
		}
		for n := first; n <= last; n++ {
			*s = append(*s, n)
		}
	}
	return nil
}

// Settle gives the options the values that recipe and original's flags mean, and checks them, before any file but the recipe is read. What needs
// the number of ranks is left to Divide.
func (o *Tuning) Settle(env *cli.Env, task string) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Recipe != "" {
		if err := o.useRecipe(env, task); err != nil {
			return err
		}
	}
	if err := cmp.Or(o.translate(env), o.CheckLauncher(env)); err != nil {
		return err
	}
	if o.Precision == "fp16" && env.Given("epsilon") == "" {
		o.Epsilon = 1e-8 // the original's with that precision
	}
	return o.check()
}

func (o *Tuning) check() error {
	switch {
	case o.GlobalBatch < 1 || o.MicroBatch < 1 || o.PredictBatch < 1 || o.LogEvery < 1:
		return fault.Usagef("--global-batch, --micro-batch, --predict-batch and --log-every must be at least 1")
	case !(o.Epochs > 0 && o.Epochs <= 1e6):
		return fault.Usagef("--epochs %g: must be above 0", o.Epochs)
	case o.MaxSteps != -1 && !(o.MaxSteps >= 1 && o.MaxSteps <= math.MaxInt32 && o.MaxSteps == math.Trunc(o.MaxSteps)):
		return fault.Usagef("--max-steps %g: must be a number of updates, or -1", o.MaxSteps)
	case o.SaveEvery < 0 || o.Keep < 0:
		return fault.Usagef("--save-every and --keep must not be negative")
	case o.Dropout != nil && !(*o.Dropout >= 0 && *o.Dropout < 1):
		return fault.Usagef("--dropout %g: must be from 0 to below 1", *o.Dropout)
	case o.Order != "shuffle" && o.Order != "file":
		return fault.Usagef("--order %q: must be shuffle or file", o.Order)
	case o.CommTimeout < 0 || o.CommTimeout > 0 && o.CommTimeout < time.Second:
		return fault.Usagef("--comm-timeout %v: must be 0 or at least 1s", o.CommTimeout)
	case o.Cased && o.LowerCase:
		return fault.Usagef("--cased and --do-lower-case: one of them")
	case len(o.Seeds) > 0 && !o.Train:
		return fault.WithHint(fault.Usagef("--seeds goes with --train"), "what is not trained is the same for all seeds")
	case o.Init == "" && !o.Train:
		return fault.Usagef("without --train, --init must name a fine-tuned checkpoint")
	}
	schedule := o.schedule()
	return cmp.Or(schedule.Check(), o.Update.Check(o.Optimizer, o.Precision), o.PerRank.Check())
}

// schedule has its steps set by the training.
func (o *Tuning) schedule() optim.Schedule {
	return optim.Schedule{Name: o.Schedule, Base: o.LearningRate, Warmup: o.Warmup, Steps: 1, Degree: 0.5}
}

// useRecipe takes the values of the recipe for options that are not given.
func (o *Tuning) useRecipe(env *cli.Env, task string) error {
	r, err := plan.ReadTuning(o.Recipe)
	if err != nil {
		return err
	}
	if r.Task != task {
		return fault.Usagef("--recipe %s is for the task %s, not %s", o.Recipe, r.Task, task)
	}
	o.recipe = r
	file := filepath.Base(o.Recipe)
	cli.Default(env, file, "global-batch", &o.GlobalBatch, r.GlobalBatch)
	cli.Default(env, file, "learning-rate", &o.LearningRate, r.LearningRate)
	cli.Default(env, file, "warmup", &o.Warmup, r.Warmup)
	cli.Default(env, file, "epochs", &o.Epochs, r.Epochs)
	cli.Default(env, file, "precision", &o.Precision, r.Precision)
	cli.Default(env, file, "seed", &o.Seed, r.Seed)
	if r.MaxLength > 0 {
		cli.Default(env, file, "max-length", &o.Length, r.MaxLength)
	}
	return nil
}

// Divide makes the batches those of so many ranks.
func (o *Tuning) Divide(env *cli.Env, ranks int) (err error) {
	if o.recipe != nil && env.Given("micro-batch") == "" {
		b := o.recipe.Batch(ranks)
		o.MicroBatch = b.Micro
	}
	if o.TrainBatch != nil || o.Accumulation != nil {
		o.GlobalBatch, o.MicroBatch, err = o.PerRank.Divide(env, ranks, o.GlobalBatch, o.MicroBatch, env.Given("micro-batch") != "")
	}
	if err == nil && o.GlobalBatch < ranks {
		err = fault.Usagef("--global-batch %d on %d ranks: each needs at least one sequence", o.GlobalBatch, ranks)
	}
	return err
}

// Training says what to train and how, with that seed and into that folder.
func (o *Tuning) Training(env *cli.Env, m *Model, seed uint64, out string) finetune.Options {
	opt := finetune.Options{Epochs: o.Epochs, MaxSteps: int(max(0, o.MaxSteps)), MaxLength: o.Length, PredictBatch: o.PredictBatch, Vocabulary: m.Vocabulary, LowerCase: m.LowerCase}
	t := &opt.Options
	t.Out, t.Init, t.Seed, t.GlobalBatch, t.MicroBatch = out, m.Checkpoint, seed, o.GlobalBatch, o.MicroBatch
	t.SaveEvery, t.Keep, t.SaveNothing, t.SaveSync, t.Deadline = o.SaveEvery, o.Keep, o.NoSave, true, env.Deadline(o.TimeLimit)
	t.LogEvery, t.DLLogger, t.Began, t.FileOrder = o.LogEvery, o.DLLogger, time.Now(), o.Order == "file"
	t.Schedule, t.Optimizer, t.Reduction, t.Warn = o.schedule(), o.Optim(o.Optimizer), o.Reduction(), env.Warnf
	t.Scaling, _ = o.Scaling(o.Precision) // checked
	t.Mode, _ = bert.Precision(o.Precision)
	if o.Checkpoint {
		t.Mode |= bert.CheckpointActivations
	}
	t.Memory = Memory(m.Device, o.MemoryLimit)
	return opt
}

// Ranks does the work of a program that fine-tunes as one of its ranks, with the batches divided.
func (o *Tuning) Ranks(env *cli.Env, work func(c comm.Comm) error) error {
	return Ranks(env, o.CommTimeout, func(c comm.Comm) error {
		if err := o.Divide(env, c.Size()); err != nil {
			return err
		}
		return work(c)
	})
}
