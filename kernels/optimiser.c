/* optimiser.c: LAMB and AdamW over arenas of many tensors. Work is cut into chunks that never cross a tensor; a chunk's sums are added in chunk
 * order, so that no result depends on the threads. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

enum { OPTIMISER_CHUNK = 65536 }; /* elements of one item of work: four arrays of 256 KiB pass through L2 once */

typedef double vd __attribute__((vector_size(VL * 4))); /* VL / 2 lanes */
typedef float vf_half __attribute__((vector_size(VL * 2), aligned(4), may_alias));

struct optimiser {
	float *g, *m, *v;
	float *w;
	double *w_sums, *u_sums; /* [n] */
	const int64_t *offsets;
	const float *decay;
	const struct hpcbert_lamb *lamb;
	int64_t n;
	int64_t *first;      /* [n+1]: the first chunk of each tensor */
	double (*partial)[2]; /* [chunks] */
};

/* Counts the chunks and lays out the scratch; the number of chunks, or -1 when the scratch is too small. */
static long optimiser_plan(struct optimiser *a, struct hpcbert_stream *s)
{
	if ((size_t)(a->n + 1) * sizeof *a->first > SHARED_SCRATCH)
		return -1;
	a->first = shared_scratch(s);
	a->first[0] = 0;
	for (int64_t i = 0; i < a->n; i++)
		a->first[i + 1] = a->first[i] + item_count(a->offsets[i + 1] - a->offsets[i], OPTIMISER_CHUNK);
	long chunks = (long)a->first[a->n];
	a->partial = (double (*)[2])(a->first + a->n + 1);
	size_t bytes = (size_t)(a->n + 1) * sizeof *a->first + (size_t)chunks * sizeof *a->partial;
	return bytes > SHARED_SCRATCH ? -1 : chunks;
}

struct optimiser_chunk {
	int64_t tensor, begin, end;
};

/* Finds a chunk's tensor by bisection; tensors without elements have no chunks and are never found. */
static struct optimiser_chunk optimiser_find(const struct optimiser *a, long chunk)
{
	int64_t low = 0, high = a->n;
	while (high - low > 1) {
		int64_t middle = (low + high) / 2;
		if (a->first[middle] <= chunk)
			low = middle;
		else
			high = middle;
	}
	int64_t begin = a->offsets[low] + (chunk - a->first[low]) * OPTIMISER_CHUNK, end = begin + OPTIMISER_CHUNK;
	return (struct optimiser_chunk){low, begin, end < a->offsets[low + 1] ? end : a->offsets[low + 1]};
}

/* sums[i] = the parts of tensor i's chunks */
static void optimiser_collect(double *sums, const struct optimiser *a, int part)
{
	for (int64_t i = 0; i < a->n; i++) {
		sums[i] = 0;
		for (int64_t c = a->first[i]; c < a->first[i + 1]; c++)
			sums[i] += a->partial[c][part];
	}
}

INLINE double optimiser_total(vd sum)
{
	double total = 0;
	for (int i = 0; i < VL / 2; i++)
		total += sum[i];
	return total;
}

/* Squares of VL floats, in float64: those of half precision's scaled gradients do not fit float32. */
INLINE vd optimiser_squares(const float *x)
{
	vd low = __builtin_convertvector(*(const vf_half *)x, vd), high = __builtin_convertvector(*(const vf_half *)(x + VL / 2), vd);
	return low * low + high * high;
}

static void squared_sums_chunk(void *arg, long item, int thread)
{
	const struct optimiser *a = arg;
	(void)thread;
	struct optimiser_chunk k = optimiser_find(a, item);
	vd sum[2] = {0};
	int64_t i = k.begin;
	for (; i + 2 * VL <= k.end; i += 2 * VL) {
		sum[0] += optimiser_squares(a->w + i);
		sum[1] += optimiser_squares(a->w + i + VL);
	}
	double total = optimiser_total(sum[0] + sum[1]);
	for (; i < k.end; i++)
		total += (double)a->w[i] * a->w[i];
	a->partial[item][0] = total;
}

static int squared_sums(double *sums, const float *x, const int64_t *offsets, int64_t n, struct hpcbert_stream *s)
{
	struct optimiser a = {.w = (float *)x, .offsets = offsets, .n = n};
	long chunks = optimiser_plan(&a, s);
	if (chunks < 0)
		return HPCBERT_NO_MEMORY;
	parallel_for(s, chunks, squared_sums_chunk, &a);
	optimiser_collect(sums, &a, 0);
	return HPCBERT_OK;
}

/* The update of VL elements: m and v are moved on, g becomes u. */
INLINE void lamb_vector(vf *g, vf *m, vf *v, vf w, float decay, const struct hpcbert_lamb *l)
{
	vf scaled = *g * vset(l->gradient_scale);
	*m = vset(l->beta1) * *m + vset(1 - l->beta1) * scaled;
	*v = vset(l->beta2) * *v + vset(1 - l->beta2) * scaled * scaled;
	*g = *m / vset(l->correction1) / (vsqrt(*v / vset(l->correction2)) + vset(l->epsilon)) + vset(decay) * w;
}

