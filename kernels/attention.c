/* attention.c: self-attention of packed sequences. Compiled by isa.inc once for each instruction set.
 *
 * One item of work is one head of one sequence; it reads and writes its own slices only. Its keys and values are packed once into panels
 * in the thread's scratch; then each tile of ATTENTION_ROWS queries is taken through all its keys while its scores are in L1. No matrix of
 * length x length exists: the backward pass computes the probabilities again from lse, and the dropout mask from its counter.
 */
#ifdef ISA

enum {
	ATTENTION_ROWS = GEMM_ROWS,           /* rows and columns of a register tile */
	ATTENTION_COLUMNS = GEMM_VECTORS * VL,
	ATTENTION_BLOCK = 11 * GEMM_ROWS,     /* queries whose probabilities are kept before they are added to dK and dV */
};

struct attention {
	struct hpcbert_stream *stream;
	float *ctx, *lse, *dqkv;
	const float *dctx, *qkv;
	const int32_t *cu_seqlens, *key_lengths, *samples;
	const struct hpcbert_dropout *drop; /* NULL: keep everything */
	int64_t t, heads, h, d;
};

/* One item: pointers to the first row of the head's slices, and how many rows. */
struct attention_head {
	const float *q, *k, *v;
	int64_t row, column; /* first row of the sequence and first column of the head in ctx [T,H] */
	int64_t length, keys;
	uint32_t head, sample;
};

/* A thread's scratch. A panel holds a matrix in slivers of ATTENTION_COLUMNS columns, each sliver contiguous, zero beyond the last column. */
struct attention_scratch {
	int64_t ld;               /* floats between two rows of p and ds: an odd number of cache lines, so that a column spreads over all sets */
	int64_t width;            /* the head dimension rounded up to whole slivers */
	float *kt, *vt;           /* panels of Kᵀ and Vᵀ: [D, keys] */
	float *natural;           /* panel of V (forward) or K (backward): [keys, D] */
	float *dk, *dv;           /* [keys, width] */
	float *p, *ds;            /* [ATTENTION_BLOCK, ld] */
	float *q_block, *o_block; /* panels of a block of Q and of dctx: [ATTENTION_BLOCK, D] */
	float *q_tile, *o_tile;   /* a tile of rows with zeros below the last one: [ATTENTION_ROWS, D] */
	float *out;               /* [ATTENTION_ROWS, width] */
	float *keep;              /* [keys] */
};

INLINE int64_t round_up(int64_t n, int64_t step)
{
	return (n + step - 1) / step * step;
}

INLINE float *attention_take(float **free, int64_t n)
{
	float *p = *free;
	*free += round_up(n, CACHE_LINE / sizeof(float));
	return p;
}

/* Lays out the scratch for sequences of at most length tokens and returns its bytes; touches no memory. */
static size_t attention_layout(struct attention_scratch *w, float *base, int64_t length, int64_t d)
{
	const int64_t line = CACHE_LINE / sizeof(float);
	int64_t columns = round_up(length, ATTENTION_COLUMNS), rows = round_up(length, ATTENTION_ROWS);
	float *free = base;
	w->ld = round_up(columns > rows ? columns : rows, 2 * line) + line;
	w->width = round_up(d, ATTENTION_COLUMNS);
	w->kt = attention_take(&free, columns * d);
	w->vt = attention_take(&free, columns * d);
	w->natural = attention_take(&free, length * w->width);
	w->dk = attention_take(&free, rows * w->width);
	w->dv = attention_take(&free, rows * w->width);
	w->p = attention_take(&free, ATTENTION_BLOCK * w->ld);
	w->ds = attention_take(&free, ATTENTION_BLOCK * w->ld);
	w->q_block = attention_take(&free, ATTENTION_BLOCK * w->width);
	w->o_block = attention_take(&free, ATTENTION_BLOCK * w->width);
	w->q_tile = attention_take(&free, ATTENTION_ROWS * d);
	w->o_tile = attention_take(&free, ATTENTION_ROWS * d);
	w->out = attention_take(&free, ATTENTION_ROWS * w->width);
	w->keep = attention_take(&free, dropout_row_floats(length));
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
	x.q = a->qkv + first * 3 * a->h + x.column;
	x.k = x.q + a->h;
	x.v = x.k + a->h;
	return x;
}

