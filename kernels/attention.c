/* attention.c: self-attention of packed sequences. Compiled by isa.inc once for each instruction set.
 *
 * One item of work is one head of one sequence; it reads and writes its own slices only. Its keys and values are copied once into panels
 * in the thread's scratch; then each tile of ATTENTION_ROWS queries is taken through all its keys while its scores are in L1. No matrix of
 * length x length exists: the backward pass computes the probabilities again from lse, and the dropout mask from its counter.
 * What has 16 bits is widened as it is copied, and rounded as the result is stored; between the two all is float32.
 */
#ifdef ISA

enum {
	ATTENTION_ROWS = GEMM_ROWS,           /* rows and columns of a register tile */
	ATTENTION_COLUMNS = GEMM_VECTORS * VL,
	ATTENTION_BLOCK = 22 * GEMM_ROWS,     /* queries whose probabilities are kept before they are added to dK and dV, where they fit L2, */
	ATTENTION_LONG = 192,                 /* that is, up to so many keys; */
	ATTENTION_LONG_BLOCK = 11 * GEMM_ROWS, /* beyond, fewer */
};

struct attention {
	struct hpcbert_stream *stream;
	void *ctx, *dqkv;
	float *lse;
	const void *dctx, *qkv;
	const int32_t *cu_seqlens, *key_lengths, *samples;
	const struct hpcbert_dropout *drop; /* NULL: keep everything */
	int64_t t, heads, h, d;
	long items;
};

/* One item: where the head's slices begin, and how many rows they have. */
struct attention_head {
	int64_t row;    /* first row of the sequence */
	int64_t column; /* first column of the head in ctx [T,H] */
	int64_t q, o;   /* first element of its queries in qkv [T,3H], and of its slice of ctx; keys and values begin h and 2h later */
	int64_t length, keys;
	uint32_t head, sample;
};

/* A thread's scratch. A panel holds a matrix in slivers of ATTENTION_COLUMNS columns, each sliver contiguous, zero beyond the last column;
 * a block holds rows, with zeros below the last one and beyond the last column. */
struct attention_scratch {
	int64_t ld;             /* floats between two rows of p and ds: an odd number of cache lines, so that a column spreads over all sets */
	int64_t ldb;            /* the same of the blocks */
	int64_t width;          /* the head dimension rounded up to whole slivers */
	int64_t block;          /* queries that are taken at once */
	float *kt, *vt;         /* panels of Kᵀ and Vᵀ: [D, keys] */
	float *natural;         /* panel of V (forward) or K (backward): [keys, D] */
	float *dk, *dv;         /* [keys, width] */
	float *p, *ds;          /* [block, ld] */
	float *q_block, *o_block; /* of Q and of dctx: [block, ldb] */
	float *few;             /* rows on their way into a transposed panel: [8, width] */
	uint16_t *mask;         /* [ATTENTION_ROWS, dropout_mask_columns(keys)] */
};

INLINE float *attention_take(float **free, int64_t n)
{
	float *p = *free;
	*free += round_up(n, CACHE_LINE / sizeof(float));
	return p;
}

/* Lays out the scratch for so many keys and returns its bytes; touches no memory. */
static size_t attention_layout(struct attention_scratch *w, float *base, int64_t keys, int64_t d)
{
	const int64_t line = CACHE_LINE / sizeof(float);
	int64_t columns = round_up(keys, ATTENTION_COLUMNS), rows = round_up(keys, ATTENTION_ROWS);
	float *free = base;
	w->ld = round_up(columns > rows ? columns : rows, 2 * line) + line;
	w->width = round_up(d, ATTENTION_COLUMNS);
	w->ldb = round_up(w->width, 2 * line) + line;
	w->block = keys > ATTENTION_LONG ? ATTENTION_LONG_BLOCK : ATTENTION_BLOCK;
	w->kt = attention_take(&free, columns * d);
	w->vt = attention_take(&free, columns * d);
	w->natural = attention_take(&free, keys * w->width);
	w->dk = attention_take(&free, rows * w->width);
	w->dv = attention_take(&free, rows * w->width);
	w->p = attention_take(&free, w->block * w->ld);
	w->ds = attention_take(&free, w->block * w->ld);
	w->q_block = attention_take(&free, w->block * w->ldb);
	w->o_block = attention_take(&free, w->block * w->ldb);
	w->few = attention_take(&free, 8 * w->width);
	w->mask = (uint16_t *)attention_take(&free, ATTENTION_ROWS * dropout_mask_columns(keys) / 2);
	return (size_t)(free - base) * sizeof(float);
}

