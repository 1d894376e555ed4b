/*
Evalsquad marks answers to SQuAD's questions as the official scripts do: exact match and F1.

	evalsquad [OPTION...] DATA PREDICTIONS

DATA is a SQuAD file with its answers, PREDICTIONS an object of answers by the ids of the questions, as squadft writes it. Either may be compressed,
and one of them "-", standard input. What evaluate-v1.1.py or evaluate-v2.0.py prints is printed, to the last digit; the version of DATA says which
rules hold. Any version but "1.1" and 2.0's is marked by those of 1.1, with a warning.

Version 1.1: {"exact_match": percent, "f1": percent}, means over all questions; one without a prediction counts 0.

Version 2.0: exact, f1 and total over the questions that have a prediction, again over the answerable ones (HasAns_) and over the others (NoAns_);
with --na-prob-file also best_exact and best_f1 over all thresholds, and those thresholds. (The official script fails when a question has no
prediction, after it has said so; here such questions are left out of all three.)

# Options

	-n, --na-prob-file FILE

an object of probabilities that a question has no answer, by id, such as null_odds.json of squadft. Every question needs one.

	-t, --na-prob-thresh X

questions of a probability above X (default 1) count as answered by nothing.

	--force

marks predictions though DATA lacks some of their questions, as the official scripts do without a word.

# Examples

	evalsquad dev-v1.1.json predictions.json
	evalsquad dev-v2.0.json.gz predictions.json --na-prob-file null_odds.json
	squadft --do-predict ... && evalsquad dev-v1.1.json out/predictions.json -o score.json

# Exit status

0 done; 1 failed; 2 wrong usage.

# Memory

About ten times the size of DATA.

# Reproducibility

The same files give the same bytes.
*/
package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"math"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/squad"
	"hpcbert/lib/stream"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "evalsquad",
	Source:  source,
	Args:    "DATA PREDICTIONS",
	Summary: "mark answers to SQuAD's questions: exact match and F1",
	Help: `Reads a SQuAD file with its answers and an object of predicted answers by question id, and prints what the official script of the data's version prints, evaluate-v1.1.py or evaluate-v2.0.py, to the last digit. Questions without a prediction are warned about; version 1.1 counts them as wrong, 2.0 leaves them out. Predictions for questions that DATA lacks are an error.

Memory: about ten times the size of DATA.`,
	Examples: `
  evalsquad dev-v1.1.json predictions.json
  evalsquad dev-v2.0.json.gz predictions.json --na-prob-file null_odds.json`,
}

type options struct {
	cli.Common
	Output    string  `short:"o" long:"output" also:"out-file" value-name:"FILE" description:"write to FILE instead of standard output"`
	NoAnswer  string  `short:"n" long:"na-prob-file" value-name:"FILE" description:"2.0: probabilities by question id that there is no answer"`
	Threshold float64 `short:"t" long:"na-prob-thresh" value-name:"X" default:"1" description:"2.0: above it a question counts as answered by nothing"`
	Force     bool    `long:"force" description:"predictions may be for other questions, too"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) check(env *cli.Env, args []string) error {
	stdin := 0
	for _, name := range append(args, o.NoAnswer) {
		if name == "-" {
			stdin++
		}
	}
	switch {
	case len(args) != 2:
		return fault.Usagef("%d files, expected DATA and PREDICTIONS", len(args))
	case stdin > 1:
		return fault.Usagef("standard input can be one file only")
	case math.IsNaN(o.Threshold):
		return fault.Usagef("--na-prob-thresh must be a number")
	case o.NoAnswer == "" && env.Given("na-prob-thresh") != "":
		return fault.Usagef("--na-prob-thresh goes with --na-prob-file")
	}
	return stream.CheckOutput(o.Output, append(args, o.NoAnswer)...)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if err := o.check(env, args); err != nil {
		return err
	}
	env.EndWithReader(o.Output)
	data, err := squad.Read(ctx, args[0], env.Stdin)
	if err != nil {
		return err
	}
	predictions, err := squad.ReadPredictions(ctx, args[1], env.Stdin)
	if err != nil {
		return err
	}
	result, err := o.mark(ctx, env, data, predictions)
	if err != nil {
		return err
	}
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := out.Write(result.JSON()); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	marks := result.Marks()
	env.Summaryf("%d questions, %d predictions: exact match %.2f, F1 %.2f", len(data.Questions), len(predictions), marks.Exact, marks.F1)
	return nil
}

// mark refuses what cannot be meant, and warns of what the official scripts warn of.
func (o *options) mark(ctx context.Context, env *cli.Env, data *squad.Data, p squad.Predictions) (*squad.Result, error) {
	if data.Version != "1.1" && !data.IsVersion2() {
		env.Warnf("%s is of version %q: marked by the rules of 1.1", data.Name, data.Version)
	}
	if !data.IsVersion2() && o.NoAnswer != "" {
		return nil, fault.Usagef("--na-prob-file: %s is of version %s, where every question has an answer", data.Name, cmp.Or(data.Version, "1.1"))
	}
	if unknown := data.Unknown(p); len(unknown) > 0 && !o.Force {
		return nil, fault.WithHint(fmt.Errorf("%d of %d predictions are for questions that %s lacks, such as %s", len(unknown), len(p), data.Name, unknown[0]),
			"are they for another file? --force marks the others")
	}
	var none *squad.NoAnswer
	if o.NoAnswer != "" {
		var err error
		if none, err = squad.ReadNoAnswer(ctx, o.NoAnswer, env.Stdin); err != nil {
			return nil, err
		}
	}
	result, err := data.Evaluate(p, none, o.Threshold)
	if err != nil {
		return nil, err
	}
	if n := len(result.Missing); n > 0 {
		env.Warnf("%d question(s) without a prediction, such as %s: %s", n, result.Missing[0], map[bool]string{false: "they count 0", true: "they are left out"}[data.IsVersion2()])
	}
	return result, nil
}
