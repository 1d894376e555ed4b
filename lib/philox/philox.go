// Package philox is the random numbers of everything that must not depend on ranks, threads or the order of work: a draw is a pure function of a
// counter that names it and a key.
package philox

import "math/bits"

// Block is Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011): four random words.
func Block(counter [4]uint32, key uint64) [4]uint32 {
	k0, k1 := uint32(key), uint32(key>>32)
	for range 10 {
		h0, l0 := bits.Mul32(0xD2511F53, counter[0])
		h1, l1 := bits.Mul32(0xCD9E8D57, counter[2])
		counter = [4]uint32{h1 ^ counter[1] ^ k0, l1, h0 ^ counter[3] ^ k1, l0}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return counter
}
