package ckpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rawFile writes a safetensors file by hand: the format is 8 bytes of header length, a JSON header, the data.
func rawFile(t *testing.T, header string, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "raw.safetensors")
	text := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	if err := os.WriteFile(name, append(text, data...), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReadEveryFloatingType(t *testing.T) {
	data := binary.LittleEndian.AppendUint32(nil, math.Float32bits(-1.5))
	data = binary.LittleEndian.AppendUint64(data, math.Float64bits(0.1))
	for _, half := range []uint16{0x3c00, 0xc000, 0x0001, 0x7c00, 0x7bff, 0x8000} { // 1, -2, 2^-24, inf, 65504, -0
		data = binary.LittleEndian.AppendUint16(data, half)
	}
	data = binary.LittleEndian.AppendUint16(data, 0x4049) // bfloat16 3.140625
	name := rawFile(t, `{"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"b":{"dtype":"F64","shape":[1],"data_offsets":[4,12]},`+
		`"c":{"dtype":"F16","shape":[2,3],"data_offsets":[12,24]},"d":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},"__metadata__":{"format":"pt"}}`, data)
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string][]float32{"a": {-1.5}, "b": {0.1}, "c": {1, -2, 0x1p-24, float32(math.Inf(1)), 65504, float32(math.Copysign(0, -1))}, "d": {3.140625}}
	for name, values := range want {
		got, err := f.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			if math.Float32bits(got[i]) != math.Float32bits(values[i]) {
				t.Errorf("%s[%d] = %v, expected %v", name, i, got[i], values[i])
			}
		}
	}
	if f.Metadata["format"] != "pt" || strings.Join(f.Names(), " ") != "a b c d" {
		t.Errorf("metadata %v, names %v", f.Metadata, f.Names())
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	for what, c := range map[string]struct{ header, want string }{
		"cut off":           {`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, `tensor "a" ends at byte`},
		"shape without fit": {`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}`, `tensor "a": shape`},
		"unknown type":      {`{"a":{"dtype":"F7","shape":[1],"data_offsets":[0,4]}}`, `unknown type "F7"`},
		"no JSON":           {`{"a":`, "safetensors header"},
	} {
		_, err := Open(rawFile(t, c.header, make([]byte, 8)))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "raw.safetensors") {
			t.Errorf("%s: %v", what, err)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	os.WriteFile(empty, nil, 0o666)
	if _, err := Open(empty); err == nil || !strings.Contains(err.Error(), "no safetensors header") {
		t.Errorf("empty file: %v", err)
	}
}

func TestWriteReadsBack(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.safetensors")
	entries := []Entry{{Name: "weights", Shape: []int{2, 2}, Values: []float32{1, 2, 3, 4}}, {Name: "bias", Shape: []int{1}, Values: []float32{0.5}}}
	if err := Write(name, entries, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := f.Float32("weights")
	if err != nil || got[3] != 4 || f.Tensor("weights").Shape[1] != 2 {
		t.Errorf("%v %v", got, err)
	}
	if err := Write(name+"2", []Entry{{Name: "w", Shape: []int{3}, Values: []float32{1}}}, nil); err == nil {
		t.Error("one value passed for shape [3]")
	}
}

func TestCheckpointCountsOnlyWhenWhole(t *testing.T) {
	out := t.TempDir()
	for step := 10; step <= 40; step += 10 {
		d, err := Begin(out, step)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(d.Path("model.safetensors"), []Entry{{Name: "w", Shape: []int{1}, Values: []float32{float32(step)}}}, nil); err != nil {
			t.Fatal(err)
		}
		if step == 40 {
			break // killed before Commit
		}
		if err := d.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if dir, damaged, err := Latest(out); filepath.Base(dir) != "step-00000030" || damaged != nil || err != nil {
		t.Errorf("latest %q, damaged %v, error %v", dir, damaged, err)
	}
	flipBit(t, filepath.Join(out, "step-00000030", "model.safetensors"))
	if dir, damaged, _ := Latest(out); filepath.Base(dir) != "step-00000020" || len(damaged) != 1 || !strings.Contains(damaged[0].Error(), "SHA-256") {
		t.Errorf("after a flipped bit: latest %q, damaged %v", dir, damaged)
	}
	if _, err := Begin(out, 20); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(out, ".*")); len(left) != 1 || filepath.Base(left[0]) != ".step-00000020.tmp" {
		t.Errorf("drafts: %v", left)
	}
}

func TestPruneKeepsTheNewest(t *testing.T) {
	for _, c := range []struct {
		newest, keep int
		want         []int
	}{{30, 1, []int{30}}, {30, 2, []int{20, 30}}, {30, 5, []int{10, 20, 30}}, {20, 1, []int{20, 30}}, {20, 2, []int{10, 20, 30}}} {
		out := t.TempDir()
		for _, step := range []int{10, 20, 30} {
			d, err := Begin(out, step)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if err := Prune(out, c.newest, c.keep); err != nil {
			t.Fatal(err)
		}
		if steps, err := Steps(out); !slices.Equal(steps, c.want) || err != nil {
			t.Errorf("newest %d, keep %d: left %v, %v, expected %v", c.newest, c.keep, steps, err, c.want)
		}
	}
}

// A checkpoint without DONE is told of, does not count as kept, and goes when a newer one is whole.
func TestUnfinishedCheckpoints(t *testing.T) {
	out := t.TempDir()
	for _, step := range []int{10, 20, 30, 40} {
		d, err := Begin(out, step)
		if err == nil {
			err = Write(d.Path("model.safetensors"), []Entry{{Name: "w", Shape: []int{1}, Values: []float32{1}}}, nil)
		}
		if err == nil {
			err = d.Commit()
		}
		if err == nil && step%20 == 0 {
			err = os.Remove(filepath.Join(AtStep(out, step), "DONE"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, skipped, err := Latest(out)
	if filepath.Base(dir) != "step-00000030" || len(skipped) != 1 || !errors.Is(skipped[0], ErrUnfinished) || !strings.Contains(skipped[0].Error(), "step-00000040") || err != nil {
		t.Errorf("latest %q, skipped %v, error %v", dir, skipped, err)
	}
	if err := Prune(out, 30, 2); err != nil {
		t.Fatal(err)
	}
	for step, want := range map[int]bool{10: true, 20: false, 30: true, 40: true} {
		if _, err := os.Stat(AtStep(out, step)); (err == nil) != want {
			t.Errorf("step %d: %v", step, err)
		}
	}
}

func flipBit(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestSameEntriesSameBytes(t *testing.T) {
	dir := t.TempDir()
	var files [2][]byte
	for i := range files {
		name := filepath.Join(dir, "f")
		if err := Write(name, []Entry{{Name: "b", Shape: []int{1}, Values: []float32{1}}, {Name: "a", Shape: []int{1}, Values: []float32{2}}}, map[string]string{"y": "1", "x": "2"}); err != nil {
			t.Fatal(err)
		}
		files[i], _ = os.ReadFile(name)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("bytes differ")
	}
}
