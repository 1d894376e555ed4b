// Bertplot draws training curves.
//
// Synopsis
//
//	bertplot [--field NAME] -o PICTURE [METRICS.jsonl...]
//
// Bertplot reads metrics files of bertrain (standard input without one) and draws one field of them over the steps, a line for each file. The
// suffix of -o chooses the form: .png, .svg or .pdf.
//
// Exit status: 0 drawn; 1 failed; 2 wrong usage.
package main

import (
	"context"
	"path/filepath"
	"slices"

	"hpcbert/lib/cli"
	"hpcbert/lib/curve"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

var program = cli.Program{
	Name:    "bertplot",
	Args:    "[METRICS.jsonl...]",
	Summary: "draws training curves",
	Help:    "Reads metrics files of bertrain and draws one field over the steps, a line for each file, as .png, .svg or .pdf by the suffix of -o.",
	Examples: `
  bertplot -o loss.png out/metrics.jsonl
  bertplot --field sequences_per_s -o speed.svg one/metrics.jsonl two/metrics.jsonl`,
}

type options struct {
	cli.Common
	Output string `short:"o" long:"output" value-name:"FILE" required:"true" description:"picture to write"`
	Field  string `long:"field" value-name:"NAME" default:"loss" description:"what to draw"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if !slices.Contains([]string{".png", ".svg", ".pdf"}, filepath.Ext(o.Output)) {
		return fault.Usagef("option -o %q: the suffix must be .png, .svg or .pdf", o.Output)
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	var all []curve.Series
	points := 0
	for _, name := range args {
		in, err := stream.Open(ctx, name, env.Stdin)
		if err != nil {
			return err
		}
		defer in.Close()
		xys, err := curve.Read(in, in.Name, o.Field)
		if err != nil {
			return err
		}
		points += len(xys)
		all = append(all, curve.Series{Label: in.Name, Points: xys})
	}
	if err := curve.Draw(o.Output, o.Field, all); err != nil {
		return err
	}
	env.Summaryf("%s of %d steps in %d file(s)", o.Field, points, len(args))
	return nil
}
