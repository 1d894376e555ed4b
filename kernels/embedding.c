/* embedding.c: sums of the three embeddings of each token. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

enum {
	EMBEDDING_ROWS = 64,    /* rows of one item of the forward pass */
	EMBEDDING_COLUMNS = 64, /* columns of one item of the backward pass: whole cache lines of each table's row */
};

struct embedding {
	void *z;
	const int32_t *ids, *positions, *segments;
	const float *word, *position, *type;
	int64_t t, h;
};

/* z = a + b + c */
INLINE void embedding_row(void *z, const float *a, const float *b, const float *c, int64_t h, int32_t dtype)
{
	int64_t i = 0;
	for (; i + VL <= h; i += VL)
		vput(z, i, vload(a + i) + vload(b + i) + vload(c + i), dtype);
	for (; i < h; i++)
		put(z, i, a[i] + b[i] + c[i], dtype);
}

INLINE void embedding_rows(void *arg, long item, int thread, int32_t dtype)
{
	const struct embedding *a = arg;
	(void)thread;
	int64_t end = item_end(item, EMBEDDING_ROWS, a->t);
	for (int64_t r = item * EMBEDDING_ROWS; r < end; r++)
		embedding_row(at(a->z, r * a->h, dtype), a->word + a->ids[r] * a->h, a->position + a->positions[r] * a->h,
		              a->type + a->segments[r] * a->h, a->h, dtype);
}
BODY_OF_EACH_DTYPE(embedding_rows)

static int embedding_forward(void *z, const int32_t *ids, const int32_t *positions, const int32_t *segments, const float *word,
                             const float *position, const float *type, int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	struct embedding a = {.z = z, .ids = ids, .positions = positions, .segments = segments, .word = word, .position = position, .type = type, .t = t, .h = h};
	parallel_for(s, item_count(t, EMBEDDING_ROWS), BODY(embedding_rows, dtype), &a);
	return HPCBERT_OK;
}

struct embedding_gradient {
	float *dword, *dposition, *dtype;
	const void *dz;
	const int32_t *ids, *positions, *segments;
	int64_t t, h;
};

/* Two tokens may share a row, so an item owns columns, not tokens: each element of a table gets its terms in token order. Only rows that
 * are used are touched. */
INLINE void embedding_columns(void *arg, long item, int thread, int32_t dtype)
{
	const struct embedding_gradient *a = arg;
	(void)thread;
	int64_t begin = item * EMBEDDING_COLUMNS, end = item_end(item, EMBEDDING_COLUMNS, a->h);
	for (int64_t r = 0; r < a->t; r++) {
		const void *dz = at(a->dz, r * a->h, dtype);
		float *word = a->dword + a->ids[r] * a->h, *position = a->dposition + a->positions[r] * a->h, *type = a->dtype + a->segments[r] * a->h;
		int64_t c = begin;
		for (; c + VL <= end; c += VL) {
			vf d = vget(dz, c, dtype);
			vstore(word + c, vload(word + c) + d);
			vstore(position + c, vload(position + c) + d);
			vstore(type + c, vload(type + c) + d);
		}
		for (; c < end; c++) {
			float d = get(dz, c, dtype);
			word[c] += d;
			position[c] += d;
			type[c] += d;
		}
	}
}
BODY_OF_EACH_DTYPE(embedding_columns)

static int embedding_backward(float *dword, float *dposition, float *dtype_, const void *dz, const int32_t *ids, const int32_t *positions,
                              const int32_t *segments, int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	struct embedding_gradient a = {.dword = dword, .dposition = dposition, .dtype = dtype_, .dz = dz, .ids = ids, .positions = positions, .segments = segments, .t = t, .h = h};
	parallel_for(s, item_count(h, EMBEDDING_COLUMNS), BODY(embedding_columns, dtype), &a);
	return HPCBERT_OK;
}

#endif
