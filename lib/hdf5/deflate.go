package hdf5

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// packer packs chunks into zlib streams of Huffman codes and runs of equal bytes. It looks for no other repetition: after the shuffle
// filter ids repeat too far apart for deflate's window, so that a general compressor spends ten times the time to save 4 % of the bytes.
type packer struct {
	out  []byte // finished bytes
	acc  uint64 // bits not yet in out, fewer than 8 between calls
	n    uint   // number of them
	runs []run

	counts  [symbols]uint32
	lengths [symbols]uint8
	codes   [symbols]uint32 // bits, and from bit 16 on their number
	tree    tree
}

// run is a stretch of equal bytes.
type run struct{ start, end int }

// Symbols of deflate (RFC 1951): bytes, the end of a block, lengths of matches.
const (
	endOfBlock = 256
	symbols    = 286
	maxMatch   = 258
	minMatch   = 3
	maxBits    = 14 // four codes and seven bits before them fit into 64; deflate allows 15
)

// pack returns the zlib stream of data, valid until the next call. Every plane of that many bytes gets codes of its own.
func (p *packer) pack(data []byte, plane int) []byte {
	p.out, p.acc, p.n = append(p.out[:0], 0x78, 0x01), 0, 0
	sum := adler{a: 1}
	for at := 0; at < len(data); at += plane {
		block := data[at:min(at+plane, len(data))]
		p.findRuns(block)
		p.block(block, at+len(block) == len(data))
		sum.add(block, p.runs)
	}
	p.put(0, 7) // to a whole byte
	p.out = binary.BigEndian.AppendUint32(p.out, sum.value())
	return p.out
}

// findRuns lists the stretches of at least 11 equal bytes, and some shorter ones.
func (p *packer) findRuns(data []byte) {
	p.runs = p.runs[:0]
	end := 0
	for i := 0; i+8 <= len(data); {
		x := binary.LittleEndian.Uint64(data[i:])
		if x != bits.RotateLeft64(x, 8) {
			i += 4
			continue
		}
		start := i
		for start > end && data[start-1] == byte(x) {
			start--
		}
		for end = i + 8; end+8 <= len(data) && binary.LittleEndian.Uint64(data[end:]) == x; {
			end += 8
		}
		for end < len(data) && data[end] == byte(x) {
			end++
		}
		p.runs = append(p.runs, run{start, end})
		i = end
	}
}

// matches calls f with the lengths of the matches that continue a run after its first byte.
func (r run) matches(f func(length int)) {
	for left := r.end - r.start - 1; left > 0; {
		length := min(left, maxMatch)
		if rest := left - length; rest > 0 && rest < minMatch {
			length -= minMatch
		}
		f(length)
		left -= length
	}
}

// block writes data, whose runs are in p.runs, as one block with codes of its own.
func (p *packer) block(data []byte, last bool) {
	p.count(data)
	p.tree.lengths(p.counts[:], p.lengths[:], maxBits)
	assign(p.lengths[:], p.codes[:])
	p.reserve()
	p.header(last)
	at := 0
	for _, r := range p.runs {
		p.literals(data[at : r.start+1])
		r.matches(func(length int) {
			symbol, extra, n := lengthSymbol(length)
			c := p.codes[symbol]
			p.put(uint64(c&0xffff)|uint64(extra)<<(c>>16), uint(c>>16)+n+1) // and the code of distance 1: a zero bit
		})
		at = r.end
	}
	p.literals(data[at:])
	c := p.codes[endOfBlock]
	p.put(uint64(c&0xffff), uint(c>>16))
}

// count counts the symbols of a block.
func (p *packer) count(data []byte) {
	var tables [4][256]uint32 // one alone would wait for itself where bytes repeat
	clear(p.counts[:])
	add := func(b []byte) {
		for ; len(b) >= 4; b = b[4:] {
			tables[0][b[0]]++
			tables[1][b[1]]++
			tables[2][b[2]]++
			tables[3][b[3]]++
		}
		for _, c := range b {
			tables[0][c]++
		}
	}
	at := 0
	for _, r := range p.runs {
		add(data[at : r.start+1])
		r.matches(func(length int) {
			symbol, _, _ := lengthSymbol(length)
			p.counts[symbol]++
		})
		at = r.end
	}
	add(data[at:])
	for i := range 256 {
		p.counts[i] = tables[0][i] + tables[1][i] + tables[2][i] + tables[3][i]
	}
	p.counts[endOfBlock] = 1
}

