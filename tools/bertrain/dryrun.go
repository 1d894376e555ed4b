package main

import (
	"cmp"
	"context"
	"path/filepath"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/curve"
	"hpcbert/lib/launch"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/train"
)

// dryRun prints on standard output what a run would be. What would make it fail is an error here.
func (o *options) dryRun(ctx context.Context, env *cli.Env, c comm.Comm, cfg *bert.Config, set *pretrain.Set, dev *kernels.Device) error {
	f, err := train.Foresee(ctx, o.training(env, dev), cfg, set, dev, c)
	if err != nil {
		return err
	}
	if err := o.checkStart(env, f.Step); err != nil || c.Rank() != 0 {
		return err
	}
	w := train.Wording{Model: o.Config, Data: set, Precision: o.Precision, Source: env.Source}
	if o.Measured != "" || f.Step > 0 {
		w.MFUFrom = cmp.Or(o.Measured, filepath.Join(o.Output, "metrics.jsonl"))
		run, err := curve.ReadFile(ctx, w.MFUFrom, env.Stdin)
		if err != nil {
			return err
		}
		if w.MFU, err = run.Median("mfu"); err != nil {
			return err
		}
	}
	f.CheckRoom()
	if err := launch.PrintRows(env, f.Rows(w)); err != nil {
		return err
	}
	env.Summaryf("would make %d step(s), nothing was written", max(0, f.End-f.Step))
	return nil
}
