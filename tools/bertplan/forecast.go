package main

import (
	"context"
	"fmt"
	"path/filepath"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/plan"
	"hpcbert/lib/stream"
	"hpcbert/lib/train"
)

// forecast is all that a prediction needs.
type forecast struct {
	recipe  *plan.Recipe
	machine *plan.Machine // nil without
	devices int           // of a node
	scaling plan.Scaling
	network plan.Network
	memory  func(ranks int) (int64, error) // of the first rank
}

// prepare reads the files and fits.
func (o *options) prepare(ctx context.Context, env *cli.Env) (*forecast, error) {
	f := &forecast{devices: 1}
	var err error
	if f.recipe, err = plan.ReadRecipe(o.Recipe); err != nil {
		return nil, err
	}
	cfg, err := o.readShape()
	if err != nil {
		return nil, err
	}
	var machine *plan.Machine
	if o.Machine != "" {
		if machine, err = plan.ReadMachine(o.Machine); err != nil {
			return nil, err
		}
		if f.recipe, err = f.recipe.On(machine); err != nil {
			return nil, err
		}
		f.devices, f.machine = machine.Devices, machine
	}
	runs, err := o.readMeasured(ctx, env, f.recipe, cfg)
	if err != nil {
		return nil, err
	}
	if len(runs) > 0 && machine == nil {
		f.devices = runs[0].Devices
	}
	if o.Devices > 0 {
		f.devices = o.Devices
	}
	if o.MicroBatch > 0 {
		f.recipe.MicroBatch = o.MicroBatch
	}
	if f.network, err = o.network(cfg, machine); err != nil {
		return nil, err
	}
	if err := o.fit(ctx, env, f, runs, machine); err != nil {
		return nil, err
	}
	dev, err := kernels.Open("cpu", kernels.Options{Threads: env.Threads()})
	f.memory = func(ranks int) (int64, error) { return o.memory(dev, cfg, f.recipe, ranks) }
	return f, err
}

// fit finds how fast devices are, from what the options name.
func (o *options) fit(ctx context.Context, env *cli.Env, f *forecast, rows []plan.Row, machine *plan.Machine) error {
	switch {
	case o.Speed > 0:
		f.scaling.SequenceSeconds = 1 / o.Speed
	case o.Fit != "":
		in, err := stream.Open(ctx, o.Fit, env.Stdin)
		if err != nil {
			return err
		}
		defer in.Close()
		speeds, err := plan.ReadSpeeds(in, in.Name)
		if err != nil {
			return err
		}
		rows = plan.Rows(speeds, plan.Batch{Global: f.recipe.GlobalBatch, Micro: f.recipe.MicroBatch, Devices: f.devices})
	case len(rows) == 0:
		phase := machine.Phases[f.recipe.Phase]
		if len(phase.Measured) == 0 || phase.Model+".json" != filepath.Base(o.Config) {
			return fault.WithHint(fmt.Errorf("%s has no speeds of %s", o.Machine, filepath.Base(o.Config)), "give --measured, --fit or --sequences-per-second")
		}
		rows = phase.Rows(machine)
	}
	if len(rows) > 0 {
		var err error
		if f.scaling, err = plan.Fit(rows, f.network); err != nil {
			return err
		}
	}
	if o.Update != nil {
		f.scaling.UpdateSeconds = *o.Update
	}
	if o.Slowdown != nil {
		f.scaling.NodeSlowdown = *o.Slowdown
	}
	for _, r := range rows {
		measured, modelled := float64(r.Global)/r.Seconds, float64(r.Global)/f.scaling.Step(r.Batch, f.network).Seconds()
		env.Infof("%d x %d, updates of %d: measured %.5g, model %.5g sequences/s (%+.1f %%)", r.Nodes, r.Devices, r.Global, measured, modelled, 100*(modelled/measured-1))
	}
	s := f.scaling
	env.Infof("%.4g ms a sequence, %.4g s an update; slowdown %.1f %% between devices, %.1f %% between nodes; all-reduce of %s, %.0f %% of it can hide", 1e3*s.SequenceSeconds,
		s.UpdateSeconds, 100*s.DeviceSlowdown, 100*s.NodeSlowdown, cli.Bytes(int64(f.network.Bytes)), 100*f.network.OverlapPart)
	if s.NodeSlowdown == 0 && o.Slowdown == nil {
		env.Infof("nothing measured tells what several nodes lose beside the all-reduce: taken as 0 (the reference lost 5 to 13 %%); see --slowdown")
	}
	return nil
}

// memory counts what bertrain takes for the first of so many ranks, but for the data.
func (o *options) memory(dev *kernels.Device, cfg *bert.Config, r *plan.Recipe, ranks int) (int64, error) {
	mode, err := bert.Precision(r.Precision)
	if err != nil {
		return 0, err
	}
	if o.Recompute {
		mode |= bert.CheckpointActivations
	}
	limits := bert.Limits{Tokens: r.MicroBatch * r.SequenceLength, Sequences: r.MicroBatch, Masked: r.MicroBatch * r.MaxPredictions}
	p, err := train.PlanFirst(dev, cfg, limits, mode, ranks, o.Shard, r.SaveEvery > 0 && r.SaveEvery < r.Steps)
	return p.Total(), err
}

// warnOfMemory tells when a rank takes more than a device of the machine has.
func (f *forecast) warnOfMemory(env *cli.Env, rows []row) {
	for _, r := range rows {
		if m := f.machine; m != nil && m.DeviceMemoryGiB > 0 && float64(r.Memory) > m.DeviceMemoryGiB*(1<<30) {
			env.Warnf("on %d node(s) a rank takes %s, a device of %s has %g GiB", r.Nodes, cli.Bytes(r.Memory), m.Name, m.DeviceMemoryGiB)
			return
		}
	}
}

// readShape reads the model's shape.
func (o *options) readShape() (*bert.Config, error) {
	cfg, err := bert.ReadConfig(o.Config)
	if err == nil && cfg.VocabSize == 0 {
		cfg.VocabSize = o.VocabSize
	}
	return cfg, err
}
