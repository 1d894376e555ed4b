package hdf5

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"

	"hpcbert/lib/fault"
)

// metadata follows the structures of a file (HDF5 File Format Specification 3.0) on the ways that libhdf5 takes to a data set, and
// refuses what libhdf5 would believe: chunks without size, names without end, trees that bite their tail. Structures that carry a
// checksum (indexes of chunks and links in files of the newest format) are left to libhdf5, and so are the bytes of the chunks.
type metadata struct {
	file io.ReaderAt
	base uint64 // what addresses count from
	end  uint64 // no address is beyond it

	leafK, groupK, chunkK int // half the entries of a full node

	links   map[string]uint64 // name of each object of the root group, and the address of its header
	dense   bool              // the links lie in a heap with checksums, not in the map
	claimed []extent          // in order
	objects map[uint64]error  // what was found at the addresses of headers
}

// extent is where a structure lies. No two share bytes, so following addresses comes to an end.
type extent struct{ from, to uint64 }

const (
	undefined    = math.MaxUint64 // an address of nothing
	maxStructure = 1 << 26
	softLink     = undefined // instead of the address of a header
)

func damagedf(format string, a ...any) error {
	return fault.WithHint(fmt.Errorf(format, a...), "the file is damaged: copy or write it again")
}

func unsupportedf(format string, a ...any) error {
	return fault.WithHint(fmt.Errorf(format, a...), "the file is damaged, or uses more of HDF5 than shards need")
}

// fields takes little-endian numbers off bytes. After the end it gives zeros and remembers that.
type fields struct {
	rest  []byte
	short bool
}

