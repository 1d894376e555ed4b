// Bench measures how fast this machine trains BERT, and how much of what it could do that is.
//
// Synopsis
//
//	bench [option...] [op|step|sweep|infer...]
//
// Bench measures each operation (op) and whole updates (step), how the time of a micro-batch grows with its sequences (sweep), or how fast an
// encoder reads the lines of a text (infer), and writes a table and, to -o, the same figures as CSV. Ceilings are measured between the runs that they judge: multiply-adds in registers for what
// computes, a copy of arrays far beyond every cache for what moves memory.
//
// Exit status: 0 all measured; 1 failed; 2 wrong usage.
package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
)

var program = cli.Program{
	Name:    "bench",
	Args:    "[op|step|sweep|infer...]",
	Summary: "measures operations and whole training steps on this machine",
	Help: `Without an argument: op and step. Times are medians. An operation is judged by the multiply-adds in registers of the same precision, or by a copy of arrays far beyond every cache, measured between its runs. A step is an update: forward and backward of all micro-batches with dropout, LAMB, weights packed anew; MFU is the model's operations without padding over the peak. Each step is measured in a process of its own, which gives its peak memory.

infer reads --text, one record a line, a tab between two segments, and takes the records in batches, in their order and without padding: the percentiles of a batch's time and the records a second, of --updates rounds after one round that warms up. reference_per_s is what the original's programs would print: of the first round, the first batch of a cold model included.

The column others is how many cores other processes used meanwhile; a block of an operation's runs is repeated while that exceeds 0.1.`,
	Examples: `
  build/bench
  build/bench --config configs/model/base.json --precision fp32 --seq 128 step
  build/bench --only gemm op
  build/bench --vocab vocab.txt --text sentences.txt --batch 1 --batch 8 infer
  build/bench --quick`,
}

