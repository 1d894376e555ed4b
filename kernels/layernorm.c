/* layernorm.c: layer normalisation. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

/* Rows of one item of work. Partial sums over the rows of an item are added in item order, so that no result depends on the threads. */
enum { LAYERNORM_ROWS = 32 };

struct layernorm {
	void *y;
	float *mean, *rstd;
	const void *x;
	const float *gamma, *beta;
	int64_t t, h;
	float epsilon;
};

/* Mean and 1/sqrt(variance + epsilon) of a row, in two passes over values that are in L1: no cancellation when the mean is large. */
INLINE void row_statistics(float *mean, float *rstd, const void *x, int64_t h, float epsilon, int32_t dtype)
{
	vf sum = {0};
	int64_t c = 0;
	for (; c + VL <= h; c += VL)
		sum += vget(x, c, dtype);
	float total = vsum(sum);
	for (; c < h; c++)
		total += get(x, c, dtype);
	float mu = total / (float)h;
	vf squares = {0};
	for (c = 0; c + VL <= h; c += VL) {
		vf d = vget(x, c, dtype) - vset(mu);
		squares += d * d;
	}
	float variance = vsum(squares);
	for (; c < h; c++)
		variance += (get(x, c, dtype) - mu) * (get(x, c, dtype) - mu);
	*mean = mu;
	*rstd = 1.f / sqrtf(variance / (float)h + epsilon);
}

/* y = (x - mean) * rstd * gamma + beta for one row */
INLINE void normalise_row(void *y, const void *x, float mean, float rstd, const float *gamma, const float *beta, int64_t h, int32_t dtype)
{
	int64_t c = 0;
	for (; c + VL <= h; c += VL)
		vput(y, c, (vget(x, c, dtype) - vset(mean)) * vset(rstd) * vload(gamma + c) + vload(beta + c), dtype);
	for (; c < h; c++)
		put(y, c, (get(x, c, dtype) - mean) * rstd * gamma[c] + beta[c], dtype);
}

INLINE void layernorm_rows(void *arg, long item, int thread, int32_t dtype)
{
	const struct layernorm *a = arg;
	(void)thread;
	int64_t end = item_end(item, LAYERNORM_ROWS, a->t);
	for (int64_t r = item * LAYERNORM_ROWS; r < end; r++) {
		const void *x = at(a->x, r * a->h, dtype);
		row_statistics(&a->mean[r], &a->rstd[r], x, a->h, a->epsilon, dtype);
		normalise_row(at(a->y, r * a->h, dtype), x, a->mean[r], a->rstd[r], a->gamma, a->beta, a->h, dtype);
	}
}
BODY_OF_EACH_DTYPE(layernorm_rows)

static int layernorm_forward(void *y, float *mean, float *rstd, const void *x, const float *gamma, const float *beta, int64_t t,
                             int64_t h, float epsilon, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	struct layernorm a = {.y = y, .mean = mean, .rstd = rstd, .x = x, .gamma = gamma, .beta = beta, .t = t, .h = h, .epsilon = epsilon};
	parallel_for(s, item_count(t, LAYERNORM_ROWS), BODY(layernorm_rows, dtype), &a);
	return HPCBERT_OK;
}

struct layernorm_gradient {
	void *dx;
	float *dgamma, *dbeta, *partial;
	const void *dy, *x;
	const float *mean, *rstd, *gamma;
	int64_t t, h;
};

/* Gradient of one row, with xhat = (x - mean) * rstd and g = dy * gamma:
 * dx = rstd * (g - mean(g) - xhat * mean(g * xhat)); dgamma += dy * xhat; dbeta += dy */