/* Packs src [n, ld], d columns of it, into a panel [n, d]. */
static void attention_pack(float *panel, const float *src, int64_t ld, int64_t n, int64_t d)
{
	int64_t c = 0;
	for (; c + ATTENTION_COLUMNS <= d; c += ATTENTION_COLUMNS)
		for (int64_t r = 0; r < n; r++, panel += ATTENTION_COLUMNS)
			for (int64_t j = 0; j < ATTENTION_COLUMNS; j += VL)
				vstore(panel + j, vload(src + r * ld + c + j));
	for (int64_t r = 0; r < n && c < d; r++, panel += ATTENTION_COLUMNS)
		for (int64_t j = 0; j < ATTENTION_COLUMNS; j++)
			panel[j] = c + j < d ? src[r * ld + c + j] : 0;
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

/* Packs src [n, ld], d columns of it, transposed into a panel [d, n]. */
static void attention_pack_transposed(float *panel, const float *src, int64_t ld, int64_t n, int64_t d)
{
	for (int64_t r = 0; r < round_up(n, ATTENTION_COLUMNS); r += 8) {
		float *dst = panel + r / ATTENTION_COLUMNS * ATTENTION_COLUMNS * d + r % ATTENTION_COLUMNS;
		int64_t c = 0;
		for (; c + 8 <= d && r + 8 <= n; c += 8)
			attention_transpose8(dst + c * ATTENTION_COLUMNS, ATTENTION_COLUMNS, src + r * ld + c, ld);
		for (; c < d; c++)
			for (int64_t i = 0; i < 8; i++)
				dst[c * ATTENTION_COLUMNS + i] = r + i < n ? src[(r + i) * ld + c] : 0;
	}
}

/* rows that a tile can read: src itself, or a copy with zeros below where the tile is not full. ld is that of src, then of the result. */
static const float *attention_tile_rows(float *copy, const float *src, int64_t *ld, int64_t rows, int64_t d)
{
	if (rows >= ATTENTION_ROWS)
		return src;
	memset(copy, 0, (size_t)(ATTENTION_ROWS * d) * sizeof *copy);
	for (int64_t r = 0; r < rows; r++)
		memcpy(copy + r * d, src + r * *ld, (size_t)d * sizeof *copy);
	*ld = d;
	return copy;
}

/* D = scale * A·B, or D + A·B with accumulate, for one tile of rows. A[i,k] = a[i * row + k * step]; B is a panel [n, columns]. */
static void attention_product(float *d, int64_t ldd, const float *a, int64_t row, int64_t step, const float *panel, int64_t n,
                              int64_t columns, float scale, int accumulate)
{
	for (int64_t c = 0; c < columns; c += ATTENTION_COLUMNS) {
		vf sum[ATTENTION_ROWS][GEMM_VECTORS] = {{{0}}};
		const float *ak = a;
		for (int64_t k = 0; k < n; k++, ak += step, panel += ATTENTION_COLUMNS)
#pragma GCC unroll 8
			for (int i = 0; i < ATTENTION_ROWS; i++)
#pragma GCC unroll 8
				for (int j = 0; j < GEMM_VECTORS; j++)
					sum[i][j] += vset(ak[i * row]) * vload(panel + j * VL);
#pragma GCC unroll 8
		for (int i = 0; i < ATTENTION_ROWS; i++)
#pragma GCC unroll 8
			for (int j = 0; j < GEMM_VECTORS; j++) {
				float *out = d + i * ldd + c + j * VL;
				vstore(out, accumulate ? vload(out) + sum[i][j] : vset(scale) * sum[i][j]);
			}
	}
}

/* Draws the mask of one query's keys; NULL where nothing is dropped. */
static const float *attention_keep(float *keep, const struct attention *a, const struct attention_head *x, int64_t query)
{
	if (!a->drop)
		return NULL;
	dropout_row(keep, x->keys, a->drop, x->sample, x->head * 65536u + (uint32_t)query);
	return keep;
}

/* p = keep * exp(p - max(p)) over a row of scores, 0 in the columns from keys on. Returns the factor that makes it the dropped softmax. */
static float attention_softmax(float *p, float *lse, const float *keep, int64_t keys, int64_t columns)
{
	for (int64_t c = keys; c < columns; c++)
		p[c] = -INFINITY;
	vf high = vset(-INFINITY), sum = {0};
	for (int64_t c = 0; c < columns; c += VL)
		high = vmax(high, vload(p + c));
	float top = vmax_lane(high);
	for (int64_t c = 0; c < columns; c += VL) {
		vf e = vexp(vload(p + c) - vset(top));
		sum += e;
		vstore(p + c, keep ? e * vload(keep + c) : e);
	}
	float total = vsum(sum);
	*lse = top + logf(total);
	return 1.f / total;
}

/* ctx of one tile of queries */
static void attention_forward_tile(const struct attention *a, const struct attention_head *x, const struct attention_scratch *w, int64_t query)
{
	int64_t rows = x->length - query, columns = round_up(x->keys, ATTENTION_COLUMNS), ldq = 3 * a->h;
	if (rows > ATTENTION_ROWS)
		rows = ATTENTION_ROWS;
	const float *q = attention_tile_rows(w->q_tile, x->q + query * ldq, &ldq, rows, a->d);
	float factor[ATTENTION_ROWS];
	attention_product(w->p, w->ld, q, ldq, 1, w->kt, a->d, columns, 1.f / sqrtf((float)a->d), 0);
	for (int64_t r = 0; r < rows; r++) {
		const float *keep = attention_keep(w->keep, a, x, query + r);
		factor[r] = attention_softmax(w->p + r * w->ld, &a->lse[x->head * a->t + x->row + query + r], keep, x->keys, columns);
	}
	attention_product(w->out, w->width, w->p, w->ld, 1, w->natural, x->keys, w->width, 1.f, 0);
	for (int64_t r = 0; r < rows; r++)
		for (int64_t c = 0; c < a->d; c++)
			a->ctx[(x->row + query + r) * a->h + x->column + c] = factor[r] * w->out[r * w->width + c];
}

/* Without keys nothing is attended to: the context is 0. */
static void attention_forward_empty(const struct attention *a, const struct attention_head *x)
{
	for (int64_t r = x->row; r < x->row + x->length; r++) {
		memset(a->ctx + r * a->h + x->column, 0, (size_t)a->d * sizeof *a->ctx);
		a->lse[x->head * a->t + r] = -INFINITY;
	}
}

static void attention_forward_item(void *arg, long item, int thread)
{
	const struct attention *a = arg;
	struct attention_head x = attention_head(a, item);
	struct attention_scratch w;
	if (x.keys == 0) {
		attention_forward_empty(a, &x);
		return;
	}
	attention_layout(&w, (float *)thread_scratch(a->stream, thread), x.length, a->d);
	attention_pack_transposed(w.kt, x.k, 3 * a->h, x.keys, a->d);
	attention_pack(w.natural, x.v, 3 * a->h, x.keys, a->d);
	for (int64_t query = 0; query < x.length; query += ATTENTION_ROWS)
		attention_forward_tile(a, &x, &w, query);
}

/* Turns a row of scores into the dropped probabilities, and a row of dctx·vᵀ into the gradient of the scores before their scaling:
 * P = exp(score - lse) / sum of them, p = keep * P, ds = scale * P * (keep * ds - D). Columns from keys on become 0. D, the sum over the row
 * of p * ds, would also be dctx·ctx; but taken from these very P the row of ds sums to 0 as it must. Otherwise P's rounding, however small
 * beside D, is all there is where keys differ little. */
static void attention_softmax_gradient(float *p, float *ds, const float *keep, float lse, float scale, int64_t keys, int64_t columns)
{
	vf sum = {0}, product = {0};
	for (int64_t c = keys; c < columns; c++)
		p[c] = -INFINITY;
	for (int64_t c = 0; c < columns; c += VL) {
		vf e = vexp(vload(p + c) - vset(lse)), d = vload(ds + c);
		if (keep)
			d = d * vload(keep + c);
		vstore(p + c, e);
		vstore(ds + c, d); /* rounded once: were it multiplied again below, the two would differ */
		sum += e;
		product += e * d;
	}
	float total = vsum(sum), dot = vsum(product) / total, normal = 1.f / total;
	for (int64_t c = 0; c < columns; c += VL) {
		vf e = vload(p + c) * vset(normal);
		vstore(p + c, keep ? e * vload(keep + c) : e);
		vstore(ds + c, vset(scale) * e * (vload(ds + c) - vset(dot)));
	}
}

/* dQ of one tile of queries; leaves its probabilities and gradients of scores in the rows p and ds. */
static void attention_backward_tile(const struct attention *a, const struct attention_head *x, const struct attention_scratch *w,
                                    float *p, float *ds, int64_t query, int64_t rows)
{
	int64_t columns = round_up(x->keys, ATTENTION_COLUMNS), ldq = 3 * a->h, ldo = a->h, first = (x->row + query) * a->h + x->column;
	float scale = 1.f / sqrtf((float)a->d);
	const float *q = attention_tile_rows(w->q_tile, x->q + query * ldq, &ldq, rows, a->d);
	const float *o = attention_tile_rows(w->o_tile, a->dctx + first, &ldo, rows, a->d);
	attention_product(p, w->ld, q, ldq, 1, w->kt, a->d, columns, scale, 0);
	attention_product(ds, w->ld, o, ldo, 1, w->vt, a->d, columns, 1.f, 0);
	for (int64_t r = 0; r < rows; r++) {
		const float *keep = attention_keep(w->keep, a, x, query + r);
		attention_softmax_gradient(p + r * w->ld, ds + r * w->ld, keep, a->lse[x->head * a->t + x->row + query + r], scale, x->keys, columns);
	}
	attention_product(w->out, w->width, ds, w->ld, 1, w->natural, x->keys, w->width, 1.f, 0);
	for (int64_t r = 0; r < rows; r++)
		memcpy(a->dqkv + (x->row + query + r) * 3 * a->h + x->column, w->out + r * w->width, (size_t)a->d * sizeof *w->out);
}

/* One block of queries: its dQ, and its part of dK = dSᵀ·Q and dV = Pᵀ·dctx. */
static void attention_backward_block(const struct attention *a, const struct attention_head *x, const struct attention_scratch *w, int64_t query)
{
	int64_t rows = x->length - query < ATTENTION_BLOCK ? x->length - query : ATTENTION_BLOCK;
	for (int64_t r = 0; r < rows; r += ATTENTION_ROWS) {
		int64_t n = rows - r < ATTENTION_ROWS ? rows - r : ATTENTION_ROWS;
		attention_backward_tile(a, x, w, w->p + r * w->ld, w->ds + r * w->ld, query + r, n);
	}
	attention_pack(w->q_block, x->q + query * 3 * a->h, 3 * a->h, rows, a->d);
	attention_pack(w->o_block, a->dctx + (x->row + query) * a->h + x->column, a->h, rows, a->d);
	for (int64_t key = 0; key < x->keys; key += ATTENTION_ROWS) {
		attention_product(w->dv + key * w->width, w->width, w->p + key, 1, w->ld, w->o_block, rows, w->width, 1.f, query > 0);
		attention_product(w->dk + key * w->width, w->width, w->ds + key, 1, w->ld, w->q_block, rows, w->width, 1.f, query > 0);
	}
}

static void attention_backward_item(void *arg, long item, int thread)
{
	const struct attention *a = arg;
	struct attention_head x = attention_head(a, item);
	struct attention_scratch w;
	float *dq = a->dqkv + x.row * 3 * a->h + x.column;
	size_t bytes = (size_t)a->d * sizeof *dq;
	if (x.keys > 0) {
		attention_layout(&w, (float *)thread_scratch(a->stream, thread), x.length, a->d);
		attention_pack_transposed(w.kt, x.k, 3 * a->h, x.keys, a->d);
		attention_pack_transposed(w.vt, x.v, 3 * a->h, x.keys, a->d);
		attention_pack(w.natural, x.k, 3 * a->h, x.keys, a->d);
		for (int64_t query = 0; query < x.length; query += ATTENTION_BLOCK)
			attention_backward_block(a, &x, &w, query);
	}
	for (int64_t r = 0; r < x.length; r++, dq += 3 * a->h) {
		if (x.keys == 0)
			memset(dq, 0, bytes);
		if (r < x.keys) {
			memcpy(dq + a->h, w.dk + r * w.width, bytes);
			memcpy(dq + 2 * a->h, w.dv + r * w.width, bytes);
		} else {
			memset(dq + a->h, 0, bytes);
			memset(dq + 2 * a->h, 0, bytes);
		}
	}
}

/* Checks the sizes and that the longest sequence fits into a thread's scratch. */
static int attention_check(const struct attention *a, const struct hpcbert_dropout *drop, int64_t b, int32_t dtype)
{
	if (dtype != HPCBERT_F32)
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
	                      .samples = samples, .drop = drop->p > 0 ? drop : NULL, .t = t, .heads = heads, .h = h,
	                      .d = heads > 0 ? h / heads : 0};
	int rc = attention_check(&a, drop, b, dtype);
	if (!rc)
		parallel_for(s, (long)(b * heads), attention_forward_item, &a);
	return rc;
}

static int attention_backward(void *dqkv, const void *dctx, const void *ctx, const float *lse, const void *qkv, const int32_t *cu_seqlens,
                              const int32_t *key_lengths, const int32_t *samples, const struct hpcbert_dropout *drop, int64_t b, int64_t t,
                              int64_t heads, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{
	(void)ctx; /* for a backend that takes D from dctx·ctx */
	struct attention a = {.stream = s, .dqkv = dqkv, .dctx = dctx, .lse = (float *)lse, .qkv = qkv,
	                      .cu_seqlens = cu_seqlens, .key_lengths = key_lengths, .samples = samples, .drop = drop->p > 0 ? drop : NULL,
	                      .t = t, .heads = heads, .h = h, .d = heads > 0 ? h / heads : 0};
	int rc = attention_check(&a, drop, b, dtype);
	if (!rc)
		parallel_for(s, (long)(b * heads), attention_backward_item, &a);
	return rc;
}

#endif
