package pretrain

import (
	"encoding/binary"
	"math/bits"
)

// twister is the Mersenne Twister as Python's random module seeds and draws it: shards equal the reference's draw for draw.
type twister struct {
	state words
	out   [624]uint32 // outputs made of state
	next  int         // the first of them not yet drawn
}

// newTwister seeds with the 32-bit words of |seed| (Matsumoto and Nishimura's init_by_array).
func newTwister(seed int64) *twister {
	magnitude := uint64(seed)
	if seed < 0 {
		magnitude = -magnitude
	}
	key := []uint32{uint32(magnitude)}
	if high := uint32(magnitude >> 32); high != 0 {
		key = append(key, high)
	}
	t := &twister{next: 624}
	var s [624]uint32
	s[0] = 19650218
	for i := 1; i < len(s); i++ {
		s[i] = 1812433253*(s[i-1]^s[i-1]>>30) + uint32(i)
	}
	i := 1
	advance := func() {
		if i++; i == len(s) {
			s[0], i = s[len(s)-1], 1
		}
	}
	for k := range len(s) {
		j := k % len(key)
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1664525) + key[j] + uint32(j)
		advance()
	}
	for range len(s) - 1 {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1566083941) - uint32(i)
		advance()
	}
	s[0] = 1 << 31
	for i, v := range s {
		t.state.set(i, v)
	}
	return t
}

// refill makes the next 624 outputs, two words at a time.
func (t *twister) refill() {
	const n, m = 624, 397
	s := &t.state
	for i := 0; i < n-m-1; i += 2 {
		s.setPair(i, s.pair(i+m)^twist(s.pair(i), s.pair(i+1)))
	}
	s.set(n-m-1, s.get(n-1)^uint32(twist(uint64(s.get(n-m-1)), uint64(s.get(n-m)))))
	for i := n - m; i < n-1; i += 2 {
		s.setPair(i, s.pair(i+m-n)^twist(s.pair(i), s.pair(i+1)))
	}
	s.set(n-1, s.get(m-1)^uint32(twist(uint64(s.get(n-1)), uint64(s.get(0)))))
	for i := 0; i < n; i += 2 {
		y := s.pair(i)
		y ^= y >> 11 & ((1<<21 - 1) * both)
		y ^= y << 7 & (0x9d2c5680 * both)
		y ^= y << 15 & (0xefc60000 * both)
		y ^= y >> 18 & ((1<<14 - 1) * both)
		t.out[i], t.out[i+1] = uint32(y), uint32(y>>32)
	}
	t.next = 0
}

// both has a one in each of two words; a word times both is that word twice.
const both = 1<<32 | 1

// twist mixes words and their successors, two of each.
func twist(a, b uint64) uint64 {
	y := a&(1<<31*both) | b&((1<<31-1)*both)
	return y>>1&((1<<31-1)*both) ^ y&both*0x9908b0df
}

// words are 624 words of 32 bits, of which neighbours can be taken in pairs.
type words [4 * 624]byte

func (w *words) get(i int) uint32        { return binary.LittleEndian.Uint32(w[4*i:]) }
func (w *words) set(i int, v uint32)     { binary.LittleEndian.PutUint32(w[4*i:], v) }
func (w *words) pair(i int) uint64       { return binary.LittleEndian.Uint64(w[4*i:]) }
func (w *words) setPair(i int, v uint64) { binary.LittleEndian.PutUint64(w[4*i:], v) }

// uint32 returns the next 32-bit output.
func (t *twister) uint32() uint32 {
	if t.next == len(t.out) {
		t.refill()
	}
	y := t.out[t.next]
	t.next++
	return y
}

// random returns a number in [0, 1) of 53 random bits.
func (t *twister) random() float64 {
	a, b := t.uint32()>>5, t.uint32()>>6
	return float64(uint64(a)<<26|uint64(b)) / (1 << 53)
}

// half returns 1 where random would return a number below 0.5, else 0: the highest bit decides.
func (t *twister) half() int {
	high := t.uint32() >> 31
	t.uint32()
	return 1 - int(high)
}

// below returns a number in [0, n).
func (t *twister) below(n int) int {
	shift := 32 - bits.Len(uint(n))
	for {
		if r := int(t.uint32() >> shift); r < n {
			return r
		}
	}
}

// between returns a number in [a, b].
func (t *twister) between(a, b int) int { return a + t.below(b-a+1) }

// shuffle is Fisher and Yates' from the end.
func shuffle[E any](t *twister, x []E) {
	for i := len(x) - 1; i >= 1; i-- {
		j := t.below(i + 1)
		x[i], x[j] = x[j], x[i]
	}
}

// shuffleSmall is shuffle for lists of at most maxInstanceIDs, in two passes: no processor can foresee which draws below refuses, so the
// first pass writes down all of them and goes on to the next place after those that count.
func (t *twister) shuffleSmall(x []int32) {
	var places [maxInstanceIDs]int32
	for i := len(x) - 1; i >= 1; {
		n := bits.Len(uint(i + 1))
		shift, last := uint(32-n), max(1<<(n-1)-1, 1) // the last place that draws this many bits
		if t.next == len(t.out) {
			t.refill()
		}
		used := 0
		for _, y := range t.out[t.next:] {
			if i < last {
				break
			}
			used++
			j := int(y >> (shift & 31))
			places[i&(maxInstanceIDs-1)] = int32(j)
			i -= 1 + (i-j)>>63 // by 0 when j is beyond i
		}
		t.next += used
	}
	for i := len(x) - 1; i >= 1; i-- {
		j := places[i&(maxInstanceIDs-1)]
		x[i], x[j] = x[j], x[i]
	}
}