type options struct {
	cli.Common
	Config       []string `long:"config" value-name:"FILE" description:"model shape; may be repeated (default: configs/model/base.json and large.json)"`
	Precision    []string `long:"precision" value-name:"P" description:"fp32, bf16 or fp16; may be repeated (default: fp32, bf16)"`
	Seq          []int    `long:"seq" value-name:"N" description:"tokens of a sequence; may be repeated (default: 128 and 512; sweep: 128; infer, where it is the most of a record: 128)"`
	Tokens       int      `long:"tokens" value-name:"N" default:"4096" description:"tokens of a micro-batch"`
	MicroBatches int      `long:"micro-batches" value-name:"N" default:"8" description:"micro-batches of an update"`
	Updates      int      `long:"updates" value-name:"N" default:"3" description:"updates to measure; infer: rounds"`
	Checkpoint   bool     `long:"checkpoint-activations" description:"step, sweep: keep the layers' inputs alone, as bertrain does with this option"`
	Text         string   `long:"text" value-name:"FILE" description:"infer: records, one a line, a tab between two segments"`
	Vocab        string   `long:"vocab" value-name:"FILE" description:"infer: vocabulary"`
	Records      int      `long:"records" value-name:"N" default:"64" description:"infer: so many of them"`
	Batch        []int    `long:"batch" value-name:"N" description:"infer: records of a batch; may be repeated (default: 1, 2, 4, 8)"`
	Only         string   `long:"only" value-name:"TEXT" description:"operations whose name holds TEXT"`
	Quick        bool     `long:"quick" description:"one short run of everything: shows that it works, not how fast it is"`
	Output       string   `short:"o" long:"output" value-name:"FILE" default:"build/bench.csv" description:"CSV file to write"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

// groups are what can be measured.
var groups = []string{"op", "step", "sweep", "infer"}

func (o *options) check(args []string) error {
	for _, group := range args {
		if !slices.Contains(groups, group) {
			return fault.Usagef("%q: must be op, step, sweep or infer", group)
		}
	}
	for _, p := range o.Precision {
		if _, ok := modes[p]; !ok {
			return fault.Usagef("--precision %q: must be fp32, bf16 or fp16", p)
		}
	}
	if o.Tokens < 1 || o.MicroBatches < 1 || o.Updates < 1 {
		return fault.Usagef("--tokens, --micro-batches and --updates must be at least 1")
	}
	for _, n := range append([]int{o.Records}, o.Batch...) {
		if n < 1 {
			return fault.Usagef("--records and --batch must be at least 1")
		}
	}
	if slices.Contains(args, "infer") && (o.Text == "" || o.Vocab == "") {
		return fault.Usagef("infer needs --text and --vocab")
	}
	for _, n := range o.Seq {
		if n < 8 || n > o.Tokens {
			return fault.Usagef("--seq %d: must be from 8 to the %d of --tokens", n, o.Tokens)
		}
	}
	return nil
}

// modes make the type of activations and packed weights by precision.
var modes = map[string]bert.Mode{"fp32": 0, "bf16": bert.BFloat16, "fp16": bert.Float16}

// shape is a model to measure with.
type shape struct {
	name, file string
	*bert.Config
}

func (o *options) shapes() ([]shape, error) {
	var all []shape
	for _, file := range o.Config {
		c, err := bert.ReadConfig(file)
		if err != nil {
			return nil, err
		}
		if c.VocabSize == 0 {
			c.VocabSize = 30522 // of the uncased English vocabulary
		}
		all = append(all, shape{strings.TrimSuffix(filepath.Base(file), ".json"), file, c})
	}
	return all, nil
}

// defaults fills in what the user left open.
func (o *options) defaults(args []string) []string {
	if len(args) == 0 {
		args = []string{"op", "step"}
	}
	if len(o.Config) == 0 {
		o.Config = []string{"configs/model/base.json", "configs/model/large.json"}
	}
	if len(o.Precision) == 0 {
		o.Precision = []string{"fp32", "bf16"}
	}
	if len(o.Seq) == 0 {
		o.Seq = []int{128, 512}
		if !slices.Contains(args, "op") && !slices.Contains(args, "step") {
			o.Seq = o.Seq[:1]
		}
	}
	if len(o.Batch) == 0 {
		o.Batch = []int{1, 2, 4, 8}
	}
	if o.Quick {
		o.Tokens, o.MicroBatches, o.Updates = slices.Max(o.Seq), 1, 1
	}
	return args
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	args = o.defaults(args)
	shapes, err := o.shapes()
	if err != nil {
		return err
	}
	on := env.Placement()
	dev, err := kernels.Open("cpu", kernels.Options{Threads: on.Threads, Pin: on.Pin, Crowded: on.Crowded, ISA: env.ISA()})
	if err != nil {
		return err
	}
	b := &bench{options: o, dev: dev, env: env, report: newReport(dev), alone: slices.Equal(args, []string{"step"}) && len(shapes)*len(o.Precision)*len(o.Seq) == 1}
	defer b.close()
	for _, group := range args {
		for _, s := range shapes {
			err := map[string]func(context.Context, shape) error{"op": b.operations, "step": b.steps, "sweep": b.sweeps, "infer": b.inferences}[group](ctx, s)
			if err != nil {
				return err
			}
		}
	}
	if len(b.report.records) == 0 {
		return fault.Usagef("--only %q: no operation has that in its name", o.Only)
	}
	if !o.Quiet {
		b.report.print(env.Stdout)
	}
	env.Summaryf("%d figures to %s", len(b.report.records), o.Output)
	return nil
}

// bench is a run of the program.
type bench struct {
	*options
	dev    *kernels.Device
	env    *cli.Env
	report *report
	alone  bool    // this process measures one step and nothing else
	copier *copier // made when first needed
}

func (b *bench) close() {
	if b.copier != nil {
		b.copier.close()
	}
}

// keep adds a figure and writes the file anew: what was measured survives an end before the last figure.
func (b *bench) keep(r row) error {
	b.env.Debugf("%s %s %s %s: %s", r.name, r.model, r.precision, r.shape, r.state)
	return b.report.add(r.record(b.report.about), b.Output)
}

// unsupported makes a row of what this device does not do in this precision.
func unsupported(r row, err error) (row, error) {
	if errors.Is(err, kernels.ErrUnsupported) {
		r.state = "unsupported"
		return r, nil
	}
	return r, err
}
