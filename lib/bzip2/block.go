package bzip2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

const (
	maxBlock  = 900_000 // bytes of a block before run-length expansion
	groupSize = 50      // symbols that share a code
	maxGroups = 6       // codes of a block
)

// ErrCorrupt is the cause of all errors about what the input holds.
var ErrCorrupt = errors.New("the data is damaged")

var (
	errTooLarge = corruptf("more than %d bytes", maxBlock)
	errNoCode   = corruptf("bits that are no code")
	errShort    = errors.New("the block goes on behind the bits that were given")
)

func corruptf(format string, a ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, a...), ErrCorrupt)
}

// decoder decodes one block at a time. It holds 8.5 MB for blocks of the largest size.
type decoder struct {
	bitReader
	codes     [maxGroups]code
	groups    int
	selectors []uint8
	list      [256]uint8 // bytes in use: the move-to-front list at the begin
	inUse     int

	text []byte   // last column of the sorted rotations; then the block itself, its runs still short
	next []uint32 // by row: the row of the rotation that begins one byte later, and the first byte, 8 bits
	prev []uint32 // by row: the row of the rotation that begins one byte earlier, and the last byte

	size int    // of text
	sum  uint32 // checksum that the block promises
	expander
}

const overrun = groupSize*(runStore+1) + runStore // what a group can write before the size is looked at

func newDecoder() *decoder {
	return &decoder{text: make([]byte, maxBlock+overrun)}
}

// block says what a block turned out to be.
type block struct {
	size   int64  // in bits
	length int    // bytes before run-length expansion
	sum    uint32 // checksum that it promises
}

// decode decodes the block with which a segment begins. Then write gives its text.
func (d *decoder) decode(s *segment) (block, error) {
	d.bitReader = bitReader{data: s.data}
	d.read(s.bit())
	rows, err := d.decodeRows(s.size + int64(s.bit()))
	used := d.offset() - int64(s.bit())
	if used > s.size {
		return block{}, errShort
	}
	if err != nil {
		return block{}, err
	}
	d.invert(rows.origin)
	if rows.randomised {
		derandomise(d.text[:d.size])
	}
	d.reset(d.text[:d.size])
	return block{used, d.size, d.sum}, nil
}

type rows struct {
	origin     int // row of the text
	randomised bool
}

func (d *decoder) decodeRows(limit int64) (rows, error) {
	var r rows
	d.read(24)
	d.read(24) // the magic
	d.sum = d.read(32)
	r.randomised = d.read(1) == 1
	r.origin = int(d.read(24))
	if err := d.readList(); err != nil {
		return r, err
	}
	if err := d.readSelectors(); err != nil {
		return r, err
	}
	if err := d.readCodes(limit); err != nil {
		return r, err
	}
	if err := d.readColumn(limit); err != nil {
		return r, err
	}
	if r.origin >= d.size {
		return r, corruptf("row %d of %d", r.origin, d.size)
	}
	return r, nil
}

// readList reads which bytes are in use: 16 bits tell which sixteenths hold any, 16 bits for each of those.
func (d *decoder) readList() error {
	d.inUse = 0
	used := d.read(16)
	for high := range 16 {
		if used>>(15-high)&1 == 0 {
			continue
		}
		part := d.read(16)
		for low := range 16 {
			if part>>(15-low)&1 == 1 {
				d.list[d.inUse] = uint8(high<<4 | low)
				d.inUse++
			}
		}
	}
	if d.inUse == 0 {
		return corruptf("no byte in use")
	}
	return nil
}

// readSelectors reads which code each group of symbols has.
func (d *decoder) readSelectors() error {
	d.groups = int(d.read(3))
	if d.groups < 2 || d.groups > maxGroups {
		return corruptf("%d codes, want 2 to %d", d.groups, maxGroups)
	}
	n := int(d.read(15))
	if n == 0 {
		return corruptf("no group of symbols")
	}
	recent := [maxGroups]uint8{0, 1, 2, 3, 4, 5}
	d.selectors = d.selectors[:0]
	for range n {
		if d.pos > len(d.data)-8 {
			return errShort
		}
		d.fill()
		place := bits.LeadingZeros64(^d.acc)
		if place >= d.groups {
			return corruptf("a group with code %d of %d", place, d.groups)
		}
		d.acc <<= place + 1
		d.have -= uint(place + 1)
		selected := recent[place]
		copy(recent[1:place+1], recent[:place])
		recent[0] = selected
		d.selectors = append(d.selectors, selected)
	}
	return nil
}

