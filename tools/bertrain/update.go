package main

import (
	"cmp"
	"math"
	"strconv"

	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/optim"
	"hpcbert/lib/train"
)

// updateOptions say how gradients are summed and what an update does with them.
type updateOptions struct {
	Optimizer string `long:"optimizer" value-name:"NAME" default:"lamb" description:"or nvlamb, adamw, bertadam"`
	Schedule  string `long:"schedule" value-name:"NAME" default:"polynomial" hidden:"true" description:"or linear, cosine, constant"`
	LossScale string `long:"loss-scale" value-name:"X" hidden:"true" description:"dynamic or a number (default: by precision)"`
	Shard     bool   `long:"shard-optimizer" hidden:"true" description:"moments in parts, one on each rank"`

	LearningRate float64 `long:"learning-rate" value-name:"X" default:"6e-3" description:"peak of the schedule"`
	Warmup       float64 `long:"warmup" also:"warmup-proportion" value-name:"X" default:"0.2843" description:"share of the steps"`
	WarmupSteps  *int    `long:"warmup-steps" value-name:"N" hidden:"true" description:"in place of --warmup"`
	Degree       float64 `long:"degree" value-name:"X" default:"0.5" hidden:"true" description:"of the polynomial schedule"`

	Beta1       float64 `long:"beta1" value-name:"X" default:"0.9" hidden:"true" description:"what an update leaves of the first moments"`
	Beta2       float64 `long:"beta2" value-name:"X" default:"0.999" hidden:"true" description:"and of the second"`
	Epsilon     float64 `long:"epsilon" value-name:"X" default:"1e-6" hidden:"true" description:"added to the root of the second moments"`
	WeightDecay float64 `long:"weight-decay" value-name:"X" default:"0.01" hidden:"true" description:"not of biases and LayerNorm"`
	MaxGradNorm float64 `long:"max-grad-norm" value-name:"X" default:"1" hidden:"true" description:"clip gradients to this norm; 0 = never"`

	InitLossScale float64 `long:"init-loss-scale" value-name:"X" default:"32768" hidden:"true" description:"start of a dynamic loss scale"`
	MinLossScale  float64 `long:"min-loss-scale" value-name:"X" default:"1" hidden:"true" description:"a dynamic loss scale is not halved further"`
	MaxSkips      int     `long:"max-skips" value-name:"N" default:"20" hidden:"true" description:"updates skipped in a row that end the run"`

	Allreduce string `long:"allreduce" value-name:"WHEN" default:"overlap" hidden:"true" description:"with the last backward pass: overlap; or after it: after"`
	Wire      string `long:"allreduce-precision" value-name:"TYPE" default:"fp32" hidden:"true" description:"gradients travel as fp32, bf16 or fp16"`
}

var wires = map[string]comm.Wire{"fp32": comm.Float32, "bf16": comm.BFloat16, "fp16": comm.Float16}

func (o *updateOptions) check(steps int, precision string) error {
	_, wired := wires[o.Wire]
	switch {
	case !(o.LearningRate > 0 && o.LearningRate <= math.MaxFloat32) || !(o.Warmup >= 0 && o.Warmup < 1): // so written, NaN is refused
		return fault.Usagef("--learning-rate must be above 0, --warmup from 0 to below 1")
	case o.WarmupSteps != nil && (*o.WarmupSteps < 0 || *o.WarmupSteps >= steps):
		return fault.Usagef("--warmup-steps %d: must be from 0 to below the %d of --steps", *o.WarmupSteps, steps)
	case o.Allreduce != "overlap" && o.Allreduce != "after":
		return fault.Usagef("--allreduce %q: must be overlap or after", o.Allreduce)
	case !wired:
		return fault.Usagef("--allreduce-precision %q: must be fp32, bf16 or fp16", o.Wire)
	}
	schedule := o.schedule(steps)
	scaling, err := o.scaling(precision)
	return cmp.Or(err, schedule.Check(), o.optimizer().Check(), scaling.Check())
}

func (o *updateOptions) schedule(steps int) optim.Schedule {
	s := optim.Schedule{Name: o.Schedule, Base: o.LearningRate, Warmup: o.Warmup, Steps: steps, Degree: o.Degree}
	if o.WarmupSteps != nil {
		s.Warmup = float64(*o.WarmupSteps) / float64(steps)
	}
	return s
}

func (o *updateOptions) optimizer() optim.Options {
	return optim.Options{Name: o.Optimizer, Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Epsilon, WeightDecay: o.WeightDecay, MaxGradNorm: o.MaxGradNorm}
}

func (o *updateOptions) reduction() train.Reduction {
	return train.Reduction{Wire: wires[o.Wire], After: o.Allreduce == "after", Shard: o.Shard}
}

// scaling: half precision of activations or of travelling gradients needs a loss scale, everything else may have one.
func (o *updateOptions) scaling(precision string) (optim.Scaling, error) {
	half := precision == "fp16" || o.Wire == "fp16"
	x, err := strconv.ParseFloat(o.LossScale, 64)
	byPrecision := o.LossScale == "" || err == nil && x == 0 // the original's 0
	switch {
	case byPrecision && !half:
		return optim.Scaling{}, nil
	case byPrecision || o.LossScale == "dynamic":
		s := optim.DynamicScaling()
		s.Start, s.Floor, s.MaxSkips = o.InitLossScale, o.MinLossScale, o.MaxSkips
		return s, nil
	case err != nil || !(x > 0):
		return optim.Scaling{}, fault.Usagef("--loss-scale %q: must be dynamic or a number above 0", o.LossScale)
	}
	return optim.Scaling{Start: x}, nil
}
