package kernels

import (
	"fmt"
	"unsafe"
)

// DType is the type of a tensor's elements.
type DType int32

// The types; activations are one of the first three.
const (
	Float32 DType = iota
	BFloat16
	Float16
	Int32
	Int64
	Float64
)

// Size returns the bytes of one element.
func (d DType) Size() int { return [...]int{4, 2, 2, 4, 8, 8}[d] }

func (d DType) String() string {
	return [...]string{"float32", "bfloat16", "float16", "int32", "int64", "float64"}[d]
}

// Tensor is a stretch of device memory: a whole allocation or a slice of one. The zero Tensor stands for "none".
type Tensor struct {
	ptr   unsafe.Pointer
	n     int
	dtype DType
	host  bool // the host can read it
}

// Len returns the number of elements.
func (t Tensor) Len() int { return t.n }

// DType returns the element type.
func (t Tensor) DType() DType { return t.dtype }

// IsZero tells whether t is the zero Tensor.
func (t Tensor) IsZero() bool { return t.ptr == nil }

// Slice returns the elements i to j-1. It panics when they are not in t, as a Go slice would.
func (t Tensor) Slice(i, j int) Tensor {
	if i < 0 || j < i || j > t.n {
		panic(fmt.Sprintf("kernels: slice [%d:%d] of a tensor of %d elements", i, j, t.n))
	}
	return Tensor{unsafe.Add(t.ptr, i*t.dtype.Size()), j - i, t.dtype, t.host}
}

// Element is what a tensor's elements are in Go.
type Element interface {
	float32 | float64 | int32 | int64 | uint16
}

// Host returns the tensor's memory as a Go slice where the host can read it (CPU), else nil. Synchronize the stream first.
func Host[E Element](t Tensor) []E {
	if !t.host || t.n == 0 {
		return nil
	}
	var e E
	if int(unsafe.Sizeof(e)) != t.dtype.Size() {
		panic(fmt.Sprintf("kernels: %s tensor as %T", t.dtype, e))
	}
	return unsafe.Slice((*E)(t.ptr), t.n)
}
