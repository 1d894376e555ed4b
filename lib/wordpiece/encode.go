package wordpiece

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

/*
How text becomes ids fast. Between ASCII white space and punctuation lie segments: runs of ASCII letters, digits and bytes beyond ASCII. Eight
bytes at a time are looked at in a register, where their end is found and ASCII capitals are lowered, and a segment of up to 15 bytes is the key
of a cache that answers with its ids: one line of memory for most words. What the cache does not hold goes through the basic step and the trie.

The basic step looks beyond a segment in three cases only: a special token such as [MASK], a character that vanishes (it may stand inside such
a token) and the capital sigma, whose lower case depends on the letters around it, punctuation skipped. On meeting one of these the encoder goes
back to the last ASCII white space and lets the basic step do it all.
*/

const (
	cacheBits = 14 // of the number of pairs in each cache
	shortKey  = 7  // bytes of a segment in the cache of short ones
	longKey   = 15 // and of long ones
	shortIDs  = 3  // ids of one
	longIDs   = 4
	idBits    = 21 // of an id where several share a word of 64 bits
	idMask    = 1<<idBits - 1
	keyMask   = 1<<(8*shortKey) - 1 // all but the topmost byte, which holds the number of ids
	countAt   = 8 * shortKey
)

// short is a segment of up to seven bytes and its ids. A segment holds no NUL, so that its bytes tell its length.
type short struct {
	key uint64 // the bytes, NUL behind them; in the topmost the number of ids
	ids uint64
}

// long is a segment of 8 to 15 bytes and its ids.
type long struct {
	low  uint64 // the first eight bytes
	high uint64 // the others; in the topmost byte the number of ids
	ids  [longIDs]int32
}

func (l *long) is(low, high uint64) bool { return l.low == low && l.high&keyMask == high }

// Encoder is a goroutine's part of a Tokenizer, with caches of 1.5 MiB.
type Encoder struct {
	t       *Tokenizer
	capital uint64                    // the high bit of each byte when capitals are lowered, else 0
	short   *[1 << cacheBits][2]short // the two of a pair share a line of memory; what is found in the second moves to the first
	long    *[1 << cacheBits][2]long
	words   *Splitter
	dst     []int32
	buf     []byte
	ids     []int32
}

