package bzip2

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// expander writes out the runs of a block: four equal bytes are followed by a byte that counts how many more there are.
type expander struct {
	plain []byte // goes out as it is,
	again int    // then so many times
	last  byte   // this,
	text  []byte // then this, to be expanded
	sum   uint32 // CRC of what went out: that of gzip, its bits in the opposite order
	turn  [4096]byte
}

func (e *expander) reset(text []byte) { e.plain, e.again, e.text, e.sum = nil, 0, text, 0 }

// write fills p as far as the block goes; fewer bytes mean that it has ended.
func (e *expander) write(p []byte) int {
	n := 0
	for n < len(p) {
		m := 0
		switch {
		case len(e.plain) > 0:
			m = copy(p[n:], e.plain)
			e.plain = e.plain[m:]
		case e.again > 0:
			m = min(e.again, len(p)-n)
			fillRun(p[n:n+m], e.last)
			e.again -= m
		case len(e.text) > 0:
			e.cut()
		default:
			e.add(p[:n])
			return n
		}
		n += m
	}
	e.add(p)
	return n
}

// cut takes the bytes up to the next run, the run and its count from the text.
func (e *expander) cut() {
	n := runEnd(e.text)
	e.plain, e.text = e.text[:n], e.text[n:]
	if len(e.text) > 0 {
		e.last, e.again, e.text = e.plain[n-1], int(e.text[0]), e.text[1:]
	}
}

// runEnd returns the index behind the first four equal bytes of p, its length if there are none.
func runEnd(p []byte) int {
	const low, high = 0x7f7f7f7f7f7f7f7f, 0x8080808080808080
	i := 0
	for ; i+9 <= len(p); i += 6 {
		x := binary.LittleEndian.Uint64(p[i:]) ^ binary.LittleEndian.Uint64(p[i+1:])
		equal := ^(x&low + low | x) & high // a mark in each byte that equals the next
		if three := equal & (equal >> 8) & (equal >> 16); three != 0 {
			return i + bits.TrailingZeros64(three)/8 + 4
		}
	}
	for ; i+4 <= len(p); i++ {
		if p[i] == p[i+1] && p[i] == p[i+2] && p[i] == p[i+3] {
			return i + 4
		}
	}
	return len(p)
}

// checksum returns the CRC of what went out, as bzip2 has it.
func (e *expander) checksum() uint32 { return bits.Reverse32(e.sum) }

func (e *expander) add(p []byte) {
	for len(p) > 0 {
		turned := e.turn[:copy(e.turn[:], p)]
		p = p[len(turned):]
		for rest := e.turn[:(len(turned)+7)&^7]; len(rest) > 0; rest = rest[8:] {
			binary.LittleEndian.PutUint64(rest, reverseBytes(binary.LittleEndian.Uint64(rest)))
		}
		e.sum = crc32.Update(e.sum, crc32.IEEETable, turned)
	}
}

// reverseBytes reverses the bits of each byte.
func reverseBytes(x uint64) uint64 { return bits.ReverseBytes64(bits.Reverse64(x)) }
