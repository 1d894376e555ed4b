package main

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hpcbert/kernels"
)

// How an operation is timed.
const (
	samples       = 7                      // runs whose median counts
	sampleSeconds = 20e-3                  // an operation is called again until a run takes that long
	attempts      = 4                      // at a block of runs, while other processes disturb it
	quiet         = 0.1                    // cores that others may use
	farBeyondL3   = 256 << 20              // bytes of an array that no cache holds
	ticks         = 100 * time.Millisecond // /proc/stat counts hundredths of a second: shorter blocks say nothing about others
)

// timing is the outcome of a block of runs.
type timing struct {
	seconds float64 // median of a call
	ceiling float64 // median of what was measured between the runs, in 10⁹ a second
	runs    int
	others  float64 // cores that other processes used
}

// time measures calls of an operation, each run after one of its ceiling.
func (b *bench) time(s *kernels.Stream, call func(), ceiling func(*kernels.Stream) float64) (timing, error) {
	call()
	begin := time.Now()
	call()
	calls := 1
	if once := time.Since(begin).Seconds(); !b.Quick {
		calls = int(sampleSeconds/max(once, 1e-6)) + 1
	}
	best := timing{others: 1e9}
	for range attempts {
		t := b.block(s, call, ceiling, calls)
		if err := s.Synchronize(); err != nil {
			return t, err
		}
		if t.others < best.others {
			best = t
		}
		if best.others <= quiet || b.Quick {
			break
		}
	}
	return best, nil
}

func (b *bench) block(s *kernels.Stream, call func(), ceiling func(*kernels.Stream) float64, calls int) timing {
	n := samples
	if b.Quick {
		n = 1
	}
	var seconds, ceilings []float64
	watch := watchOthers()
	for range n {
		ceilings = append(ceilings, ceiling(s))
		begin := time.Now()
		for range calls {
			call()
		}
		seconds = append(seconds, time.Since(begin).Seconds()/float64(calls))
	}
	return timing{median(seconds), median(ceilings), n, watch.cores()}
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// percentile returns the smallest value that at least p per cent of the values do not exceed.
func percentile(values []float64, p int) float64 {
	v := slices.Sorted(slices.Values(values))
	return v[max(0, (len(v)*p+99)/100-1)]
}

func sum(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total
}

// peak returns the ceiling of what computes in a precision.
func (b *bench) peak(dtype kernels.DType) func(*kernels.Stream) float64 {
	return func(s *kernels.Stream) float64 { return s.PeakGFLOPS(dtype) }
}

// rowLen is the length of the rows that the copy moves: 4 KiB, a page.
const rowLen = 1024

// copying returns the ceiling of what moves memory: bytes read and written by a copy on all threads, with stores as the operations have them.
func (b *bench) copying() (func(*kernels.Stream) float64, error) {
	n := farBeyondL3 / 4 / rowLen
	if b.Quick {
		n = 256
	}
	if b.copier == nil {
		s, err := b.dev.NewStream()
		if err != nil {
			return nil, err
		}
		defer s.Close()
		w := &workshop{Stream: s, dev: b.dev}
		b.copier = &copier{w, w.floats(n * rowLen), w.floats(n * rowLen), w.ints(n, func(i int) int { return i })}
		if err := errors.Join(w.err, s.Synchronize()); err != nil {
			return nil, err
		}
	}
	return func(s *kernels.Stream) float64 {
		begin := time.Now()
		s.GatherRows(b.copier.dst, b.copier.src, b.copier.rows, n, rowLen)
		return 8e-9 * float64(n*rowLen) / time.Since(begin).Seconds()
	}, nil
}

// copier is what the copy moves.
type copier struct {
	*workshop
	dst, src, rows kernels.Tensor
}

// others watches what other processes use of the machine.
type others struct {
	begin    time.Time
	busy, us float64
}

func watchOthers() others { return others{time.Now(), busySeconds(), ownSeconds()} }

// cores returns the mean number of cores that others kept busy since the watch began.
func (o others) cores() float64 {
	wall := time.Since(o.begin)
	if wall < ticks {
		return 0
	}
	return max(0, (busySeconds()-o.busy-(ownSeconds()-o.us))/wall.Seconds())
}

// busySeconds returns the time that all CPUs together have not been idle, what the hypervisor took included.
func busySeconds() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	sum := 0.0
	for i, field := range strings.Fields(string(line)) {
		switch i {
		case 1, 2, 3, 6, 7, 8: // user, nice, system, irq, softirq, steal
			hundredths, _ := strconv.ParseFloat(field, 64)
			sum += hundredths / 100
		}
	}
	return sum
}

func ownSeconds() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// peakMemory returns the largest resident size of this process in bytes. The resource usage will not do: across exec it keeps what the
// process that started this one had.
func peakMemory() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
