package ckpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
)

// Tensor describes a tensor of a checkpoint.
type Tensor struct {
	Name   string // with Hugging Face's names
	Stored string // in the file
	DType  string // "F32", "F16", "BF16", "F64", "I64", ...
	Shape  []int

	storage *storage
	offset  int64   // first element, counted from the storage's start
	strides []int64 // elements between neighbours along each axis; nil = C order
}

// storage is a run of a file's bytes, which tensors may share.
type storage struct {
	file  io.ReaderAt
	where string // the file, and the record of it where there is one
	first int64  // byte of the file
	bytes int64
}

var elementSize = map[string]int64{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "C64": 8, "C128": 16,
	"U64": 8, "U32": 4, "U16": 2, "F8_E4M3": 1, "F8_E5M2": 1}

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Floating tells whether the values can be read as float32.
func (t *Tensor) Floating() bool { return decoders[t.DType] != nil }

// Place tells where element i is: the file and the byte.
func (t *Tensor) Place(i int) string {
	at := t.offset + int64(i)
	if t.strides != nil {
		at = t.offset
		for axis, d := range slices.Backward(t.Shape) {
			at += int64(i%d) * t.strides[axis]
			i /= d
		}
	}
	return fmt.Sprintf("%s, byte %d", t.storage.where, t.storage.first+at*elementSize[t.DType])
}

// check refuses what a damaged file may say: sizes below zero, elements outside the storage, and more of them than a file of that many bytes
// can be meant to hold.
func (t *Tensor) check(fileBytes int64) error {
	size := elementSize[t.DType]
	if size == 0 {
		return fmt.Errorf("tensor %q: unknown type %q", t.Stored, t.DType)
	}
	if t.strides != nil && len(t.strides) != len(t.Shape) {
		return fmt.Errorf("tensor %q: %d strides for shape %v", t.Stored, len(t.strides), t.Shape)
	}
	if t.offset < 0 {
		return fmt.Errorf("tensor %q: starts at element %d", t.Stored, t.offset)
	}
	n, last := int64(1), t.offset
	for axis, d := range t.Shape {
		if d < 0 || d > 0 && n > fileBytes/int64(d) {
			return fmt.Errorf("tensor %q: shape %v in a file of %d bytes", t.Stored, t.Shape, fileBytes)
		}
		n *= int64(d)
		if t.strides != nil && d > 1 {
			stride := t.strides[axis]
			if stride < 0 || stride > fileBytes/int64(d-1) || last > fileBytes {
				return fmt.Errorf("tensor %q: strides %v", t.Stored, t.strides)
			}
			last += int64(d-1) * stride
		}
	}
	if t.strides == nil {
		last += n - 1
	}
	if n > 0 && last >= t.storage.bytes/size {
		return fmt.Errorf("tensor %q: shape %v from element %d on ends behind its storage of %d bytes (%s)", t.Stored, t.Shape, t.offset, t.storage.bytes, t.storage.where)
	}
	if n > 0 && t.strides != nil && inOrder(t.Shape, t.strides) {
		t.strides = nil
	}
	return nil
}

// inOrder tells whether the strides are those of C order.
func inOrder(shape []int, strides []int64) bool {
	want := int64(1)
	for axis, d := range slices.Backward(shape) {
		if d > 1 && strides[axis] != want {
			return false
		}
		want *= int64(d)
	}
	return true
}

// read fills values, in C order.
func (t *Tensor) read(values []float32) error {
	decode := decoders[t.DType]
	if decode == nil {
		return fmt.Errorf("tensor %q is of type %s, not floating", t.Stored, t.DType)
	}
	if len(values) == 0 {
		return nil
	}
	in, err := t.raw()
	if err != nil {
		return err
	}
	size := int(elementSize[t.DType])
	buffer := make([]byte, min(len(values)*size, 1<<20))
	for part := range slices.Chunk(values, len(buffer)/size) {
		raw := buffer[:len(part)*size]
		if _, err := io.ReadFull(in, raw); err != nil {
			return fmt.Errorf("tensor %q: read %s: %w", t.Stored, t.storage.where, err)
		}
		decode(part, raw)
	}
	return nil
}

// raw opens the bytes of a tensor in C order.
func (t *Tensor) raw() (io.Reader, error) {
	size := elementSize[t.DType]
	n := int64(t.Len())
	if t.strides == nil || n == 0 {
		return io.NewSectionReader(t.storage.file, t.storage.first+t.offset*size, n*size), nil
	}
	span := int64(1)
	for axis, d := range t.Shape {
		span += int64(d-1) * t.strides[axis]
	}
	all := make([]byte, span*size)
	if _, err := t.storage.file.ReadAt(all, t.storage.first+t.offset*size); err != nil {
		return nil, fmt.Errorf("tensor %q: read %s: %w", t.Stored, t.storage.where, err)
	}
	return bytes.NewReader(t.gather(all)), nil
}

// gather puts elements into C order. All starts with the first and ends with the last of them.
func (t *Tensor) gather(all []byte) []byte {
	size := elementSize[t.DType]
	picked := make([]byte, 0, int64(t.Len())*size)
	index := make([]int, len(t.Shape))
	at := int64(0)
	for range t.Len() {
		picked = append(picked, all[at*size:(at+1)*size]...)
		for axis := len(index) - 1; axis >= 0; axis-- {
			at += t.strides[axis]
			if index[axis]++; index[axis] < t.Shape[axis] {
				break
			}
			at -= int64(index[axis]) * t.strides[axis]
			index[axis] = 0
		}
	}
	return picked
}

// CheckFinite names the first of the tensor's values that is infinite or not a number.
func (t *Tensor) CheckFinite(values []float32) error {
	const exponent = 0xff << 23
	i := slices.IndexFunc(values, func(v float32) bool { return math.Float32bits(v)&exponent == exponent })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("tensor %q: element %d is %v (%s)", t.Stored, i, values[i], t.Place(i))
}

var decoders = map[string]func([]float32, []byte){
	"F64": func(to []float32, from []byte) {
		for i := range to {
			to[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(from[8*i:])))
		}
	},
	"F32": func(to []float32, from []byte) {
		for i := range to {
			to[i] = math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:]))
		}
	},
	"BF16": func(to []float32, from []byte) {
		for i := range to {
			to[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(from[2*i:])) << 16)
		}
	},
	"F16": func(to []float32, from []byte) {
		for i := range to {
			to[i] = Float16(binary.LittleEndian.Uint16(from[2*i:]))
		}
	},
}

// Float16 widens an IEEE half.
func Float16(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exponent {
	case 0: // zero and subnormal: fraction * 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}