static struct attention_head attention_head(const struct attention *a, long item)
{
	int64_t b = item / a->heads, head = item % a->heads, first = a->cu_seqlens[b];
	struct attention_head x = {.row = first, .column = head * a->d, .head = (uint32_t)head, .length = a->cu_seqlens[b + 1] - first};
	x.keys = x.length;
	if (a->key_lengths && a->key_lengths[b] < x.keys)
		x.keys = a->key_lengths[b] > 0 ? a->key_lengths[b] : 0;
	if (a->drop)
		x.sample = (uint32_t)a->samples[b];
	x.o = first * a->h + x.column;
	x.q = first * 3 * a->h + x.column;
	return x;
}

/* The item that this thread will probably take next; one without rows at the end. */
static struct attention_head attention_next(const struct attention *a, long item)
{
	long next = item + stream_threads(a->stream);
	return next < a->items ? attention_head(a, next) : (struct attention_head){0};
}

/* Fetches one row of one of the next item's slices into L2 while there is something to compute. */
INLINE void attention_prefetch(const void *src, int64_t first, int64_t d, int32_t dtype)
{
	for (int64_t c = 0; c < d; c += CACHE_LINE / (int64_t)dtype_bytes(dtype))
		__builtin_prefetch((const char *)src + (size_t)(first + c) * dtype_bytes(dtype), 0, 2);
}

/* Copies n rows of d columns of src, from element first on, into a block of rows: zeros beyond n and d. */
INLINE void attention_copy(float *block, int64_t ldb, int64_t rows, const void *src, int64_t first, int64_t ld, int64_t n, int64_t d, int32_t dtype)
{
	for (int64_t r = 0; r < rows; r++, block += ldb, first += ld) {
		int64_t c = 0;
		for (; c + VL <= d && r < n; c += VL)
			vstore(block + c, vget(src, first + c, dtype));
		for (; c < d && r < n; c++)
			block[c] = get(src, first + c, dtype);
		for (; c < round_up(d, ATTENTION_COLUMNS); c++)
			block[c] = 0;
	}
}

/* Copies src [n, ld], d columns of it, into a panel [n, d]. */
INLINE void attention_pack(float *panel, const void *src, int64_t first, int64_t ld, int64_t n, int64_t d, int32_t dtype)
{
	for (int64_t c = 0; c < d; c += ATTENTION_COLUMNS, panel += n * ATTENTION_COLUMNS)
		attention_copy(panel, ATTENTION_COLUMNS, n, src, first + c, ld, n, min(d - c, ATTENTION_COLUMNS), dtype);
}

/* dst[c, r] = src[r, c] for 8 x 8 values */
INLINE void attention_transpose8(float *dst, int64_t ldd, const float *src, int64_t ld)
{
#if defined(__AVX2__)
	for (int half = 0; half < 2; half++, src += 4, dst += 4 * ldd) {
		__m256 row[4]; /* rows i and i + 4 side by side */
		for (int i = 0; i < 4; i++)
			row[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src + i * ld)), _mm_loadu_ps(src + (i + 4) * ld), 1);
		__m256 a = _mm256_unpacklo_ps(row[0], row[1]), b = _mm256_unpacklo_ps(row[2], row[3]);
		__m256 c = _mm256_unpackhi_ps(row[0], row[1]), d = _mm256_unpackhi_ps(row[2], row[3]);
		_mm256_storeu_ps(dst, _mm256_shuffle_ps(a, b, 0x44));
		_mm256_storeu_ps(dst + ldd, _mm256_shuffle_ps(a, b, 0xee));
		_mm256_storeu_ps(dst + 2 * ldd, _mm256_shuffle_ps(c, d, 0x44));
		_mm256_storeu_ps(dst + 3 * ldd, _mm256_shuffle_ps(c, d, 0xee));
	}
#else
	for (int c = 0; c < 8; c++)
		for (int r = 0; r < 8; r++)
			dst[c * ldd + r] = src[r * ld + c];
#endif
}

