/* cross_entropy.c: softmax cross-entropy of whole rows, with its gradient. A row of 30,522 logits stays in L2 through the passes: maximum,
 * exponentials (kept where the gradient goes), scaling. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

/* Columns whose exponentials are added in float32; these sums are added in float64, else 30,522 terms would cost four digits. */
enum { CROSS_ENTROPY_BLOCK = 512 };

struct cross_entropy {
	float *loss;
	int32_t *predicted;
	float *dlogits;
	const float *logits;
	const int32_t *targets;
	float scale;
	int64_t v, ld;
};

INLINE float cross_entropy_maximum(const float *x, int64_t v)
{
	vf top = vset(-INFINITY);
	int64_t c = 0;
	for (; c + VL <= v; c += VL)
		top = vmax(vload(x + c), top);
	float largest = vmax_lane(top);
	for (; c < v; c++)
		largest = x[c] > largest ? x[c] : largest;
	return largest;
}

/* The first column that holds the largest value; 0 when none does because all are NaN. */
INLINE int32_t cross_entropy_argmax(const float *x, float largest, int64_t v)
{
	for (int64_t c = 0; c < v; c++)
		if (x[c] == largest)
			return (int32_t)c;
	return 0;
}

/* Sum of e = exp(x - largest) over columns begin .. end-1; e is stored unless it is NULL. NaN stays NaN. */
INLINE float cross_entropy_exponentials(float *e, const float *x, float largest, int64_t begin, int64_t end)
{
	vf sum = {0};
	int64_t c = begin;
	for (; c + VL <= end; c += VL) {
		vf y = vexp(vload(x + c) - vset(largest));
		sum += y;
		if (e)
			vstore(e + c, y);
	}
	if (c < end) {
		/* The lanes beyond the row hold 0 - largest: they are computed, not added. */
		float lanes[VL];
		vstore(lanes, vexp(vload_first(x + c, end - c) - vset(largest)));
		for (int64_t i = 0; i < end - c; i++)
			sum[i] += lanes[i];
		if (e)
			memcpy(e + c, lanes, (size_t)(end - c) * sizeof *e);
	}
	return vsum(sum);
}

/* d = e * factor for the V columns, 0 for the padded ones */
INLINE void cross_entropy_scale(float *d, float factor, int64_t v, int64_t ld)
{
	int64_t c = 0;
	for (; c + VL <= v; c += VL)
		vstore(d + c, vload(d + c) * vset(factor));
	for (; c < v; c++)
		d[c] *= factor;
	memset(d + v, 0, (size_t)(ld - v) * sizeof *d);
}

static void cross_entropy_row(void *arg, long row, int thread)
{
	const struct cross_entropy *a = arg;
	(void)thread;
	const float *x = a->logits + row * a->ld;
	float *d = a->dlogits ? a->dlogits + row * a->ld : NULL;
	int64_t target = a->targets[row];
	float largest = cross_entropy_maximum(x, a->v);
	if (a->predicted)
		a->predicted[row] = cross_entropy_argmax(x, largest, a->v);
	if (target < 0) {
		a->loss[row] = 0;
		if (d)
			memset(d, 0, (size_t)a->ld * sizeof *d);
		return;
	}
	int known = target < a->v; /* a column beyond the row: its loss and gradient become NaN */
	float at_target = known ? x[target] : 0; /* read first: d may be x */
	double sum = known ? 0 : NAN;
	for (int64_t c = 0; c < a->v; c += CROSS_ENTROPY_BLOCK)
		sum += cross_entropy_exponentials(d, x, largest, c, c + CROSS_ENTROPY_BLOCK < a->v ? c + CROSS_ENTROPY_BLOCK : a->v);
	a->loss[row] = (float)(log(sum) + ((double)largest - at_target));
	if (!d)
		return;
	double probability = known ? d[target] / sum : 0;
	cross_entropy_scale(d, (float)(a->scale / sum), a->v, a->ld);
	if (known)
		d[target] = (float)((probability - 1) * a->scale);
}

static int cross_entropy(float *loss, int32_t *predicted, void *dlogits, const void *logits, const int32_t *targets, float scale, int64_t m,
                         int64_t v, int64_t ld, int32_t dtype, struct hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	if (v < 1 || ld < v)
		return HPCBERT_BAD_ARGUMENT;
	struct cross_entropy a = {.loss = loss, .predicted = predicted, .dlogits = dlogits, .logits = logits, .targets = targets, .scale = scale, .v = v, .ld = ld};
	parallel_for(s, (long)m, cross_entropy_row, &a);
	return HPCBERT_OK;
}

#endif