func (f *fields) take(n uint64) []byte {
	if n > uint64(len(f.rest)) {
		f.rest, f.short = nil, true
		return make([]byte, min(n, 8))
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) uint(bytes int) uint64 {
	var b [8]byte
	copy(b[:], f.take(uint64(bytes)))
	return binary.LittleEndian.Uint64(b[:])
}

// read returns the n bytes of a structure, which belong to it alone.
func (m *metadata) read(what string, addr, n uint64) (*fields, error) {
	f, err := m.peek(what, addr, n)
	if err != nil || n == 0 {
		return f, err
	}
	i := sort.Search(len(m.claimed), func(i int) bool { return m.claimed[i].to > addr })
	if i < len(m.claimed) && m.claimed[i].from < addr+n {
		return nil, damagedf("%s at %d: other structures are there", what, addr)
	}
	m.claimed = slices.Insert(m.claimed, i, extent{addr, addr + n})
	return f, nil
}

// peek returns bytes of a structure whose extent is not known yet.
func (m *metadata) peek(what string, addr, n uint64) (*fields, error) {
	if !m.inside(addr, n) || n > maxStructure {
		return nil, damagedf("%s at %d, %d bytes: beyond the file", what, addr, n)
	}
	b := make([]byte, n)
	if _, err := m.file.ReadAt(b, int64(m.base+addr)); err != nil {
		return nil, fmt.Errorf("%s at %d: %w", what, addr, err)
	}
	return &fields{rest: b}, nil
}

// inside tells whether n bytes at an address are bytes of the file.
func (m *metadata) inside(addr, n uint64) bool { return addr <= m.end && n <= m.end-addr }

const signature = "\x89HDF\r\n\x1a\n"

// validate reads the superblock and the root group of a file of that size.
func validate(file io.ReaderAt, size int64) (*metadata, error) {
	m := &metadata{file: file, end: uint64(size), leafK: 4, groupK: 16, chunkK: 32, objects: map[uint64]error{}}
	sb := &fields{}
	for at := int64(0); ; at = max(512, 2*at) { // a user's block of bytes may come first
		if at+8 > size {
			return nil, fault.WithHint(errors.New("not an HDF5 file"), "an HDF5 file is wanted here, as mkpretrain writes it")
		}
		b := make([]byte, min(128, size-at))
		if _, err := file.ReadAt(b, at); err != nil {
			return nil, err
		}
		if string(b[:8]) == signature {
			m.base, sb.rest = uint64(at), b[8:]
			break
		}
	}
	header, tree, heap, err := m.superblock(sb, uint64(size))
	if err == nil {
		err = m.root(header, tree, heap)
	}
	return m, err
}

// superblock returns the addresses of the root group's header and, from files of the oldest format, of its B-tree and heap.
func (m *metadata) superblock(f *fields, size uint64) (header, tree, heap uint64, err error) {
	version := f.uint(1)
	old := version < 2
	if old {
		f.take(4)
	}
	if widths := f.uint(2); widths != 0x0808 || version > 3 {
		return 0, 0, 0, unsupportedf("version number %d, width of addresses and lengths %#x in the superblock", version, widths)
	}
	f.take(1)
	if old {
		m.leafK, m.groupK = int(f.uint(2)), int(f.uint(2))
		f.take(4)
	}
	if version == 1 {
		m.chunkK = int(f.uint(2))
		f.take(2)
	}
	base, _, end, driver := f.uint(8), f.uint(8), f.uint(8), f.uint(8)
	if !old {
		header, driver = driver, undefined
	}
	tree, heap = undefined, undefined
	if old {
		f.take(8)
		header = f.uint(8)
		cached := f.uint(8) == 1
		if t, h := f.uint(8), f.uint(8); cached {
			tree, heap = t, h
		}
	}
	switch {
	case f.short:
		return 0, 0, 0, damagedf("truncated file: no whole superblock")
	case end > size:
		return 0, 0, 0, fault.WithHint(fmt.Errorf("truncated file: %d bytes of %d", size, end), "the file is cut off: copy or write it again")
	case base != m.base || end < base || driver != undefined || m.leafK == 0 || m.groupK == 0 || m.chunkK == 0:
		return 0, 0, 0, damagedf("superblock: wrong numbers")
	}
	m.end = end - base
	_, err = m.read("superblock", 0, min(48, m.end))
	return header, tree, heap, err
}

// Kinds of messages in object headers.
const (
	dataspaceMessage    = 0x01
	linkInfoMessage     = 0x02
	datatypeMessage     = 0x03
	oldFillMessage      = 0x04
	fillMessage         = 0x05
	linkMessage         = 0x06
	layoutMessage       = 0x08
	filterMessage       = 0x0b
	continuationMessage = 0x10
	symbolsMessage      = 0x11
)

// knownMessages are those above and others that do no harm: nothing, group information, attributes, comments, times,
// attribute information and reference counts. External files, tables of shared messages and drivers are not among them.
const knownMessages uint64 = 1<<dataspaceMessage | 1<<linkInfoMessage | 1<<datatypeMessage | 1<<oldFillMessage | 1<<fillMessage |
	1<<linkMessage | 1<<layoutMessage | 1<<filterMessage | 1<<continuationMessage | 1<<symbolsMessage |
	1<<0x00 | 1<<0x0a | 1<<0x0c | 1<<0x0d | 1<<0x0e | 1<<0x12 | 1<<0x15 | 1<<0x16

type message struct {
	kind   uint64
	fields fields
}

// header reads the messages of an object header; sums tells whether it is of the kind with checksums.
func (m *metadata) header(addr uint64) (messages []message, sums bool, err error) {
	messages, sums, err = m.chunks(addr)
	if err != nil {
		err = fmt.Errorf("object header at %d: %w", addr, err)
	}
	return messages, sums, err
}

func (m *metadata) chunks(addr uint64) (messages []message, sums bool, err error) {
	const what = "first chunk"
	f, err := m.peek(what, addr, 8)
	if err != nil {
		return nil, false, err
	}
	order := false // messages carry the order of their creation
	if sums = string(f.rest[:4]) == "OHDR"; sums {
		flags := f.rest[5]
		order = flags&4 != 0
		at, width := addr+6+uint64(flags>>5&1)*16+uint64(flags>>4&1)*4, 1<<(flags&3)
		if f.rest[4] != 2 {
			return nil, false, unsupportedf("version number %d", f.rest[4])
		}
		if f, err = m.peek(what, at, uint64(width)); err == nil {
			at += uint64(width)
			f, err = m.read(what, addr, at-addr+min(f.uint(width), maxStructure)+4)
		}
		if err == nil {
			f.take(at - addr)
		}
	} else if f, err = m.read(what, addr, 16); err == nil {
		if version := f.uint(1); version != 1 {
			return nil, false, unsupportedf("version number %d", version)
		}
		f.take(7)
		f, err = m.read(what, addr+16, f.uint(4))
	}
	for chunks := []*fields{f}; err == nil && len(chunks) > 0; chunks = chunks[1:] {
		var more []*fields
		messages, more, err = m.messages(chunks[0], messages, sums, order)
		chunks = append(chunks, more...)
	}
	return messages, sums, err
}

// messages appends what a chunk of an object header holds, and returns the chunks that it names as its continuation.
func (m *metadata) messages(f *fields, to []message, sums, order bool) (messages []message, more []*fields, err error) {
	kindBytes, prefix := 2, 8
	if sums {
		f.rest = f.rest[:len(f.rest)-4]
		kindBytes, prefix = 1, 4
		if order {
			prefix = 6
		}
	}
	for len(f.rest) >= prefix {
		kind, size, flags := f.uint(kindBytes), f.uint(2), f.uint(1)
		f.take(uint64(prefix - kindBytes - 3))
		body := fields{rest: f.take(size)}
		switch {
		case f.short || !sums && size%8 != 0:
			return nil, nil, damagedf("message of kind %d: wrong size %d", kind, size)
		case kind >= 64 || 1<<kind&knownMessages == 0:
			return nil, nil, unsupportedf("message of kind %d", kind)
		case flags&2 != 0:
			return nil, nil, unsupportedf("message of kind %d that is shared", kind)
		case kind == continuationMessage:
			chunk, err := m.continuation(&body, sums)
			if err != nil {
				return nil, nil, err
			}
			more = append(more, chunk)
		default:
			to = append(to, message{kind, body})
		}
	}
	if !sums && len(f.rest) > 0 {
		return nil, nil, damagedf("%d bytes after the last message", len(f.rest))
	}
	return to, more, nil
}

func (m *metadata) continuation(body *fields, sums bool) (*fields, error) {
	addr, size := body.uint(8), body.uint(8)
	if body.short || size < 8 {
		return nil, damagedf("continuation of %d bytes", size)
	}
	f, err := m.read("continuation", addr, size)
	if err == nil && sums && string(f.take(4)) != "OCHK" {
		err = damagedf("continuation at %d: wrong signature", addr)
	}
	return f, err
}
