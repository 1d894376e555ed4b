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
	cacheBits = 15 // of the number of pairs in each cache
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

// Encoder is a goroutine's part of a Tokenizer, with caches of 3 MiB.
type Encoder struct {
	t       *Tokenizer
	capital uint64                    // the high bit of each byte when capitals are lowered, else 0
	short   *[1 << cacheBits][2]short // the two of a pair share a line of memory; what is found in the second moves to the first
	long    *[1 << cacheBits][2]long
	words   *Splitter
	unit    int // where some white space ended, the last one or one before, in the text
	first   int // and in the ids
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

// loadEnd is load with NUL behind the end of text.
func loadEnd(text string, i int) uint64 {
	if i+8 <= len(text) {
		return load(text, i)
	}
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

// findShort looks for a segment at both places of its pair and moves it to the first; nil when the cache does not hold it.
func (e *Encoder) findShort(key uint64) *short {
	pair := &e.short[hashShort(key)]
	if pair[0].key&keyMask == key {
		return &pair[0]
	}
	if pair[1].key&keyMask != key {
		return nil
	}
	pair[0], pair[1] = pair[1], pair[0]
	return &pair[0]
}

func (e *Encoder) findLong(low, high uint64) *long {
	pair := &e.long[hashLong(low, high)]
	if pair[0].is(low, high) {
		return &pair[0]
	}
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
	e.unit, e.first = 0, len(dst)
	for i := 0; i < len(text); {
		if cap(dst)-len(dst) < longIDs {
			dst = slices.Grow(dst, longIDs+len(text)-i)
		}
		if dst, i = e.run(dst, text, i); i < len(text) {
			dst, i = e.step(dst, text, i)
		}
	}
	return dst
}

// run goes on while the caches answer, and returns where it stopped.
func (e *Encoder) run(dst []int32, text string, i int) ([]int32, int) {
	shorts, capital, single := e.short, e.capital, &e.t.single
	n := len(dst)
	dst = dst[:cap(dst)]
	for i+16 <= len(text) && n+longIDs <= len(dst) {
		x := load(text, i)
		low, k := scan(x, capital)
		if k == 0 {
			id := single[byte(x)]
			if id < 0 {
				break
			}
			dst[n] = id
			n++
			i++
			if byte(x>>8) == ' ' {
				i++
				e.unit, e.first = i, n
			}
			continue
		}
		if k <= shortKey {
			key := low & (1<<(8*k&63) - 1)
			pair := &shorts[hashShort(key)]
			if pair[0].key&keyMask != key {
				if pair[1].key&keyMask != key {
					break
				}
				pair[0], pair[1] = pair[1], pair[0]
			}
			hit := &pair[0]
			ids := (*[shortIDs]int32)(dst[n : n+shortIDs])
			ids[0], ids[1], ids[2] = int32(hit.ids&idMask), int32(hit.ids>>idBits&idMask), int32(hit.ids>>(2*idBits))
			n += int(hit.key >> countAt)
			i += k
			if byte(x>>(8*k&63)) == ' ' {
				i++
			}
			continue
		}
		high, m := scan(load(text, i+8), capital)
		high &= 1<<(8*m&63) - 1
		pair := &e.long[hashLong(low, high)]
		if m == 8 {
			break
		}
		if !pair[0].is(low, high) {
			if !pair[1].is(low, high) {
				break
			}
			pair[0], pair[1] = pair[1], pair[0]
		}
		hit := &pair[0]
		*(*[longIDs]int32)(dst[n : n+longIDs]) = hit.ids
		n += int(hit.high >> countAt)
		i += 8 + m
		if text[i] == ' ' {
			i++
			e.unit, e.first = i, n
		}
	}
	return dst[:n], i
}

// step takes one segment or character of any kind.
func (e *Encoder) step(dst []int32, text string, i int) ([]int32, int) {
	low, n := scan(loadEnd(text, i), e.capital)
	if n == 0 {
		return e.part(dst, text, i)
	}
	high := uint64(0)
	if n <= shortKey {
		low &= 1<<(8*n&63) - 1
		if hit := e.findShort(low); hit != nil {
			for k := range hit.key >> countAt {
				dst = append(dst, int32(hit.ids>>(k*idBits)&idMask))
			}
			return dst, i + n
		}
	} else {
		var m int
		high, m = scan(loadEnd(text, i+8), e.capital)
		high &= 1<<(8*m&63) - 1
		if n += m; n > longKey {
			n = segmentLength(text[i:])
		} else if hit := e.findLong(low, high); hit != nil {
			return append(dst, hit.ids[:hit.high>>countAt]...), i + n
		}
	}
	segment, at := text[i:i+n], len(dst)
	switch {
	case e.ascii(segment):
		dst = e.t.appendPieces(dst, e.buf)
	case e.needsContext(segment):
		return e.again(dst, text, i+n)
	default:
		dst, _ = e.basic(dst, segment, 0, n)
	}
	e.store(n, low, high, dst[at:])
	return dst, i + n
}

// part takes a character that is no part of a segment.
func (e *Encoder) part(dst []int32, text string, i int) ([]int32, int) {
	c := text[i]
	switch class := e.t.class[c]; {
	case class&space != 0:
		e.unit, e.first = i+1, len(dst)
		return dst, i + 1
	case c == '[' && !startsSpecial(text[i:]):
		return append(dst, e.t.bracket), i + 1
	case c != '[' && class&punct != 0:
		return append(dst, e.t.single[c]), i + 1
	}
	return e.again(dst, text, i+1)
}

// again goes back to the last white space that it knows of and takes all up to a place, at least, by the basic step.
func (e *Encoder) again(dst []int32, text string, to int) ([]int32, int) {
	dst, i := e.basic(dst[:e.first], text, e.unit, to)
	e.unit, e.first = i, len(dst)
	return dst, i
}

// basic appends the ids of text from one place to at least another, by the basic step, and returns how far it came.
func (e *Encoder) basic(dst []int32, text string, from, to int) ([]int32, int) {
	e.dst = dst
	for from < to {
		from += e.words.next(text[from:])
	}
	return e.dst, from
}

// ascii puts a segment into the buffer, its capitals lowered, and tells whether it is ASCII.
func (e *Encoder) ascii(segment string) bool {
	e.buf = append(e.buf[:0], segment...)
	for i, c := range e.buf {
		if c >= utf8.RuneSelf {
			return false
		}
		if e.capital != 0 && 'A' <= c && c <= 'Z' {
			e.buf[i] = c + 'a' - 'A'
		}
	}
	return true
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
