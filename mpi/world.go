// Package mpi is the only door to MPI: gompi starts and ends it, the calls that gompi lacks are bound here.
//
// All calls are made by one goroutine locked to its thread, in the order in which they were asked for; AllreduceStart returns at once, so
// that buckets of gradients are summed while the kernels' threads compute. Errors of MPI come back as Go errors.
package mpi

/*
#cgo pkg-config: ompi-c
#cgo CFLAGS: -O3
#include <mpi.h>
#include <sys/prctl.h>
#include "wire.h"

static void prompt_timers(void) { prctl(PR_SET_TIMERSLACK, 50000, 0, 0, 0); } // nanoseconds, the system's default
static MPI_Comm world(void) { return MPI_COMM_WORLD; }
static int errors_return(void) { return MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN); }
static int sum_float64(double *b, int n) { return MPI_Allreduce(MPI_IN_PLACE, b, n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD); }
static int sum_int64(long long *b, int n) { return MPI_Allreduce(MPI_IN_PLACE, b, n, MPI_LONG_LONG, MPI_SUM, MPI_COMM_WORLD); }
static int bcast(void *b, int n, int root) { return MPI_Bcast(b, n, MPI_BYTE, root, MPI_COMM_WORLD); }
static int barrier(void) { return MPI_Barrier(MPI_COMM_WORLD); }
static int local_rank(int *rank) {
	MPI_Comm node;
	int e = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
	if (e == MPI_SUCCESS) e = MPI_Comm_rank(node, rank);
	if (e == MPI_SUCCESS) e = MPI_Comm_free(&node);
	return e;
}
*/
import "C"

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"hpcbert/lib/comm"

	gompi "github.com/sbromberger/gompi"
)

// maxCount is the most elements handed to one call: MPI counts are 32-bit.
const maxCount = 1 << 28

// World is all ranks of the job.
type World struct {
	world *gompi.Communicator
	rank  int
	size  int
	local int
	host  string
	calls chan func() // what the goroutine that owns MPI is asked to do
	sums              // of that goroutine
}

var _ comm.Comm = (*World)(nil)

// Start initialises MPI and returns the communicator of all ranks; host is this node's name, for messages. End with Close.
func Start(host string) (*World, error) {
	w := &World{host: host, calls: make(chan func(), maxCalls)}
	go w.serve()
	err := w.do("MPI_Init", func() C.int {
		gompi.Start(true)
		w.world = gompi.NewCommunicator(nil)
		w.rank, w.size = w.world.Rank(), w.world.Size()
		return C.errors_return()
	})
	if err != nil {
		return nil, err
	}
	var local C.int
	err = w.do("MPI_Comm_split_type", func() C.int { return C.local_rank(&local) })
	w.local = int(local)
	return w, cmp.Or(err, w.prepareSums())
}

// maxCalls is how many calls may wait their turn before those who ask wait too: more than an update has buckets.
const maxCalls = 1 << 14

func (w *World) serve() {
	runtime.LockOSThread()
	C.prompt_timers() // the kernels' threads have slow ones
	for {
		call, ok := w.next()
		if !ok {
			return
		}
		call()
	}
}

// next returns the next call; until it comes the sums under way go on.
func (w *World) next() (call func(), ok bool) {
	for len(w.flying) > 0 {
		select {
		case call, ok = <-w.calls:
			return call, ok
		default:
			w.advance()
		}
	}
	call, ok = <-w.calls
	return call, ok
}

// pending is a call that was asked for.
type pending struct {
	w    *World
	done chan error
}

// Wait returns when the call has ended.
func (p *pending) Wait() error {
	p.w.waiters.Add(1)
	defer p.w.waiters.Add(-1)
	return <-p.done
}

func (w *World) newPending() *pending { return &pending{w, make(chan error, 1)} }

// do makes a call after all that were asked for before.
func (w *World) do(name string, call func() C.int) error {
	p := w.newPending()
	w.calls <- func() {
		w.land(0)
		p.done <- w.mpiError(name, call())
	}
	return p.Wait()
}

func (w *World) mpiError(call string, code C.int) error {
	if code == C.MPI_SUCCESS {
		return nil
	}
	var text [C.MPI_MAX_ERROR_STRING]C.char
	var n C.int
	C.MPI_Error_string(code, &text[0], &n)
	return fmt.Errorf("rank %d on %s: %s: %s", w.rank, w.host, call, C.GoStringN(&text[0], n))
}

// Rank returns this process's number in the job.
func (w *World) Rank() int { return w.rank }

// Size returns the number of ranks.
func (w *World) Size() int { return w.size }

