package hdf5

import (
	"errors"
	"math"
	"slices"

	"gonum.org/v1/hdf5"
)

// dataset checks the header of the data set of that name in the root group before libhdf5 reads it.
func (m *metadata) dataset(name string) error {
	if m.dense {
		return nil
	}
	addr, found := m.links[name]
	if !found {
		return errors.New("no such data set")
	}
	if addr == softLink {
		return unsupportedf("a link to elsewhere")
	}
	err, known := m.objects[addr]
	if !known {
		err = m.object(addr)
		m.objects[addr] = err
	}
	return err
}

// array is what a header says about its data set.
type array struct {
	dims    []uint64
	points  uint64
	element uint64 // bytes
	sums    bool   // the header carries checksums
	whole   bool   // its chunks have no filters
}

func (m *metadata) object(addr uint64) error {
	messages, sums, err := m.header(addr)
	if err != nil {
		return err
	}
	found := map[uint64]fields{}
	for _, message := range messages {
		_, twice := found[message.kind]
		switch message.kind {
		case dataspaceMessage, datatypeMessage, fillMessage, oldFillMessage, layoutMessage, filterMessage:
			if twice {
				return damagedf("two messages of kind %d", message.kind)
			}
			found[message.kind] = message.fields
		case linkMessage, linkInfoMessage, symbolsMessage:
			return errors.New("not a dataset")
		}
	}
	a := array{sums: sums, whole: true}
	for _, step := range []struct {
		kind   uint64
		needed bool
		check  func(*array, *fields) error
	}{
		{dataspaceMessage, true, (*array).dataspace},
		{datatypeMessage, true, (*array).datatype},
		{fillMessage, false, (*array).fill},
		{oldFillMessage, false, (*array).oldFill},
		{filterMessage, false, (*array).filters},
		{layoutMessage, true, m.layout},
	} {
		f, present := found[step.kind]
		if !present {
			if step.needed {
				return errors.New("not a dataset")
			}
			continue
		}
		if err := step.check(&a, &f); err != nil {
			return err
		}
		if f.short {
			return damagedf("message of kind %d: too short", step.kind)
		}
	}
	return nil
}

func (a *array) dataspace(f *fields) error {
	version, rank, flags := f.uint(1), f.uint(1), f.uint(1)
	kind := f.uint(1) // 0 scalar, 1 simple, 2 nothing; in version 1 reserved
	if version == 1 {
		f.take(4)
	}
	if version < 1 || version > 2 || rank > 32 || flags > 1 || version == 2 && (kind > 2 || kind != 1 && rank != 0) {
		return unsupportedf("dataspace of version number %d, rank %d, flags %d", version, rank, flags)
	}
	a.points = 1
	for range rank {
		n := f.uint(8)
		if n != 0 && a.points > math.MaxInt64/n {
			return damagedf("dataspace: too many values")
		}
		a.dims, a.points = append(a.dims, n), a.points*n
	}
	for i := 0; flags == 1 && i < len(a.dims); i++ {
		if f.uint(8) < a.dims[i] {
			return damagedf("dataspace: a dimension beyond its maximum")
		}
	}
	return nil
}

// datatype takes integers and floats. The others have types inside them, which are not checked here.
func (a *array) datatype(f *fields) error {
	kind := f.uint(1)
	order := f.uint(3)
	a.element = f.uint(4)
	version, class := kind>>4, hdf5.TypeClass(kind&15)
	offset, precision := f.uint(2), f.uint(2)
	switch {
	case version < 1 || version > 3 || a.element == 0:
		return damagedf("datatype of version number %d, %d bytes", version, a.element)
	case class != hdf5.T_INTEGER && class != hdf5.T_FLOAT:
		return unsupportedf("%s of %d bytes, want integers", className(class), a.element)
	case a.element > 16 || precision == 0 || offset+precision > 8*a.element:
		return damagedf("datatype of %d bits at bit %d in %d bytes", precision, offset, a.element)
	case class == hdf5.T_INTEGER:
		return nil
	}
	exponent, exponentBits, mantissa, mantissaBits := f.uint(1), f.uint(1), f.uint(1), f.uint(1)
	if sign := order >> 8 & 0xff; sign >= 8*a.element || exponentBits == 0 || mantissaBits == 0 ||
		exponent+exponentBits > 8*a.element || mantissa+mantissaBits > 8*a.element {
		return damagedf("datatype: wrong bits of a float")
	}
	return nil
}

