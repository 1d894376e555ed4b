package ckpt

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// maxHeader is the longest header that is believed, as in the reference implementation of the format.
const maxHeader = 100 << 20

type headerEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// openSafetensors reads the header, whose length was checked against the file's.
func (s *Source) openSafetensors(f *os.File, size int64) error {
	s.Kind = "safetensors"
	in := io.NewSectionReader(f, 0, size)
	var prefix [8]byte
	if _, err := io.ReadFull(in, prefix[:]); err != nil {
		return err
	}
	text := make([]byte, binary.LittleEndian.Uint64(prefix[:]))
	if _, err := io.ReadFull(in, text); err != nil {
		return err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return fmt.Errorf("safetensors header: %w", err)
	}
	var tensors []*Tensor
	for name, entry := range raw {
		if name == "__metadata__" {
			if err := json.Unmarshal(entry, &s.Metadata); err != nil {
				return fmt.Errorf("safetensors header: %s: %w", name, err)
			}
			continue
		}
		t, err := headerTensor(f, name, entry, int64(8+len(text)), size)
		if err != nil {
			return err
		}
		tensors = append(tensors, t)
	}
	slices.SortFunc(tensors, func(a, b *Tensor) int { return int(min(1, max(-1, a.storage.first-b.storage.first))) })
	for _, t := range tensors {
		if err := s.add(t, size); err != nil {
			return err
		}
	}
	return nil
}

func headerTensor(f *os.File, name string, raw json.RawMessage, base, size int64) (*Tensor, error) {
	var e headerEntry
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	if e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] || e.Offsets[1] > math.MaxInt64-base {
		return nil, fmt.Errorf("tensor %q: bytes %d to %d", name, e.Offsets[0], e.Offsets[1])
	}
	if base+e.Offsets[1] > size {
		return nil, fault.WithHint(fmt.Errorf("tensor %q ends at byte %d of a file of %d", name, base+e.Offsets[1], size), "the file is cut off: write or fetch it again")
	}
	t := &Tensor{Stored: name, DType: e.DType, Shape: e.Shape, storage: &storage{file: f, where: f.Name(), first: base + e.Offsets[0], bytes: e.Offsets[1] - e.Offsets[0]}}
	if err := t.check(size); err != nil {
		return nil, err
	}
	if int64(t.Len())*elementSize[e.DType] != t.storage.bytes {
		return nil, fmt.Errorf("tensor %q: shape %v does not fill bytes %d to %d", name, e.Shape, e.Offsets[0], e.Offsets[1])
	}
	return t, nil
}

// Entry is a tensor to be written, as float32.
type Entry struct {
	Name   string
	Shape  []int
	Values []float32
	Read   func(values []float32) error // gives the values where Values is nil, when their turn comes
}

// Len returns the number of values.
func (e *Entry) Len() int {
	t := Tensor{Shape: e.Shape}
	return t.Len()
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
	var own []float32
	for _, e := range entries {
		values := e.Values
		if e.Read != nil {
			own = slices.Grow(own[:0], e.Len())[:e.Len()]
			values = own
			if err := e.Read(values); err != nil {
				return err
			}
		}
		if err := writeValues(w, values); err != nil {
			return err
		}
	}
	return w.Commit()
}

func writeValues(w io.Writer, values []float32) error {
	buffer := make([]byte, 0, min(4*len(values), 1<<16))
	for part := range slices.Chunk(values, 1<<14) {
		buffer = buffer[:0]
		for _, v := range part {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
		}
		if _, err := w.Write(buffer); err != nil {
			return err
		}
	}
	return nil
}

// encodeHeader lays the tensors out one after the other, from an offset that is a multiple of 8.
func encodeHeader(entries []Entry, metadata map[string]string) ([]byte, error) {
	header := map[string]any{}
	if len(metadata) > 0 {
		header["__metadata__"] = metadata
	}
	var end int64
	for _, e := range entries {
		if e.Read == nil && e.Len() != len(e.Values) {
			return nil, fmt.Errorf("tensor %q: %d values for shape %v", e.Name, len(e.Values), e.Shape)
		}
		if header[e.Name] != nil {
			return nil, fmt.Errorf("tensor %q twice", e.Name)
		}
		first := end
		end += 4 * int64(e.Len())
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
