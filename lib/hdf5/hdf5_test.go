package hdf5

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hpcbert/lib/fault"

	"github.com/google/go-cmp/cmp"
)

const foreign = "testdata/foreign.hdf5" // by h5py, see testdata/make.py

func TestReadForeignFile(t *testing.T) {
	f, err := Open(foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	checkArrays(t, f)
	check(t, f, "none", []int32{}, 0, 4)
	if dims, err := f.Dims("bytes"); err != nil || !cmp.Equal(dims, []int{37, 11}) {
		t.Errorf("shape %v, error %v", dims, err)
	}
}

// checkArrays compares what testdata/make.py writes into all its files.
func checkArrays(t *testing.T, f *File) {
	t.Helper()
	split, shuffled, small := make([]int32, 37*11), make([]int32, 37*11), make([]int8, 37*11)
	for k := range split {
		i, j := k/11, k%11
		split[k], shuffled[k], small[k] = int32(100*i+j), int32(i-j), int8(k%251-125)
	}
	check(t, f, "split", split, 37, 11)
	check(t, f, "split", split, -1, 11)
	check(t, f, "shuffled", shuffled, -1, -1)
	check(t, f, "bytes", small, 37, 11)
	check(t, f, "contiguous", []int32{-3, -2, -1, 0, 1, 2, 3}, 7)
}

func check[T Element](t *testing.T, f *File, name string, want []T, dims ...int) {
	t.Helper()
	got, shape, err := Read[T](f, name, dims...)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s of shape %v: %s", name, shape, diff)
	}
}

func TestReadErrors(t *testing.T) {
	f, err := Open(foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cases := []struct {
		set  string
		dims []int
		err  string
	}{
		{"missing", []int{7}, `data set "missing": no such data set`},
		{"long", []int{7}, `data set "long": other integers of 8 bytes, want int32`},
		{"big endian", []int{7}, `data set "big endian": other integers of 4 bytes, want int32`},
		{"unsigned", []int{7}, `data set "unsigned": other integers of 1 bytes, want int32`},
		{"bytes", []int{37, 11}, `data set "bytes": other integers of 1 bytes, want int32`},
		{"floats", []int{7}, `data set "floats": floats of 4 bytes, want int32`},
		{"scalar", []int{1}, `data set "scalar": not an array`},
		{"group", []int{1}, `data set "group": not a dataset`},
		{"split", []int{37}, `data set "split": shape [37 11], want [37]`},
		{"split", []int{-1, 12}, `data set "split": shape [37 11], want [any 12]`},
		{"huge", []int{-1, 4}, `data set "huge": shape [1099511627776 4] cannot lie in a file of`},
	}
	for _, c := range cases {
		data, _, err := Read[int32](f, c.set, c.dims...)
		if err == nil || !strings.Contains(err.Error(), "read testdata/foreign.hdf5: "+c.err) || data != nil {
			t.Errorf("%s %v: error %v, want %s", c.set, c.dims, err, c.err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	whole, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cases := []struct {
		name string
		data []byte
		err  string
	}{
		{"empty", nil, "the file is empty"},
		{"text", []byte(strings.Repeat("a sentence.\n", 100)), "not an HDF5 file"},
		{"half", whole[:len(whole)/2], "truncated file: "},
		{"last byte gone", whole[:len(whole)-1], "truncated file: "},
		{"100 bytes", whole[:100], ""},
	}
	for _, c := range cases {
		name := filepath.Join(dir, c.name)
		if err := os.WriteFile(name, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(name)
		if err == nil || !strings.Contains(err.Error(), "open "+name+": "+c.err) {
			t.Errorf("%s: error %v, want %s", c.name, err, c.err)
		}
		if c.err != "" && fault.HintOf(err) == "" {
			t.Errorf("%s: no hint", c.name)
		}
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("directory: %v", err)
	}
}

// A flipped byte inside a chunk must be noticed, not returned as data.
func TestDamagedChunk(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.hdf5")
	writeFile(t, name, 5000, 2)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for k := len(whole) / 2; k < len(whole)/2+64; k++ {
		whole[k] ^= 0x55
	}
	if err := os.WriteFile(name, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, _, err = Read[int32](f, "ids", -1, 13)
	if err == nil || !strings.Contains(err.Error(), `data set "ids": chunk at [`) || !strings.Contains(err.Error(), "damaged chunk") || fault.HintOf(err) == "" {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
}

// value is what the written test files hold.
func value(row, column int) int32 { return int32((row*7919 + column*104729) % 30011) }

func writeFile(t testing.TB, name string, rows, threads int) {
	t.Helper()
	w, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	err = Write(context.Background(), w, Array[int32]{Name: "ids", Dims: []int{rows, 13}, ChunkRows: 64, Fill: func(b []int32, first int) error {
		for k := range b {
			b[k] = value(first+k/13, k%13)
		}
		return nil
	}}, threads)
	if err != nil {
		t.Fatal(err)
	}
	err = Write(context.Background(), w, Array[int8]{Name: "flags", Dims: []int{rows}, ChunkRows: 64, Fill: func(b []int8, first int) error {
		for k := range b {
			b[k] = int8((first + k) % 127)
		}
		return nil
	}}, threads)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestWriteReadsBackAndDoesNotDependOnThreads(t *testing.T) {
	dir := t.TempDir()
	for _, rows := range []int{1, 63, 64, 65, 1000} {
		var first []byte
		for _, threads := range []int{1, 2, 7} {
			name := filepath.Join(dir, "x.hdf5")
			writeFile(t, name, rows, threads)
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = data
			}
			if !bytes.Equal(first, data) {
				t.Errorf("%d rows: %d threads write other bytes than 1", rows, threads)
			}
			f, err := Open(name)
			if err != nil {
				t.Fatal(err)
			}
			ids, flags := make([]int32, rows*13), make([]int8, rows)
			for k := range ids {
				ids[k], flags[k/13] = value(k/13, k%13), int8(k/13%127)
			}
			check(t, f, "ids", ids, rows, 13)
			check(t, f, "flags", flags, rows)
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken")
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	cases := []struct {
		name string
		ctx  context.Context
		fill func([]int32, int) error
		want error
	}{
		{"fill fails in a later chunk", context.Background(), func(_ []int32, first int) error {
			if first >= 30 {
				return broken
			}
			return nil
		}, broken},
		{"canceled", canceled, func([]int32, int) error { return nil }, context.Canceled},
	}
	for _, c := range cases {
		w, err := Create(filepath.Join(dir, "x.hdf5"))
		if err != nil {
			t.Fatal(err)
		}
		err = Write(c.ctx, w, Array[int32]{Name: "a", Dims: []int{100, 3}, ChunkRows: 10, Fill: c.fill}, 3)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), `x.hdf5: data set "a": `) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("%s: close: %v", c.name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left behind: %v", c.name, left)
		}
	}
	if _, err := Create(filepath.Join(dir, "none", "x.hdf5")); err == nil {
		t.Error("created a file in a folder that does not exist")
	}
}

func TestManyReaders(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.hdf5")
	writeFile(t, name, 500, 2)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 5 {
				f, err := Open(name)
				if err != nil {
					t.Error(err)
					return
				}
				if _, _, err := Read[int8](f, "flags", 500); err != nil {
					t.Error(err)
				}
				if _, _, err := Read[int8](f, "ids", 500, 13); err == nil {
					t.Error("read int32 as int8")
				}
				f.Close()
			}
		})
	}
	wait.Wait()
}
