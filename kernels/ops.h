/* ops.h: every operation of the suite once, as one table of functions that each backend fills.
 *
 * Conventions. Outputs come first, then inputs, parameters, sizes, scalars, the stream. Sizes: T tokens (packed, no padding), B sequences,
 * H hidden, I intermediate, V vocabulary, M masked rows. Matrices are row-major. `dtype` is the type of the activations (void *);
 * parameters, statistics, losses and optimiser state are float32. A function returns 0 or an error number below; it never prints, exits
 * or allocates. Work is queued on the stream; results are there after synchronize. Same inputs, same bits, for any number of threads.
 */
#ifndef HPCBERT_OPS_H
#define HPCBERT_OPS_H

#include <stddef.h>
#include <stdint.h>

#define HPCBERT_ABI 3 /* raised with every change of the table */

enum hpcbert_error {
	HPCBERT_OK = 0,
	HPCBERT_BAD_ARGUMENT = 1, /* a size, pointer or option that no backend takes */
	HPCBERT_UNSUPPORTED = 2,  /* this backend or instruction set does not do it */
	HPCBERT_NO_MEMORY = 3,    /* device memory, or the stream's scratch, is too small */
	HPCBERT_DEVICE = 4,       /* the device reported an error: error_text tells */
};

enum hpcbert_dtype { HPCBERT_F32 = 0, HPCBERT_BF16 = 1, HPCBERT_F16 = 2 };

struct hpcbert_stream; /* a backend's queue: on the CPU a thread pool with its scratch */

/* Dropout. A draw is a pure function of (seed, step, sample, site, row, column): Philox 4x32-10 with key = seed and
 * counter = (column / 8, row, sample, step * 4096 + site) gives eight draws of 16 bits, the low half of a word first.
 * Kept where draw >= round(p * 65536), scaled by 1 / (1 - p). row = position in the sequence (attention: head * 65536 + query position),
 * column = column of the activation (attention: key position), sample = index of the sequence in the step's global batch. */
struct hpcbert_dropout {
	uint64_t seed;
	uint32_t step;
	uint32_t site; /* 4 * layer + {0 attention, 1 attention output, 2 feed-forward output}; 4095 embeddings */
	float p;       /* 0 = keep everything */
};

enum hpcbert_b_layout {
	HPCBERT_B_KN = 0,     /* stored [K, ldb >= N] */
	HPCBERT_B_NK = 1,     /* stored [N, ldb >= K]: a weight in its usual form */
	HPCBERT_B_PACKED = 2, /* written by gemm_pack */
};

enum hpcbert_epilogue {
	HPCBERT_LINEAR = 0,
	HPCBERT_GELU = 1,          /* pre = A·B + bias is stored, D = gelu(pre) */
	HPCBERT_GELU_GRADIENT = 2, /* D = (A·B) * gelu'(pre); pre is read */
};

/* D[M,N] (+)= epilogue(A[M,K] · B[K,N] + bias) */
struct hpcbert_gemm {
	void *d; /* [M, ldd] */
	const void *a; /* [M, lda], or [K, lda] with a_transposed */
	const void *b;
	const float *bias; /* [N] or NULL */
	void *pre;         /* [M, ldd], for the GELU epilogues */
	float *a_sums;     /* [M] or NULL: a_sums[m] += sum over k of A[m,k]; the bias gradient of dW = dYᵀ·X */
	int64_t m, n, k;
	int64_t ldd, lda, ldb; /* ldb is not read when B is packed */
	int32_t a_transposed;
	int32_t b_layout;   /* enum hpcbert_b_layout */
	int32_t epilogue;   /* enum hpcbert_epilogue */
	int32_t accumulate; /* add to D instead of replacing it; only with HPCBERT_LINEAR */
	int32_t dtype;      /* of A, B and pre */
	int32_t d_dtype;    /* of D: dtype, or with HPCBERT_LINEAR float32 (weight gradients) */
};

/* The constants of one update of LAMB or AdamW. */
struct hpcbert_lamb {
	float learning_rate;
	float beta1, beta2, epsilon;
	float correction1, correction2; /* 1 - beta^t; 1 switches bias correction off */
	float gradient_scale;           /* multiplied onto the gradient first: clipping, unscaling */
};

struct hpcbert_ops {
	int32_t abi;      /* HPCBERT_ABI */
	const char *name; /* "cpu-avx2", "cuda", "cudahost" */

