/* cross_entropy.c: softmax cross-entropy of whole rows, with its gradient. A row of 30,522 logits stays in L2 through the passes: maximum,
 * exponentials (kept in float32, where the gradient goes if that is float32), scaling. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

/* Columns whose exponentials are added in float32; these sums are added in float64, else 30,522 terms would cost four digits. */
enum { CROSS_ENTROPY_BLOCK = 512 };

struct cross_entropy {
	float *loss;
	int32_t *predicted;
	void *dlogits;
	const void *logits;
	const int32_t *targets;
	float scale;
	int64_t v, ld;
	struct hpcbert_stream *s;
};

INLINE float cross_entropy_maximum(const void *x, int64_t v, int32_t dtype)
{
	vf top = vset(-INFINITY);
	int64_t c = 0;
	for (; c + VL <= v; c += VL)
		top = vmax(vget(x, c, dtype), top);
	float largest = vmax_lane(top);
	for (; c < v; c++)
		largest = get(x, c, dtype) > largest ? get(x, c, dtype) : largest;
	return largest;
}

/* The first column that holds the largest value; 0 when none does because all are NaN. */
INLINE int32_t cross_entropy_argmax(const void *x, float largest, int64_t v, int32_t dtype)
{
	for (int64_t c = 0; c < v; c++)
		if (get(x, c, dtype) == largest)
			return (int32_t)c;
	return 0;
}

/* Sum of e = exp(x - largest) over columns begin .. end-1; e is stored unless it is NULL. NaN stays NaN. */
INLINE float cross_entropy_exponentials(float *e, const void *x, float largest, int64_t begin, int64_t end, int32_t dtype)
{
	vf sum = {0};
	int64_t c = begin;
	for (; c + VL <= end; c += VL) {
		vf y = vexp(vget(x, c, dtype) - vset(largest));
		sum += y;
		if (e)
			vstore(e + c, y);
	}
	if (c < end) {
		/* The lanes beyond the row hold 0 - largest: they are computed, not added. */
		float lanes[VL];
		vstore(lanes, vexp(vget_first(x, c, end - c, dtype) - vset(largest)));
		for (int64_t i = 0; i < end - c; i++)
			sum[i] += lanes[i];
		if (e)
			memcpy(e + c, lanes, (size_t)(end - c) * sizeof *e);
	}
	return vsum(sum);
}

/* d = e * factor for the V columns, 0 for the padded ones */
INLINE void cross_entropy_scale(void *d, const float *e, float factor, int64_t v, int64_t ld, int32_t dtype)
{
	int64_t c = 0;
	for (; c + VL <= v; c += VL)
		vput(d, c, vload(e + c) * vset(factor), dtype);
	for (; c < v; c++)
		put(d, c, e[c] * factor, dtype);
	memset(at(d, v, dtype), 0, (size_t)(ld - v) * dtype_bytes(dtype));
}

INLINE void cross_entropy_row(void *arg, long row, int thread, int32_t dtype)
{
	const struct cross_entropy *a = arg;
	const void *x = at(a->logits, row * a->ld, dtype);
	void *d = a->dlogits ? at(a->dlogits, row * a->ld, dtype) : NULL;
	float *e = d && dtype != HPCBERT_F32 ? thread_scratch(a->s, thread) : d;
	int64_t target = a->targets[row];
	float largest = cross_entropy_maximum(x, a->v, dtype);
	if (a->predicted)
		a->predicted[row] = cross_entropy_argmax(x, largest, a->v, dtype);
	if (target < 0) {
		a->loss[row] = 0;
		if (d)
			memset(d, 0, (size_t)a->ld * dtype_bytes(dtype));
		return;
	}
	int known = target < a->v; /* a column beyond the row: its loss and gradient become NaN */
	float at_target = known ? get(x, target, dtype) : 0; /* read first: e may be x */
	double sum = known ? 0 : NAN;
	for (int64_t c = 0; c < a->v; c += CROSS_ENTROPY_BLOCK)
		sum += cross_entropy_exponentials(e, x, largest, c, c + CROSS_ENTROPY_BLOCK < a->v ? c + CROSS_ENTROPY_BLOCK : a->v, dtype);
	a->loss[row] = (float)(log(sum) + ((double)largest - at_target));
	if (!d)
		return;
	double probability = known ? e[target] / sum : 0;
	cross_entropy_scale(d, e, (float)(a->scale / sum), a->v, a->ld, dtype);
	if (known)
		put(d, target, (float)((probability - 1) * a->scale), dtype);
}
BODY_OF_EACH_DTYPE(cross_entropy_row)

static int cross_entropy(float *loss, int32_t *predicted, void *dlogits, const void *logits, const int32_t *targets, float scale, int64_t m,
                         int64_t v, int64_t ld, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	if (v < 1 || ld < v)
		return HPCBERT_BAD_ARGUMENT;
	if (dtype != HPCBERT_F32 && (size_t)v * sizeof(float) > THREAD_SCRATCH)
		return HPCBERT_NO_MEMORY;
	struct cross_entropy a = {.loss = loss, .predicted = predicted, .dlogits = dlogits, .logits = logits, .targets = targets, .scale = scale, .v = v, .ld = ld, .s = s};
	parallel_for(s, (long)m, BODY(cross_entropy_row, dtype), &a);
	return HPCBERT_OK;
}

#endif
