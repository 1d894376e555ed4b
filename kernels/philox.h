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

/* Ten rounds on units of VL counters, in place; the seed is the key. The rounds of one counter wait for each other: two units at a time
 * fill the gaps. */
INLINE void philox(vu c[][4], int units, uint64_t seed)
{
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
	for (int round = 0; round < 10; round++) {
#pragma GCC unroll 2
		for (int u = 0; u < units; u++) {
			vu h0, l0, h1, l1;
			multiply_wide(&h0, &l0, c[u][0], 0xD2511F53u);
			multiply_wide(&h1, &l1, c[u][2], 0xCD9E8D57u);
			c[u][0] = h1 ^ c[u][1] ^ k0;
			c[u][1] = l1;
			c[u][2] = h0 ^ c[u][3] ^ k1;
			c[u][3] = l0;
		}
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
}

/* Whether the draws are well defined. */
INLINE int dropout_valid(const struct hpcbert_dropout *d)
{
	return d->p >= 0 && d->p < 1;
}

/* The eight draws of one block, and all those of one word of VL blocks; the words are little-endian, so the low half of a word comes first. */
typedef uint16_t draws16 __attribute__((vector_size(16)));
typedef draws16 draws16_unaligned __attribute__((aligned(2), may_alias));
typedef uint16_t word_draws __attribute__((vector_size(VL * 4)));

/* mask + 8 * i = the four words of block i: lane i of each vector. */
INLINE void philox_blocks(uint16_t *mask, const vu c[4])
{
	draws16_unaligned *blocks = (draws16_unaligned *)mask;
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
		blocks[i] = (draws16)_mm256_castsi256_si128(quad[i]);
		blocks[i + 4] = (draws16)_mm256_extracti128_si256(quad[i], 1);
	}
#else
	for (int i = 0; i < VL; i++)
		blocks[i] = (draws16)(uint32_t __attribute__((vector_size(16)))){c[0][i], c[1][i], c[2][i], c[3][i]};
#endif
}

enum { DROPOUT_UNIT = PHILOX_DRAWS * VL }; /* draws of VL blocks, which are made together */

/* Where to draw a unit's masks. */
struct dropout_unit {
	uint16_t *mask;      /* [DROPOUT_UNIT], all ones where kept, else 0 */
	uint32_t row, block; /* the counter of the first block */
};

INLINE void dropout_draw(const struct dropout_unit *unit, int units, const struct hpcbert_dropout *d, uint32_t sample)
{
	uint32_t threshold = (uint32_t)(d->p * 65536.f + 8388608.f) - 8388608u; /* rounded by the sum, to even as lrintf does */
	word_draws least = (word_draws){0} + (uint16_t)threshold, any = (word_draws){0} - (uint16_t)(threshold <= 0xffff);
	vu zero = {0}, lane, c[2][4];
	for (int i = 0; i < VL; i++)
		lane[i] = (uint32_t)i;
#pragma GCC unroll 2
	for (int u = 0; u < units; u++) {
		c[u][0] = lane + unit[u].block;
		c[u][1] = zero + unit[u].row;
		c[u][2] = zero + sample;
		c[u][3] = zero + (d->step * 4096u + d->site);
	}
	philox(c, units, d->seed);
#pragma GCC unroll 2
	for (int u = 0; u < units; u++) {
		for (int i = 0; i < 4; i++)
			c[u][i] = (vu)((word_draws)((word_draws)c[u][i] >= least) & any);
		philox_blocks(unit[u].mask, c[u]);
	}
}

/* Columns of a mask of n columns: whole units. */
INLINE int64_t dropout_mask_columns(int64_t n)
{
	return (n + DROPOUT_UNIT - 1) / DROPOUT_UNIT * DROPOUT_UNIT;
}

/* mask[r, c] = all ones where column c of row + r is kept, else 0. mask is [rows, dropout_mask_columns(n)]. */
static void dropout_masks(uint16_t *mask, long n, const struct hpcbert_dropout *d, uint32_t sample, uint32_t row, long rows)
{
	long across = dropout_mask_columns(n) / DROPOUT_UNIT, waiting = 0;
	struct dropout_unit unit[2];
	for (long r = 0; r < rows; r++)
		for (long u = 0; u < across; u++, mask += DROPOUT_UNIT) {
			unit[waiting++] = (struct dropout_unit){.mask = mask, .row = row + (uint32_t)r, .block = (uint32_t)(u * VL)};
			if (waiting == 2) {
				dropout_draw(unit, 2, d, sample);
				waiting = 0;
			}
		}
	if (waiting)
		dropout_draw(unit, 1, d, sample);
}

/* VL values of a mask, widened. */
INLINE vi dropout_lanes(const uint16_t *mask)
{
#if defined(__AVX512F__) && VL == 16
	return (vi)_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)mask));
#elif defined(__AVX2__) && VL == 8
	return (vi)_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)mask));
#else
	typedef int16_t narrow __attribute__((vector_size(VL * 2), aligned(2), may_alias));
	return __builtin_convertvector(*(const narrow *)mask, vi);
#endif
}

/* keep[c] = 1 / (1 - p) where column c of the row is kept, else 0, for c = 0 .. n-1. keep has room for n rounded up to whole units. */
INLINE void dropout_row(float *keep, long n, const struct hpcbert_dropout *d, uint32_t sample, uint32_t row)
{
	vi scale = (vi)vset(1.f / (1.f - d->p));
	for (long c = 0; c < n; c += 2 * DROPOUT_UNIT) {
		uint16_t mask[2 * DROPOUT_UNIT];
		struct dropout_unit unit[2] = {{mask, row, (uint32_t)(c / PHILOX_DRAWS)}, {mask + DROPOUT_UNIT, row, (uint32_t)(c / PHILOX_DRAWS + VL)}};
		int units = n - c > DROPOUT_UNIT ? 2 : 1;
		if (units == 2)
			dropout_draw(unit, 2, d, sample);
		else
			dropout_draw(unit, 1, d, sample);
		for (long i = 0; i < units * DROPOUT_UNIT; i += VL)
			vstore(keep + c + i, (vf)(dropout_lanes(mask + i) & scale));
	}
}

/* Floats that keep needs for rows of n columns. */
INLINE int64_t dropout_row_floats(int64_t n)
{
	return dropout_mask_columns(n);
}

#endif
