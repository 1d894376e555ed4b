package wordpiece

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

/*
How text becomes ids fast. Blanks and newlines cut it into chunks, which are tokenized independently of each other. A chunk such as "(Hello," is a
core, "(Hello", and a tail, at most one ASCII punctuation mark, that is a piece of its own. A core of up to 15 bytes is the key of a cache that
answers with its ids: one line of memory, and hardly a branch that depends on the text. Three loops go over some hundred bytes: one finds the
chunks and makes their keys, one touches the cache, where it waits for many lines of memory at once, and one takes the answers.

A core that the cache does not hold is cut at ASCII punctuation into segments, which are sought in the same cache, and else go through the basic
step and the trie. The ids of a segment depend on its neighbours in two cases only: a special token such as [MASK], and the capital sigma, whose
lower case depends on the letters around it, punctuation skipped. A chunk that may hold one of these goes through the basic step as a whole.
*/

const (
	cacheBits = 17 // of the number of pairs in the cache
	maxKey    = 15 // bytes of a core in the cache
	wordIDs   = 3  // ids that share a word of 64 bits
	maxIDs    = 2 * wordIDs
	idBits    = 21
	countAt   = 56
	window    = 64  // bytes of text that are searched for ends of chunks at a time
	batch     = 128 // chunks that are asked for at a time
)

// key holds the bytes of a core, NUL behind them.
type key struct {
	low  uint64 // the first eight
	high uint64 // the others; in the topmost byte of an entry the number of ids
}

// noKey is no core's.
var noKey = key{high: 1 << countAt}

// entry is a core and its ids. NUL behind a core is as good as none, for NUL vanishes: a free entry is that of the empty core.
type entry struct {
	key
	ids [maxIDs / wordIDs]uint64
}

func (e *entry) is(k key) bool { return e.low == k.low && e.high&(1<<countAt-1) == k.high }

func (e *entry) count() int { return int(e.high >> countAt) }

// pair is where a core may stand: one line of memory. What is found in the second place moves to the first.
type pair [2]entry

func (k key) hash() uint64 {
	return (k.low*0xD6E8FEB86659FD93 ^ k.high*0x9E3779B97F4A7C15) >> (64 - cacheBits)
}

// tail is the id of a chunk's last character when that is a piece of its own, and above it their number, 0 or 1.
type tail uint64

const tailCount = 32

// question is a chunk whose core is sought in the cache.
type question struct {
	core key
	pair uint64
	end  int // of the chunk in the text
	tail tail
}

// Encoder is a goroutine's part of a Tokenizer, with a cache of 8 MiB.
type Encoder struct {
	t     *Tokenizer
	cache *[1 << cacheBits]pair
	asked [batch]question
	sum   uint64 // of what was touched, so that the touching is not optimised away
	words *Splitter
	dst   []int32
	buf   []byte
	ids   []int32
}

func newEncoder(t *Tokenizer) *Encoder {
	e := &Encoder{t: t, cache: new([1 << cacheBits]pair), words: NewSplitter(t.options)}
	e.words.emit = func(word []byte) { e.dst = t.appendPieces(e.dst, word) }
	return e
}

// IDs returns the ids of text's word pieces, valid until the encoder's next work.
func (e *Encoder) IDs(text string) []int32 {
	e.ids = e.Encode(e.ids[:0], text)
	return e.ids
}

// Encode appends the ids of text's word pieces to dst.
func (e *Encoder) Encode(dst []int32, text string) []int32 {
	start := 0 // of the next chunk
	for at := 0; at < len(text); {
		first, n := start, 0
		n, start, at = e.ask(text, start, at)
		e.touch(n)
		dst = e.answer(dst, text, first, n)
	}
	return e.chunk(dst, text[start:])
}

