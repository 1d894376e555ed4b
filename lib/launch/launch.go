// Package launch starts a program that computes: the ranks it is one of, and the device under it.
package launch

import (
	"errors"
	"fmt"
	"runtime/debug"

	"hpcbert/kernels"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/mpi"
)

// Ranks does a program's work as one of the ranks that a launcher started, or alone. Ranks but the first are silenced. A panic of
// one ends them all; an error of one must be an error of all.
func Ranks(env *cli.Env, work func(c comm.Comm) error) (err error) {
	c := comm.Single(env.Host())
	if env.Launched() {
		if c, err = mpi.Start(env.Host()); err != nil {
			return err
		}
	}
	defer func() { // a panic must end the other ranks too
		if r := recover(); r != nil && c.Size() == 1 {
			panic(r)
		} else if r != nil {
			fmt.Fprintf(env.Stderr, "%s: error: rank %d on %s: %v\n%s", env.Name, c.Rank(), c.Host(), r, debug.Stack())
			c.Abort(1)
			panic(r)
		}
	}()
	if c.Rank() != 0 {
		env.Silence()
	}
	return errors.Join(work(c), c.Close())
}

// Device opens a device with as many threads as the cores that this rank can have. All ranks call it.
func Device(env *cli.Env, c comm.Comm, name string) (*kernels.Device, error) {
	on := env.Placement()
	if on.Idle > 0 {
		env.Warnf("%d of the node's cores are not used", on.Idle)
		env.Hintf("Open MPI binds a rank to one core: mpirun --bind-to none, or --map-by slot:PE=N; or say how many threads with -j")
	}
	if on.Crowded {
		env.Warnf("more threads than cores: %d for each of %d rank(s) on this node", on.Threads, env.LocalRanks())
	}
	if on.Pin != nil {
		env.Debugf("threads pinned to CPUs %v, but for the first", on.Pin)
	}
	dev, err := kernels.Open(name, kernels.Options{Threads: on.Threads, Pin: on.Pin, Crowded: on.Crowded, ISA: env.ISA()})
	return dev, comm.Together(c, err)
}
