package main

import (
	"context"
	"fmt"
	"slices"

	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/curve"
	"hpcbert/lib/fault"
	"hpcbert/lib/plan"
	"hpcbert/lib/stream"
)

// readMeasured makes a row of each metrics file.
func (o *options) readMeasured(ctx context.Context, env *cli.Env, recipe *plan.Recipe, cfg *bert.Config) ([]plan.Row, error) {
	var rows []plan.Row
	for _, name := range o.Measured {
		in, err := stream.Open(ctx, name, env.Stdin)
		if err != nil {
			return nil, err
		}
		defer in.Close()
		run, err := curve.Read(in, in.Name)
		if err != nil {
			return nil, err
		}
		row, err := measured(run, recipe, cfg)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", in.Name, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// measured checks that a run is of this recipe's sequences and this model, and takes the median of its steps but the first.
func measured(run *curve.Run, recipe *plan.Recipe, cfg *bert.Config) (plan.Row, error) {
	about := func(key string) int {
		n, _ := run.About[key].(float64)
		return int(n)
	}
	for _, c := range []struct {
		key  string
		want int
	}{{"sequence_length", recipe.SequenceLength}, {"hidden_size", cfg.HiddenSize}, {"num_hidden_layers", cfg.NumHiddenLayers}} {
		if about(c.key) != c.want {
			return plan.Row{}, fmt.Errorf("its %s is %d, that of the recipe and model is %d", c.key, about(c.key), c.want)
		}
	}
	row := plan.Row{Batch: plan.Batch{Global: about("global_batch"), Micro: about("micro_batch"), Nodes: 1, Devices: about("ranks")}}
	if err := row.Check(); err != nil {
		return row, err
	}
	points := run.Series("seconds")
	if len(points) < 2 {
		return row, fault.WithHint(fmt.Errorf("%d steps have a time", len(points)), "run at least two steps: the first one is not counted")
	}
	var seconds []float64
	for _, p := range points[1:] {
		seconds = append(seconds, p.Y)
	}
	slices.Sort(seconds)
	row.Seconds = (seconds[(len(seconds)-1)/2] + seconds[len(seconds)/2]) / 2
	if !(row.Seconds > 0) {
		return row, fmt.Errorf("a step takes %g seconds", row.Seconds)
	}
	return row, nil
}