/* Copies src [n, ld], d columns of it, transposed into a panel [d, n]. */
INLINE void attention_pack_transposed(float *panel, float *few, const void *src, int64_t first, int64_t ld, int64_t n, int64_t d, int32_t dtype)
{
	int64_t width = round_up(d, ATTENTION_COLUMNS);
	for (int64_t r = 0; r < round_up(n, ATTENTION_COLUMNS); r += 8) {
		float *dst = panel + r / ATTENTION_COLUMNS * ATTENTION_COLUMNS * d + r % ATTENTION_COLUMNS;
		int64_t c = 0;
		attention_copy(few, width, 8, src, first + r * ld, ld, n - r, d, dtype);
		for (; c + 8 <= d; c += 8)
			attention_transpose8(dst + c * ATTENTION_COLUMNS, ATTENTION_COLUMNS, few + c, width);
		for (; c < d; c++)
			for (int64_t i = 0; i < 8; i++)
				dst[c * ATTENTION_COLUMNS + i] = few[i * width + c];
	}
}

/* One tile of rows of D = factor * (A·B + sum), with A[i,k] = a[i * row + k * step]. */
struct attention_product {
	void *d; /* [rows, ldd], from element first on */
	int64_t first, ldd;
	int64_t rows, columns; /* at most ATTENTION_ROWS; what is beyond is not stored */
	const float *a;
	int64_t row, step;
	const float *b;        /* slivers of ATTENTION_COLUMNS columns, [n, ldb] each */
	int64_t ldb, sliver;   /* floats from one row, and one sliver, to the next */
	int64_t n;
	const float *sum;      /* [ATTENTION_ROWS, width of B], or NULL: 0 */
	int64_t lds;
	const float *factor;   /* [ATTENTION_ROWS] */
};

/* Stores a tile's columns from c on. Rounding takes registers, and those of the sums would be spilled within their loop: so by way of memory. */
INLINE void attention_store(const struct attention_product *x, int64_t c, vf tile[ATTENTION_ROWS][GEMM_VECTORS], int32_t dtype)
{
	if (dtype == HPCBERT_F32 && x->rows == ATTENTION_ROWS && x->columns - c >= ATTENTION_COLUMNS) {
#pragma GCC unroll 8
		for (int i = 0; i < ATTENTION_ROWS; i++)
#pragma GCC unroll 8
			for (int j = 0; j < GEMM_VECTORS; j++)
				vstore((float *)x->d + x->first + i * x->ldd + c + j * VL, tile[i][j]);
		return;
	}
	int64_t first = x->first + c, columns = min(x->columns - c, ATTENTION_COLUMNS);
	float all[ATTENTION_ROWS * ATTENTION_COLUMNS];
#pragma GCC unroll 8
	for (int i = 0; i < ATTENTION_ROWS; i++)
#pragma GCC unroll 8
		for (int j = 0; j < GEMM_VECTORS; j++)
			vstore(all + i * ATTENTION_COLUMNS + j * VL, tile[i][j]);
	for (int64_t i = 0; i < x->rows; i++, first += x->ldd) {
		int64_t j = 0;
		for (; j + VL <= columns; j += VL)
			vput(x->d, first + j, vload(all + i * ATTENTION_COLUMNS + j), dtype);
		if (j < columns)
			vput_first(x->d, first + j, vload(all + i * ATTENTION_COLUMNS + j), columns - j, dtype);
	}
}

/* row and step come as parameters too where they are known as the code is compiled. */
INLINE void attention_multiply(const struct attention_product *x, int64_t row, int64_t step, int32_t dtype)
{
	for (int64_t c = 0; c < x->columns; c += ATTENTION_COLUMNS) {
		vf tile[ATTENTION_ROWS][GEMM_VECTORS] = {{{0}}};
		const float *a = x->a, *b = x->b + c / ATTENTION_COLUMNS * x->sliver;
		for (int64_t k = 0; k < x->n; k++, a += step, b += x->ldb)
#pragma GCC unroll 8
			for (int i = 0; i < ATTENTION_ROWS; i++)
#pragma GCC unroll 8
				for (int j = 0; j < GEMM_VECTORS; j++)
					tile[i][j] += vset(a[i * row]) * vload(b + j * VL);
		if (x->sum)
#pragma GCC unroll 8
			for (int i = 0; i < ATTENTION_ROWS; i++)
#pragma GCC unroll 8
				for (int j = 0; j < GEMM_VECTORS; j++)
					tile[i][j] += vload(x->sum + i * x->lds + c + j * VL);
		if (x->factor)
#pragma GCC unroll 8
			for (int i = 0; i < ATTENTION_ROWS; i++)
#pragma GCC unroll 8
				for (int j = 0; j < GEMM_VECTORS; j++)
					tile[i][j] *= vset(x->factor[i]);
		attention_store(x, c, tile, dtype);
	}
}

