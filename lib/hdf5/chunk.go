package hdf5

/*
#cgo pkg-config: hdf5
#include <hdf5.h>

// h5_chunks tells how a data set is stored: the dimensions of its chunks and its filters, at most 8. It returns the rank of the
// chunks, 0 when the data set is not stored in chunks, negative on failure.
static int h5_chunks(hid_t set, int rank, hsize_t *dims, int *filters, int *count) {
	hid_t plist = H5Dget_create_plist(set);
	int found = plist;
	if (plist >= 0) {
		*count = H5Pget_nfilters(plist);
		found = 0;
		if (H5Pget_layout(plist) == H5D_CHUNKED) {
			for (int i = 0; i < *count && i < 8; i++) {
				unsigned flags, config;
				size_t n = 0;
				filters[i] = H5Pget_filter2(plist, i, &flags, &n, NULL, 0, NULL, &config);
			}
			found = H5Pget_chunk(plist, rank, dims);
		}
		H5Pclose(plist);
	}
	return found;
}

static herr_t h5_chunk_size(hid_t set, const hsize_t *offset, hsize_t *size) { return H5Dget_chunk_storage_size(set, offset, size); }

static herr_t h5_read_chunk(hid_t set, const hsize_t *offset, uint32_t *skipped, void *data) {
	return H5Dread_chunk(set, H5P_DEFAULT, offset, skipped, data);
}
*/
import "C"

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe"

	"hpcbert/lib/fault"

	"github.com/klauspost/compress/zlib"
	"gonum.org/v1/hdf5"
)

// chunks reads the stored chunks of a data set and unpacks them here, because libhdf5 trusts what a damaged file says about them: a
// chunk that unpacks to less than its dimensions promise makes it read beyond its memory.
type chunks struct {
	set      *hdf5.Dataset
	dims     []int // of the data set
	chunk    []int // of a chunk
	element  int   // bytes
	fileSize int64

	filters []C.int // in the order of writing; a chunk may have gone without some

	stored, plain []byte        // as in the file, and without deflate
	inflate       io.ReadCloser // nil before the first use
}

// The filters that are undone here.
const (
	deflateFilter  = C.H5Z_FILTER_DEFLATE
	shuffleFilter  = C.H5Z_FILTER_SHUFFLE
	fletcherFilter = C.H5Z_FILTER_FLETCHER32
)

var errDamaged = fault.WithHint(errors.New("damaged chunk"), "the file is damaged: copy or write it again")

// chunksOf returns how to read set by chunks, nil when it is stored otherwise. It runs inside call.
func (f *File) chunksOf(set *hdf5.Dataset, dims []int, element int) (*chunks, error) {
	sizes, filters, filterCount := make([]C.hsize_t, len(dims)), [8]C.int{}, C.int(0)
	rank := C.h5_chunks(C.hid_t(set.ID()), C.int(len(dims)), &sizes[0], &filters[0], &filterCount)
	switch {
	case rank < 0:
		return nil, reason(errors.New("cannot learn its layout"))
	case rank == 0:
		return nil, nil
	case int(rank) != len(dims) || filterCount < 0 || int(filterCount) > len(filters):
		return nil, errDamaged
	}
	c := &chunks{set: set, dims: dims, chunk: make([]int, len(dims)), element: element, fileSize: f.size, filters: filters[:filterCount]}
	size, count := uint64(element), uint64(1)
	for i, n := range sizes {
		if n == 0 || uint64(n) > uint64(f.size)*maxRatio/size {
			return nil, errDamaged
		}
		c.chunk[i], size = int(n), size*uint64(n)
		count *= (uint64(dims[i]) + uint64(n) - 1) / uint64(n)
	}
	// An index entry alone takes more than a byte, and no chunk unpacks to more than deflate can pack.
	if count > uint64(f.size) || size > uint64(f.size)*maxRatio/max(count, 1) {
		return nil, errDamaged
	}
	return c, nil
}

// read fills data, the whole data set. It runs inside call.
func (c *chunks) read(data []byte) error {
	bytes := c.element
	for _, n := range c.chunk {
		bytes *= n
	}
	chunk, at := make([]byte, bytes), make([]int, len(c.dims))
	for {
		if err := c.unpack(chunk, at); err != nil {
			return fmt.Errorf("chunk at %v: %w", at, err)
		}
		c.place(data, chunk, at, 0)
		i := len(at) - 1
		for ; i >= 0; i-- {
			if at[i] += c.chunk[i]; at[i] < c.dims[i] {
				break
			}
			at[i] = 0
		}
		if i < 0 {
			return nil
		}
	}
}

