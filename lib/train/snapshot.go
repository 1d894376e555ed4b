package train

import (
	"fmt"
	"unsafe"

	"hpcbert/kernels"
	"hpcbert/lib/bert"

	"golang.org/x/sys/unix"
)

// snapshot is room for a copy of the weights and both moments in the host's memory. It is not Go's: the collector would let the rest grow to
// as much again.
type snapshot struct {
	bytes  []byte
	values []float32
}

// snapshots tells whether this rank copies what it saves.
func (t *Trainer) snapshots() bool {
	return t.comm.Rank() == 0 && !t.opt.SaveSync && t.opt.SaveEvery > 0 && t.opt.SaveEvery < t.opt.Steps
}

// snapshotLen is the number of elements of a copy.
func snapshotLen(params []bert.Param) int {
	n := bert.ArenaLen(params)
	for _, p := range params {
		n += 2 * p.Len
	}
	return n
}

// newSnapshot takes room for so many elements; it is touched when the first copy is made.
func newSnapshot(elements int) (*snapshot, error) {
	bytes, err := unix.Mmap(-1, 0, 4*elements, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("room for a copy of the model, %d bytes: %w", 4*elements, err)
	}
	return &snapshot{bytes, unsafe.Slice((*float32)(unsafe.Pointer(&bytes[0])), elements)}, nil
}

// take copies what is to be written, so that training can change it.
func (s *snapshot) take(t *Trainer, c *content) error {
	rest := s.values
	next := func(n int) (part []float32) {
		part, rest = rest[:n:n], rest[n:]
		return part
	}
	c.weights = next(t.model.Weights.Len())
	kernels.Download(t.stream, c.weights, t.model.Weights)
	if err := t.stream.Synchronize(); err != nil {
		return err
	}
	for i, e := range c.moments {
		values := next(e.Len())
		if err := e.Read(values); err != nil {
			return err
		}
		c.moments[i].Values, c.moments[i].Read = values, nil
	}
	return nil
}

func (s *snapshot) close() {
	if s != nil {
		unix.Munmap(s.bytes)
	}
}
