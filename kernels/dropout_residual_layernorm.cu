/* dropout_residual_layernorm.cu: z = residual + dropout(x), y = layernorm(z) on the GPU. One warp a row; a lane makes the eight draws of a
 * Philox block for eight neighbouring columns. Forward moves 16 bytes an element (x, residual, z, y; z comes back from L1), backward 16. */
#include "layernorm.cuh"
#include "philox.cuh"

/* out = x * keep, plus residual unless it is NULL, for one row by one warp. out may be x. */
static __device__ void warp_drop(float *out, const float *x, const float *residual, const dropout_mask &mask, uint32_t sample, uint32_t row,
                                 int h)
{
	for (int block = threadIdx.x % WARP_LANES; block * PHILOX_DRAWS < h; block += WARP_LANES) {
		float keep[PHILOX_DRAWS];
		keep_block(keep, mask, sample, row, block);
		for (int i = 0, c = block * PHILOX_DRAWS; i < PHILOX_DRAWS && c < h; i++, c++)
			out[c] = (residual ? residual[c] : 0.f) + x[c] * keep[i];
	}
}

/* The same where p is 0: nothing is dropped and the names of the draws may be missing. */
static __device__ void warp_add(float *out, const float *x, const float *residual, int h)
{
	for (int c = threadIdx.x % WARP_LANES; c < h; c += WARP_LANES)
		out[c] = (residual ? residual[c] : 0.f) + x[c];
}

static __global__ void __launch_bounds__(LAYERNORM_THREADS)
    drl_rows(float *y, float *z, float *mean, float *rstd, const float *x, const float *residual, const float *gamma, const float *beta,
             const int32_t *samples, const int32_t *positions, dropout_mask mask, int64_t t, int h, float epsilon)
{
	int64_t r = (int64_t)blockIdx.x * LAYERNORM_WARPS + threadIdx.x / WARP_LANES;
	if (r >= t)
		return;
	if (mask.scale != 1.f)
		warp_drop(z + r * h, x + r * h, residual + r * h, mask, samples[r], positions[r], h);
	else
		warp_add(z + r * h, x + r * h, residual + r * h, h);
	__syncwarp(); /* lanes read what others wrote */
	warp_normalise(y + r * h, mean + r, rstd + r, z + r * h, gamma, beta, h, epsilon);
}

int dropout_residual_layernorm_forward(void *y, void *z, float *mean, float *rstd, const void *x, const void *residual, const float *gamma,
                                       const float *beta, const int32_t *samples, const int32_t *positions, const hpcbert_dropout *drop,
                                       int64_t t, int64_t h, float epsilon, int32_t dtype, hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	if (!dropout_valid(drop))
		return HPCBERT_BAD_ARGUMENT;
	if (t == 0)
		return HPCBERT_OK;
	if (int rc = cuda_begin(s))
		return rc;
	LAUNCH(drl_rows, cuda_blocks(t, LAYERNORM_WARPS), LAYERNORM_THREADS, 0, s->queue)
	((float *)y, (float *)z, mean, rstd, (const float *)x, (const float *)residual, gamma, beta, samples, positions, make_mask(drop), t, (int)h, epsilon);
	return cuda_launched(s);
}

static __global__ void __launch_bounds__(LAYERNORM_THREADS)
    drl_gradient_rows(float *dx, float *dresidual, float *partial, const float *dy, const float *z, const float *mean, const float *rstd,
                      const float *gamma, const int32_t *samples, const int32_t *positions, dropout_mask mask, int64_t t, int h)
{
	block_parameter_gradients(partial, dy, z, mean, rstd, t, h);
	__syncthreads();
	for (int i = threadIdx.x / WARP_LANES; i < LAYERNORM_ROWS; i += LAYERNORM_WARPS) {
		int64_t r = (int64_t)blockIdx.x * LAYERNORM_ROWS + i;
		if (r >= t)
			return;
		float *dz = dresidual + r * h;
		warp_gradient(dz, dy + r * h, z + r * h, mean[r], rstd[r], gamma, h);
		__syncwarp();
		if (mask.scale != 1.f)
			warp_drop(dx + r * h, dz, nullptr, mask, samples[r], positions[r], h);
		else
			warp_add(dx + r * h, dz, nullptr, h);
	}
}

int dropout_residual_layernorm_backward(void *dx, void *dresidual, float *dgamma, float *dbeta, const void *dy, const void *z,
                                        const float *mean, const float *rstd, const float *gamma, const int32_t *samples,
                                        const int32_t *positions, const hpcbert_dropout *drop, int64_t t, int64_t h, int32_t dtype,
                                        hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	if (!dropout_valid(drop))
		return HPCBERT_BAD_ARGUMENT;
	if (t == 0)
		return HPCBERT_OK;
	if (parameter_gradients_bytes(t, h) > CUDA_SCRATCH)
		return HPCBERT_NO_MEMORY;
	if (int rc = cuda_begin(s))
		return rc;
	float *partial = (float *)s->scratch;
	LAUNCH(drl_gradient_rows, cuda_blocks(t, LAYERNORM_ROWS), LAYERNORM_THREADS, 0, s->queue)
	((float *)dx, (float *)dresidual, partial, (const float *)dy, (const float *)z, mean, rstd, gamma, samples, positions, make_mask(drop), t, (int)h);
	add_parameter_gradients(dgamma, dbeta, partial, t, h, s);
	return cuda_launched(s);
}
