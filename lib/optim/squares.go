package optim

import (
	"fmt"
	"math"
	"slices"

	"hpcbert/kernels"
)

// Squares sums the squares of each tensor of an arena, in float64: one that holds an infinity or NaN has no finite sum, all others have.
type Squares struct {
	dev           *kernels.Device
	s             *kernels.Stream
	offsets, sums kernels.Tensor // int64 [n+1], float64 [n]
	host          []float64
}

// NewSquares is for arenas whose n tensors begin at offsets [n+1].
func NewSquares(dev *kernels.Device, s *kernels.Stream, offsets []int64) (*Squares, error) {
	n := len(offsets) - 1
	q := &Squares{dev: dev, s: s, host: make([]float64, n)}
	var err error
	if q.offsets, err = dev.Alloc(kernels.Int64, n+1); err == nil {
		q.sums, err = dev.Alloc(kernels.Float64, n)
	}
	if err != nil {
		q.Close()
		return nil, fmt.Errorf("sums of squares: %w", err)
	}
	kernels.Upload(s, q.offsets, offsets)
	return q, s.Synchronize()
}

// SquaresBytes returns what NewSquares takes for n tensors.
func SquaresBytes(n int) int64 { return int64(8 * (2*n + 1)) }

// Close releases the memory.
func (q *Squares) Close() {
	if q != nil {
		q.dev.Free(q.offsets)
		q.dev.Free(q.sums)
	}
}

// Of returns the sums of the tensors first to end-1 of arena x; they hold until the next call.
func (q *Squares) Of(x kernels.Tensor, first, end int) ([]float64, error) {
	sums := q.sums.Slice(first, end)
	q.s.SquaredSums(sums, x, q.offsets.Slice(first, end+1), end-first)
	kernels.Download(q.s, q.host[first:end], sums)
	return q.host[first:end], q.s.Synchronize()
}

// FirstNotFinite returns the index of the first value that is an infinity or NaN, -1 when all are finite.
func FirstNotFinite(values []float64) int {
	return slices.IndexFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}
