package bzip2

import (
	"encoding/binary"
	"io"
)

// Each block and each end of a stream begins with a magic number of 48 bits, at any bit.
const (
	magicBits  = 48
	blockMagic = 0x314159265359
	endMagic   = 0x177245385090
)

// segmentKind says what a segment begins with.
type segmentKind int

const (
	headSegment  segmentKind = iota // the input
	blockSegment                    // the magic of a block
	endSegment                      // the magic of the end of a stream
)

// segment is what stands between two magic numbers. The numbers may also come about by chance inside of a block: what a segment really is
// can only be told by those who know where the block before it ends.
type segment struct {
	kind  segmentKind
	data  []byte // padding behind
	start int64  // first bit in the input
	size  int64  // in bits
	last  bool   // no magic follows: the input ends here or goes on for more than maxSegment
}

// bit is the place of the segment's first bit in data.
func (s *segment) bit() uint { return uint(s.start & 7) }

// bytes returns data without the padding.
func (s *segment) bytes() []byte { return s.data[:len(s.data)-padding] }

func (s *segment) set(kind segmentKind, start, size int64, bytes []byte) {
	s.kind, s.start, s.size, s.last = kind, start, size, false
	s.data = append(append(s.data[:0], bytes...), make([]byte, padding)...)
}

// join adds the segment that follows.
func (s *segment) join(t *segment) {
	whole := (s.size + int64(s.bit())) >> 3 // without a byte that both have a part of
	s.data = append(append(s.data[:whole], t.bytes()...), make([]byte, padding)...)
	s.size += t.size
	s.last = t.last
}

// maxSegment is more bytes than any block has: 900,001 symbols of 20 bits, 32,767 selectors of 6, the codes, and a magic.
const maxSegment = 2_400_000

// scanner divides the input into segments.
type scanner struct {
	in     io.Reader
	buf    []byte
	end    int   // buf[:end] is input
	base   int64 // offset of buf[0] in the input
	start  int64 // bit at which the next segment begins, in the input
	kind   segmentKind
	from   int64 // bit from which on the next magic is looked for
	err    error // of in, or io.EOF
	likely [1 << 16 / 64]uint64
}

func newScanner(in io.Reader) *scanner {
	s := &scanner{in: in, buf: make([]byte, 1<<18)}
	for shift := range 8 { // wherever a magic begins, five bytes of it are known, and four pairs of neighbours
		for _, magic := range []uint64{blockMagic, endMagic} {
			for pair := range 4 {
				p := uint16(magic >> (magicBits - 16 - shift - 8*pair))
				s.likely[p>>6] |= 1 << (p & 63)
			}
		}
	}
	return s
}

// next sets seg to the next segment; io.EOF means that the one before was the last one.
func (s *scanner) next(seg *segment) error {
	if s.start < 0 {
		return io.EOF
	}
	for {
		at, kind, found := s.find(s.from)
		if found {
			s.emit(seg, at)
			s.start, s.kind, s.from = at, kind, at+1
			return nil
		}
		s.from = max(s.from, (s.base+int64(s.end))*8-magicBits+1)
		if s.err == nil && (s.base+int64(s.end))*8-s.start < maxSegment*8 {
			s.fill()
			continue
		}
		if s.err != nil && s.err != io.EOF {
			return s.err
		}
		s.emit(seg, (s.base+int64(s.end))*8)
		seg.last = true
		s.start = -1
		return nil
	}
}

func (s *scanner) emit(seg *segment, end int64) {
	seg.set(s.kind, s.start, end-s.start, s.buf[s.start>>3-s.base:(end+7)>>3-s.base])
}

// fill reads more, having thrown away what stands before the segment.
func (s *scanner) fill() {
	if s.end == len(s.buf) {
		done := int(s.start>>3 - s.base)
		if done < len(s.buf)/2 && len(s.buf) < maxSegment {
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
		s.end = copy(s.buf, s.buf[done:s.end])
		s.base += int64(done)
	}
	for range 100 {
		n, err := s.in.Read(s.buf[s.end:])
		s.end += n
		s.err = err
		if n > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}

// find returns the first magic number that begins at bit from or later.
func (s *scanner) find(from int64) (at int64, kind segmentKind, found bool) {
	buf := s.buf[:s.end]
	relative := from - s.base*8
	for i := int(relative+7) >> 3 &^ 3; i+1 < len(buf); i += 4 { // one pair in four of each magic stands at such a place
		p := binary.BigEndian.Uint16(buf[i:])
		if s.likely[p>>6]>>(p&63)&1 == 0 {
			continue
		}
		for bit := max(relative, int64(i)*8-31); bit <= int64(i)*8; bit++ {
			switch window(buf, bit) {
			case blockMagic:
				return bit + s.base*8, blockSegment, true
			case endMagic:
				return bit + s.base*8, endSegment, true
			}
		}
	}
	return 0, 0, false
}

// window returns the 48 bits of buf that begin at bit, 0 if there are fewer.
func window(buf []byte, bit int64) uint64 {
	if bit+magicBits > int64(len(buf))*8 {
		return 0
	}
	var v [8]byte
	copy(v[:], buf[bit>>3:])
	return binary.BigEndian.Uint64(v[:]) << (bit & 7) >> (64 - magicBits)
}