// reserve makes room for the block that counts and lengths describe.
func (p *packer) reserve() {
	n := 8 * 600 // header, rest of the block before, checksum
	for i, c := range p.counts {
		n += int(c) * (int(p.lengths[i]) + 6) // of which 6 are extra bits and the distance of a match
		if i <= endOfBlock {
			n -= int(c) * 6
		}
	}
	p.out = slices.Grow(p.out, n/8)
}

// put appends at most 57 bits. There must be room.
func (p *packer) put(b uint64, n uint) {
	p.acc |= b << (p.n & 63)
	p.n += n
	at := len(p.out)
	binary.LittleEndian.PutUint64(p.out[at:at+8], p.acc)
	p.out = p.out[:at+int(p.n>>3)]
	p.acc >>= p.n &^ 7 & 63
	p.n &= 7
}

// literals appends the codes of bytes. There must be room.
func (p *packer) literals(b []byte) {
	acc, n, at := p.acc, p.n, len(p.out)
	out, codes := p.out[:cap(p.out)], (*[256]uint32)(p.codes[:])
	for ; len(b) >= 4; b = b[4:] {
		c := codes[b[0]]
		acc |= uint64(c&0xffff) << (n & 63)
		n += uint(c >> 16)
		c = codes[b[1]]
		acc |= uint64(c&0xffff) << (n & 63)
		n += uint(c >> 16)
		c = codes[b[2]]
		acc |= uint64(c&0xffff) << (n & 63)
		n += uint(c >> 16)
		c = codes[b[3]]
		acc |= uint64(c&0xffff) << (n & 63)
		n += uint(c >> 16)
		binary.LittleEndian.PutUint64(out[at:], acc)
		at += int(n >> 3)
		acc >>= n &^ 7 & 63
		n &= 7
	}
	p.acc, p.n, p.out = acc, n, out[:at]
	for _, v := range b {
		c := codes[v]
		p.put(uint64(c&0xffff), uint(c>>16))
	}
}

