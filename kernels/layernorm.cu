/* layernorm.cu: layer normalisation on the GPU. Bound by memory: forward reads x and writes y, 8 bytes an element; backward reads x and dy
 * and writes dx, 12 bytes, its second reading of the block's rows comes from L2. */
#include "layernorm.cuh"

/* One warp a row. */
static __global__ void __launch_bounds__(LAYERNORM_THREADS)
    layernorm_rows(float *y, float *mean, float *rstd, const float *x, const float *gamma, const float *beta, int64_t t, int h, float epsilon)
{
	int64_t r = (int64_t)blockIdx.x * LAYERNORM_WARPS + threadIdx.x / WARP_LANES;
	if (r < t)
		warp_normalise(y + r * h, mean + r, rstd + r, x + r * h, gamma, beta, h, epsilon);
}

int layernorm_forward(void *y, float *mean, float *rstd, const void *x, const float *gamma, const float *beta, int64_t t, int64_t h,
                      float epsilon, int32_t dtype, hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	if (t == 0)
		return HPCBERT_OK;
	if (int rc = cuda_begin(s))
		return rc;
	LAUNCH(layernorm_rows, cuda_blocks(t, LAYERNORM_WARPS), LAYERNORM_THREADS, 0, s->queue)
	((float *)y, mean, rstd, (const float *)x, gamma, beta, t, (int)h, epsilon);
	return cuda_launched(s);
}

/* LAYERNORM_ROWS rows a block: first the parameters' gradients by columns, then dx by rows. */
static __global__ void __launch_bounds__(LAYERNORM_THREADS)
    layernorm_gradient_rows(float *dx, float *partial, const float *dy, const float *x, const float *mean, const float *rstd,
                            const float *gamma, int64_t t, int h)
{
	block_parameter_gradients(partial, dy, x, mean, rstd, t, h);
	__syncthreads();
	for (int i = threadIdx.x / WARP_LANES; i < LAYERNORM_ROWS; i += LAYERNORM_WARPS) {
		int64_t r = (int64_t)blockIdx.x * LAYERNORM_ROWS + i;
		if (r < t)
			warp_gradient(dx + r * h, dy + r * h, x + r * h, mean[r], rstd[r], gamma, h);
	}
}

int layernorm_backward(void *dx, float *dgamma, float *dbeta, const void *dy, const void *x, const float *mean, const float *rstd,
                       const float *gamma, int64_t t, int64_t h, int32_t dtype, hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	if (t == 0)
		return HPCBERT_OK;
	if (parameter_gradients_bytes(t, h) > CUDA_SCRATCH)
		return HPCBERT_NO_MEMORY;
	if (int rc = cuda_begin(s))
		return rc;
	float *partial = (float *)s->scratch;
	LAUNCH(layernorm_gradient_rows, cuda_blocks(t, LAYERNORM_ROWS), LAYERNORM_THREADS, 0, s->queue)
	((float *)dx, partial, (const float *)dy, (const float *)x, mean, rstd, gamma, t, (int)h);
	add_parameter_gradients(dgamma, dbeta, partial, t, h, s);
	return cuda_launched(s);
}

/* 32 columns so that loads coalesce, by 8 parts of the blocks so that a thousand of them do not wait for one thread. */
enum { SUM_COLUMNS = 32, SUM_PARTS = 8 };

static __global__ void add_partial_sums(float *dgamma, float *dbeta, const float *partial, unsigned blocks, int h)
{
	DYNAMIC_SHARED(float, sums); /* [SUM_PARTS, SUM_COLUMNS] */
	int c = blockIdx.x * SUM_COLUMNS + threadIdx.x; /* 0 .. h-1: dgamma; h .. 2h-1: dbeta */
	float sum = 0;
	if (c < 2 * h)
		for (unsigned b = threadIdx.y; b < blocks; b += SUM_PARTS)
			sum += partial[(int64_t)b * 2 * h + c];
	sums[threadIdx.y * SUM_COLUMNS + threadIdx.x] = sum;
	__syncthreads();
	if (threadIdx.y != 0 || c >= 2 * h)
		return;
	for (int i = 1; i < SUM_PARTS; i++)
		sum += sums[i * SUM_COLUMNS + threadIdx.x];
	float *out = c < h ? dgamma + c : dbeta + (c - h);
	*out += sum;
}

void add_parameter_gradients(float *dgamma, float *dbeta, const float *partial, int64_t t, int64_t h, hpcbert_stream *s)
{
	LAUNCH(add_partial_sums, cuda_blocks(2 * h, SUM_COLUMNS), dim3(SUM_COLUMNS, SUM_PARTS), SUM_COLUMNS * SUM_PARTS * sizeof(float), s->queue)
	(dgamma, dbeta, partial, cuda_blocks(t, LAYERNORM_ROWS), (int)h);
}