func (a *array) fill(f *fields) error {
	version := f.uint(1)
	var allocate, write, defined uint64
	if version == 3 {
		flags := f.uint(1)
		allocate, write, defined = flags&3, flags>>2&3, flags>>5&1
	} else {
		allocate, write, defined = f.uint(1), f.uint(1), f.uint(1)
	}
	switch {
	case version < 1 || version > 3 || allocate > 3 || write > 2 || defined > 1:
		return damagedf("fill value of version number %d, allocated %d, written %d", version, allocate, write)
	case version == 1 || defined == 1:
		return a.value(f)
	}
	return nil
}

func (a *array) oldFill(f *fields) error { return a.value(f) }

func (a *array) value(f *fields) error {
	size := f.uint(4)
	f.take(size)
	if size != 0 && size != a.element {
		return damagedf("fill value of %d bytes", size)
	}
	return nil
}

func (a *array) filters(f *fields) error {
	version, count := f.uint(1), f.uint(1)
	if version == 1 {
		f.take(6)
	}
	if version < 1 || version > 2 || count > 8 {
		return damagedf("%d filters, version number %d", count, version)
	}
	a.whole = count == 0
	for range count {
		id, name := f.uint(2), uint64(0)
		if version == 1 {
			name = f.uint(2)
		}
		f.take(2)
		values := f.uint(2)
		if !slices.Contains([]uint64{deflateFilter, shuffleFilter, fletcherFilter}, id) {
			return unsupportedf("filter %d", id)
		}
		f.take((name + 7) &^ 7)
		f.take(4 * values)
		if version == 1 && values%2 != 0 {
			f.take(4)
		}
	}
	return nil
}

// layout checks how a data set is stored.
func (m *metadata) layout(a *array, f *fields) error {
	const compact, contiguous, chunked = 0, 1, 2
	version, class := f.uint(1), f.uint(1)
	if version != 3 && (version != 4 || !a.sums) {
		return unsupportedf("layout of version number %d", version)
	}
	if a.points > math.MaxInt64/a.element && class != chunked {
		return damagedf("layout: too many values")
	}
	switch class {
	case compact:
		if size := f.uint(2); size != a.points*a.element {
			return damagedf("%d values in %d bytes", a.points, size)
		}
		f.take(a.points * a.element)
		return nil
	case contiguous:
		addr, size := f.uint(8), f.uint(8)
		if addr != undefined && (size != a.points*a.element || !m.inside(addr, size)) {
			return damagedf("%d values in %d bytes at %d", a.points, size, addr)
		}
		return nil
	case chunked:
		return m.chunked(a, f, version)
	}
	return unsupportedf("layout of class %d", class)
}

func (m *metadata) chunked(a *array, f *fields, version uint64) error {
	width, addr := 4, uint64(undefined)
	var rank uint64
	if version == 3 {
		rank, addr = f.uint(1), f.uint(8)
	} else {
		f.take(1)
		rank, width = f.uint(1), int(f.uint(1))
	}
	if rank != uint64(len(a.dims))+1 || rank < 2 || width < 1 || width > 8 {
		return damagedf("chunks of %d dimensions in a data set of %d", rank-1, len(a.dims))
	}
	dims, size := make([]uint64, rank), uint64(1)
	for i := range dims {
		dims[i] = f.uint(width)
		if dims[i] == 0 || dims[i] > math.MaxUint32/size {
			return damagedf("chunks of %d times %d values", size, dims[i])
		}
		size *= dims[i]
	}
	if dims[rank-1] != a.element {
		return damagedf("chunks of values of %d bytes, not %d", dims[rank-1], a.element)
	}
	if addr == undefined || f.short {
		return nil
	}
	if !a.whole {
		size = 0
	}
	return m.index(addr, dims, size)
}

// index reads the index of chunks of those dimensions, of which the last is the bytes of an element. All have that size, 0 for any:
// of chunks without filters libhdf5 reads as much as the index says, but tells that they are of the size that follows from dims.
func (m *metadata) index(addr uint64, dims []uint64, want uint64) error {
	const what = "index of chunks"
	var last []uint64
	nodes := &bTree{kind: 1, k: m.chunkK, keySize: 8 + 8*len(dims), key: func([]byte) error { return nil }}
	nodes.child = func(key []byte, child uint64) error {
		f := fields{rest: key}
		size, _ := f.uint(4), f.uint(4)
		at := make([]uint64, len(dims))
		for i := range at {
			if at[i] = f.uint(8); at[i]%dims[i] != 0 {
				return damagedf("%s: chunk at %v", what, at)
			}
		}
		if at[len(at)-1] != 0 || !m.inside(child, size) || want != 0 && size != want || slices.Compare(last, at) >= 0 {
			return damagedf("%s: chunk at %v after %v: %d bytes at %d of the file", what, at, last, size, child)
		}
		last = at
		return nil
	}
	return m.walk(nodes, addr, -1)
}
