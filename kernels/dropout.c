/* dropout.c: y = keep ? x / (1 - p) : 0. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

enum { DROPOUT_ROWS = 32 }; /* rows of one item of work: some 50 microseconds of Philox at 768 columns */

struct dropout {
	void *y;
	const void *x;
	const int32_t *samples, *positions;
	const struct hpcbert_dropout *drop;
	int64_t t, h;
	struct hpcbert_stream *s;
};

/* y = x * keep */
INLINE void dropout_multiply(void *y, const void *x, const float *keep, int64_t h, int32_t dtype)
{
	int64_t c = 0;
	for (; c + VL <= h; c += VL)
		vput(y, c, vget(x, c, dtype) * vload(keep + c), dtype);
	for (; c < h; c++)
		put(y, c, get(x, c, dtype) * keep[c], dtype);
}

INLINE void dropout_rows(void *arg, long item, int thread, int32_t dtype)
{
	const struct dropout *a = arg;
	float *keep = thread_scratch(a->s, thread);
	int64_t end = item_end(item, DROPOUT_ROWS, a->t);
	for (int64_t r = item * DROPOUT_ROWS; r < end; r++) {
		dropout_row(keep, a->h, a->drop, (uint32_t)a->samples[r], (uint32_t)a->positions[r]);
		dropout_multiply(at(a->y, r * a->h, dtype), at(a->x, r * a->h, dtype), keep, a->h, dtype);
	}
}
BODY_OF_EACH_DTYPE(dropout_rows)

static int dropout(void *y, const void *x, const int32_t *samples, const int32_t *positions, const struct hpcbert_dropout *drop, int64_t t,
                   int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	if (!dropout_valid(drop))
		return HPCBERT_BAD_ARGUMENT;
	if ((size_t)dropout_row_floats(h) * sizeof(float) > THREAD_SCRATCH)
		return HPCBERT_NO_MEMORY;
	if (drop->p == 0) {
		memmove(y, x, (size_t)(t * h) * dtype_bytes(dtype));
		return HPCBERT_OK;
	}
	struct dropout a = {.y = y, .x = x, .samples = samples, .positions = positions, .drop = drop, .t = t, .h = h, .s = s};
	parallel_for(s, item_count(t, DROPOUT_ROWS), BODY(dropout_rows, dtype), &a);
	return HPCBERT_OK;
}

#endif