// header begins a block with codes of its own: the lengths of the codes, packed in their turn. The one code of distances is 0.
func (p *packer) header(last bool) {
	used := symbols
	for p.lengths[used-1] == 0 {
		used--
	}
	packed := packLengths(append(slices.Clone(p.lengths[:used]), 1))
	var counts [19]uint32
	for _, l := range packed {
		counts[l.symbol]++
	}
	var lengths [19]uint8
	var codes [19]uint32
	p.tree.lengths(counts[:], lengths[:], 7)
	assign(lengths[:], codes[:])
	order := [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	n := len(order)
	for lengths[order[n-1]] == 0 {
		n--
	}
	first := uint64(0)
	if last {
		first = 1
	}
	p.put(first|2<<1|uint64(used-257)<<3|uint64(n-4)<<13, 17)
	for _, i := range order[:n] {
		p.put(uint64(lengths[i]), 3)
	}
	for _, l := range packed {
		c := codes[l.symbol]
		p.put(uint64(c&0xffff)|uint64(l.extra)<<(c>>16), uint(c>>16)+uint(l.bits))
	}
}

// packedLength is a symbol of a block's header: the length of a code, or a repetition.
type packedLength struct{ symbol, extra, bits uint8 }

// packLengths replaces runs of equal lengths by deflate's symbols for them: 16 repeats the one before, 17 and 18 are runs of zeros.
func packLengths(lengths []uint8) []packedLength {
	var packed []packedLength
	for i := 0; i < len(lengths); {
		n := 1
		for i+n < len(lengths) && lengths[i+n] == lengths[i] {
			n++
		}
		switch again := i > 0 && lengths[i] == lengths[i-1]; {
		case lengths[i] == 0 && n >= 11:
			n = min(n, 138)
			packed = append(packed, packedLength{18, uint8(n - 11), 7})
		case lengths[i] == 0 && n >= 3:
			packed = append(packed, packedLength{17, uint8(n - 3), 3})
		case again && n >= 3:
			n = min(n, 6)
			packed = append(packed, packedLength{16, uint8(n - 3), 2})
		default:
			n = 1
			packed = append(packed, packedLength{symbol: lengths[i]})
		}
		i += n
	}
	return packed
}

// lengthSymbol returns the symbol of a match's length, its extra bits and their number.
func lengthSymbol(length int) (symbol int, extra uint, n uint) {
	switch v := uint(length - minMatch); {
	case length == maxMatch:
		return 285, 0, 0
	case v < 8:
		return 257 + int(v), 0, 0
	default:
		n = uint(bits.Len(v)) - 3
		return 257 + int(4*n+v>>n), v & (1<<n - 1), n
	}
}

// tree makes Huffman codes; it holds its memory between uses.
type tree struct {
	leaves []uint64 // count and, in the low 16 bits, symbol
	counts []uint64 // leaves, then inner nodes
	parent []uint16
}

// lengths sets the lengths of the codes of the symbols that occur, at most limit bits; at least two of them must occur.
func (t *tree) lengths(counts []uint32, lengths []uint8, limit int) {
	clear(lengths)
	t.leaves = t.leaves[:0]
	for symbol, n := range counts {
		if n > 0 {
			t.leaves = append(t.leaves, uint64(n)<<16|uint64(symbol))
		}
	}
	slices.Sort(t.leaves)
	for shift := 0; t.build(lengths, shift) > limit; shift++ {
	}
}

// build makes the code and returns its longest length. Counts are halved shift times, for codes that would be too long.
func (t *tree) build(lengths []uint8, shift int) int {
	n := len(t.leaves)
	t.counts = t.counts[:0]
	for _, leaf := range t.leaves {
		t.counts = append(t.counts, max(leaf>>(16+shift), 1))
	}
	t.parent = append(t.parent[:0], make([]uint16, 2*n-1)...)
	leaf, inner := 0, n
	smallest := func() int {
		if inner == len(t.counts) || leaf < n && t.counts[leaf] <= t.counts[inner] {
			leaf++
			return leaf - 1
		}
		inner++
		return inner - 1
	}
	for len(t.counts) < 2*n-1 {
		a, b := smallest(), smallest()
		t.parent[a], t.parent[b] = uint16(len(t.counts)), uint16(len(t.counts))
		t.counts = append(t.counts, t.counts[a]+t.counts[b])
	}
	longest := 0
	depth := t.counts // takes their place from the root on
	depth[2*n-2] = 0
	for i := 2*n - 3; i >= 0; i-- {
		depth[i] = depth[t.parent[i]] + 1
		if i < n {
			lengths[t.leaves[i]&0xffff] = uint8(depth[i])
			longest = max(longest, int(depth[i]))
		}
	}
	return longest
}

// assign makes the codes of the given lengths: in order of length, then of symbol, first bit lowest.
func assign(lengths []uint8, codes []uint32) {
	var next [16]uint16
	for _, n := range lengths {
		next[n]++
	}
	code, before := uint16(0), uint16(0)
	for n := 1; n < len(next); n++ {
		code = (code + before) << 1
		before, next[n] = next[n], code
	}
	for i, n := range lengths {
		if n > 0 {
			codes[i] = uint32(bits.Reverse16(next[n])>>(16-n)) | uint32(n)<<16
			next[n]++
		}
	}
}

// adler is the checksum of zlib (RFC 1950).
type adler struct{ a, b uint64 }

const adlerBase = 65521

// add adds data, whose runs need no pass over their bytes.
func (s *adler) add(data []byte, runs []run) {
	at := 0
	for _, r := range runs {
		s.bytes(data[at:r.start])
		n, v := uint64(r.end-r.start), uint64(data[r.start])
		s.b = (s.b + n*s.a + v*(n*(n+1)/2%adlerBase)) % adlerBase
		s.a = (s.a + n*v) % adlerBase
		at = r.end
	}
	s.bytes(data[at:])
}

func (s *adler) bytes(data []byte) {
	const most = 1 << 20 // far from overflow
	for len(data) > 0 {
		part := data[:min(len(data), most)]
		data = data[len(part):]
		a, b := s.a, s.b
		for ; len(part) >= 8; part = part[8:] { // four products of 16 bits at a time: the sum of all is in the highest
			const lanes, ones = 0x00ff00ff00ff00ff, 0x0001000100010001
			x := binary.LittleEndian.Uint64(part)
			even, odd := x&lanes, x>>8&lanes
			b += 8*a + even*0x0008000600040002>>48 + odd*0x0007000500030001>>48
			a += (even + odd) * ones >> 48
		}
		for _, v := range part {
			a += uint64(v)
			b += a
		}
		s.a, s.b = a%adlerBase, b%adlerBase
	}
}

func (s *adler) value() uint32 { return uint32(s.b<<16 | s.a) }
