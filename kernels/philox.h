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

/* Whether the draws are well defined. */
INLINE int dropout_valid(const struct hpcbert_dropout *d)
{
	return d->p >= 0 && d->p < 1;
}

/* The eight draws of one block, each in 32 bits: the words are little-endian, so the low half of a word comes first. */
typedef uint16_t draws16 __attribute__((vector_size(16)));
typedef uint32_t draws32 __attribute__((vector_size(32)));
typedef draws32 draws32_unaligned __attribute__((aligned(4), may_alias));

/* blocks[i] = the four words of block i: lane i of each vector. */
INLINE void philox_blocks(draws16 blocks[VL], const vu c[4])
{
#if defined(__AVX512F__) && VL == 16
	__m512i a = _mm512_unpacklo_epi32((__m512i)c[0], (__m512i)c[1]), b = _mm512_unpacklo_epi32((__m512i)c[2], (__m512i)c[3]);
	__m512i d = _mm512_unpackhi_epi32((__m512i)c[0], (__m512i)c[1]), e = _mm512_unpackhi_epi32((__m512i)c[2], (__m512i)c[3]);
	__m512i quad[4] = {_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b), _mm512_unpacklo_epi64(d, e), _mm512_unpackhi_epi64(d, e)};
	for (int i = 0; i < 4; i++) {
		blocks[i] = (draws16)_mm512_extracti32x4_epi32(quad[i], 0);
		blocks[i + 4] = (draws16)_mm512_extracti32x4_epi32(quad[i], 1);
		blocks[i + 8] = (draws16)_mm512_extracti32x4_epi32(quad[i], 2);
		blocks[i + 12] = (draws16)_mm512_extracti32x4_epi32(quad[i], 3);
	}
#elif defined(__AVX2__) && VL == 8
	__m256i a = _mm256_unpacklo_epi32((__m256i)c[0], (__m256i)c[1]), b = _mm256_unpacklo_epi32((__m256i)c[2], (__m256i)c[3]);
	__m256i d = _mm256_unpackhi_epi32((__m256i)c[0], (__m256i)c[1]), e = _mm256_unpackhi_epi32((__m256i)c[2], (__m256i)c[3]);
	__m256i quad[4] = {_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b), _mm256_unpacklo_epi64(d, e), _mm256_unpackhi_epi64(d, e)};
	for (int i = 0; i < 4; i++) {
		blocks[i] = (draws16)_mm256_extracti128_si256(quad[i], 0);
		blocks[i + 4] = (draws16)_mm256_extracti128_si256(quad[i], 1);
	}
#else
	for (int i = 0; i < VL; i++)
		blocks[i] = (draws16)(uint32_t __attribute__((vector_size(16)))){c[0][i], c[1][i], c[2][i], c[3][i]};
#endif
}

/* keep[c] = 1 / (1 - p) where column c of the row is kept, else 0, for c = 0 .. n-1. keep has room for n rounded up to a multiple of 8 * VL. */
INLINE void dropout_row(float *keep, long n, const struct hpcbert_dropout *d, uint32_t sample, uint32_t row)
{
	draws32 threshold = (draws32){0} + (uint32_t)lrintf(d->p * 65536.f);
	float scale = 1.f / (1.f - d->p);
	uint32_t scale_bits;
	memcpy(&scale_bits, &scale, sizeof scale);
	vu zero = {0}, lane;
	for (int i = 0; i < VL; i++)
		lane[i] = (uint32_t)i;
	for (long block = 0; block * PHILOX_DRAWS < n; block += VL) {
		vu c[4] = {lane + (uint32_t)block, zero + row, zero + sample, zero + (d->step * 4096u + d->site)};
		draws16 blocks[VL];
		philox(c, d->seed);
		philox_blocks(blocks, c);
		float *out = keep + block * PHILOX_DRAWS;
		for (int i = 0; i < VL; i++) {
			draws32 kept = (draws32)(__builtin_convertvector(blocks[i], draws32) >= threshold) & scale_bits;
			*(draws32_unaligned *)(out + i * PHILOX_DRAWS) = kept;
		}
	}
}

/* Floats that keep needs for rows of n columns. */
INLINE int64_t dropout_row_floats(int64_t n)
{
	const int64_t step = PHILOX_DRAWS * VL;
	return (n + step - 1) / step * step;
}

#endif