// LocalRank returns the rank among those on this node.
func (w *World) LocalRank() int { return w.local }

// Host returns the name of this node.
func (w *World) Host() string { return w.host }

// Barrier waits for all ranks.
func (w *World) Barrier() error { return w.do("MPI_Barrier", func() C.int { return C.barrier() }) }

// inPieces calls f on stretches of the n elements that an MPI count can hold, until one fails.
func inPieces(n int, f func(first, count int) C.int) C.int {
	for first := 0; first < n; first += maxCount {
		if rc := f(first, min(maxCount, n-first)); rc != C.MPI_SUCCESS {
			return rc
		}
	}
	return C.MPI_SUCCESS
}

// Bcast copies root's bytes to all ranks.
func (w *World) Bcast(data []byte, root int) error {
	return w.do("MPI_Bcast", func() C.int {
		return inPieces(len(data), func(i, n int) C.int { return C.bcast(unsafe.Pointer(&data[i]), C.int(n), C.int(root)) })
	})
}

// AllreduceFloat64 sums data over the ranks, in place.
func (w *World) AllreduceFloat64(data []float64) error {
	return w.do("MPI_Allreduce", func() C.int {
		return inPieces(len(data), func(i, n int) C.int { return C.sum_float64((*C.double)(&data[i]), C.int(n)) })
	})
}

// AllreduceInt64 sums data over the ranks, in place.
func (w *World) AllreduceInt64(data []int64) error {
	return w.do("MPI_Allreduce", func() C.int {
		return inPieces(len(data), func(i, n int) C.int { return C.sum_int64((*C.longlong)(unsafe.Pointer(&data[i])), C.int(n)) })
	})
}

// toAll stands for every rank in place of a root.
const toAll = -1

// AllGather copies each rank's stretch to all ranks.
func (w *World) AllGather(data []float32, cuts []int) error {
	return w.gather("all-gather", data, cuts, toAll)
}

// Gather copies each rank's stretch to root.
func (w *World) Gather(data []float32, cuts []int, root int) error {
	return w.gather("gather", data, cuts, root)
}

func (w *World) gather(call string, data []float32, cuts []int, root int) error {
	if err := comm.CheckCuts(call, len(data), cuts, w.size); err != nil {
		return err
	}
	counts, first := make([]C.int, w.size), make([]C.int, w.size)
	for r := range w.size {
		if cuts[r+1] > math.MaxInt32 {
			return fmt.Errorf("%s: %d values are more than MPI can count", call, cuts[r+1])
		}
		counts[r], first[r] = C.int(cuts[r+1]-cuts[r]), C.int(cuts[r])
	}
	return w.do(call, func() C.int {
		return C.wire_gather((*C.float)(unsafe.SliceData(data)), &counts[0], &first[0], C.int(root), C.int(w.rank))
	})
}

// Shift sends data to the rank that is by higher, counted round, and returns what the rank that is by lower sent.
func (w *World) Shift(data []byte, by int) ([]byte, error) {
	to, from := ((w.rank+by)%w.size+w.size)%w.size, ((w.rank-by)%w.size+w.size)%w.size
	if len(data) > math.MaxInt32 {
		return nil, fmt.Errorf("exchange: %d bytes are more than MPI can count", len(data))
	}
	exchange := func(out, in []byte) error {
		return w.do("MPI_Sendrecv", func() C.int {
			return C.wire_shift(unsafe.Pointer(unsafe.SliceData(out)), C.int(len(out)), C.int(to), unsafe.Pointer(unsafe.SliceData(in)), C.int(len(in)), C.int(from))
		})
	}
	length, size := binary.LittleEndian.AppendUint32(nil, uint32(len(data))), make([]byte, 4)
	if err := exchange(length, size); err != nil {
		return nil, err
	}
	got := make([]byte, binary.LittleEndian.Uint32(size))
	return got, exchange(data, got)
}

// Agree tells every rank whether any rank said yes.
func (w *World) Agree(yes bool) (bool, error) {
	votes := []int64{0}
	if yes {
		votes[0] = 1
	}
	err := w.AllreduceInt64(votes)
	return votes[0] > 0, err
}

// Abort ends all ranks. It does not wait for calls in progress: they may never end.
func (w *World) Abort(status int) { C.MPI_Abort(C.world(), C.int(status)) }

// Close ends MPI; all ranks call it.
func (w *World) Close() error {
	err := w.do("MPI_Finalize", func() C.int { gompi.Stop(); return C.MPI_SUCCESS })
	close(w.calls)
	return err
}