INLINE void layernorm_row_gradient(void *dx, float *dgamma, float *dbeta, const void *dy, const void *x, float mean, float rstd,
                                   const float *gamma, int64_t h, int32_t dtype)
{
	vf sum = {0}, product = {0};
	int64_t c = 0;
	for (; c + VL <= h; c += VL) {
		vf d = vget(dy, c, dtype), xhat = (vget(x, c, dtype) - vset(mean)) * vset(rstd), g = d * vload(gamma + c);
		sum += g;
		product += g * xhat;
		vstore(dgamma + c, vload(dgamma + c) + d * xhat);
		vstore(dbeta + c, vload(dbeta + c) + d);
	}
	float sum_g = vsum(sum), sum_gx = vsum(product);
	for (int64_t i = c; i < h; i++) {
		float d = get(dy, i, dtype), xhat = (get(x, i, dtype) - mean) * rstd;
		sum_g += d * gamma[i];
		sum_gx += d * gamma[i] * xhat;
		dgamma[i] += d * xhat;
		dbeta[i] += d;
	}
	float mean_g = sum_g / (float)h, mean_gx = sum_gx / (float)h;
	for (c = 0; c + VL <= h; c += VL) {
		vf xhat = (vget(x, c, dtype) - vset(mean)) * vset(rstd);
		vput(dx, c, vset(rstd) * (vget(dy, c, dtype) * vload(gamma + c) - vset(mean_g) - xhat * vset(mean_gx)), dtype);
	}
	for (; c < h; c++)
		put(dx, c, rstd * (get(dy, c, dtype) * gamma[c] - mean_g - (get(x, c, dtype) - mean) * rstd * mean_gx), dtype);
}

INLINE void layernorm_gradient_rows(void *arg, long item, int thread, int32_t dtype)
{
	const struct layernorm_gradient *a = arg;
	(void)thread;
	float *dgamma = a->partial + item * 2 * a->h, *dbeta = dgamma + a->h;
	memset(dgamma, 0, (size_t)(2 * a->h) * sizeof *dgamma);
	int64_t end = item_end(item, LAYERNORM_ROWS, a->t);
	for (int64_t r = item * LAYERNORM_ROWS; r < end; r++)
		layernorm_row_gradient(at(a->dx, r * a->h, dtype), dgamma, dbeta, at(a->dy, r * a->h, dtype), at(a->x, r * a->h, dtype), a->mean[r],
		                       a->rstd[r], a->gamma, a->h, dtype);
}
BODY_OF_EACH_DTYPE(layernorm_gradient_rows)

/* Columns of one item when partial sums are added. */
enum { PARTIAL_COLUMNS = 128 };

struct partial_sums {
	float *dgamma, *dbeta;
	const float *partial; /* [items, 2, H] */
	long items;
	int64_t h;
};

static void partial_sums_columns(void *arg, long item, int thread)
{
	const struct partial_sums *a = arg;
	(void)thread;
	int64_t begin = item * PARTIAL_COLUMNS, end = item_end(item, PARTIAL_COLUMNS, a->h);
	for (long i = 0; i < a->items; i++) {
		const float *gamma = a->partial + 2 * i * a->h, *beta = gamma + a->h;
		for (int64_t c = begin; c < end; c++) {
			a->dgamma[c] += gamma[c];
			a->dbeta[c] += beta[c];
		}
	}
}

/* Adds the items' partial sums to dgamma and dbeta, each column in item order. */
static void add_partial_sums(float *dgamma, float *dbeta, const float *partial, long items, int64_t h, struct hpcbert_stream *s)
{
	struct partial_sums a = {.dgamma = dgamma, .dbeta = dbeta, .partial = partial, .items = items, .h = h};
	parallel_for(s, item_count(h, PARTIAL_COLUMNS), partial_sums_columns, &a);
}

static int layernorm_backward(void *dx, float *dgamma, float *dbeta, const void *dy, const void *x, const float *mean, const float *rstd,
                              const float *gamma, int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	long items = item_count(t, LAYERNORM_ROWS);
	if ((size_t)(items * 2 * h) * sizeof(float) > SHARED_SCRATCH)
		return HPCBERT_NO_MEMORY;
	struct layernorm_gradient a = {.dx = dx, .partial = shared_scratch(s), .dy = dy, .x = x, .mean = mean, .rstd = rstd, .gamma = gamma, .t = t, .h = h};
	parallel_for(s, items, BODY(layernorm_gradient_rows, dtype), &a);
	add_partial_sums(dgamma, dbeta, a.partial, items, h, s);
	return HPCBERT_OK;
}

#endif
