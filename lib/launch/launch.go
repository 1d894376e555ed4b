// Package launch starts a program that computes: the ranks it is one of, and the device under it.
package launch

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/mpi"
)

// Ranks does a program's work as one of the ranks that a launcher started, or alone. Ranks but the first are silenced, and those that others wait
// for longer than the timeout are named; 0 = never. A panic of one ends them all; an error that work returns is one of all ranks, or Abort's.
func Ranks(env *cli.Env, timeout time.Duration, work func(c comm.Comm) error) error {
	c, err := join(env, timeout)
	if err != nil {
		return err
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
	err = work(c)
	if missing := new(comm.Missing); errors.As(err, &missing) {
		return Abort(env, c, err)
	}
	return errors.Join(err, c.Close())
}

// join finds the other ranks.
func join(env *cli.Env, timeout time.Duration) (comm.Comm, error) {
	if !env.Launched() {
		return comm.Single(env.Host()), nil
	}
	world, err := mpi.Start(env.Host())
	if err != nil {
		return nil, err
	}
	return comm.Watch(world, timeout, env.Alarmf)
}

// Abort tells the error and ends the whole job: the other ranks may be waiting in a collective. Rank 0 speaks first, so that an error that
// all ranks have is told once.
func Abort(env *cli.Env, c comm.Comm, err error) error {
	if c.Size() == 1 {
		return err
	}
	missing := new(comm.Missing)
	switch {
	case errors.As(err, &missing): // told by this rank alone
	case fault.KindOf(err) == fault.Elsewhere:
		time.Sleep(5 * time.Second) // the rank that has the error must come to tell it
	case c.Rank() > 0:
		time.Sleep(time.Second)
	}
	c.Abort(env.Fail(fmt.Errorf("rank %d on %s: %w", c.Rank(), c.Host(), err)))
	return fault.ErrElsewhere
}

// Device opens a device with as many threads as there are cores that this rank can have. All ranks call it.
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

// Memory returns the bytes of this node that a device's work may take, at most the limit, if there is one; the largest number where it is not known.
func Memory(dev *kernels.Device, limit cli.Size) int64 {
	available := int64(math.MaxInt64)
	if dev.OnHost() {
		available = cli.AvailableMemory()
	}
	if limit > 0 {
		available = min(available, int64(limit))
	}
	return available
}
