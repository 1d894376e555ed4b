package hdf5

/*
#cgo pkg-config: hdf5
#include <hdf5.h>

static herr_t h5_no_times(hid_t plist) { return H5Pset_obj_track_times(plist, 0); }

static herr_t h5_shuffle(hid_t plist) { return H5Pset_shuffle(plist); }

static herr_t h5_write_chunk(hid_t set, const hsize_t *offset, size_t size, const void *data) {
	return H5Dwrite_chunk(set, H5P_DEFAULT, 0, offset, size, data);
}
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"unsafe"

	"hpcbert/lib/stream"

	"gonum.org/v1/hdf5"
)

// Array describes a data set to write.
type Array[T Element] struct {
	Name      string
	Dims      []int // [rows] or [rows, columns]
	ChunkRows int   // rows of a chunk

	// Fill sets the rows from first on; there are len(rows)/columns of them at most, fewer in the last chunk. They come zeroed. It is
	// called from many goroutines at once.
	Fill func(rows []T, first int) error
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
func Write[T Element](ctx context.Context, w *Writer, a Array[T], threads int) error {
	if err := a.write(ctx, w, threads); err != nil {
		return fmt.Errorf("write %s: data set %q: %w", w.Name, a.Name, err)
	}
	return nil
}

func (a Array[T]) write(ctx context.Context, w *Writer, threads int) error {
	if len(a.Dims) < 1 || a.Dims[0] < 1 || a.ChunkRows < 1 {
		return fmt.Errorf("cannot write shape %v in chunks of %d rows", a.Dims, a.ChunkRows)
	}
	a.ChunkRows = min(a.ChunkRows, a.Dims[0])
	var set *hdf5.Dataset
	err := call(func() (err error) {
		set, err = a.create(w)
		return err
	})
	if err != nil {
		return err
	}
	err = a.chunks(ctx, set, threads)
	if closed := call(set.Close); err == nil {
		err = closed
	}
	return err
}

// create runs inside call.
func (a *Array[T]) create(w *Writer) (*hdf5.Dataset, error) {
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
	if size[T]() > 1 && C.h5_shuffle(C.hid_t(plist.ID())) < 0 {
		return nil, errors.New("cannot ask for the shuffle filter")
	}
	if err := plist.SetDeflate(1); err != nil { // the level nearest to what packer does; readers do not need it
		return nil, reason(err)
	}
	if C.h5_no_times(C.hid_t(plist.ID())) < 0 {
		return nil, errors.New("cannot switch off object times")
	}
	set, err := w.file.CreateDatasetWith(a.Name, native[T](), space, plist)
	return set, reason(err)
}

// chunks compresses the chunks in parallel and writes them in order; not more of them than there are threads are in memory.
func (a *Array[T]) chunks(ctx context.Context, set *hdf5.Dataset, threads int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	total := (a.Dims[0] + a.ChunkRows - 1) / a.ChunkRows
	workers := make([]*worker[T], min(max(threads, 1), total))
	var wait sync.WaitGroup
	defer wait.Wait()
	for k := range workers {
		w := &worker[T]{array: a, ready: make(chan error), written: make(chan struct{}, 1)}
		workers[k] = w
		wait.Go(func() { w.run(ctx, k, len(workers), total) })
	}
	for i := range total {
		w := workers[i%len(workers)]
		var err error
		select {
		case err = <-w.ready:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err == nil {
			err = writeChunk(set, i*a.ChunkRows, len(a.Dims), w.packed)
		}
		if err != nil {
			cancel()
			return err
		}
		w.written <- struct{}{}
	}
	return nil
}

// worker compresses each step-th chunk of an array.
type worker[T Element] struct {
	array *Array[T]
	rows  []T
	bytes []byte
	packer

	packed  []byte        // a chunk
	ready   chan error    // tells that it is in packed, or why it cannot be
	written chan struct{} // tells that packed may change again
}

func (w *worker[T]) run(ctx context.Context, first, step, total int) {
	for i := first; i < total; i += step {
		err := ctx.Err()
		if err == nil {
			err = w.pack(i)
		}
		select {
		case w.ready <- err:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
		select {
		case <-w.written:
		case <-ctx.Done():
			return
		}
	}
}

// pack fills and compresses chunk i. The last one is padded to full size, as HDF5 wants it.
func (w *worker[T]) pack(i int) error {
	a := w.array
	n := a.ChunkRows
	for _, c := range a.Dims[1:] {
		n *= c
	}
	if w.rows == nil {
		w.rows = make([]T, n)
	}
	clear(w.rows)
	first := i * a.ChunkRows
	if err := a.Fill(w.rows[:n/a.ChunkRows*min(a.ChunkRows, a.Dims[0]-first)], first); err != nil {
		return err
	}
	w.bytes = planes(w.bytes, w.rows)
	w.packed = w.packer.pack(w.bytes, n)
	return nil
}

// planes returns what the shuffle filter makes of values: their first bytes, their second bytes, and so on. It uses the memory of b or of values.
func planes[T Element](b []byte, values []T) []byte {
	n := len(values)
	switch values := any(values).(type) {
	case []int8:
		return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), n)
	case []int32:
		b = slices.Grow(b[:0], 4*n)[:4*n]
		var any int32
		p0, p1 := b[:n], b[n:2*n]
		for i, v := range values {
			p0[i], p1[i] = byte(v), byte(v>>8)
			any |= v
		}
		if any>>16 == 0 { // ids of most vocabularies
			clear(b[2*n:])
			break
		}
		p2, p3 := b[2*n:3*n], b[3*n:]
		for i, v := range values {
			p2[i], p3[i] = byte(v>>16), byte(v>>24)
		}
	}
	return b
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
