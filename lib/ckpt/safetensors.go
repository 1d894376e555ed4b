// Package ckpt reads and writes checkpoints: tensor files in the safetensors form, and directories that count only when they are whole.
package ckpt

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// maxHeader is the longest header that is believed, as in the reference implementation of the format.
const maxHeader = 100 << 20

// Tensor describes a tensor of a file.
type Tensor struct {
	Name  string
	DType string // "F32", "F16", "BF16", "F64", "I64", ...
	Shape []int
	first int64 // byte offset in the file
	bytes int64
}

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// File is an open safetensors file; tensors are read when asked for.
type File struct {
	Name     string
	Metadata map[string]string

	file    *os.File
	tensors map[string]*Tensor
}

type headerEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

var elementSize = map[string]int64{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

// Open opens a safetensors file and checks its header against its size.
func Open(name string) (*File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	s := &File{Name: name, file: f, tensors: map[string]*Tensor{}}
	if err := s.readHeader(); err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return s, nil
}

func (s *File) readHeader() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	var prefix [8]byte
	if _, err := io.ReadFull(s.file, prefix[:]); err != nil {
		return fault.WithHint(fmt.Errorf("no safetensors header: file of %d bytes", info.Size()), "the file is empty or cut off: write or fetch it again")
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader || int64(n) > info.Size()-8 {
		return fault.WithHint(errors.New("not a safetensors file, or its header is cut off"), "a model.safetensors file starts with the length of its header")
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(s.file, text); err != nil {
		return err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return fmt.Errorf("safetensors header: %w", err)
	}
	for name, entry := range raw {
		if err := s.addEntry(name, entry, 8+int64(n), info.Size()); err != nil {
			return err
		}
	}
	return nil
}

func (s *File) addEntry(name string, raw json.RawMessage, base, size int64) error {
	if name == "__metadata__" {
		return json.Unmarshal(raw, &s.Metadata)
	}
	var e headerEntry
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("tensor %q: %w", name, err)
	}
	t := &Tensor{Name: name, DType: e.DType, Shape: e.Shape, first: base + e.Offsets[0], bytes: e.Offsets[1] - e.Offsets[0]}
	if elementSize[e.DType] == 0 {
		return fmt.Errorf("tensor %q: unknown type %q", name, e.DType)
	}
	if e.Offsets[0] < 0 || t.bytes != int64(t.Len())*elementSize[e.DType] {
		return fmt.Errorf("tensor %q: shape %v does not fill bytes %d to %d", name, e.Shape, e.Offsets[0], e.Offsets[1])
	}
	if t.first+t.bytes > size {
		return fault.WithHint(fmt.Errorf("tensor %q ends at byte %d of a file of %d", name, t.first+t.bytes, size), "the file is cut off: write or fetch it again")
	}
	s.tensors[name] = t
	return nil
}

// Names returns the tensors' names, sorted.
func (s *File) Names() []string { return slices.Sorted(maps.Keys(s.tensors)) }

// Tensor returns the description of a tensor, nil when the file has none of that name.
func (s *File) Tensor(name string) *Tensor { return s.tensors[name] }

// Float32 reads a tensor of any floating type as float32, in C order.
func (s *File) Float32(name string) ([]float32, error) {
	t := s.tensors[name]
	if t == nil {
		return nil, fmt.Errorf("read %s: no tensor %q", s.Name, name)
	}
	values := make([]float32, t.Len())
	if err := s.ReadFloat32(name, values); err != nil {
		return nil, err
	}
	return values, nil
}

// ReadFloat32 reads a tensor of any floating type into values, which has its length.
func (s *File) ReadFloat32(name string, values []float32) error {
	t := s.tensors[name]
	if t == nil || t.Len() != len(values) {
		return fmt.Errorf("read %s: no tensor %q of %d elements", s.Name, name, len(values))
	}
	decode := decoders[t.DType]
	if decode == nil {
		return fmt.Errorf("read %s: tensor %q is of type %s, not floating", s.Name, name, t.DType)
	}
	in := bufio.NewReaderSize(io.NewSectionReader(s.file, t.first, t.bytes), 1<<20)
	var element [8]byte
	size := elementSize[t.DType]
	for i := range values {
		if _, err := io.ReadFull(in, element[:size]); err != nil {
			return fmt.Errorf("read %s: tensor %q: %w", s.Name, name, err)
		}
		values[i] = decode(element[:])
	}
	return nil
}

var decoders = map[string]func([]byte) float32{
	"F64":  func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) },
	"F32":  func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) },
	"BF16": func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) },
	"F16":  func(b []byte) float32 { return Float16(binary.LittleEndian.Uint16(b)) },
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

// Close closes the file.
func (s *File) Close() error { return s.file.Close() }

// Entry is a tensor to be written, as float32.
type Entry struct {
	Name   string
	Shape  []int
	Values []float32
}

// Write writes tensors in the order given to a safetensors file, whole or not at all. The same entries give the same bytes.
func Write(name string, entries []Entry, metadata map[string]string) error {
	header, err := encodeHeader(entries, metadata)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w, err := stream.Create(name, nil)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.Write(header); err != nil {
		return err
	}
	buffer := make([]byte, 0, 1<<16)
	for _, e := range entries {
		for part := range slices.Chunk(e.Values, 1<<14) {
			buffer = buffer[:0]
			for _, v := range part {
				buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
			}
			if _, err := w.Write(buffer); err != nil {
				return err
			}
		}
	}
	return w.Commit()
}

// encodeHeader lays the tensors out one after the other, from an offset that is a multiple of 8.
func encodeHeader(entries []Entry, metadata map[string]string) ([]byte, error) {
	header := map[string]any{}
	if len(metadata) > 0 {
		header["__metadata__"] = metadata
	}
	var end int64
	for _, e := range entries {
		t := Tensor{Shape: e.Shape}
		if t.Len() != len(e.Values) {
			return nil, fmt.Errorf("tensor %q: %d values for shape %v", e.Name, len(e.Values), e.Shape)
		}
		if header[e.Name] != nil {
			return nil, fmt.Errorf("tensor %q twice", e.Name)
		}
		first := end
		end += 4 * int64(len(e.Values))
		header[e.Name] = headerEntry{DType: "F32", Shape: e.Shape, Offsets: [2]int64{first, end}}
	}
	text, err := json.Marshal(header) // keys sorted: the same bytes every time
	if err != nil {
		return nil, err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), nil
}