func newEncoder(t *Tokenizer) *Encoder {
	e := &Encoder{t: t, short: new([1 << cacheBits][2]short), long: new([1 << cacheBits][2]long)}
	if t.options.LowerCase {
		e.capital = highBits
	}
	e.words = NewSplitter(t.options)
	e.words.emit = func(word []byte) { e.dst = t.appendPieces(e.dst, word) }
	return e
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// scan returns the eight bytes of x with ASCII capitals lowered, where capital says so, and the number of those, from the first on, that
// belong to a segment.
func scan(x, capital uint64) (folded uint64, n int) {
	low := x &^ highBits
	small := low | 0x20*eachByte
	letter := ((small + (0x80-'a')*eachByte) ^ (small + (0x80-'z'-1)*eachByte)) &^ x
	digit := (low + (0x80-'0')*eachByte) ^ (low + (0x80-'9'-1)*eachByte)
	end := ^(letter | digit | x) & highBits
	return x | letter&capital>>2, bits.TrailingZeros64(end) >> 3
}

// load returns the eight bytes of text from i on.
func load(text string, i int) uint64 {
	b := text[i : i+8]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// loadEnd is load near the end of text, with NUL behind it.
func loadEnd(text string, i int) uint64 {
	var b [8]byte
	if i < len(text) {
		copy(b[:], text[i:])
	}
	return binary.LittleEndian.Uint64(b[:])
}

func hashShort(key uint64) uint64 { return key * 0xD6E8FEB86659FD93 >> (64 - cacheBits) }

func hashLong(low, high uint64) uint64 {
	return hashShort(low ^ bits.RotateLeft64(high*0x9E3779B97F4A7C15, 32))
}

// secondShort looks for a segment in the second place of its pair, from which it moves to the first; nil when the cache does not hold it.
func secondShort(pair *[2]short, key uint64) *short {
	if pair[1].key&keyMask != key {
		return nil
	}
	pair[0], pair[1] = pair[1], pair[0]
	return &pair[0]
}

func secondLong(pair *[2]long, low, high uint64) *long {
	if !pair[1].is(low, high) {
		return nil
	}
	pair[0], pair[1] = pair[1], pair[0]
	return &pair[0]
}

// store puts a segment of n bytes where the less used of its pair stood: words seen once never drive out both.
func (e *Encoder) store(n int, low, high uint64, ids []int32) {
	switch count := uint64(len(ids)) << countAt; {
	case n <= shortKey && len(ids) <= shortIDs:
		packed := uint64(0)
		for i, id := range ids {
			packed |= uint64(id) << (i * idBits)
		}
		e.short[hashShort(low)][1] = short{low | count, packed}
	case n > shortKey && n <= longKey && len(ids) <= longIDs:
		slot := &e.long[hashLong(low, high)][1]
		slot.low, slot.high = low, high|count
		copy(slot.ids[:], ids)
	}
}

// IDs returns the ids of text's word pieces, valid until the encoder's next work.
func (e *Encoder) IDs(text string) []int32 {
	e.ids = e.Encode(e.ids[:0], text)
	return e.ids
}

// Encode appends the ids of text's word pieces to dst.
func (e *Encoder) Encode(dst []int32, text string) []int32 {
	capital, shorts, longs, single := e.capital, e.short, e.long, &e.t.single
	unit, first := 0, len(dst) // where the last white space ended, in text and in dst
	for i := 0; i < len(text); {
		if cap(dst)-len(dst) < longIDs {
			dst = slices.Grow(dst, longIDs+len(text)-i)
		}
		var x, high uint64
		if i+8 <= len(text) {
			x = load(text, i)
		} else {
			x = loadEnd(text, i)
		}
		low, n := scan(x, capital)
		if n == 0 {
			if c := text[i]; single[c] >= 0 && (c != '[' || !startsSpecial(text[i:])) {
				dst = append(dst, single[c])
				i++
				if i < len(text) && text[i] == ' ' {
					i++
					unit, first = i, len(dst)
				}
				continue
			}
			if e.t.class[text[i]]&space != 0 {
				i++
			} else {
				dst, i = e.basic(dst[:first], text, unit, i+1)
			}
			unit, first = i, len(dst)
			continue
		}
		at, count := len(dst), 0
		if n <= shortKey {
			low &= 1<<(8*n&63) - 1
			pair := &shorts[hashShort(low)]
			hit := &pair[0]
			if hit.key&keyMask != low {
				hit = secondShort(pair, low)
			}
			if hit != nil {
				to := dst[at : at+shortIDs]
				to[0], to[1], to[2] = int32(hit.ids&idMask), int32(hit.ids>>idBits&idMask), int32(hit.ids>>(2*idBits))
				count = int(hit.key >> countAt)
			}
		} else {
			var m int
			if i+16 <= len(text) {
				x = load(text, i+8)
			} else {
				x = loadEnd(text, i+8)
			}
			high, m = scan(x, capital)
			high &= 1<<(8*m&63) - 1
			n += m
			if n > longKey {
				n = segmentLength(text[i:])
			} else {
				pair := &longs[hashLong(low, high)]
				hit := &pair[0]
				if !hit.is(low, high) {
					hit = secondLong(pair, low, high)
				}
				if hit != nil {
					*(*[longIDs]int32)(dst[at : at+longIDs]) = hit.ids
					count = int(hit.high >> countAt)
				}
			}
		}
		i += n
		if count > 0 {
			dst = dst[:at+count]
			if i < len(text) && text[i] == ' ' {
				i++
				unit, first = i, len(dst)
			}
			continue
		}
		segment := text[i-n : i]
		if e.needsContext(segment) {
			dst, i = e.basic(dst[:first], text, unit, i)
			unit, first = i, len(dst)
			continue
		}
		dst = e.segment(dst, segment)
		e.store(n, low, high, dst[at:])
	}
	return dst
}

// basic appends the ids of text from one place to at least another, by the basic step, and returns how far it came.
func (e *Encoder) basic(dst []int32, text string, from, to int) ([]int32, int) {
	e.dst = dst
	for from < to {
		from += e.words.next(text[from:])
	}
	return e.dst, from
}

// segment appends the ids of a segment that needs no context.
func (e *Encoder) segment(dst []int32, segment string) []int32 {
	e.buf = append(e.buf[:0], segment...)
	for i, c := range e.buf {
		if c >= utf8.RuneSelf {
			dst, _ = e.basic(dst, segment, 0, len(segment))
			return dst
		}
		if e.capital != 0 && 'A' <= c && c <= 'Z' {
			e.buf[i] = c + 'a' - 'A'
		}
	}
	return e.t.appendPieces(dst, e.buf)
}

// needsContext tells whether the ids of a segment may depend on what stands before and behind it, or those of its neighbours on it.
func (e *Encoder) needsContext(segment string) bool {
	for _, r := range segment {
		if e.t.class[r]&drop != 0 || r == 'Σ' && e.t.options.LowerCase {
			return true
		}
	}
	return false
}

// segmentLength returns the length of the segment that text begins with.
func segmentLength(text string) int {
	i := 0
	for i < len(text) && (text[i] >= utf8.RuneSelf || isAlphanumeric(text[i])) {
		i++
	}
	return i
}

func isAlphanumeric(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }

func startsSpecial(text string) bool {
	end := strings.IndexByte(text[:min(len(text), len("[MASK]"))], ']')
	return end > 0 && neverSplit(text[:end+1])
}
