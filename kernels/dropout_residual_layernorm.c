/* dropout_residual_layernorm.c: z = residual + dropout(x), y = layernorm(z), row by row while the row is in L1. Compiled by isa.inc once
 * for each instruction set, after layernorm.c and dropout.c. */
#ifdef ISA

struct drl_forward {
	void *y, *z;
	float *mean, *rstd;
	const void *x, *residual;
	const float *gamma, *beta;
	const int32_t *samples, *positions;
	const struct hpcbert_dropout *drop;
	int64_t t, h;
	float epsilon;
	struct hpcbert_stream *s;
};

/* z = residual + x * keep; keep NULL keeps everything */
INLINE void drl_add(void *z, const void *x, const void *residual, const float *keep, int64_t h, int32_t dtype)
{
	int64_t c = 0;
	for (; c + VL <= h; c += VL)
		vput(z, c, vget(residual, c, dtype) + (keep ? vget(x, c, dtype) * vload(keep + c) : vget(x, c, dtype)), dtype);
	for (; c < h; c++)
		put(z, c, get(residual, c, dtype) + (keep ? get(x, c, dtype) * keep[c] : get(x, c, dtype)), dtype);
}

/* The row's factors in scratch, or NULL when nothing is dropped. */
INLINE float *drl_keep(struct hpcbert_stream *s, int thread, const struct hpcbert_dropout *drop, const int32_t *samples,
                       const int32_t *positions, int64_t row, int64_t h)
{
	if (drop->p == 0)
		return NULL;
	float *keep = thread_scratch(s, thread);
	dropout_row(keep, h, drop, (uint32_t)samples[row], (uint32_t)positions[row]);
	return keep;
}

/* What is stored of z is what is normalised: the backward pass reads the same. */
INLINE void drl_forward_rows(void *arg, long item, int thread, int32_t dtype)
{
	const struct drl_forward *a = arg;
	int64_t end = item_end(item, LAYERNORM_ROWS, a->t);
	for (int64_t r = item * LAYERNORM_ROWS; r < end; r++) {
		void *z = at(a->z, r * a->h, dtype);
		drl_add(z, at(a->x, r * a->h, dtype), at(a->residual, r * a->h, dtype),
		        drl_keep(a->s, thread, a->drop, a->samples, a->positions, r, a->h), a->h, dtype);
		row_statistics(&a->mean[r], &a->rstd[r], z, a->h, a->epsilon, dtype);
		normalise_row(at(a->y, r * a->h, dtype), z, a->mean[r], a->rstd[r], a->gamma, a->beta, a->h, dtype);
	}
}
BODY_OF_EACH_DTYPE(drl_forward_rows)

static int dropout_residual_layernorm_forward(void *y, void *z, float *mean, float *rstd, const void *x, const void *residual,
                                              const float *gamma, const float *beta, const int32_t *samples, const int32_t *positions,
                                              const struct hpcbert_dropout *drop, int64_t t, int64_t h, float epsilon, int32_t dtype,
                                              struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	if (!dropout_valid(drop))
		return HPCBERT_BAD_ARGUMENT;
	if ((size_t)dropout_row_floats(h) * sizeof(float) > THREAD_SCRATCH)
		return HPCBERT_NO_MEMORY;
	struct drl_forward a = {.y = y, .z = z, .mean = mean, .rstd = rstd, .x = x, .residual = residual, .gamma = gamma, .beta = beta,
	                        .samples = samples, .positions = positions, .drop = drop, .t = t, .h = h, .epsilon = epsilon, .s = s};
	parallel_for(s, item_count(t, LAYERNORM_ROWS), BODY(drl_forward_rows, dtype), &a);
	return HPCBERT_OK;
}

struct drl_backward {
	void *dx, *dresidual;
	float *partial;
	const void *dy, *z;
	const float *mean, *rstd, *gamma;
	const int32_t *samples, *positions;
	const struct hpcbert_dropout *drop;
	int64_t t, h;
	struct hpcbert_stream *s;
};

INLINE void drl_backward_rows(void *arg, long item, int thread, int32_t dtype)
{
	const struct drl_backward *a = arg;
	float *dgamma = a->partial + item * 2 * a->h, *dbeta = dgamma + a->h;
	memset(dgamma, 0, (size_t)(2 * a->h) * sizeof *dgamma);
	int64_t end = item_end(item, LAYERNORM_ROWS, a->t);
	for (int64_t r = item * LAYERNORM_ROWS; r < end; r++) {
		void *dz = at(a->dresidual, r * a->h, dtype), *dx = at(a->dx, r * a->h, dtype);
		layernorm_row_gradient(dz, dgamma, dbeta, at(a->dy, r * a->h, dtype), at(a->z, r * a->h, dtype), a->mean[r], a->rstd[r], a->gamma,
		                       a->h, dtype);
		float *keep = drl_keep(a->s, thread, a->drop, a->samples, a->positions, r, a->h);
		if (keep)
			dropout_multiply(dx, dz, keep, a->h, dtype);
		else
			memmove(dx, dz, (size_t)a->h * dtype_bytes(dtype));
	}
}
BODY_OF_EACH_DTYPE(drl_backward_rows)

static int dropout_residual_layernorm_backward(void *dx, void *dresidual, float *dgamma, float *dbeta, const void *dy, const void *z,
                                               const float *mean, const float *rstd, const float *gamma, const int32_t *samples,
                                               const int32_t *positions, const struct hpcbert_dropout *drop, int64_t t, int64_t h,
                                               int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	if (!dropout_valid(drop))
		return HPCBERT_BAD_ARGUMENT;
	long items = item_count(t, LAYERNORM_ROWS);
	if ((size_t)dropout_row_floats(h) * sizeof(float) > THREAD_SCRATCH || (size_t)(items * 2 * h) * sizeof(float) > SHARED_SCRATCH)
		return HPCBERT_NO_MEMORY;
	struct drl_backward a = {.dx = dx, .dresidual = dresidual, .partial = shared_scratch(s), .dy = dy, .z = z, .mean = mean, .rstd = rstd,
	                         .gamma = gamma, .samples = samples, .positions = positions, .drop = drop, .t = t, .h = h, .s = s};
	parallel_for(s, items, BODY(drl_backward_rows, dtype), &a);
	add_partial_sums(dgamma, dbeta, a.partial, items, h, s);
	return HPCBERT_OK;
}

#endif
