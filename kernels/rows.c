/* rows.c: takes rows out of a matrix and adds them back. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

enum { ROWS_ITEM = 32 }; /* rows of one item of work */

struct rows {
	float *dst;
	const float *src;
	const int32_t *rows;
	int64_t m, h;
};

static void rows_gather(void *arg, long item, int thread)
{
	const struct rows *a = arg;
	(void)thread;
	int64_t end = item_end(item, ROWS_ITEM, a->m);
	for (int64_t i = item * ROWS_ITEM; i < end; i++)
		memcpy(a->dst + i * a->h, a->src + a->rows[i] * a->h, (size_t)a->h * sizeof *a->dst);
}

static int gather_rows(void *dst, const void *src, const int32_t *rows, int64_t m, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	struct rows a = {.dst = dst, .src = src, .rows = rows, .m = m, .h = h};
	parallel_for(s, item_count(m, ROWS_ITEM), rows_gather, &a);
	return HPCBERT_OK;
}

/* The rows are distinct, so items write different memory. */
static void rows_scatter_add(void *arg, long item, int thread)
{
	const struct rows *a = arg;
	(void)thread;
	int64_t end = item_end(item, ROWS_ITEM, a->m);
	for (int64_t i = item * ROWS_ITEM; i < end; i++) {
		float *dst = a->dst + a->rows[i] * a->h;
		const float *src = a->src + i * a->h;
		int64_t c = 0;
		for (; c + VL <= a->h; c += VL)
			vstore(dst + c, vload(dst + c) + vload(src + c));
		for (; c < a->h; c++)
			dst[c] += src[c];
	}
}

static int scatter_rows_add(void *dst, const void *src, const int32_t *rows, int64_t m, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	struct rows a = {.dst = dst, .src = src, .rows = rows, .m = m, .h = h};
	parallel_for(s, item_count(m, ROWS_ITEM), rows_scatter_add, &a);
	return HPCBERT_OK;
}

#endif
