package bzip2

import (
	"encoding/binary"
)

const (
	maxLength  = 20  // bits of the longest code
	maxSymbols = 258 // two run digits, 255 places of the move-to-front list, end of block
	lookupBits = 10
)

// bitReader reads data from its first bit on. The next bits stand on top of acc; at least have of them are there, the rest of acc holds
// what follows, or zeros. Data ends with padding zeros, so that a look ahead needs no care.
type bitReader struct {
	data []byte
	pos  int // of the next byte for acc
	acc  uint64
	have uint
}

const padding = 256 // more than a group of symbols is long

func (b *bitReader) fill() {
	b.acc |= binary.BigEndian.Uint64(b.data[b.pos:]) >> b.have
	b.pos += int((63 - b.have) >> 3)
	b.have |= 56
}

// read returns the next n bits, at most 32.
func (b *bitReader) read(n uint) uint32 {
	b.fill()
	v := b.acc >> (64 - n)
	b.acc <<= n
	b.have -= n
	return uint32(v)
}

// offset is the number of bits read.
func (b *bitReader) offset() int64 { return int64(b.pos)*8 - int64(b.have) }

// entry says what bits begin with: run digits, and the place in the move-to-front list behind them if it is among the bits too.
//
//	bits  0 to  7  place, 0 = not among the bits
//	bits  8 to 12  bits used
//	bits 13 to 16  symbols used
//	bits 17 to 20  bits of the first symbol
//	bits 21 to 31  value of the run digits
//
// One with a symbol but neither run nor place is the end of the block. 0 says nothing.
type entry uint32

func makeEntry(place, bits, symbols, first, run uint) entry {
	return entry(place | bits<<8 | symbols<<13 | first<<17 | run<<21)
}

func (e entry) place() uint  { return uint(e & 0xff) }
func (e entry) bits() uint   { return uint(e >> 8 & 31) }
func (e entry) symbols() int { return int(e >> 13 & 15) }
func (e entry) first() uint  { return uint(e >> 17 & 15) }
func (e entry) run() int     { return int(e >> 21) }

// code is a canonical Huffman code.
type code struct {
	lookup  [1 << lookupBits]entry // by the next bits; 0 where the first symbol is longer than those, or the end of the block
	limit   [maxLength + 2]uint32  // the first code that is longer than so many bits, as the top of 20 bits
	offset  [maxLength + 2]int     // what to add to a code of so many bits for its index in symbols
	symbols [maxSymbols]uint16     // by code

	endOfBlock int
}

// build makes the code in which symbol i has lengths[i] bits. Codes that would not fit behind shorter ones do not exist, as in bzip2.
func (c *code) build(lengths []uint8) {
	var count [maxLength + 1]int
	for _, n := range lengths {
		count[n]++
	}
	var start [maxLength + 2]int
	next := uint32(0) // code of 20 bits
	index := 0
	for n := 1; n <= maxLength; n++ {
		width := uint32(1) << (maxLength - n)
		c.offset[n] = index - int(next/width)
		start[n] = index
		index += count[n]
		next = min(next+uint32(count[n])*width, 1<<maxLength)
		c.limit[n] = next
	}
	c.limit[maxLength+1] = 1 << maxLength
	for symbol, n := range lengths {
		c.symbols[start[n]] = uint16(symbol)
		start[n]++
	}
	c.endOfBlock = len(lengths) - 1
	c.fillLookup()
}

// symbol returns the symbol at the top of acc and its length, more than maxLength if there is none.
func (c *code) symbol(acc uint64) (symbol int, n uint) {
	top := uint32(acc >> (64 - maxLength))
	for n = 1; n <= maxLength; n++ {
		if top < c.limit[n] {
			return int(c.symbols[int(top>>(maxLength-n))+c.offset[n]]), n
		}
	}
	return 0, n
}

// one returns the entry of the first symbol alone, 0 if there is none. e is what lookup has.
func (c *code) one(acc uint64, e entry) entry {
	if e != 0 { // it has several symbols, and the first of several is a digit
		return makeEntry(0, e.first(), 1, 0, 2-uint(e.run())&1)
	}
	symbol, n := c.symbol(acc)
	switch {
	case n > maxLength:
		return 0
	case symbol == c.endOfBlock:
		return makeEntry(0, n, 1, 0, 0)
	case symbol > 1:
		return makeEntry(uint(symbol-1), n, 1, 0, 0)
	}
	return makeEntry(0, n, 1, 0, uint(symbol+1))
}

func (c *code) fillLookup() {
	var symbols [1 << lookupBits]uint16
	var lengths [1 << lookupBits]uint8 // 0 = none
	for w := range symbols {
		symbol, n := c.symbol(uint64(w) << (64 - lookupBits))
		if n <= lookupBits && symbol != c.endOfBlock {
			symbols[w], lengths[w] = uint16(symbol), uint8(n)
		}
	}
	for w := range c.lookup {
		var used, digits, run, place uint
		for place == 0 {
			next := uint(w) << used & (1<<lookupBits - 1)
			n := uint(lengths[next])
			if n == 0 || used+n > lookupBits {
				break
			}
			used += n
			if symbols[next] > 1 {
				place = uint(symbols[next]) - 1
			} else {
				run += uint(symbols[next]+1) << digits
				digits++
			}
		}
		symbols := digits
		if place > 0 {
			symbols++
		}
		c.lookup[w] = makeEntry(place, used, symbols, uint(lengths[w]), run)
		if used == 0 {
			c.lookup[w] = 0
		}
	}
}
