package main

import (
	"context"
	"fmt"

	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/curve"
	"hpcbert/lib/plan"
)

// readMeasured makes a row of each metrics file.
func (o *options) readMeasured(ctx context.Context, env *cli.Env, recipe *plan.Recipe, cfg *bert.Config) ([]plan.Row, error) {
	var rows []plan.Row
	for _, name := range o.Measured {
		run, err := curve.ReadFile(ctx, name, env.Stdin)
		if err != nil {
			return nil, err
		}
		row, err := measured(run, recipe, cfg)
		if err != nil {
			return nil, err
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
			return plan.Row{}, fmt.Errorf("read %s: its %s is %d, that of the recipe and model is %d", run.Name, c.key, about(c.key), c.want)
		}
	}
	row := plan.Row{Batch: plan.Batch{Global: about("global_batch"), Micro: about("micro_batch"), Nodes: 1, Devices: about("ranks")}}
	if err := row.Check(); err != nil {
		return row, fmt.Errorf("read %s: %w", run.Name, err)
	}
	var err error
	if row.Seconds, err = run.Median("seconds"); err == nil && !(row.Seconds > 0) {
		err = fmt.Errorf("read %s: a step takes %g seconds", run.Name, row.Seconds)
	}
	return row, err
}
