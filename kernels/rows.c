/* rows.c: takes rows out of a matrix and adds them back. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

enum { ROWS_ITEM = 32 }; /* rows of one item of work */

struct rows {
	void *dst;
	const void *src;
	const int32_t *rows;
	int64_t m, h;
};

INLINE void rows_gather(void *arg, long item, int thread, int32_t dtype)
{
	const struct rows *a = arg;
	(void)thread;
	int64_t end = item_end(item, ROWS_ITEM, a->m);
	for (int64_t i = item * ROWS_ITEM; i < end; i++)
		memcpy(at(a->dst, i * a->h, dtype), at(a->src, a->rows[i] * a->h, dtype), (size_t)a->h * dtype_bytes(dtype));
}
BODY_OF_EACH_DTYPE(rows_gather)

static int gather_rows(void *dst, const void *src, const int32_t *rows, int64_t m, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	struct rows a = {.dst = dst, .src = src, .rows = rows, .m = m, .h = h};
	parallel_for(s, item_count(m, ROWS_ITEM), BODY(rows_gather, dtype), &a);
	return HPCBERT_OK;
}

/* The rows are distinct, so items write different memory. */
INLINE void rows_scatter_add(void *arg, long item, int thread, int32_t dtype)
{
	const struct rows *a = arg;
	(void)thread;
	int64_t end = item_end(item, ROWS_ITEM, a->m);
	for (int64_t i = item * ROWS_ITEM; i < end; i++) {
		void *dst = at(a->dst, a->rows[i] * a->h, dtype);
		const void *src = at(a->src, i * a->h, dtype);
		int64_t c = 0;
		for (; c + VL <= a->h; c += VL)
			vput(dst, c, vget(dst, c, dtype) + vget(src, c, dtype), dtype);
		for (; c < a->h; c++)
			put(dst, c, get(dst, c, dtype) + get(src, c, dtype), dtype);
	}
}
BODY_OF_EACH_DTYPE(rows_scatter_add)

static int scatter_rows_add(void *dst, const void *src, const int32_t *rows, int64_t m, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	struct rows a = {.dst = dst, .src = src, .rows = rows, .m = m, .h = h};
	parallel_for(s, item_count(m, ROWS_ITEM), BODY(rows_scatter_add, dtype), &a);
	return HPCBERT_OK;
}

#endif
