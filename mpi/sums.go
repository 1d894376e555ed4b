package mpi

/*
#include <mpi.h>
#include <unistd.h>
#include "sum.h"
*/
import "C"

import (
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"hpcbert/lib/comm"
)

const (
	maxSum    = 1 << 18 // values summed at once: 1 MiB, what is added stays in cache
	maxFlying = 16      // sums under way: while some wait for another rank the others use the network
)

// Between looks at the network while the rank computes: looking all the time would cost it a core, and buffers hold what comes meanwhile.
const (
	shortPause = 50 * time.Microsecond
	longPause  = time.Millisecond // after some in which nothing came
)

// sums are the sums of gradients under way. They end in the order of their start.
type sums struct {
	slots   *C.struct_sums
	flying  []*flight
	started int
	moved   C.bool
	pause   time.Duration // before the next look
	failed  error         // MPI, in one of them: nothing is known of the others
	waiters atomic.Int32  // goroutines that wait for the end of a call
}

func (w *World) prepareSums() error {
	if w.slots = C.sums_new(C.int(w.rank), C.int(w.size), maxFlying); w.slots == nil {
		return errors.New("no memory for sums over the ranks")
	}
	return nil
}

// flight is a sum under way.
type flight struct {
	*pending
	name   string
	number int
	pin    runtime.Pinner // the values
}

func (f *flight) slot() C.int { return C.int(f.number % maxFlying) }

// AllreduceStart begins the sum of bucket over the ranks, in place.
func (w *World) AllreduceStart(bucket []float32, wire comm.Wire) (comm.Handle, error) {
	return w.sumStart("all-reduce", bucket, toAll, wire), nil
}

// ReduceStart begins the sum of bucket over the ranks, in place on root.
func (w *World) ReduceStart(bucket []float32, root int, wire comm.Wire) (comm.Handle, error) {
	return w.sumStart("reduce", bucket, root, wire), nil
}

// several are calls that end together.
type several []*pending

// Wait returns when all have ended, with the first error.
func (s several) Wait() (err error) {
	for _, p := range s {
		if e := p.Wait(); err == nil {
			err = e
		}
	}
	return err
}

func (w *World) sumStart(name string, bucket []float32, root int, wire comm.Wire) (all several) {
	if w.size == 1 {
		return nil // nothing travels, nothing is rounded
	}
	for piece := range slices.Chunk(bucket, maxSum) {
		p := w.newPending()
		w.calls <- func() { w.fly(&flight{pending: p, name: name}, piece, root, wire) }
		all = append(all, p)
	}
	return all
}

// fly starts a sum when there is room for it.
func (w *World) fly(f *flight, piece []float32, root int, wire comm.Wire) {
	w.land(maxFlying - 1)
	if w.failed != nil {
		f.done <- w.failed
		return
	}
	w.pause = shortPause
	f.number = w.started
	w.started++
	w.flying = append(w.flying, f)
	f.pin.Pin(unsafe.SliceData(piece))
	tag := 1 + f.number%(4*maxFlying) // other messages have tag 0; a rank is at most two slots' turns ahead of another
	w.check(C.sums_start(w.slots, f.slot(), (*C.float)(unsafe.SliceData(piece)), C.int(len(piece)), C.int(root), C.enum_wire(wire), C.int(tag)))
}

// land advances the sums until so many are left at most.
func (w *World) land(left int) {
	for len(w.flying) > left {
		w.advance()
	}
}

// advance does what can be done for the sums under way, and gives the cores to the computing when that is nothing and nobody waits.
func (w *World) advance() {
	w.check(C.sums_advance(w.slots, &w.moved))
	for len(w.flying) > 0 && !C.sums_flying(w.slots, w.flying[0].slot()) {
		w.end(nil)
	}
	if w.moved {
		w.pause = shortPause
	} else if len(w.flying) > 0 && w.waiters.Load() == 0 {
		C.usleep(C.useconds_t(w.pause.Microseconds()))
		w.pause = min(2*w.pause, longPause)
	}
}

// end takes the oldest sum out.
func (w *World) end(err error) {
	f := w.flying[0]
	w.flying = w.flying[1:]
	f.pin.Unpin()
	f.done <- err
}

// check ends all sums under way where one failed.
func (w *World) check(rc C.int) {
	if rc != C.MPI_SUCCESS {
		w.failed = w.mpiError(w.flying[0].name, rc)
	}
	for w.failed != nil && len(w.flying) > 0 {
		w.end(w.failed)
	}
}
