package pretrain

import "math/bits"

// twister is the Mersenne Twister as Python's random module seeds and draws it: shards equal the reference's draw for draw.
type twister struct {
	state [624]uint32
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
	s := &t.state
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
	return t
}

func (t *twister) refill() {
	const n, m = 624, 397
	s := &t.state
	for i := range n - m {
		s[i] = s[i+m] ^ twist(s[i], s[i+1])
	}
	for i := n - m; i < n-1; i++ {
		s[i] = s[i+m-n] ^ twist(s[i], s[i+1])
	}
	s[n-1] = s[m-1] ^ twist(s[n-1], s[0])
	for i, y := range s {
		y ^= y >> 11
		y ^= y << 7 & 0x9d2c5680
		y ^= y << 15 & 0xefc60000
		t.out[i] = y ^ y>>18
	}
	t.next = 0
}

func twist(a, b uint32) uint32 {
	y := a&(1<<31) | b&(1<<31-1)
	return y>>1 ^ -(y&1)&0x9908b0df
}

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

// shuffleSmall is shuffle for many short lists. A draw that below would refuse, and which no processor can foresee, swaps an element with
// itself here, and the place stays the same.
func (t *twister) shuffleSmall(x []int32) {
	for i := len(x) - 1; i >= 1; {
		n := bits.Len(uint(i + 1))
		shift, last := 32-n, max(1<<(n-1)-1, 1) // the last place that draws this many bits
		for i >= last {
			if t.next == len(t.out) {
				t.refill()
			}
			j := int(t.out[t.next] >> (shift & 31))
			t.next++
			refused := (i - j) >> 63 // -1 or 0
			j += (i - j) & refused
			x[i], x[j] = x[j], x[i]
			i -= 1 + refused
		}
	}
}