	/* The device. */
	int (*stream_create)(struct hpcbert_stream **s, int device, int threads);
	int (*stream_destroy)(struct hpcbert_stream *s);
	int (*alloc)(void **p, size_t bytes, int device); /* zeroed, aligned to 64 bytes */
	int (*release)(void *p, size_t bytes);
	int (*upload)(void *dst, const void *host, size_t bytes, struct hpcbert_stream *s);
	int (*download)(void *host, const void *src, size_t bytes, struct hpcbert_stream *s); /* waits */
	int (*copy)(void *dst, const void *src, size_t bytes, struct hpcbert_stream *s);
	int (*zero)(void *dst, size_t bytes, struct hpcbert_stream *s);
	int (*synchronize)(struct hpcbert_stream *s);
	const char *(*error_text)(struct hpcbert_stream *s); /* what HPCBERT_DEVICE meant */

	/* The rate of multiply-adds that the device reaches at best, in 10^9 operations a second, measured in about 50 ms */
	int (*peak_gflops)(double *gflops, int32_t dtype, struct hpcbert_stream *s);

	/* Matrix products. */
	int (*gemm)(const struct hpcbert_gemm *g, struct hpcbert_stream *s);
	size_t (*gemm_packed_bytes)(int64_t n, int64_t k, int32_t dtype);
	/* Writes the block b = rows k0..k0+k of columns n0..n0+n of an operand B[K,N] into its packed form; layout says how b is stored.
	 * The buffer comes zeroed from alloc; blocks may be written in any order. b is float32, dtype is that of the packed operand; where that
	 * has 16 bits k0 is even, and so is k unless k0 + k is k_total. */
	int (*gemm_pack)(void *packed, const float *b, int64_t ldb, int32_t layout, int64_t n_total, int64_t k_total,
	                 int64_t n0, int64_t n, int64_t k0, int64_t k, int32_t dtype, struct hpcbert_stream *s);

	/* z[t] = word[ids[t]] + position[positions[t]] + type[segments[t]] */
	int (*embedding_forward)(void *z /* [T,H] */, const int32_t *ids, const int32_t *positions, const int32_t *segments, /* [T] each */
	                         const float *word /* [V,H] */, const float *position /* [P,H] */, const float *type /* [2,H] */,
	                         int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s);
	/* adds dz to the rows of the three gradients */
	int (*embedding_backward)(float *dword, float *dposition, float *dtype_, const void *dz /* [T,H] */, const int32_t *ids,
	                          const int32_t *positions, const int32_t *segments, int64_t t, int64_t h, int32_t dtype,
	                          struct hpcbert_stream *s);

	/* y = (x - mean) * rstd * gamma + beta over each row; biased variance */
	int (*layernorm_forward)(void *y /* [T,H] */, float *mean /* [T] */, float *rstd /* [T] */, const void *x /* [T,H] */,
	                         const float *gamma /* [H] */, const float *beta /* [H] */, int64_t t, int64_t h, float epsilon,
	                         int32_t dtype, struct hpcbert_stream *s);
	/* dgamma and dbeta are added to; dx may be dy */
	int (*layernorm_backward)(void *dx /* [T,H] */, float *dgamma /* [H] */, float *dbeta /* [H] */, const void *dy, const void *x,
	                          const float *mean, const float *rstd, const float *gamma, int64_t t, int64_t h, int32_t dtype,
	                          struct hpcbert_stream *s);

	/* y = dropout(x), also the backward pass; y may be x. samples and positions [T] name each token's draw. */
	int (*dropout)(void *y, const void *x, const int32_t *samples, const int32_t *positions, const struct hpcbert_dropout *drop,
	               int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s);

	/* z = residual + dropout(x); y = layernorm(z). z is kept for the backward pass; z may be x. */
	int (*dropout_residual_layernorm_forward)(void *y, void *z, float *mean, float *rstd, const void *x, const void *residual,
	                                          const float *gamma, const float *beta, const int32_t *samples, const int32_t *positions,
	                                          const struct hpcbert_dropout *drop, int64_t t, int64_t h, float epsilon, int32_t dtype,
	                                          struct hpcbert_stream *s);
	/* dresidual = gradient of z; dx = dropout's gradient of it. dresidual may be dy. */
	int (*dropout_residual_layernorm_backward)(void *dx, void *dresidual, float *dgamma, float *dbeta, const void *dy, const void *z,
	                                           const float *mean, const float *rstd, const float *gamma, const int32_t *samples,
	                                           const int32_t *positions, const struct hpcbert_dropout *drop, int64_t t, int64_t h,
	                                           int32_t dtype, struct hpcbert_stream *s);

