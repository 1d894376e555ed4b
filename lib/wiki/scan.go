package wiki

import (
	"encoding/binary"
	"math/bits"
)

// Searches that look at eight bytes at a time. A mark is the top bit of a byte of a word.
const (
	ones = 0x0101010101010101
	tops = 0x80 * ones
	rest = 0x7f * ones
)

// equal marks the bytes of v that are c. The lowest mark is right, those above may be borrows, and other bits than marks are set too.
func equal(v, c uint64) uint64 {
	x := v ^ ones*c
	return (x - ones) &^ x
}

// exactlyEqual marks the bytes of v that are c and no other.
func exactlyEqual(v, c uint64) uint64 {
	x := v ^ ones*c
	return ^(x&rest + rest | x) & tops
}

// nextUnusual returns the place of the first '&' or control character but '\n' at or after i. It may stop early, behind a '\n'.
func nextUnusual(s []byte, i int) int {
	for ; i+8 <= len(s); i += 8 {
		v := binary.LittleEndian.Uint64(s[i:])
		if found := ((v-ones*' ')&^v | equal(v, '&')) & tops &^ exactlyEqual(v, '\n'); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(s) && (s[i] >= ' ' || s[i] == '\n') && s[i] != '&' {
		i++
	}
	return i
}

// characters counts those of UTF-8: the bytes that do not continue one.
func characters(s string) int {
	n := len(s)
	for ; len(s) >= 8; s = s[8:] {
		v := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | // one load, to the compiler
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		n -= bits.OnesCount64(v & (^v << 1) & tops)
	}
	for i := range len(s) {
		if s[i]&0xc0 == 0x80 {
			n--
		}
	}
	return n
}
