package bzip2

import (
	"bytes"
	"math/bits"
	"sort"
)

// plainBlock is a block as its symbols say it, for files that no compressor writes.
type plainBlock struct {
	inUse      []byte // ascending
	symbols    []int  // run digits 0 and 1, places + 1; without the end of the block
	lengths    []int  // of the codes of all symbols and the end; nil: nearly equal ones
	origin     int
	randomised bool
}

// bitWriter appends bits, highest first.
type bitWriter struct {
	data []byte
	n    int
}

func (w *bitWriter) write(v uint64, bits int) {
	for i := bits - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

// column undoes move-to-front and the runs of symbols.
func (p *plainBlock) column() []byte {
	list := bytes.Clone(p.inUse)
	var column []byte
	run, weight := 0, 1
	flush := func() {
		column = append(column, bytes.Repeat(list[:1], run)...)
		run, weight = 0, 1
	}
	for _, s := range p.symbols {
		if s < 2 {
			run += (s + 1) * weight
			weight *= 2
			continue
		}
		flush()
		b := list[s-1]
		copy(list[1:s], list[:s-1])
		list[0] = b
		column = append(column, b)
	}
	flush()
	return column
}

// text decodes the block step by step, as the format's description has it.
func (p *plainBlock) text() []byte {
	column := p.column()
	order := make([]int, len(column))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return column[order[i]] < column[order[j]] })
	text := make([]byte, len(column))
	row := p.origin
	for i := range text {
		row = order[row]
		text[i] = column[row]
	}
	if p.randomised {
		flip(text)
	}
	return expand(text)
}

// flip is the loop of the first bzip2: a counter that takes the next distance when it is 0, and flips where it is 1.
func flip(text []byte) {
	counter, next := 0, 0
	for i := range text {
		if counter == 0 {
			counter = int(distances[next])
			next = (next + 1) % len(distances)
		}
		counter--
		if counter == 1 {
			text[i] ^= 1
		}
	}
}

func expand(text []byte) []byte {
	var out []byte
	equal := 0
	for _, b := range text {
		if equal == 4 {
			out = append(out, bytes.Repeat(out[len(out)-1:], int(b))...)
			equal = 0
			continue
		}
		if equal > 0 && b != out[len(out)-1] {
			equal = 0
		}
		out = append(out, b)
		equal++
	}
	return out
}

func plainSum(text []byte) uint32 {
	sum := ^uint32(0)
	for _, b := range text {
		sum ^= uint32(b) << 24
		for range 8 {
			if sum>>31 == 1 {
				sum = sum<<1 ^ 0x04c11db7
			} else {
				sum <<= 1
			}
		}
	}
	return ^sum
}

// plainStream writes a stream of blocks with right checksums.
func plainStream(level int, blocks ...plainBlock) (file, text []byte) {
	w := &bitWriter{}
	for _, c := range []byte{'B', 'Z', 'h', byte('0' + level)} {
		w.write(uint64(c), 8)
	}
	var all uint32
	for _, b := range blocks {
		t := b.text()
		text = append(text, t...)
		sum := plainSum(t)
		all = all<<1 | all>>31
		all ^= sum
		b.write(w, sum)
	}
	w.write(endMagic, 48)
	w.write(uint64(all), 32)
	return w.data, text
}

func (p *plainBlock) write(w *bitWriter, sum uint32) {
	w.write(blockMagic, 48)
	w.write(uint64(sum), 32)
	if p.randomised {
		w.write(1, 1)
	} else {
		w.write(0, 1)
	}
	w.write(uint64(p.origin), 24)
	var used [16]uint16
	for _, b := range p.inUse {
		used[b>>4] |= 0x8000 >> (b & 15)
	}
	for _, part := range used {
		w.write(uint64(min(part, 1)), 1)
	}
	for _, part := range used {
		if part != 0 {
			w.write(uint64(part), 16)
		}
	}
	symbols := append(append([]int{}, p.symbols...), len(p.inUse)+1)
	groups := (len(symbols) + groupSize - 1) / groupSize
	w.write(2, 3)
	w.write(uint64(groups), 15)
	for range groups {
		w.write(0, 1)
	}
	lengths := p.codeLengths()
	for range 2 {
		w.write(uint64(lengths[0]), 5)
		was := lengths[0]
		for _, n := range lengths {
			for ; was < n; was++ {
				w.write(0b10, 2)
			}
			for ; was > n; was-- {
				w.write(0b11, 2)
			}
			w.write(0, 1)
		}
	}
	codes := canonical(lengths)
	for _, s := range symbols {
		w.write(uint64(codes[s]), lengths[s])
	}
}

// codeLengths makes a code of nearly equal lengths that leaves no bits over.
func (p *plainBlock) codeLengths() []int {
	if p.lengths != nil {
		return p.lengths
	}
	lengths := make([]int, len(p.inUse)+2)
	n := bits.Len(uint(len(lengths) - 1))
	for i := range lengths {
		lengths[i] = n
		if i < 1<<n-len(lengths) {
			lengths[i]--
		}
	}
	return lengths
}

func canonical(lengths []int) []int {
	codes := make([]int, len(lengths))
	next := 0
	for n := 1; n <= maxLength; n++ {
		for i, length := range lengths {
			if length == n {
				codes[i] = next
				next++
			}
		}
		next *= 2
	}
	return codes
}
