package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"hpcbert/kernels"
)

// operation is a line of the table of operations.
type operation struct {
	name, shape string
	flops       float64 // of a call; 0: judged by the memory it moves
	bytes       float64 // that a call must move between memory and cores, whatever the caches keep
	float32     bool    // the same in every precision
	build       func(w *workshop) func()
}

// operations measures every operation at a model's sizes.
func (b *bench) operations(ctx context.Context, s shape) error {
	b.env.Infof("operations of %s", s.name)
	for i, precision := range b.Precision {
		for _, op := range b.listOperations(s, modes[precision].DType()) {
			if op.float32 && i > 0 || !strings.Contains(op.name, b.Only) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := b.operation(op, s, precision); err != nil {
				return fmt.Errorf("%s %s: %w", op.name, precision, err)
			}
		}
	}
	return nil
}

func (b *bench) operation(op operation, s shape, precision string) error {
	r := row{kind: "op", name: op.name, model: s.name, precision: precision, shape: op.shape, state: "ok", unit: "GFLOP/s"}
	if op.float32 {
		r.precision = "fp32"
	}
	work, ceiling, err := op.flops, b.peak(modes[r.precision].DType()), error(nil)
	if op.flops == 0 {
		work, r.unit = op.bytes, "GB/s"
		ceiling, err = b.copying()
	}
	if err != nil {
		return err
	}
	t, err := b.timeOperation(op, modes[precision].DType(), ceiling)
	if r, err = unsupported(r, err); err != nil {
		return err
	}
	if r.state == "ok" {
		r.runs, r.seconds, r.ceiling, r.others = t.runs, t.seconds, t.ceiling, t.others
		r.rate = 1e-9 * work / t.seconds
	}
	return b.keep(r)
}

// timeOperation builds the operation's tensors, for one that moves memory so many times that no call finds the last one's in a cache.
func (b *bench) timeOperation(op operation, dtype kernels.DType, ceiling func(*kernels.Stream) float64) (timing, error) {
	stream, err := b.dev.NewStream()
	if err != nil {
		return timing{}, err
	}
	defer stream.Close()
	w := &workshop{Stream: stream, dev: b.dev, dtype: dtype}
	defer w.close()
	copies := 1
	if op.flops == 0 && !b.Quick {
		copies = max(1, min(32, int(farBeyondL3/2/op.bytes)))
	}
	calls := make([]func(), copies)
	for i := range calls {
		calls[i] = op.build(w)
	}
	if w.err != nil {
		return timing{}, w.err
	}
	for _, call := range calls {
		call()
	}
	turn := 0
	return b.time(stream, func() {
		calls[turn%copies]()
		turn++
	}, ceiling)
}

// workshop makes tensors of random values.
type workshop struct {
	*kernels.Stream
	dev   *kernels.Device
	dtype kernels.DType // of activations
	owned []kernels.Tensor
	err   error // of making them
}

func (w *workshop) close() {
	for _, t := range w.owned {
		w.dev.Free(t)
	}
}

func (w *workshop) alloc(dtype kernels.DType, n int) kernels.Tensor {
	if n == 0 && w.err == nil {
		w.err = kernels.ErrUnsupported // packed operands have no length where they are not supported
	}
	if w.err != nil {
		return kernels.Tensor{}
	}
	t, err := w.dev.Alloc(dtype, n)
	if w.err = err; err == nil {
		w.owned = append(w.owned, t)
	}
	return t
}

// normals is what tensors are filled with, again and again; narrow is the same in bfloat16, and numbers from 1 to 2 of either sign in half
// precision.
var normals, narrow = func() (x []float32, bits map[kernels.DType][]uint16) {
	r := rand.New(rand.NewPCG(1, 1))
	bits = map[kernels.DType][]uint16{}
	for range 1 << 16 {
		value := float32(r.NormFloat64())
		x, bits[kernels.BFloat16] = append(x, value), append(bits[kernels.BFloat16], uint16(math.Float32bits(value)>>16))
		bits[kernels.Float16] = append(bits[kernels.Float16], 0x3c00|uint16(r.Uint32())&0x83ff)
	}
	return x, bits
}()

// values returns n normal values of a type.
func (w *workshop) values(dtype kernels.DType, n int) kernels.Tensor {
	t := w.alloc(dtype, n)
	for i := 0; i < t.Len(); i += len(normals) {
		part := t.Slice(i, min(i+len(normals), n))
		if dtype == kernels.Float32 {
			kernels.Upload(w.Stream, part, normals[:part.Len()])
		} else {
			kernels.Upload(w.Stream, part, narrow[dtype][:part.Len()])
		}
	}
	return t
}

func (w *workshop) activations(n int) kernels.Tensor { return w.values(w.dtype, n) }
func (w *workshop) floats(n int) kernels.Tensor      { return w.values(kernels.Float32, n) }

// ints returns n numbers that f makes of their indices.
func (w *workshop) ints(n int, f func(i int) int) kernels.Tensor {
	t := w.alloc(kernels.Int32, n)
	numbers := make([]int32, t.Len())
	for i := range numbers {
		numbers[i] = int32(f(i))
	}
	kernels.Upload(w.Stream, t, numbers)
	return t
}

func (w *workshop) zeros(dtype kernels.DType, n int) kernels.Tensor { return w.alloc(dtype, n) }
