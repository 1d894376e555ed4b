package pretrain

import "math/bits"

// twister is the Mersenne Twister as Python's random module seeds and draws it: shards equal the reference's draw for draw.
type twister struct {
	state [624]uint32
	next  int
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
	for i := range n {
		y := s[i]&(1<<31) | s[(i+1)%n]&(1<<31-1)
		s[i] = s[(i+m)%n] ^ y>>1 ^ -(y&1)&0x9908b0df
	}
	t.next = 0
}

// uint32 returns the next 32-bit output.
func (t *twister) uint32() uint32 {
	if t.next == len(t.state) {
		t.refill()
	}
	y := t.state[t.next]
	t.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// random returns a number in [0, 1) of 53 random bits.
func (t *twister) random() float64 {
	a, b := t.uint32()>>5, t.uint32()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
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
func (t *twister) shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i >= 1; i-- {
		swap(i, t.below(i+1))
	}
}