static void lamb_direction_chunk(void *arg, long item, int thread)
{
	const struct optimiser *a = arg;
	(void)thread;
	struct optimiser_chunk k = optimiser_find(a, item);
	const struct hpcbert_lamb l = *a->lamb;
	float decay = a->decay[k.tensor];
	vd w_sum = {0}, u_sum = {0};
	int64_t i = k.begin;
	for (; i + VL <= k.end; i += VL) {
		vf g = vload(a->g + i), m = vload(a->m + i), v = vload(a->v + i);
		lamb_vector(&g, &m, &v, vload(a->w + i), decay, &l);
		vstore(a->g + i, g);
		vstore(a->m + i, m);
		vstore(a->v + i, v);
		w_sum += optimiser_squares(a->w + i);
		u_sum += optimiser_squares(a->g + i);
	}
	if (i < k.end) {
		int64_t left = k.end - i;
		vf g = vload_first(a->g + i, left), m = vload_first(a->m + i, left), v = vload_first(a->v + i, left), w = vload_first(a->w + i, left);
		lamb_vector(&g, &m, &v, w, decay, &l);
		vstore_first(a->g + i, g, left);
		vstore_first(a->m + i, m, left);
		vstore_first(a->v + i, v, left);
		float lanes[2][VL];
		vstore(lanes[0], w);
		vstore(lanes[1], vload_first(a->g + i, left)); /* not g: its lanes beyond the tensor are 0/0 when epsilon is 0 */
		w_sum += optimiser_squares(lanes[0]);
		u_sum += optimiser_squares(lanes[1]);
	}
	a->partial[item][0] = optimiser_total(w_sum);
	a->partial[item][1] = optimiser_total(u_sum);
}

static int lamb_direction(float *g, float *m, float *v, double *w_sums, double *u_sums, const float *w, const int64_t *offsets,
                          const float *decay, int64_t n, const struct hpcbert_lamb *lamb, struct hpcbert_stream *s)
{
	struct optimiser a = {.g = g, .m = m, .v = v, .w = (float *)w, .offsets = offsets, .decay = decay, .lamb = lamb, .n = n};
	long chunks = optimiser_plan(&a, s);
	if (chunks < 0)
		return HPCBERT_NO_MEMORY;
	parallel_for(s, chunks, lamb_direction_chunk, &a);
	optimiser_collect(w_sums, &a, 0);
	optimiser_collect(u_sums, &a, 1);
	return HPCBERT_OK;
}

static void lamb_apply_chunk(void *arg, long item, int thread)
{
	const struct optimiser *a = arg;
	(void)thread;
	struct optimiser_chunk k = optimiser_find(a, item);
	double w_sum = a->w_sums[k.tensor], u_sum = a->u_sums[k.tensor], ratio = 1;
	if (a->decay[k.tensor] != 0 && w_sum != 0 && u_sum != 0)
		ratio = sqrt(w_sum) / sqrt(u_sum);
	float rate = (float)(a->lamb->learning_rate * ratio);
	int64_t i = k.begin;
	for (; i + VL <= k.end; i += VL)
		vstore(a->w + i, vload(a->w + i) - vset(rate) * vload(a->g + i));
	for (; i < k.end; i++)
		a->w[i] -= rate * a->g[i];
}

static int lamb_apply(float *w, const float *u, const double *w_sums, const double *u_sums, const int64_t *offsets, const float *decay,
                      int64_t n, const struct hpcbert_lamb *lamb, struct hpcbert_stream *s)
{
	struct optimiser a = {.g = (float *)u, .w = w, .w_sums = (double *)w_sums, .u_sums = (double *)u_sums, .offsets = offsets, .decay = decay, .lamb = lamb, .n = n};
	long chunks = optimiser_plan(&a, s);
	if (chunks < 0)
		return HPCBERT_NO_MEMORY;
	parallel_for(s, chunks, lamb_apply_chunk, &a);
	return HPCBERT_OK;
}

static void adamw_chunk(void *arg, long item, int thread)
{
	const struct optimiser *a = arg;
	(void)thread;
	struct optimiser_chunk k = optimiser_find(a, item);
	const struct hpcbert_lamb l = *a->lamb;
	float decay = a->decay[k.tensor];
	int64_t i = k.begin;
	for (; i + VL <= k.end; i += VL) {
		vf u = vload(a->g + i), m = vload(a->m + i), v = vload(a->v + i), w = vload(a->w + i);
		lamb_vector(&u, &m, &v, w, decay, &l);
		vstore(a->m + i, m);
		vstore(a->v + i, v);
		vstore(a->w + i, w - vset(l.learning_rate) * u);
	}
	if (i < k.end) {
		int64_t left = k.end - i;
		vf u = vload_first(a->g + i, left), m = vload_first(a->m + i, left), v = vload_first(a->v + i, left), w = vload_first(a->w + i, left);
		lamb_vector(&u, &m, &v, w, decay, &l);
		vstore_first(a->m + i, m, left);
		vstore_first(a->v + i, v, left);
		vstore_first(a->w + i, w - vset(l.learning_rate) * u, left);
	}
}

static int adamw(float *w, float *m, float *v, const float *g, const int64_t *offsets, const float *decay, int64_t n,
                 const struct hpcbert_lamb *lamb, struct hpcbert_stream *s)
{
	struct optimiser a = {.g = (float *)g, .m = m, .v = v, .w = w, .offsets = offsets, .decay = decay, .lamb = lamb, .n = n};
	long chunks = optimiser_plan(&a, s);
	if (chunks < 0)
		return HPCBERT_NO_MEMORY;
	parallel_for(s, chunks, adamw_chunk, &a);
	return HPCBERT_OK;
}

#endif