/* d[ATTENTION_ROWS, ldd] = rows·panel: the scores of a tile of queries, or its dctx·Vᵀ. rows is in a block, panel is [depth, columns]. */
static void attention_scores(float *d, int64_t ldd, const float *rows, int64_t ldb, const float *panel, int64_t depth, int64_t columns)
{
	struct attention_product x = {.d = d, .ldd = ldd, .rows = ATTENTION_ROWS, .columns = round_up(columns, ATTENTION_COLUMNS), .a = rows,
	                              .b = panel, .ldb = ATTENTION_COLUMNS, .sliver = depth * ATTENTION_COLUMNS, .n = depth};
	attention_multiply(&x, ldb, 1, HPCBERT_F32);
}

/* Masks of one tile of queries; NULL where nothing is dropped. */
static const uint16_t *attention_masks(const struct attention_scratch *w, const struct attention *a, const struct attention_head *x, int64_t query, int64_t rows)
{
	if (!a->drop)
		return NULL;
	dropout_masks(w->mask, x->keys, a->drop, x->sample, x->head * 65536u + (uint32_t)query, rows);
	return w->mask;
}

/* exp(scale * x) for x <= 0, or little more; 0 where that is below 2^-127. NaN stays NaN. The fastest way that is still right to a rounding:
 * in base 2, since log2(e) costs nothing where there is a scale, with nothing to do for x that the softmax does not have. */
INLINE vf attention_exp(vf x, float scale)
{
	vf factor = vset(scale * 1.44269504f), least = vset(-127.f / (scale * 1.44269504f));
	x = vmax(least, x);
	vf shifted = x * factor + 12582912.f; /* its bits end in the nearest integer */
	vf r = x * factor - (shifted - 12582912.f);
	vf p = vset(1.5353360504e-4f); /* 2^r, fitted for |r| <= 1/2: relative error 2e-9 */
	p = p * r + 1.3398875017e-3f;
	p = p * r + 9.6184369177e-3f;
	p = p * r + 5.5503323674e-2f;
	p = p * r + 2.4022647738e-1f;
	p = p * r + 6.9314718246e-1f;
	p = p * r + 1.f;
	return p * (vf)(((vi)shifted << 23) + 0x3f800000); /* 2^-127 is 0 */
}

/* p = keep * exp(scale * (p - max(p))) over a row, 0 in the columns from keys on. Returns 1 / the sum of the exponentials. */
static float attention_softmax(float *p, float *lse, const uint16_t *mask, float scale, int64_t keys)
{
	int64_t columns = round_up(keys, VL);
	for (int64_t c = keys; c < columns; c++)
		p[c] = -INFINITY;
	vf high = vset(-INFINITY), sum = {0};
	for (int64_t c = 0; c < columns; c += VL)
		high = vmax(high, vload(p + c));
	float top = vmax_lane(high);
	for (int64_t c = 0; c < columns; c += VL) {
		vf e = attention_exp(vload(p + c) - vset(top), scale);
		sum += e;
		vstore(p + c, mask ? (vf)((vi)e & dropout_lanes(mask + c)) : e);
	}
	float total = vsum(sum);
	*lse = scale * top + logf(total);
	return 1.f / total;
}

INLINE float attention_keep_scale(const struct attention *a)
{
	return a->drop ? 1.f / (1.f - a->drop->p) : 1.f;
}

/* ctx of one tile of queries */
INLINE void attention_forward_tile(const struct attention *a, const struct attention_head *x, const struct attention_head *next,
                                   const struct attention_scratch *w, int64_t query, int64_t r, int32_t dtype)
{
	int64_t rows = min(x->length - query, ATTENTION_ROWS), across = dropout_mask_columns(x->keys);
	float factor[ATTENTION_ROWS] = {0};
	attention_scores(w->p, w->ld, w->q_block + r * w->ldb, w->ldb, w->kt, a->d, x->keys);
	const uint16_t *mask = attention_masks(w, a, x, query, rows);
	for (int64_t i = 0; i < rows; i++) {
		if (query + i < next->length)
			for (int part = 0; part < 3; part++)
				attention_prefetch(a->qkv, next->q + part * a->h + (query + i) * 3 * a->h, a->d, dtype);
		factor[i] = attention_keep_scale(a) * attention_softmax(w->p + i * w->ld, &a->lse[x->head * a->t + x->row + query + i],
		                                                        mask ? mask + i * across : NULL, 1.f / sqrtf((float)a->d), x->keys);
	}
	struct attention_product ctx = {.d = a->ctx, .first = x->o + query * a->h, .ldd = a->h, .rows = rows, .columns = a->d, .a = w->p,
	                                .b = w->natural, .ldb = ATTENTION_COLUMNS, .sliver = x->keys * ATTENTION_COLUMNS, .n = x->keys, .factor = factor};
	attention_multiply(&ctx, w->ld, 1, dtype);
}