	/* Self-attention of packed sequences; head dimension D = H / heads. Sequence b owns the rows cu_seqlens[b] .. cu_seqlens[b+1]-1 of
	 * qkv [T,3H] (queries, keys, values side by side). Keys at and beyond key_lengths[b] are masked out (NULL: none are).
	 * ctx = dropout(softmax(q·kᵀ / sqrt(D)))·v; lse keeps log(sum(exp(scores))) for the backward pass, [heads, T]. */
	int (*attention_forward)(void *ctx /* [T,H] */, float *lse, const void *qkv, const int32_t *cu_seqlens /* [B+1] */,
	                         const int32_t *key_lengths /* [B] or NULL */, const int32_t *samples /* [B] */,
	                         const struct hpcbert_dropout *drop, int64_t b, int64_t t, int64_t heads, int64_t h, int32_t dtype,
	                         struct hpcbert_stream *s);
	int (*attention_backward)(void *dqkv /* [T,3H] */, const void *dctx /* [T,H] */, const void *ctx, const float *lse, const void *qkv,
	                          const int32_t *cu_seqlens, const int32_t *key_lengths, const int32_t *samples,
	                          const struct hpcbert_dropout *drop, int64_t b, int64_t t, int64_t heads, int64_t h, int32_t dtype,
	                          struct hpcbert_stream *s);

	/* GELU in its exact (erf) form; dx = dy * gelu'(x), dx may be dy */
	int (*gelu_forward)(void *y, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s);
	int (*gelu_backward)(void *dx, const void *dy, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s);
	/* dx = dy * (1 - y²), dx may be dy */
	int (*tanh_forward)(void *y, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s);
	int (*tanh_backward)(void *dx, const void *dy, const void *y, int64_t n, int32_t dtype, struct hpcbert_stream *s);

	/* dst[i] = src[rows[i]]; dst[rows[i]] += src[i] with distinct rows */
	int (*gather_rows)(void *dst /* [M,H] */, const void *src /* [T,H] */, const int32_t *rows /* [M] */, int64_t m, int64_t h,
	                   int32_t dtype, struct hpcbert_stream *s);
	int (*scatter_rows_add)(void *dst /* [T,H] */, const void *src /* [M,H] */, const int32_t *rows /* [M] */, int64_t m, int64_t h,
	                        int32_t dtype, struct hpcbert_stream *s);

	/* Softmax cross-entropy of each row of logits [M, ld] over its first V columns.
	 * loss[m] = log(sum(exp(logits))) - logits[target]; dlogits = (softmax - onehot) * scale, columns V..ld-1 zero; dlogits may be
	 * logits, or NULL for the loss alone; predicted[m] (or NULL) = the column of the largest logit. A target below 0 gives loss 0, gradient 0. */
	int (*cross_entropy)(float *loss /* [M] */, int32_t *predicted, void *dlogits, const void *logits, const int32_t *targets /* [M] */,
	                     float scale, int64_t m, int64_t v, int64_t ld, int32_t dtype, struct hpcbert_stream *s);

	/* The optimiser works on arenas: tensor i is x[offsets[i]] .. x[offsets[i+1]-1]. */
	/* sums[i] = sum of squares of tensor i, in float64 */
	int (*squared_sums)(double *sums /* [n] */, const float *x, const int64_t *offsets /* [n+1] */, int64_t n, struct hpcbert_stream *s);
	/* g' = g * gradient_scale; m, v updated; g becomes u = m/correction1 / (sqrt(v/correction2) + epsilon) + decay[i] * w;
	 * w_sums[i] and u_sums[i] = sums of squares of w and u */
	int (*lamb_direction)(float *g, float *m, float *v, double *w_sums, double *u_sums /* [n] each */, const float *w,
	                      const int64_t *offsets, const float *decay /* [n] */, int64_t n, const struct hpcbert_lamb *lamb,
	                      struct hpcbert_stream *s);
	/* w -= r * u with r = learning_rate * |w| / |u| where decay[i] != 0 and neither norm is 0, else learning_rate */
	int (*lamb_apply)(float *w, const float *u, const double *w_sums, const double *u_sums, const int64_t *offsets, const float *decay,
	                  int64_t n, const struct hpcbert_lamb *lamb, struct hpcbert_stream *s);
	/* AdamW in one pass: m, v and u as lamb_direction has them, w -= learning_rate * u; u is not kept */
	int (*adamw)(float *w, float *m, float *v, const float *g, const int64_t *offsets, const float *decay, int64_t n,
	             const struct hpcbert_lamb *lamb, struct hpcbert_stream *s);
};

/* What a backend library exports: its table, or NULL and a reason. */
typedef const struct hpcbert_ops *(*hpcbert_open_fn)(const char **reason);
#define HPCBERT_OPEN_SYMBOL "hpcbert_open"

#endif
