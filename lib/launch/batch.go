package launch

import (
	"strconv"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/plan"
)

// PerRank holds the flags of the original that say what an update has on each rank, and by which ranks it knows itself.
type PerRank struct {
	TrainBatch   *int `long:"train-batch-size" value-name:"N" hidden:"true" description:"sequences of an update on each rank, in place of --global-batch"`
	Accumulation *int `long:"gradient-accumulation-steps" value-name:"N" hidden:"true" description:"micro-batches of an update on each rank, in place of --micro-batch"`
	LocalRank    *int `long:"local-rank" value-name:"N" hidden:"true" description:"refused without an MPI launcher, which says it better"`
}

// Check tells what is wrong with the flags.
func (o *PerRank) Check() error {
	switch {
	case o.Accumulation != nil && *o.Accumulation < 1:
		return fault.Usagef("--gradient-accumulation-steps %d: must be at least 1", *o.Accumulation)
	case o.TrainBatch != nil && *o.TrainBatch < 1:
		return fault.Usagef("--train-batch-size %d: must be at least 1", *o.TrainBatch)
	case o.TrainBatch != nil && o.Accumulation != nil && *o.TrainBatch%*o.Accumulation != 0:
		return fault.Usagef("--train-batch-size %d is not divisible by --gradient-accumulation-steps %d", *o.TrainBatch, *o.Accumulation)
	}
	return nil
}

// CheckLauncher refuses ranks that PyTorch's launcher started: each would train alone.
func (o *PerRank) CheckLauncher(env *cli.Env) error {
	world, _ := strconv.Atoi(env.Getenv("WORLD_SIZE"))
	if env.Launched() || world < 2 && (o.LocalRank == nil || *o.LocalRank < 1) {
		return nil
	}
	return fault.WithHint(fault.Usagef("this is one of several ranks, but no MPI launcher started it: each would train alone"), "start the ranks with mpirun, or with srun --mpi=pmix")
}

// Divide makes --global-batch and --micro-batch, as they are, those that the flags mean on so many ranks. A micro-batch that was chosen stays
// where the flags do not divide the batch.
func (o *PerRank) Divide(env *cli.Env, ranks, global, micro int, chosen bool) (newGlobal, newMicro int, err error) {
	b := plan.Batch{Global: global, Micro: micro, Nodes: 1, Devices: ranks}
	if o.TrainBatch != nil {
		accumulation := 1 // the original's default
		if chosen && o.Accumulation == nil {
			accumulation = max(1, *o.TrainBatch/micro)
		}
		b = plan.FromReference(*o.TrainBatch, accumulation, 1, ranks)
	}
	if o.Accumulation != nil {
		if b.Global%ranks != 0 || b.Share()%*o.Accumulation != 0 {
			return 0, 0, fault.Usagef("--gradient-accumulation-steps %d: %d sequences cannot be divided into as many equal micro-batches on %d rank(s)", *o.Accumulation, b.Global, ranks)
		}
		b.Micro = b.Share() / *o.Accumulation
	}
	switch {
	case env.Given("global-batch") != "" && b.Global != global:
		return 0, 0, fault.Usagef("--global-batch %d contradicts --train-batch-size, which means %d on %d rank(s)", global, b.Global, ranks)
	case env.Given("micro-batch") != "" && b.Micro != micro:
		return 0, 0, fault.Usagef("--micro-batch %d contradicts --gradient-accumulation-steps, which means %d on %d rank(s)", micro, b.Micro, ranks)
	}
	return b.Global, b.Micro, nil
}