// ask asks for the chunks of text from start on, whose ends are sought from at on. It returns their number, and where to go on.
func (e *Encoder) ask(text string, start, at int) (n, nextStart, nextAt int) {
	tails, asked := &e.t.tails, &e.asked
	for ; at < len(text) && n <= batch-window; at += window {
		for ends := windowEnds(text, at); ends != 0; ends &= ends - 1 {
			end := at + bits.TrailingZeros64(ends)
			if start == end {
				start++
				continue
			}
			q := &asked[uint(n)%batch]
			n++
			tail := tails[text[end-1]]
			q.end, q.tail = end, tail
			if length := uint(end-start) - uint(tail>>tailCount); length <= maxKey && start+maxKey < len(text) {
				mask, b := &keyMasks[length], text[start:start+maxKey+1]
				core := key{load(b, 0) & mask.low, load(b, 8) & mask.high}
				q.core, q.pair = core, core.hash()
			} else {
				q.core, q.pair = noKey, 0
			}
			start = end + 1
		}
	}
	return n, start, at
}

// touch brings what n questions are about near: all of it is on its way at the same time.
func (e *Encoder) touch(n int) {
	sum := uint64(0)
	for i := range e.asked[:n] {
		sum += e.cache[e.asked[i].pair%(1<<cacheBits)][0].low
	}
	e.sum = sum
}

// answer appends the ids of n chunks of text, of which the first begins at start or behind some blanks.
func (e *Encoder) answer(dst []int32, text string, start, n int) []int32 {
	cache, asked := e.cache, e.asked[:n]
	have, dst := len(dst), dst[:cap(dst)]
	for i := range asked {
		q := &asked[i]
		two := &cache[q.pair%(1<<cacheBits)]
		hit := &two[0]
		if !hit.is(q.core) {
			if hit = e.find(q.core, q.pair); hit == nil {
				if i > 0 {
					start = asked[i-1].end
				}
				dst = e.chunk(dst[:have], strings.TrimLeft(text[start:q.end], " \n"))
				have, dst = len(dst), dst[:cap(dst)]
				continue
			}
		}
		if len(dst)-have <= maxIDs {
			dst = append(dst, make([]int32, len(dst)+batch*maxIDs)...)
			dst = dst[:cap(dst)]
		}
		to := (*[maxIDs + 1]int32)(dst[have : have+maxIDs+1])
		to[0], to[1], to[2] = unpack(hit.ids[0])
		count := hit.count()
		if count > wordIDs {
			to[3], to[4], to[5] = unpack(hit.ids[1])
		}
		have += count
		dst[have] = int32(q.tail)
		have += int(q.tail >> tailCount)
	}
	return dst[:have]
}

// chunk appends the ids of any chunk and leaves room for some more.
func (e *Encoder) chunk(dst []int32, chunk string) []int32 {
	dst = slices.Grow(dst, 2*maxIDs+len(chunk))
	if chunk == "" {
		return dst
	}
	tail := e.t.tails[chunk[len(chunk)-1]]
	start := len(dst)
	dst, alone := e.core(dst, chunk[:len(chunk)-int(tail>>tailCount)])
	if !alone {
		return e.basic(dst[:start], chunk)
	}
	return append(dst, int32(tail))[:len(dst)+int(tail>>tailCount)]
}

// core appends the ids of a core, and tells whether they are right whatever its tail is.
func (e *Encoder) core(dst []int32, core string) ([]int32, bool) {
	k, short := keyOf(core)
	if hit := e.find(k, k.hash()); short && hit != nil {
		return hit.appendTo(dst), true
	}
	if e.t.options.LowerCase && strings.Contains(core, "Σ") {
		return dst, false
	}
	start := len(dst)
	for i := 0; i < len(core); {
		if n := segmentLength(core[i:]); n == len(core) {
			dst = e.segment(dst, core)
			i += n
		} else if n > 0 {
			dst, _ = e.core(dst, core[i:i+n])
			i += n
		} else if c := core[i]; c == '[' && mayBeSpecial(core) || e.t.class[c]&(punct|space) == 0 {
			return dst, false
		} else if i++; e.t.class[c]&punct != 0 {
			dst = append(dst, e.t.single[c])
		}
	}
	e.store(k, short, dst[start:])
	return dst, true
}

// segment appends the ids of a segment.
func (e *Encoder) segment(dst []int32, segment string) []int32 {
	e.buf = append(e.buf[:0], segment...)
	for i, c := range e.buf {
		if c >= utf8.RuneSelf {
			return e.basic(dst, segment)
		}
		if e.t.options.LowerCase && 'A' <= c && c <= 'Z' {
			e.buf[i] = c + 'a' - 'A'
		}
	}
	return e.t.appendPieces(dst, e.buf)
}