/* Without keys nothing is attended to: the context is 0. */
static void attention_forward_empty(const struct attention *a, const struct attention_head *x, int32_t dtype)
{
	for (int64_t r = 0; r < x->length; r++) {
		memset((char *)a->ctx + (size_t)(x->o + r * a->h) * dtype_bytes(dtype), 0, (size_t)a->d * dtype_bytes(dtype));
		a->lse[x->head * a->t + x->row + r] = -INFINITY;
	}
}

INLINE void attention_forward_item(void *arg, long item, int thread, int32_t dtype)
{
	const struct attention *a = arg;
	struct attention_head x = attention_head(a, item), next = attention_next(a, item);
	struct attention_scratch w;
	if (x.keys == 0) {
		attention_forward_empty(a, &x, dtype);
		return;
	}
	attention_layout(&w, (float *)thread_scratch(a->stream, thread), x.keys, a->d);
	attention_pack_transposed(w.kt, w.few, a->qkv, x.q + a->h, 3 * a->h, x.keys, a->d, dtype);
	attention_pack(w.natural, a->qkv, x.q + 2 * a->h, 3 * a->h, x.keys, a->d, dtype);
	for (int64_t query = 0; query < x.length; query += w.block) {
		int64_t rows = min(x.length - query, w.block);
		attention_copy(w.q_block, w.ldb, round_up(rows, ATTENTION_ROWS), a->qkv, x.q + query * 3 * a->h, 3 * a->h, rows, a->d, dtype);
		for (int64_t r = 0; r < rows; r += ATTENTION_ROWS)
			attention_forward_tile(a, &x, &next, &w, query + r, r, dtype);
	}
}
BODY_OF_EACH_DTYPE(attention_forward_item)

/* Turns a row of scores into the dropped probabilities, and a row of dctx·vᵀ into the gradient of the scores before their scaling:
 * P = exp(scale * score - lse) / sum of them, p = keep * P, ds = scale * P * (keep * ds - D). Columns from keys on become 0. D, the sum over
 * the row of p * ds, would also be dctx·ctx; but taken from these very P the row of ds sums to 0 as it must. Otherwise P's rounding, however
 * small beside D, is all there is where keys differ little. The scale of what is kept is left out until the end, so that what is summed
 * and what D is taken from are the same numbers. */
static void attention_softmax_gradient(float *p, float *ds, const uint16_t *mask, float keep_scale, float lse, float scale, int64_t keys)
{
	int64_t columns = round_up(keys, VL);
	vf sum = {0}, product = {0}, top = vset(lse / scale);
	for (int64_t c = keys; c < columns; c++)
		p[c] = -INFINITY;
	for (int64_t c = 0; c < columns; c += VL) {
		vf e = attention_exp(vload(p + c) - top, scale), d = vload(ds + c);
		if (mask) {
			d = (vf)((vi)d & dropout_lanes(mask + c));
			vstore(ds + c, d);
		}
		vstore(p + c, e);
		sum += e;
		product += e * d;
	}
	float total = vsum(sum);
	vf dot = vset(vsum(product) / total), normal = vset(keep_scale / total), slope = vset(scale);
	for (int64_t c = 0; c < columns; c += VL) {
		vf e = vload(p + c) * normal;
		vstore(p + c, mask ? (vf)((vi)e & dropout_lanes(mask + c)) : e);
		vstore(ds + c, slope * e * (vload(ds + c) - dot));
	}
}