// unpack reads the chunk that begins at the given place; one that was never written is zero.
func (c *chunks) unpack(chunk []byte, at []int) error {
	offset := make([]C.hsize_t, len(at))
	for i, n := range at {
		offset[i] = C.hsize_t(n)
	}
	id, size, skipped := C.hid_t(c.set.ID()), C.hsize_t(0), C.uint32_t(0)
	if C.h5_chunk_size(id, &offset[0], &size) < 0 {
		return reason(errDamaged)
	}
	if size == 0 {
		clear(chunk)
		return nil
	}
	if int64(size) > c.fileSize || int64(size) < 0 {
		return errDamaged
	}
	c.stored = slices.Grow(c.stored[:0], int(size))[:size]
	if C.h5_read_chunk(id, &offset[0], &skipped, unsafe.Pointer(&c.stored[0])) < 0 {
		return reason(errDamaged)
	}
	return c.unfilter(chunk, uint32(skipped))
}

// unfilter undoes the filters of c.stored, the last one first, but those whose bits are set in skipped.
func (c *chunks) unfilter(chunk []byte, skipped uint32) error {
	data := c.stored
	for i := len(c.filters) - 1; i >= 0; i-- {
		if skipped>>i&1 != 0 {
			continue
		}
		switch c.filters[i] {
		case fletcherFilter:
			n := len(data) - 4
			if n < 0 || fletcher32(data[:n]) != binary.LittleEndian.Uint32(data[n:]) {
				return errDamaged
			}
			data = data[:n]
		case deflateFilter:
			// Behind deflate there may be no more than a shuffled chunk and its checksum.
			c.plain = slices.Grow(c.plain[:0], len(chunk)+4)[:len(chunk)+4]
			n, err := c.unzip(c.plain, data)
			if err != nil {
				return err
			}
			data = c.plain[:n]
		case shuffleFilter:
			if len(data) != len(chunk) || &data[0] == &chunk[0] {
				return errDamaged
			}
			unshuffle(chunk, data, c.element)
			data = chunk
		default:
			return unsupportedf("filter %d", c.filters[i])
		}
	}
	if len(data) != len(chunk) {
		return errDamaged
	}
	copy(chunk, data)
	return nil
}

// fletcher32 is the checksum of the filter of this name: of big-endian words, the last filled with a zero.
func fletcher32(data []byte) uint32 {
	var a, b uint32
	for len(data) > 0 {
		for range 360 { // as many sums fit into 32 bits
			if len(data) == 0 {
				break
			}
			word := uint32(data[0]) << 8
			if len(data) > 1 {
				word |= uint32(data[1])
			}
			data = data[min(2, len(data)):]
			a += word
			b += a
		}
		a, b = a&0xffff+a>>16, b&0xffff+b>>16
	}
	a, b = a&0xffff+a>>16, b&0xffff+b>>16
	return b<<16 | a
}

// unzip unpacks data, which may become at most as long as to, and returns how long it became.
func (c *chunks) unzip(to, data []byte) (int, error) {
	var err error
	in := bytes.NewReader(data)
	if c.inflate == nil {
		c.inflate, err = zlib.NewReader(in)
	} else {
		err = c.inflate.(zlib.Resetter).Reset(in, nil)
	}
	n := 0
	for err == nil && n < len(to) {
		var more int
		more, err = c.inflate.Read(to[n:])
		n += more
	}
	if err == nil { // the checksum is compared at the end
		var more int
		if more, err = c.inflate.Read(make([]byte, 1)); more != 0 {
			return 0, errDamaged
		}
	}
	if err != io.EOF {
		return 0, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return n, nil
}

// unshuffle undoes the shuffle filter: all first bytes, all second bytes and so on become elements again.
func unshuffle(to, from []byte, element int) {
	n := len(from) / element
	if element == 4 {
		p0, p1, p2, p3 := from[:n], from[n:2*n], from[2*n:3*n], from[3*n:4*n]
		for i := range p0 {
			v := uint32(p0[i]) | uint32(p1[i])<<8 | uint32(p2[i])<<16 | uint32(p3[i])<<24
			binary.LittleEndian.PutUint32(to[4*i:], v)
		}
		return
	}
	for k := range element {
		for i, v := range from[k*n : (k+1)*n] {
			to[i*element+k] = v
		}
	}
}

// place copies what of chunk lies inside the data set, dimension after dimension from axis on.
func (c *chunks) place(data, chunk []byte, at []int, axis int) {
	n := min(c.chunk[axis], c.dims[axis]-at[axis])
	row, chunkRow := c.element, c.element // bytes of one step along axis
	for i := axis + 1; i < len(c.dims); i++ {
		row, chunkRow = row*c.dims[i], chunkRow*c.chunk[i]
	}
	if axis == len(c.dims)-1 {
		copy(data[at[axis]*row:], chunk[:n*chunkRow])
		return
	}
	for k := range n {
		c.place(data[(at[axis]+k)*row:][:row], chunk[k*chunkRow:], at, axis+1)
	}
}
