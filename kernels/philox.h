/* philox.h: dropout masks from Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011), see struct hpcbert_dropout. */
#ifndef HPCBERT_PHILOX_H
#define HPCBERT_PHILOX_H

#include "ops.h"
#include "simd.h"

enum { PHILOX_DRAWS = 8 }; /* draws of 16 bits that one block gives */

/* High and low halves of a * m in each lane. */
INLINE void multiply_wide(vu *high, vu *low, vu a, uint32_t m)
{
#if defined(__AVX512F__) && VL == 16
	__m512i even = _mm512_mul_epu32((__m512i)a, _mm512_set1_epi32((int)m));
	__m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), _mm512_set1_epi32((int)m));
	*high = (vu)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
	*low = a * m;
#elif defined(__AVX2__) && VL == 8
	__m256i even = _mm256_mul_epu32((__m256i)a, _mm256_set1_epi32((int)m));
	__m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), _mm256_set1_epi32((int)m));
	*high = (vu)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
	*low = a * m;
#else
	for (int i = 0; i < VL; i++)
		(*high)[i] = (uint32_t)((uint64_t)a[i] * m >> 32);
	*low = a * m;
#endif
}

/* Ten rounds on VL counters at once, in place; the seed is the key. */
INLINE void philox(vu c[4], uint64_t seed)
{
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
	for (int round = 0; round < 10; round++) {
		vu h0, l0, h1, l1;
		multiply_wide(&h0, &l0, c[0], 0xD2511F53u);
		multiply_wide(&h1, &l1, c[2], 0xCD9E8D57u);
		vu n0 = h1 ^ c[1] ^ k0, n2 = h0 ^ c[3] ^ k1;
		c[0] = n0;
		c[1] = l1;
		c[2] = n2;
		c[3] = l0;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
}

/* keep[c] = 1 / (1 - p) where column c of the row is kept, else 0, for c = 0 .. n-1. keep has room for n rounded up to a multiple of 8 * VL. */
INLINE void dropout_row(float *keep, long n, const struct hpcbert_dropout *d, uint32_t sample, uint32_t row)
{
	uint32_t threshold = (uint32_t)lrintf(d->p * 65536.f);
	float scale = 1.f / (1.f - d->p);
	vu lane;
	for (int i = 0; i < VL; i++)
		lane[i] = (uint32_t)i;
	for (long block = 0; block * PHILOX_DRAWS < n; block += VL) {
		vu zero = {0};
		vu c[4] = {lane + (uint32_t)block, zero + row, zero + sample, zero + (d->step * 4096u + d->site)};
		philox(c, d->seed);
		float *out = keep + block * PHILOX_DRAWS;
		for (int word = 0; word < 4; word++) {
			vu low = c[word] & 0xffffu, high = c[word] >> 16;
			vf a = (vf)((low >= threshold) & (vi)vset(scale)), b = (vf)((high >= threshold) & (vi)vset(scale));
			for (int i = 0; i < VL; i++) {
				out[i * PHILOX_DRAWS + 2 * word] = a[i];
				out[i * PHILOX_DRAWS + 2 * word + 1] = b[i];
			}
		}
	}
}

#endif
