/* layernorm.cuh: layer normalisation of one row by one warp, for the operations that end in it. */
#ifndef HPCBERT_LAYERNORM_CUH
#define HPCBERT_LAYERNORM_CUH

#include "cuda.cuh"

enum {
	LAYERNORM_WARPS = 8,                          /* warps of a block: enough to hide a row's loads, few enough for short batches */
	LAYERNORM_THREADS = LAYERNORM_WARPS * WARP_LANES,
	LAYERNORM_ROWS = 32,                          /* rows of a block in the backward pass: one partial sum is written for them */
};

/* The sum over the warp's lanes, in the same order everywhere; every lane gets it. */
__device__ inline float warp_sum(float x)
{
	for (int lanes = WARP_LANES / 2; lanes > 0; lanes /= 2)
		x += __shfl_xor_sync(0xffffffffu, x, lanes);
	return x;
}

/* Mean and 1/sqrt(variance + epsilon) of a row in two passes: no cancellation when the mean is large; the second reads from L1. */
__device__ inline void warp_statistics(float *mean, float *rstd, const float *x, int h, float epsilon)
{
	int lane = threadIdx.x % WARP_LANES;
	float sum = 0;
	for (int c = lane; c < h; c += WARP_LANES)
		sum += x[c];
	*mean = warp_sum(sum) / (float)h;
	float squares = 0;
	for (int c = lane; c < h; c += WARP_LANES) {
		float d = x[c] - *mean;
		squares += d * d;
	}
	*rstd = 1.f / sqrtf(warp_sum(squares) / (float)h + epsilon);
}

/* y = (x - mean) * rstd * gamma + beta for one row; lane 0 keeps the statistics. */
__device__ inline void warp_normalise(float *y, float *mean, float *rstd, const float *x, const float *gamma, const float *beta, int h,
                                      float epsilon)
{
	int lane = threadIdx.x % WARP_LANES;
	float m, r;
	warp_statistics(&m, &r, x, h, epsilon);
	for (int c = lane; c < h; c += WARP_LANES)
		y[c] = (x[c] - m) * r * gamma[c] + beta[c];
	if (lane == 0) {
		*mean = m;
		*rstd = r;
	}
}

/* dx of one row, with xhat = (x - mean) * rstd and g = dy * gamma: rstd * (g - mean(g) - xhat * mean(g * xhat)). dx may be dy. */
__device__ inline void warp_gradient(float *dx, const float *dy, const float *x, float mean, float rstd, const float *gamma, int h)
{
	int lane = threadIdx.x % WARP_LANES;
	float sum = 0, product = 0;
	for (int c = lane; c < h; c += WARP_LANES) {
		float g = dy[c] * gamma[c];
		sum += g;
		product += g * (x[c] - mean) * rstd;
	}
	float mean_g = warp_sum(sum) / (float)h, mean_gx = warp_sum(product) / (float)h;
	for (int c = lane; c < h; c += WARP_LANES)
		dx[c] = rstd * (dy[c] * gamma[c] - mean_g - (x[c] - mean) * rstd * mean_gx);
}

/* Sums of dy * xhat and dy over the block's rows, one thread a column, to partial [blocks, 2, H]. Done before dx is written: it may be dy. */
__device__ inline void block_parameter_gradients(float *partial, const float *dy, const float *x, const float *mean, const float *rstd,
                                                 int64_t t, int h)
{
	int64_t begin = (int64_t)blockIdx.x * LAYERNORM_ROWS, end = begin + LAYERNORM_ROWS < t ? begin + LAYERNORM_ROWS : t;
	float *mine = partial + (int64_t)blockIdx.x * 2 * h;
	for (int c = threadIdx.x; c < h; c += LAYERNORM_THREADS) {
		float dgamma = 0, dbeta = 0;
		for (int64_t r = begin; r < end; r++) {
			float d = dy[r * h + c];
			dgamma += d * (x[r * h + c] - mean[r]) * rstd[r];
			dbeta += d;
		}
		mine[c] = dgamma;
		mine[h + c] = dbeta;
	}
}

/* The bytes of scratch that the partial sums of t rows take. */
inline size_t parameter_gradients_bytes(int64_t t, int64_t h)
{
	return (size_t)cuda_blocks(t, LAYERNORM_ROWS) * 2 * (size_t)h * sizeof(float);
}

/* Queues the addition of the blocks' partial sums to dgamma and dbeta, in the same order always. */
void add_parameter_gradients(float *dgamma, float *dbeta, const float *partial, int64_t t, int64_t h, hpcbert_stream *s);

#endif