// readCodes reads the lengths of the codes, each told by its difference to the one before.
func (d *decoder) readCodes(limit int64) error {
	var lengths [maxSymbols]uint8
	symbols := d.inUse + 2
	for i := range d.groups {
		length := d.read(5)
		for s := range symbols {
			for {
				if length < 1 || length > maxLength {
					return corruptf("a code of %d bits", length)
				}
				if d.offset() > limit {
					return errShort
				}
				if d.read(1) == 0 {
					break
				}
				length += 1 - 2*d.read(1)
			}
			lengths[s] = uint8(length)
		}
		d.codes[i].build(lengths[:symbols])
	}
	return nil
}

// front is the move-to-front list: 8 bytes a word, the first byte lowest. Most places are in the first word, where shifts and masks
// take no branch that could be guessed wrong.
type front [32]uint64

// take moves the byte at a place to the front.
func (f *front) take(place uint) uint64 {
	if place < 8 {
		return f.takeNear(place)
	}
	word := place >> 3 & 31
	shift := place & 7 * 8
	taken := f[word] >> shift & 0xff
	carry := taken
	for i := range f[:word] {
		w := f[i]
		f[i] = w<<8 | carry
		carry = w >> 56
	}
	mask := ^uint64(0) >> (56 - shift)
	f[word] = f[word]&^mask | f[word]<<8&mask | carry
	return taken
}

func (f *front) takeNear(place uint) uint64 {
	w, shift := f[0], place*8
	taken := w >> shift & 0xff
	mask := ^uint64(0) >> (56 - shift)
	f[0] = w&^mask | w<<8&mask | taken
	return taken
}

const (
	runStore = 16 // bytes that are written for each run: longer ones are rare
	ones     = 0x0101010101010101
)

// column is the last column of the sorted rotations while it is read.
type column struct {
	text   []byte
	n      int // bytes of text there are
	run    int // bytes of the run under construction
	digits uint
	list   front
}

// readColumn reads the symbols of the block. A symbol is a digit of a run of the byte at the front of the list, 1 or 2 with weights 1, 2, 4
// and so on, or the place of another byte in the list, or the end of the block.
func (d *decoder) readColumn(limit int64) error {
	c := column{text: d.text}
	for i, b := range d.list[:d.inUse] {
		c.list[i>>3] |= uint64(b) << (i & 7 * 8)
	}
	for _, selector := range d.selectors {
		err := c.readGroup(&d.bitReader, &d.codes[selector])
		if err == io.EOF {
			return d.endColumn(&c)
		}
		if err != nil {
			return err
		}
		if d.offset() > limit {
			return errShort
		}
	}
	return corruptf("more symbols than groups")
}

// endColumn writes the run before the end of the block.
func (d *decoder) endColumn(c *column) error {
	if c.run > maxBlock-c.n {
		return errTooLarge
	}
	fillRun(d.text[c.n:c.n+c.run], uint8(c.list[0]))
	d.size = c.n + c.run
	return nil
}

// readGroup reads a group of symbols. At the end of the block it returns io.EOF.
func (c *column) readGroup(in *bitReader, code *code) (err error) {
	if c.n > maxBlock {
		return errTooLarge
	}
	b, text := *in, c.text
	n, run, digits := c.n, c.run, c.digits
	for left := groupSize; left > 0; {
		b.fill()
		e := code.lookup[b.acc>>(64-lookupBits)]
		if e == 0 || e.symbols() > left {
			e = code.one(b.acc, e)
		}
		b.acc <<= e.bits()
		b.have -= e.bits()
		left -= e.symbols()
		run += e.run() << digits
		place := e.place()
		if place == 0 {
			digits += uint(e.symbols())
			if err = e.end(digits); err != nil {
				break
			}
			continue
		}
		byte8 := c.list[0] & 0xff * ones
		binary.LittleEndian.PutUint64(text[n:], byte8)
		binary.LittleEndian.PutUint64(text[n+8:], byte8)
		if run > runStore {
			if run > maxBlock-n {
				err = errTooLarge
				break
			}
			fillRun(text[n:n+run], uint8(byte8))
		}
		n += run
		run, digits = 0, 0
		text[n] = uint8(c.list.take(place))
		n++
	}
	*in = b
	c.n, c.run, c.digits = n, run, digits
	return err
}

// end tells whether a block ends at an entry without a place, with so many digits in its run.
func (e entry) end(digits uint) error {
	switch {
	case e == 0:
		return errNoCode
	case e.run() == 0:
		return io.EOF
	case digits > maxLength:
		return errTooLarge
	}
	return nil
}

func fillRun(p []byte, b uint8) {
	for i := range p {
		p[i] = b
	}
}
