package hdf5

/*
#cgo pkg-config: hdf5
#include <hdf5.h>

static herr_t h5_no_times(hid_t plist) { return H5Pset_obj_track_times(plist, 0); }

static herr_t h5_write_chunk(hid_t set, const hsize_t *offset, size_t size, const void *data) {
	return H5Dwrite_chunk(set, H5P_DEFAULT, 0, offset, size, data);
}
*/
import "C"

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"hpcbert/lib/stream"

	"github.com/klauspost/compress/zlib"
	"gonum.org/v1/hdf5"
)

// Array describes a data set to write.
type Array struct {
	Name      string
	Size      int   // bytes of an element: 1 for int8, 4 for int32
	Dims      []int // [rows] or [rows, columns]
	ChunkRows int   // rows of a chunk
	Level     int   // of deflate, 1 to 9

	// Fill writes the rows from first on, little endian, to chunk; there are len(chunk)/row of them at most, fewer in the last chunk.
	// It is called from many goroutines at once.
	Fill func(chunk []byte, first int) error
}

// Writer is an HDF5 file that appears under its name only when Commit succeeds. Its bytes depend on what is written alone: no times
// are stored, and chunks lie in order however many goroutines compress them.
type Writer struct {
	Name string

	temporary *os.File
	file      *hdf5.File
}

// Create begins a file. Callers defer Close and end with Commit.
func Create(name string) (*Writer, error) {
	f, err := stream.Temporary(name)
	if err != nil {
		return nil, err
	}
	w := &Writer{Name: name, temporary: f}
	stream.Unlock(f) // HDF5 locks the file itself, through a descriptor of its own
	err = call(func() (err error) {
		w.file, err = hdf5.CreateFile(f.Name(), hdf5.F_ACC_TRUNC)
		return err
	})
	if err != nil {
		w.file = nil
		w.Close()
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return w, nil
}

// Write creates a data set and fills it, compressing with the given number of goroutines.
func (w *Writer) Write(ctx context.Context, a Array, threads int) error {
	if err := w.write(ctx, a, threads); err != nil {
		return fmt.Errorf("write %s: data set %q: %w", w.Name, a.Name, err)
	}
	return nil
}

func (w *Writer) write(ctx context.Context, a Array, threads int) error {
	if len(a.Dims) < 1 || a.Dims[0] < 1 || a.ChunkRows < 1 || a.Size != 1 && a.Size != 4 {
		return fmt.Errorf("cannot write shape %v of %d-byte elements in chunks of %d rows", a.Dims, a.Size, a.ChunkRows)
	}
	a.ChunkRows = min(a.ChunkRows, a.Dims[0])
	var set *hdf5.Dataset
	err := call(func() (err error) {
		set, err = w.create(a)
		return err
	})
	if err != nil {
		return err
	}
	err = w.chunks(ctx, a, set, threads)
	if closed := call(set.Close); err == nil {
		err = closed
	}
	return err
}

// create runs inside call.
func (w *Writer) create(a Array) (*hdf5.Dataset, error) {
	dims := make([]uint, len(a.Dims))
	for i, n := range a.Dims {
		dims[i] = uint(n)
	}
	space, err := hdf5.CreateSimpleDataspace(dims, nil)
	if err != nil {
		return nil, err
	}
	defer space.Close()
	plist, err := hdf5.NewPropList(hdf5.P_DATASET_CREATE)
	if err != nil {
		return nil, err
	}
	defer plist.Close()
	dims[0] = uint(a.ChunkRows)
	if err := plist.SetChunk(dims); err != nil {
		return nil, reason(err)
	}
	if err := plist.SetDeflate(a.Level); err != nil {
		return nil, reason(err)
	}
	if C.h5_no_times(C.hid_t(plist.ID())) < 0 {
		return nil, errors.New("cannot switch off object times")
	}
	dtype := native[int32]()
	if a.Size == 1 {
		dtype = native[int8]()
	}
	set, err := w.file.CreateDatasetWith(a.Name, dtype, space, plist)
	return set, reason(err)
}

// packed is a compressed chunk or the reason why there is none.
type packed struct {
	data []byte
	err  error
}

// chunks compresses the chunks in parallel and writes them in order; a few more than there are threads wait in memory.
func (w *Writer) chunks(ctx context.Context, a Array, set *hdf5.Dataset, threads int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	row := a.Size
	for _, n := range a.Dims[1:] {
		row *= n
	}
	total := (a.Dims[0] + a.ChunkRows - 1) / a.ChunkRows
	threads = min(max(threads, 1), total)
	queue := make(chan chan packed, threads) // results in the order of the chunks
	go func() {
		defer close(queue)
		for i := range total {
			result := make(chan packed, 1)
			select {
			case queue <- result:
			case <-ctx.Done():
				return
			}
			go func() { result <- a.pack(row, i) }()
		}
	}()
	var failed error
	next := 0
	for result := range queue { // drained even after a failure: no goroutine outlives the call
		p := <-result
		if failed == nil {
			failed = p.err
		}
		if failed == nil {
			failed = ctx.Err()
		}
		if failed == nil {
			failed = writeChunk(set, next*a.ChunkRows, len(a.Dims), p.data)
		}
		if failed != nil {
			cancel()
		}
		next++
	}
	if failed == nil && next < total {
		failed = ctx.Err()
	}
	return failed
}

// pack fills and compresses chunk i. The last one is padded to full size, as HDF5 wants it.
func (a *Array) pack(row, i int) packed {
	chunk := make([]byte, a.ChunkRows*row)
	first := i * a.ChunkRows
	if err := a.Fill(chunk[:min(a.ChunkRows, a.Dims[0]-first)*row], first); err != nil {
		return packed{err: err}
	}
	var out bytes.Buffer
	z, err := zlib.NewWriterLevel(&out, a.Level)
	if err != nil {
		return packed{err: err}
	}
	if _, err := z.Write(chunk); err != nil {
		return packed{err: err}
	}
	if err := z.Close(); err != nil {
		return packed{err: err}
	}
	return packed{data: out.Bytes()}
}

func writeChunk(set *hdf5.Dataset, first, rank int, data []byte) error {
	offset := make([]C.hsize_t, rank)
	offset[0] = C.hsize_t(first)
	return call(func() error {
		if C.h5_write_chunk(C.hid_t(set.ID()), &offset[0], C.size_t(len(data)), unsafe.Pointer(&data[0])) < 0 {
			return errors.New("cannot write a chunk")
		}
		return nil
	})
}

// Commit closes the file, checks that HDF5 finds it whole (closing alone does not report a full disk), makes it durable and renames it.
func (w *Writer) Commit() error {
	defer w.Close()
	err := call(func() error { return w.file.Flush(hdf5.F_SCOPE_GLOBAL) })
	if closed := call(w.file.Close); err == nil {
		err = closed
	}
	w.file = nil
	if err == nil {
		var f *File
		if f, err = Open(w.temporary.Name()); err == nil {
			err = f.Close()
		}
	}
	if err == nil {
		stream.Lock(w.temporary) // as good as can be: HDF5 has let it go
		err = stream.Finish(w.temporary, w.Name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", w.Name, err)
	}
	w.temporary = nil
	return nil
}

// Close drops the file unless it was committed.
func (w *Writer) Close() error {
	if w.file != nil {
		call(w.file.Close) // its data is dropped: a failure to write it means nothing
		w.file = nil
	}
	if w.temporary == nil {
		return nil
	}
	w.temporary.Close()
	err := os.Remove(w.temporary.Name())
	w.temporary = nil
	return err
}