/* dQ of one tile of queries; leaves its probabilities and gradients of scores in rows r.. of p and ds. */
INLINE void attention_backward_tile(const struct attention *a, const struct attention_head *x, const struct attention_head *next,
                                    const struct attention_scratch *w, int64_t query, int64_t r, int32_t dtype)
{
	int64_t rows = min(x->length - query, ATTENTION_ROWS), across = dropout_mask_columns(x->keys);
	float *p = w->p + r * w->ld, *ds = w->ds + r * w->ld;
	attention_scores(p, w->ld, w->q_block + r * w->ldb, w->ldb, w->kt, a->d, x->keys);
	attention_scores(ds, w->ld, w->o_block + r * w->ldb, w->ldb, w->vt, a->d, x->keys);
	const uint16_t *mask = attention_masks(w, a, x, query, rows);
	for (int64_t i = 0; i < rows; i++) {
		if (query + i < next->length) {
			for (int part = 0; part < 3; part++)
				attention_prefetch(a->qkv, next->q + part * a->h + (query + i) * 3 * a->h, a->d, dtype);
			attention_prefetch(a->dctx, next->o + (query + i) * a->h, a->d, dtype);
		}
		attention_softmax_gradient(p + i * w->ld, ds + i * w->ld, mask ? mask + i * across : NULL, attention_keep_scale(a),
		                           a->lse[x->head * a->t + x->row + query + i], 1.f / sqrtf((float)a->d), x->keys);
	}
	struct attention_product dq = {.d = a->dqkv, .first = x->q + query * 3 * a->h, .ldd = 3 * a->h, .rows = rows, .columns = a->d, .a = ds,
	                               .b = w->natural, .ldb = ATTENTION_COLUMNS, .sliver = x->keys * ATTENTION_COLUMNS, .n = x->keys};
	attention_multiply(&dq, w->ld, 1, dtype);
}

/* One block of queries' part of dV = Pᵀ·dctx or dK = dSᵀ·Q: p is P or dS, block is dctx or Q. The parts are added up in sum; the last one
 * goes to dqkv from element first on. */
INLINE void attention_add_keys(const struct attention *a, const struct attention_head *x, const struct attention_scratch *w, float *sum, const float *p,
                               const float *block, int64_t query, int64_t rows, int64_t first, int32_t dtype)
{
	for (int64_t key = 0; key < x->keys; key += ATTENTION_ROWS, sum += ATTENTION_ROWS * w->width) {
		struct attention_product part = {.d = sum, .ldd = w->width, .rows = ATTENTION_ROWS, .columns = w->width, .a = p + key, .b = block,
		                                 .ldb = w->ldb, .sliver = ATTENTION_COLUMNS, .n = rows, .sum = query > 0 ? sum : NULL, .lds = w->width};
		if (query + rows < x->length) {
			attention_multiply(&part, 1, w->ld, HPCBERT_F32);
			continue;
		}
		part.d = a->dqkv;
		part.first = first + key * 3 * a->h;
		part.ldd = 3 * a->h;
		part.rows = min(x->keys - key, ATTENTION_ROWS);
		part.columns = a->d;
		attention_multiply(&part, 1, w->ld, dtype);
	}
}

/* One block of queries: its dQ, and its part of dK and dV. */
INLINE void attention_backward_block(const struct attention *a, const struct attention_head *x, const struct attention_head *next,
                                     const struct attention_scratch *w, int64_t query, int32_t dtype)
{
	int64_t rows = min(x->length - query, w->block);
	attention_copy(w->q_block, w->ldb, round_up(rows, ATTENTION_ROWS), a->qkv, x->q + query * 3 * a->h, 3 * a->h, rows, a->d, dtype);
	attention_copy(w->o_block, w->ldb, round_up(rows, ATTENTION_ROWS), a->dctx, x->o + query * a->h, a->h, rows, a->d, dtype);
	for (int64_t r = 0; r < rows; r += ATTENTION_ROWS)
		attention_backward_tile(a, x, next, w, query + r, r, dtype);
	attention_add_keys(a, x, w, w->dv, w->p, w->o_block, query, rows, x->q + 2 * a->h, dtype);
	attention_add_keys(a, x, w, w->dk, w->ds, w->q_block, query, rows, x->q + a->h, dtype);
}

/* What nothing attends to has no gradient. */
static void attention_clear(const struct attention *a, int64_t first, int64_t rows, int32_t dtype)
{
	char *d = (char *)a->dqkv + (size_t)first * dtype_bytes(dtype);
	for (int64_t r = 0; r < rows; r++, d += (size_t)(3 * a->h) * dtype_bytes(dtype))
		memset(d, 0, (size_t)a->d * dtype_bytes(dtype));
}

