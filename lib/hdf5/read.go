package hdf5

/*
#cgo pkg-config: hdf5
#include <hdf5.h>

static herr_t h5_read(hid_t set, hid_t type, void *data) { return H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data); }
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"hpcbert/lib/fault"

	"gonum.org/v1/hdf5"
)

// Element is a type that data sets may hold.
type Element interface{ int8 | int32 }

// maxRatio bounds what deflate can pack: a data set that claims more than the file can hold is damaged.
const maxRatio = 1100

// File is an HDF5 file open for reading. Its methods may be called from any goroutine.
type File struct {
	Name string

	size int64
	file *hdf5.File

	plain    *os.File  // the same file, for metadata
	metadata *metadata // used inside call
}

// Open opens an HDF5 file. Errors name it.
func Open(name string) (*File, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("open %s: is a directory", name)
	case info.Size() == 0:
		return nil, fault.WithHint(fmt.Errorf("open %s: the file is empty", name), "write it again")
	}
	f := &File{Name: name, size: info.Size()}
	if f.plain, err = os.Open(name); err != nil {
		return nil, err
	}
	if f.metadata, err = validate(f.plain, f.size); err == nil {
		err = call(func() (err error) {
			f.file, err = hdf5.OpenFile(name, hdf5.F_ACC_RDONLY)
			return err
		})
	}
	if err != nil && fault.HintOf(err) == "" {
		err = fault.WithHint(err, "the file is damaged, or of a newer version of HDF5")
	}
	if err != nil {
		f.plain.Close()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return errors.Join(call(f.file.Close), f.plain.Close()) }

// dataset opens the data set of that name, gives it to use, and closes it. It runs inside call.
func (f *File) dataset(name string, use func(*hdf5.Dataset, []int) error) error {
	if err := f.metadata.dataset(name); err != nil {
		return err
	}
	if !f.file.LinkExists(name) {
		return errors.New("no such data set")
	}
	ds, err := f.file.OpenDataset(name)
	if err != nil {
		return reason(err)
	}
	defer ds.Close()
	space := ds.Space()
	if space == nil {
		return errors.New("no dataspace")
	}
	defer space.Close()
	if !space.IsSimple() || space.SimpleExtentNDims() < 1 {
		return errors.New("not an array")
	}
	sizes, _, err := space.SimpleExtentDims()
	if err != nil {
		return err
	}
	dims, points := make([]int, len(sizes)), uint64(1)
	for i, n := range sizes {
		if n != 0 && points > uint64(f.size)*maxRatio/uint64(n) {
			return fault.WithHint(fmt.Errorf("shape %v cannot lie in a file of %d bytes", sizes, f.size), "the file is damaged: copy or write it again")
		}
		dims[i], points = int(n), points*uint64(n)
	}
	return use(ds, dims)
}

func (f *File) wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read %s: data set %q: %w", f.Name, name, err)
}

// Dims returns the shape of a data set.
func (f *File) Dims(name string) ([]int, error) {
	var shape []int
	err := call(func() error {
		return f.dataset(name, func(_ *hdf5.Dataset, dims []int) error {
			shape = dims
			return nil
		})
	})
	return shape, f.wrap(name, err)
}

// Read reads a whole data set of elements T, in row order, whatever its chunks. The data set must have exactly the type T and the
// shape dims; -1 in dims allows any size there. It returns the shape found.
func Read[T Element](f *File, name string, dims ...int) ([]T, []int, error) {
	var data []T
	var shape []int
	err := call(func() error {
		return f.dataset(name, func(ds *hdf5.Dataset, found []int) error {
			if err := checkType[T](ds); err != nil {
				return err
			}
			n, err := count(found, dims)
			if err != nil {
				return err
			}
			data, shape = make([]T, n), found
			if n == 0 {
				return nil
			}
			chunks, err := f.chunksOf(ds, found, size[T]())
			if err != nil {
				return err
			}
			if chunks != nil {
				return chunks.read(unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), n*chunks.element))
			}
			if C.h5_read(C.hid_t(ds.ID()), C.hid_t(native[T]().ID()), unsafe.Pointer(&data[0])) < 0 {
				return reason(errors.New("cannot be read"))
			}
			return nil
		})
	})
	if err != nil {
		return nil, nil, f.wrap(name, err)
	}
	return data, shape, nil
}

func count(found, want []int) (int, error) {
	n, same := 1, len(found) == len(want)
	for i, size := range found {
		same = same && (want[i] < 0 || want[i] == size)
		n *= size
	}
	if !same {
		return 0, fmt.Errorf("shape %v, want %s", found, shapeText(want))
	}
	return n, nil
}

func shapeText(dims []int) string {
	text := ""
	for _, n := range dims {
		size := fmt.Sprint(n)
		if n < 0 {
			size = "any"
		}
		text += " " + size
	}
	return "[" + text[1:] + "]"
}

// size returns the bytes of an element.
func size[T Element]() int { return int(unsafe.Sizeof(*new(T))) }

func native[T Element]() *hdf5.Datatype {
	if size[T]() == 1 {
		return hdf5.T_NATIVE_INT8
	}
	return hdf5.T_NATIVE_INT32
}

// checkType refuses a data set whose stored type is not T: such a file is not what its reader takes it for.
func checkType[T Element](ds *hdf5.Dataset) error {
	stored, err := ds.Datatype()
	if err != nil {
		return err
	}
	defer stored.Close()
	if !stored.Equal(native[T]()) {
		return fmt.Errorf("%s of %d bytes, want int%d", className(stored.Class()), stored.Size(), 8*size[T]())
	}
	return nil
}

func className(c hdf5.TypeClass) string {
	names := map[hdf5.TypeClass]string{hdf5.T_INTEGER: "other integers", hdf5.T_FLOAT: "floats", hdf5.T_STRING: "strings", hdf5.T_COMPOUND: "records",
		hdf5.T_ENUM: "enumerated values", hdf5.T_VLEN: "lists", hdf5.T_ARRAY: "arrays"}
	if name := names[c]; name != "" {
		return name
	}
	return "values"
}
