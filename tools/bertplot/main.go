// Bertplot draws training curves.
//
// Synopsis
//
//	bertplot [option...] -o PICTURE [FILE...]
//
// Bertplot reads metrics files (standard input without one) and draws loss, learning rate and throughput over the steps: a panel each, one below
// the other, with a curve for each file that has the field. The suffix of -o chooses the form: .png, .svg or .pdf.
//
// A file is metrics.jsonl of bertrain or dllogger.json of the original program. Of the latter average_loss and final_loss are drawn as
// loss, and sequences_per_s is worked out from time stamps and summary, so a run that has not ended has none. A last line without its end is passed
// over: the run may be going on. A step that comes twice in a file was done again after a restart; the later one is drawn.
// Both phases in one file are one curve, whose steps go on: a dashed line stands where the second begins. --join makes that of files, such as
// out/metrics.jsonl and out/phase2/metrics.jsonl, in their order.
//
// The legend calls a run by its file, or by its folder where the file is called as bertrain or the original call it; --label gives other names.
//
// Options that surprise: --smooth averages with exponentially falling weights, of which those of the last N steps count for most (86 %); what was
// averaged stays visible behind, and the learning rate is never averaged. Of a curve with more than 2000 points the lowest and the highest of
// each stretch are drawn, so spikes stay.
//
// Example
//
//	bertplot --smooth 50 -o both.svg first/metrics.jsonl second/metrics.jsonl
//
// Exit status: 0 drawn; 1 failed; 2 wrong usage.
//
// Memory: 16 bytes for each number of the files.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hpcbert/lib/cli"
	"hpcbert/lib/curve"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "bertplot",
	Source:  source,
	Args:    "[FILE...]",
	Summary: "draws training curves",
	Help: `Reads metrics.jsonl of bertrain or dllogger.json of the original, also of runs that go on, and draws loss, learning rate and throughput over the steps, a curve for each file, as .png, .svg or .pdf by the suffix of -o.

Memory: 16 bytes for each number of the files.`,
	Examples: `
  bertplot -o run.png out/metrics.jsonl
  bertplot --smooth 50 -o both.svg out/metrics.jsonl results/dllogger.json
  bertplot --join -o phases.png out/metrics.jsonl out/phase2/metrics.jsonl
  bertplot --field mlm_loss --field nsp_loss --label one --label two -o losses.pdf one/metrics.jsonl two/metrics.jsonl`,
}

type options struct {
	cli.Common
	Output string   `short:"o" long:"output" value-name:"FILE" required:"true" description:"picture to write (required)"`
	Fields []string `long:"field" value-name:"NAME" description:"what to draw instead, a panel for each time it is given"`
	Labels []string `long:"label" value-name:"TEXT" description:"names of the files in the legend, in their order"`
	Join   bool     `long:"join" description:"files are phases of one training, in their order"`
	Smooth int      `long:"smooth" value-name:"N" description:"average over about N steps"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if len(args) == 0 {
		args = []string{"-"}
	}
	switch {
	case !slices.Contains([]string{".png", ".svg", ".pdf"}, filepath.Ext(o.Output)):
		return fault.Usagef("option -o %q: the suffix must be .png, .svg or .pdf", o.Output)
	case o.Smooth < 0:
		return fault.Usagef("--smooth %d: must not be negative", o.Smooth)
	case len(o.Labels) > 0 && len(o.Labels) != len(args):
		return fault.Usagef("%d labels for %d files", len(o.Labels), len(args))
	}
	if err := stream.CheckOutput(o.Output, args...); err != nil {
		return err
	}
	var runs []*curve.Run
	for _, name := range args {
		run, err := curve.ReadFile(ctx, name, env.Stdin)
		if err != nil {
			return err
		}
		runs = append(runs, run)
	}
	fields, err := o.panels(env, runs)
	if err != nil {
		return err
	}
	if o.Join {
		curve.Join(runs)
	}
	if len(o.Labels) == 0 {
		o.Labels = labels(args)
	}
	if err := (curve.Picture{Fields: fields, Smooth: o.Smooth}).Draw(o.Output, runs, o.Labels); err != nil {
		return err
	}
	points := 0
	for _, run := range runs {
		points += len(run.Series(fields[0]))
	}
	env.Summaryf("%s of %d steps in %d file(s)", strings.Join(fields, ", "), points, len(runs))
	return nil
}

// panels returns the fields to draw: those asked for, or those of the usual three that there are.
func (o *options) panels(env *cli.Env, runs []*curve.Run) ([]string, error) {
	wanted := o.Fields
	if len(wanted) == 0 {
		wanted = []string{"loss", "learning_rate", "sequences_per_s"}
	}
	var fields []string
	for _, field := range wanted {
		missing := slices.DeleteFunc(slices.Clone(runs), func(r *curve.Run) bool { return len(r.Series(field)) > 0 })
		for _, run := range missing {
			if err := lacks(run, field); len(o.Fields) > 0 || field == "loss" {
				return nil, err
			}
			env.Warnf("%s has no %s", run.Name, field)
		}
		if len(missing) < len(runs) {
			fields = append(fields, field)
		}
	}
	return fields, nil
}

func lacks(run *curve.Run, field string) error {
	err := fmt.Errorf("read %s: no step has a number %q", run.Name, field)
	if has := run.Fields(); len(has) > 0 {
		return fault.WithHint(err, "it has %s", strings.Join(has, ", "))
	}
	return fault.WithHint(err, "it has no step at all: has the run made its first one?")
}

// labels calls runs by their folders where the files have the usual names.
func labels(names []string) []string {
	var out []string
	for _, name := range names {
		label := name
		if base := filepath.Base(name); base == "metrics.jsonl" || base == "dllogger.json" {
			label = filepath.Dir(name)
		}
		if label == "." || slices.Contains(out, label) {
			label = name
		}
		out = append(out, label)
	}
	return out
}