INLINE void attention_backward_item(void *arg, long item, int thread, int32_t dtype)
{
	const struct attention *a = arg;
	struct attention_head x = attention_head(a, item), next = attention_next(a, item);
	struct attention_scratch w;
	int64_t masked = x.q + x.keys * 3 * a->h;
	attention_clear(a, masked + a->h, x.length - x.keys, dtype);
	attention_clear(a, masked + 2 * a->h, x.length - x.keys, dtype);
	if (x.keys == 0) {
		attention_clear(a, x.q, x.length, dtype);
		return;
	}
	attention_layout(&w, (float *)thread_scratch(a->stream, thread), x.keys, a->d);
	attention_pack_transposed(w.kt, w.few, a->qkv, x.q + a->h, 3 * a->h, x.keys, a->d, dtype);
	attention_pack_transposed(w.vt, w.few, a->qkv, x.q + 2 * a->h, 3 * a->h, x.keys, a->d, dtype);
	attention_pack(w.natural, a->qkv, x.q + a->h, 3 * a->h, x.keys, a->d, dtype);
	for (int64_t query = 0; query < x.length; query += w.block)
		attention_backward_block(a, &x, &next, &w, query, dtype);
}
BODY_OF_EACH_DTYPE(attention_backward_item)

/* Checks the sizes and that the longest sequence fits into a thread's scratch. */
static int attention_check(const struct attention *a, const struct hpcbert_dropout *drop, int64_t b, int32_t dtype)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	if (!dropout_valid(drop) || a->heads < 1 || a->heads > 65535 || a->h % a->heads || b < 0)
		return HPCBERT_BAD_ARGUMENT;
	if (b > 0 && (a->cu_seqlens[0] < 0 || a->cu_seqlens[b] > a->t))
		return HPCBERT_BAD_ARGUMENT;
	int64_t longest = 0;
	for (int64_t i = 0; i < b; i++) {
		int64_t length = a->cu_seqlens[i + 1] - a->cu_seqlens[i];
		if (length < 0)
			return HPCBERT_BAD_ARGUMENT;
		longest = length > longest ? length : longest;
	}
	struct attention_scratch w;
	float *base = thread_scratch(a->stream, 0);
	return attention_layout(&w, base, longest, a->d) > THREAD_SCRATCH ? HPCBERT_NO_MEMORY : HPCBERT_OK;
}

static int attention_forward(void *ctx, float *lse, const void *qkv, const int32_t *cu_seqlens, const int32_t *key_lengths,
                             const int32_t *samples, const struct hpcbert_dropout *drop, int64_t b, int64_t t, int64_t heads, int64_t h,
                             int32_t dtype, struct hpcbert_stream *s)
{
	struct attention a = {.stream = s, .ctx = ctx, .lse = lse, .qkv = qkv, .cu_seqlens = cu_seqlens, .key_lengths = key_lengths,
	                      .samples = samples, .drop = drop->p > 0 ? drop : NULL, .t = t, .heads = heads, .h = h, .items = (long)(b * heads),
	                      .d = heads > 0 ? h / heads : 0};
	int rc = attention_check(&a, drop, b, dtype);
	if (!rc)
		parallel_for(s, (long)(b * heads), BODY(attention_forward_item, dtype), &a);
	return rc;
}

static int attention_backward(void *dqkv, const void *dctx, const void *ctx, const float *lse, const void *qkv, const int32_t *cu_seqlens,
                              const int32_t *key_lengths, const int32_t *samples, const struct hpcbert_dropout *drop, int64_t b, int64_t t,
                              int64_t heads, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	(void)ctx; /* for a backend that takes D from dctx·ctx */
	struct attention a = {.stream = s, .dqkv = dqkv, .dctx = dctx, .lse = (float *)lse, .qkv = qkv,
	                      .cu_seqlens = cu_seqlens, .key_lengths = key_lengths, .samples = samples, .drop = drop->p > 0 ? drop : NULL,
	                      .t = t, .heads = heads, .h = h, .items = (long)(b * heads), .d = heads > 0 ? h / heads : 0};
	int rc = attention_check(&a, drop, b, dtype);
	if (!rc)
		parallel_for(s, (long)(b * heads), BODY(attention_backward_item, dtype), &a);
	return rc;
}

#endif