// basic appends the ids of text by the basic step.
func (e *Encoder) basic(dst []int32, text string) []int32 {
	e.dst = dst
	for i := 0; i < len(text); {
		i += e.words.next(text[i:])
	}
	return e.dst
}

// store puts ids where the less used of a pair stood: cores seen once never drive out both.
func (e *Encoder) store(k key, short bool, ids []int32) {
	if !short || len(ids) > maxIDs {
		return
	}
	new := entry{key: key{k.low, k.high | uint64(len(ids))<<countAt}}
	for i, id := range ids {
		new.ids[i/wordIDs] |= uint64(id) << (i % wordIDs * idBits)
	}
	at := k.hash()
	home, away := &e.cache[at], &e.cache[at^1]
	if home[1].key != (key{}) {
		away[1] = home[1]
	}
	home[1] = new
}

// find returns the entry of a core, nil when there is none.
func (e *Encoder) find(k key, at uint64) *entry {
	home, away := &e.cache[at%(1<<cacheBits)], &e.cache[(at^1)%(1<<cacheBits)]
	switch {
	case home[0].is(k):
	case home[1].is(k):
		home[0], home[1] = home[1], home[0]
	case away[0].is(k):
		home[0], home[1], away[0] = away[0], home[0], home[1]
	case away[1].is(k):
		home[0], home[1], away[1] = away[1], home[0], home[1]
	default:
		return nil
	}
	return &home[0]
}

func (e *entry) appendTo(dst []int32) []int32 {
	var ids [maxIDs]int32
	ids[0], ids[1], ids[2] = unpack(e.ids[0])
	ids[3], ids[4], ids[5] = unpack(e.ids[1])
	return append(dst, ids[:e.count()]...)
}

func unpack(ids uint64) (a, b, c int32) {
	const mask = 1<<idBits - 1
	return int32(ids & mask), int32(ids >> idBits & mask), int32(ids >> (2 * idBits))
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// ends returns a bit for each blank and newline of x, in the order of its bytes.
func ends(x uint64) uint64 {
	blank, newline := x^' '*eachByte, x^'\n'*eachByte
	other := ((blank &^ highBits) + (highBits - eachByte) | blank) & ((newline &^ highBits) + (highBits - eachByte) | newline)
	return (^other & highBits) >> 7 * 0x0102040810204080 >> 56
}

// windowEnds returns a bit for each blank and newline of a window of text from at on.
func windowEnds(text string, at int) (found uint64) {
	if at+window <= len(text) {
		for i := 0; i < window; i += 8 {
			found |= ends(load(text, at+i)) << i
		}
		return found
	}
	var last [window]byte
	copy(last[:], text[at:])
	for i := 0; i < len(text)-at; i += 8 {
		found |= ends(binary.LittleEndian.Uint64(last[i:])) << i
	}
	return found
}

// load returns the eight bytes of text from i on.
func load(text string, i int) uint64 {
	b := text[i : i+8]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// keyMasks keep the first bytes of a key, by their number.
var keyMasks = func() (masks [maxKey + 1]key) {
	for n := range masks {
		masks[n] = key{1<<(8*n) - 1, 1<<(8*max(n-8, 0)) - 1}
	}
	return masks
}()

// keyOf returns the key of a core, if it is short enough.
func keyOf(core string) (k key, short bool) {
	if len(core) > maxKey {
		return noKey, false
	}
	var b [maxKey + 1]byte
	copy(b[:], core)
	return key{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}, true
}

// segmentLength returns the length of the segment that text begins with: ASCII letters and digits, and bytes beyond ASCII.
func segmentLength(text string) int {
	i := 0
	for i < len(text) && (text[i] >= utf8.RuneSelf || isAlphanumeric(text[i])) {
		i++
	}
	return i
}

func isAlphanumeric(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// mayBeSpecial tells whether a core with a bracket is a special token, or may become one when other characters vanish or part words.
func mayBeSpecial(core string) bool {
	return neverSplit(core) || strings.ContainsFunc(core, func(r rune) bool { return r <= ' ' || r > '~' })
}
