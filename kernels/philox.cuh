/* philox.cuh: dropout masks on the GPU, the same bits as philox.h (struct hpcbert_dropout in ops.h says which). */
#ifndef HPCBERT_PHILOX_CUH
#define HPCBERT_PHILOX_CUH

#include "cuda.cuh"

enum { PHILOX_DRAWS = 8 };

/* What a kernel needs of struct hpcbert_dropout, rounded on the host so that all backends agree. */
struct dropout_mask {
	uint64_t seed;
	uint32_t layer; /* step * 4096 + site */
	uint32_t threshold;
	float scale;
};

inline bool dropout_valid(const hpcbert_dropout *d)
{
	return d->p >= 0 && d->p < 1;
}

inline dropout_mask make_mask(const hpcbert_dropout *d)
{
	return {d->seed, d->step * 4096u + d->site, (uint32_t)lrintf(d->p * 65536.f), 1.f / (1.f - d->p)};
}

/* keep[i] = scale where column 8 * block + i is kept, else 0. */
__device__ inline void keep_block(float keep[PHILOX_DRAWS], const dropout_mask &mask, uint32_t sample, uint32_t row, uint32_t block)
{
	uint32_t c[4] = {block, row, sample, mask.layer};
	uint32_t k0 = (uint32_t)mask.seed, k1 = (uint32_t)(mask.seed >> 32);
	for (int round = 0; round < 10; round++) {
		uint32_t h0 = __umulhi(0xD2511F53u, c[0]), l0 = 0xD2511F53u * c[0];
		uint32_t h1 = __umulhi(0xCD9E8D57u, c[2]), l1 = 0xCD9E8D57u * c[2];
		c[0] = h1 ^ c[1] ^ k0;
		c[1] = l1;
		c[2] = h0 ^ c[3] ^ k1;
		c[3] = l0;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	for (int i = 0; i < PHILOX_DRAWS; i++)
		keep[i] = (c[i / 2] >> 16 * (i % 2) & 0xffffu) >= mask.threshold ? mask.scale : 0.f;
}

#endif
