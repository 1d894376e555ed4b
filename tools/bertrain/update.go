package main

import (
	"cmp"
	"math"

	"hpcbert/lib/fault"
	"hpcbert/lib/launch"
	"hpcbert/lib/optim"
)

// updateOptions say how gradients are summed and what an update does with them.
type updateOptions struct {
	Optimizer string `long:"optimizer" value-name:"NAME" default:"lamb" description:"or nvlamb, adamw, bertadam"`
	Schedule  string `long:"schedule" value-name:"NAME" default:"polynomial" hidden:"true" description:"or linear, cosine, constant"`

	LearningRate float64 `long:"learning-rate" value-name:"X" default:"6e-3" description:"peak of the schedule"`
	Warmup       float64 `long:"warmup" also:"warmup-proportion" value-name:"X" default:"0.2843" description:"share of the steps"`
	WarmupSteps  *int    `long:"warmup-steps" value-name:"N" hidden:"true" description:"in place of --warmup"`
	Degree       float64 `long:"degree" value-name:"X" default:"0.5" hidden:"true" description:"of the polynomial schedule"`
	launch.Update
}

func (o *updateOptions) check(steps int, precision string) error {
	switch {
	case !(o.LearningRate > 0 && o.LearningRate <= math.MaxFloat32) || !(o.Warmup >= 0 && o.Warmup < 1): // so written, NaN is refused
		return fault.Usagef("--learning-rate must be above 0, --warmup from 0 to below 1")
	case o.WarmupSteps != nil && (*o.WarmupSteps < 0 || *o.WarmupSteps >= steps):
		return fault.Usagef("--warmup-steps %d: must be from 0 to below the %d of --steps", *o.WarmupSteps, steps)
	}
	schedule := o.schedule(steps)
	return cmp.Or(schedule.Check(), o.Update.Check(o.Optimizer, precision))
}

func (o *updateOptions) schedule(steps int) optim.Schedule {
	return optim.Schedule{Name: o.Schedule, Base: o.LearningRate, Warmup: o.Warmup, Steps: steps, Degree: o.Degree}
}
