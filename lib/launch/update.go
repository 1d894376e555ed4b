package launch

import (
	"cmp"
	"strconv"

	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/optim"
	"hpcbert/lib/train"
)

// Update holds the options of programs that train: how gradients are summed and what an update does with them.
type Update struct {
	LossScale   string  `long:"loss-scale" value-name:"X" hidden:"true" description:"dynamic or a number (default: by precision)"`
	Shard       bool    `long:"shard-optimizer" hidden:"true" description:"moments in parts, one on each rank"`
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

// Check tells what is wrong with the options of an optimizer at that precision.
func (o *Update) Check(optimizer, precision string) error {
	_, wired := wires[o.Wire]
	switch {
	case o.Allreduce != "overlap" && o.Allreduce != "after":
		return fault.Usagef("--allreduce %q: must be overlap or after", o.Allreduce)
	case !wired:
		return fault.Usagef("--allreduce-precision %q: must be fp32, bf16 or fp16", o.Wire)
	}
	_, unknown := bert.Precision(precision)
	scaling, err := o.Scaling(precision)
	return cmp.Or(unknown, err, o.Optim(optimizer).Check(), scaling.Check())
}

// Optim returns the options of that optimizer.
func (o *Update) Optim(name string) optim.Options {
	return optim.Options{Name: name, Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Epsilon, WeightDecay: o.WeightDecay, MaxGradNorm: o.MaxGradNorm}
}

// Reduction says how gradients are summed.
func (o *Update) Reduction() train.Reduction {
	return train.Reduction{Wire: wires[o.Wire], After: o.Allreduce == "after", Shard: o.Shard}
}

// Scaling is that of the loss: half precision of activations or of travelling gradients needs it, everything else may have it.
func (o *Update) Scaling(precision string) (optim.Scaling, error) {
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
