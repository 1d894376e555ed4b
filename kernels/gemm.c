/* gemm.c: matrix products. Compiled by isa.inc once for each instruction set.
 *
 * D is made of tiles of GEMM_ROWS x GEMM_COLUMNS that are summed in registers. Both operands are copied first, so that a tile reads them in
 * order (gemm_pack.c): B whole and in advance, A by the thread that uses it, a block of rows and a chunk of K at a time. The block of A stays
 * in L2. Of each panel of B a sliver of the chunk's depth stays in L1 while all rows of the block pass by (Goto, van de Geijn, "Anatomy of
 * High-Performance Matrix Multiplication", 2008). The sums of the panel's tiles stay in L1 or L2 from one sliver to the next, so that D is
 * touched once a chunk. Where a block has few rows, several chunks of A are held, and a panel of B is read through them in one go.
 *
 * Every element of D is summed over the slivers of K in order, and these depend on K alone; so the division of D into items of work, which
 * does depend on the threads, changes no bit.
 */
#ifdef ISA

enum {
	GEMM_CHUNK = 768,       /* at most so many units of K at once: what a block of A holds of each row */
	GEMM_BLOCK_ROWS = 144,  /* at most so many rows of A at once */
	GEMM_WAITING = 2 << 20, /* at most so many sums of an item wait in scratch from one chunk to the next */
	GEMM_UNROLL = 4,        /* units of depth in one go: the counting of so short a loop shows in its time */
};

/* One product, or the part of it whose columns n0..n1-1 and rows k0..k1-1 of B are packed. */
struct gemm_work {
	const struct hpcbert_gemm *g;
	struct hpcbert_stream *stream;
	int direct;           /* D holds the float32 sums as they are: no epilogue, none wait in scratch */
	const float *panels;  /* B's panels, from column n0 and row k0 on */
	int64_t panel_stride; /* units from one panel to the next */
	int64_t n0, n1, k0, k1;
	int64_t chunk;                     /* elements of K in a chunk */
	int64_t block_rows, block_columns; /* of an item, multiples of a tile */
	int64_t column_blocks;
	struct gemm_held *held; /* of each thread */
};

/* The part of A that a thread has packed last: its items are neighbours, and most of them need the same. */
struct gemm_held {
	_Alignas(CACHE_LINE) int64_t m0, k0; /* its first row and column; m0 < 0: none */
};

/* A block of A with a chunk of B: rows m0..m1-1 and columns n0..n1-1 of D, k0..k1-1 of K. */
struct gemm_block {
	int64_t m0, m1, n0, n1, k0, k1;
	int64_t tiles;         /* that its rows are divided into */
	int64_t depth, stride; /* units of the chunk; floats from one panel of a to the next */
	int64_t held0, held1;  /* of K: the chunks of A that are packed */
	float *held;    /* they */
	float *a;       /* the one at work */
	float *partial; /* sums of one panel between two slivers, [block_rows, GEMM_COLUMNS] */
	float *waiting; /* sums between two chunks, [block_rows, block_columns], unless they are in D */
};

/* Sums in rows of ld floats. */
struct gemm_sums {
	float *p; /* NULL: there are none */
	int64_t ld;
};

/* A sliver of a panel of B: part of the depth of a chunk. Sums are taken from somewhere, go on here, and are put somewhere. */
struct gemm_sliver {
	const float *b;
	int64_t begin, end; /* of the chunk's depth */
	struct gemm_sums from, out; /* of the block's first row */
	int finish; /* the sums are complete then, and D is made from them */
	float start[GEMM_COLUMNS];
};

/* sums[m] += sum over k of a block of A in panels */
INLINE void gemm_add_row_sums(float *sums, const float *panels, int64_t stride, int64_t m, int64_t depth, int pairs)
{
	int64_t tiles = gemm_tiles_of(m);
	for (int64_t tile = 0; tile < tiles; tile++, panels += stride) {
		int64_t first = gemm_tile_row(tile, tiles, m);
		vf partial[GEMM_ROWS] = {{0}}; /* VL units of depth side by side: lane i of the whole belongs to row i % GEMM_ROWS */
		float lanes[GEMM_ROWS * VL];
		int64_t whole = depth / VL * VL, rows = gemm_tile_row(tile + 1, tiles, m) - first;
		for (int64_t i = 0; i < whole; i += VL)
			for (int v = 0; v < GEMM_ROWS; v++)
				partial[v] += gemm_unit_sum(vload(panels + i * GEMM_ROWS + v * VL), pairs);
		memcpy(lanes, partial, sizeof lanes);
		for (int64_t r = 0; r < rows; r++) {
			float total = 0;
			for (int64_t lane = r; lane < GEMM_ROWS * VL; lane += GEMM_ROWS)
				total += lanes[lane];
			for (int64_t i = whole; i < depth; i++)
				total += gemm_unit_sum(vset_bits(panels + i * GEMM_ROWS + r), pairs)[0];
			sums[first + r] += total;
		}
	}
}

/* Unit r of depth i of a panel of A, in every lane. NEON multiplies by one lane of a vector: the first four rows come in one load, where six
 * loads ahead of their use would leave too few registers for the sums. */
INLINE vf gemm_row(const float *a, int64_t i, int r, int pairs)
{
#if defined(__aarch64__) && VL == 4
	if (r < VL && !pairs)
		return vset(vload(a + i * GEMM_ROWS)[r]);
#endif
	return pairs ? vset_bits(a + i * GEMM_ROWS + r) : vset(a[i * GEMM_ROWS + r]);
}

/* What a tile of sums reads and writes: out = a·b + start + from, with a in [depth][GEMM_ROWS], b in [depth][GEMM_COLUMNS]. */
struct gemm_tile {
	float *out;
	const float *from; /* NULL: counts as 0 */
	int64_t ldo, ldf;
	const float *start; /* [GEMM_COLUMNS] */
	const float *a, *b;
	int64_t depth;
	const char *next; /* what is read soon, fetched into L2 on the way: all at once would keep this tile's own loads waiting */
	int64_t ahead;    /* bytes of it */
};

INLINE void gemm_step(vf sum[GEMM_ROWS][GEMM_VECTORS], const float *a, const float *b, int64_t i, int rows, int pairs)
{
	vf column[GEMM_VECTORS];
	UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
		column[v] = *(const vf *)(b + i * GEMM_COLUMNS + v * VL);
	UNROLL for (int r = 0; r < rows; r++) {
		vf row = gemm_row(a, i, r, pairs);
		UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
			sum[r][v] = pairs ? vdot(sum[r][v], (vu)row, (vu)column[v]) : sum[r][v] + row * column[v];
	}
}

/* One tile; rows and pairs are constants. */
INLINE void gemm_tile(const struct gemm_tile *t, int rows, int pairs)
{
	vf sum[GEMM_ROWS][GEMM_VECTORS];
	UNROLL for (int r = 0; r < rows; r++)
		UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
			sum[r][v] = (vf){0};
	const float *a = t->a, *b = t->b;
	const char *next = t->next;
	int64_t i = 0, depth = t->depth, step = ceil_div(t->ahead, max(depth / GEMM_UNROLL, 1));
	for (; i + GEMM_UNROLL <= depth; i += GEMM_UNROLL, next += step) {
		__builtin_prefetch(next, 0, 2);
		__builtin_prefetch(next + step / 2, 0, 2);
		UNROLL for (int j = 0; j < GEMM_UNROLL; j++)
			gemm_step(sum, a, b, i + j, rows, pairs);
	}
	for (; i < depth; i++)
		gemm_step(sum, a, b, i, rows, pairs);
	UNROLL for (int v = 0; v < GEMM_VECTORS; v++) {
		vf first = vload(t->start + v * VL);
		UNROLL for (int r = 0; r < rows; r++)
			sum[r][v] += first;
	}
	if (t->from)
		UNROLL for (int r = 0; r < rows; r++)
			UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
				sum[r][v] += vload(t->from + r * t->ldf + v * VL);
	UNROLL for (int r = 0; r < rows; r++)
		UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
			vstore(t->out + r * t->ldo + v * VL, sum[r][v]);
}

typedef void gemm_tile_function(const struct gemm_tile *t);

#define GEMM_TILE(rows) \
	static __attribute__((noinline)) void gemm_tile_f32_##rows(const struct gemm_tile *t) \
	{ \
		gemm_tile(t, rows, 0); \
	} \
	static __attribute__((noinline)) void gemm_tile_pairs_##rows(const struct gemm_tile *t) \
	{ \
		gemm_tile(t, rows, 1); \
	}
GEMM_TILE(1)
GEMM_TILE(2)
GEMM_TILE(3)
GEMM_TILE(4)
#if GEMM_ROWS > 4
GEMM_TILE(5)
GEMM_TILE(6)
#endif

/* The tiles of 1 to GEMM_ROWS rows. */
static gemm_tile_function *const gemm_tile_functions[][GEMM_ROWS] = {
#if GEMM_ROWS > 4
	{gemm_tile_f32_1, gemm_tile_f32_2, gemm_tile_f32_3, gemm_tile_f32_4, gemm_tile_f32_5, gemm_tile_f32_6},
	{gemm_tile_pairs_1, gemm_tile_pairs_2, gemm_tile_pairs_3, gemm_tile_pairs_4, gemm_tile_pairs_5, gemm_tile_pairs_6},
#else
	{gemm_tile_f32_1, gemm_tile_f32_2, gemm_tile_f32_3, gemm_tile_f32_4},
	{gemm_tile_pairs_1, gemm_tile_pairs_2, gemm_tile_pairs_3, gemm_tile_pairs_4},
#endif
};

/* d = the epilogue of n <= VL complete sums; pre, of d's type, is written or read as it says. */
INLINE void gemm_finish_vector(const struct hpcbert_gemm *g, int64_t at, vf x, int64_t n, int32_t epilogue, int32_t dtype)
{
	vf y = x;
	if (epilogue == HPCBERT_GELU) {
		vput_upto(g->pre, at, x, n, dtype);
		y = vgelu(x);
	} else if (epilogue == HPCBERT_GELU_GRADIENT) {
		y = x * vgelu_gradient(vget_upto(g->pre, at, n, dtype));
	} else if (g->accumulate) {
		y = x + vget_upto(g->d, at, n, dtype);
	}
	vput_upto(g->d, at, y, n, dtype);
}

/* The epilogue of a tile at row m, column n of D; sums are in rows of GEMM_COLUMNS. */
INLINE void gemm_finish_tile(const struct hpcbert_gemm *g, int64_t m, int64_t n, const float *sums, int64_t rows, int64_t columns,
                             int32_t epilogue, int32_t dtype)
{
	for (int64_t r = 0; r < rows; r++, sums += GEMM_COLUMNS) {
		int64_t at = (m + r) * g->ldd + n, c = 0;
		for (; c + VL <= columns; c += VL)
			gemm_finish_vector(g, at + c, vload(sums + c), VL, epilogue, dtype);
		if (c < columns)
			gemm_finish_vector(g, at + c, vload(sums + c), columns - c, epilogue, dtype);
	}
}

INLINE void gemm_finish_of(const struct hpcbert_gemm *g, int64_t m, int64_t n, const float *sums, int64_t rows, int64_t columns, int32_t dtype)
{
	if (g->epilogue == HPCBERT_GELU)
		gemm_finish_tile(g, m, n, sums, rows, columns, HPCBERT_GELU, dtype);
	else if (g->epilogue == HPCBERT_GELU_GRADIENT)
		gemm_finish_tile(g, m, n, sums, rows, columns, HPCBERT_GELU_GRADIENT, dtype);
	else
		gemm_finish_tile(g, m, n, sums, rows, columns, HPCBERT_LINEAR, dtype);
}

static void gemm_finish(const struct hpcbert_gemm *g, int64_t m, int64_t n, const float *sums, int64_t rows, int64_t columns)
{
	if (g->d_dtype == HPCBERT_F16)
		gemm_finish_of(g, m, n, sums, rows, columns, HPCBERT_F16);
	else if (g->d_dtype == HPCBERT_BF16)
		gemm_finish_of(g, m, n, sums, rows, columns, HPCBERT_BF16);
	else
		gemm_finish_of(g, m, n, sums, rows, columns, HPCBERT_F32);
}

/* Fetches a tile of D or pre into L1, where hardware sees no pattern: it takes from memory about as long as a tile's sums take. */
INLINE void gemm_fetch_tile(const void *matrix, const struct hpcbert_gemm *g, int64_t m, int64_t n, int64_t rows)
{
	const int64_t bytes = (int64_t)dtype_bytes(g->d_dtype);
	const char *p = (const char *)matrix + (m * g->ldd + n) * bytes;
	for (int64_t r = 0; r < rows; r++)
		for (int64_t c = 0; c < GEMM_COLUMNS * bytes; c += CACHE_LINE)
			__builtin_prefetch(p + r * g->ldd * bytes + c, 1);
}

/* Copies the part of a tile that is in D. */
INLINE void gemm_copy(float *out, int64_t ldo, const float *in, int64_t ldi, int64_t rows, int64_t columns)
{
	for (int64_t r = 0; r < rows; r++)
		memcpy(out + r * ldo, in + r * ldi, (size_t)columns * sizeof *out);
}

/* The sliver of the panel of column n that begins at a depth of the chunk; slivers are as even as whole units allow. */
static struct gemm_sliver gemm_sliver(const struct gemm_work *w, const struct gemm_block *k, int64_t n, int64_t begin)
{
	const struct hpcbert_gemm *g = w->g;
	struct gemm_sliver v = {.begin = begin, .end = min(begin + ceil_div(k->depth, ceil_div(k->depth, GEMM_DEPTH)), k->depth)};
	v.b = w->panels + (n - w->n0) / GEMM_COLUMNS * w->panel_stride + (gemm_depth(k->k0 - w->k0, g->dtype) + begin) * GEMM_COLUMNS;
	if (g->bias && k->k0 == 0 && begin == 0)
		memcpy(v.start, g->bias + n, (size_t)min(GEMM_COLUMNS, k->n1 - n) * sizeof *v.start);
	struct gemm_sums partial = {k->partial, GEMM_COLUMNS}, sums = {k->waiting + n - k->n0, w->block_columns};
	if (w->direct)
		sums = (struct gemm_sums){(float *)g->d + k->m0 * g->ldd + n, g->ldd};
	v.finish = v.end == k->depth && !w->direct && k->k1 == g->k;
	v.out = v.end < k->depth || v.finish ? partial : sums;
	if (begin > 0)
		v.from = partial;
	else if (k->k0 > 0 || (w->direct && g->accumulate))
		v.from = sums;
	return v;
}

/* Sums a tile of which only rows x columns are in D: where D is its place, by way of a copy. */
static void gemm_edge(const struct gemm_work *w, const struct gemm_block *k, const struct gemm_sliver *v, struct gemm_tile *t,
                      gemm_tile_function *sum, int64_t rows, int64_t columns)
{
	float copy[GEMM_ROWS * GEMM_COLUMNS] = {0};
	struct gemm_sums out = {t->out, t->ldo};
	if (w->direct && t->from && v->begin == 0) {
		gemm_copy(copy, GEMM_COLUMNS, t->from, t->ldf, rows, columns);
		t->from = copy;
		t->ldf = GEMM_COLUMNS;
	}
	if (!w->direct || v->end < k->depth) {
		sum(t);
		return;
	}
	t->out = copy;
	t->ldo = GEMM_COLUMNS;
	sum(t);
	gemm_copy(out.p, out.ld, copy, GEMM_COLUMNS, rows, columns);
}

/* What comes after a sliver: the panel's next one, as long as A is packed for it, then the next panel. */
INLINE const float *gemm_next(const struct gemm_work *w, const struct gemm_block *k, const struct gemm_sliver *v)
{
	if (v->end < k->depth || k->k1 < k->held1)
		return v->b + (v->end - v->begin) * GEMM_COLUMNS;
	return v->b - (gemm_depth(k->k0 - k->held0, w->g->dtype) + v->begin) * GEMM_COLUMNS + w->panel_stride;
}

/* Sums all tiles of a panel, at column n, over a sliver. */
static void gemm_tiles(const struct gemm_work *w, const struct gemm_block *k, const struct gemm_sliver *v, int64_t n)
{
	const struct hpcbert_gemm *g = w->g;
	gemm_tile_function *const *functions = gemm_tile_functions[gemm_pairs(g->dtype)];
	int64_t depth = v->end - v->begin, columns = min(GEMM_COLUMNS, k->n1 - n), m = k->m1 - k->m0;
	int64_t ahead = ceil_div(depth * GEMM_COLUMNS, k->tiles); /* each tile fetches its share of the next sliver */
	const float *next = gemm_next(w, k, v);
	int store = v->finish || (w->direct && v->end == k->depth);
	for (int64_t i = 0; i < k->tiles; i++) {
		int64_t row = gemm_tile_row(i, k->tiles, m), rows = gemm_tile_row(i + 1, k->tiles, m) - row;
		struct gemm_tile t = {.out = v->out.p + row * v->out.ld, .from = v->from.p ? v->from.p + row * v->from.ld : NULL, .ldo = v->out.ld,
		                      .ldf = v->from.ld, .start = v->start, .a = k->a + i * k->stride + v->begin * GEMM_ROWS, .b = v->b, .depth = depth,
		                      .next = (const char *)(next + i * ahead), .ahead = ahead * (int64_t)sizeof(float)};
		if (store)
			gemm_fetch_tile(g->d, g, k->m0 + row, n, rows);
		if (v->finish && g->epilogue != HPCBERT_LINEAR)
			gemm_fetch_tile(g->pre, g, k->m0 + row, n, rows);
		if (columns == GEMM_COLUMNS)
			functions[rows - 1](&t);
		else
			gemm_edge(w, k, v, &t, functions[rows - 1], rows, columns);
		if (v->finish)
			gemm_finish(g, k->m0 + row, n, k->partial + row * GEMM_COLUMNS, rows, columns);
	}
}

/* The i-th of the chunks of A that are held. */
static void gemm_chunk(const struct gemm_work *w, struct gemm_block *k, int64_t i)
{
	k->k0 = k->held0 + i * w->chunk;
	k->k1 = min(k->k0 + w->chunk, k->held1);
	k->depth = gemm_depth(k->k1 - k->k0, w->g->dtype);
	k->stride = gemm_a_stride(k->depth);
	k->a = k->held + i * k->tiles * gemm_a_stride(gemm_depth(w->chunk, w->g->dtype));
}

/* Packs the chunk of A at work. */
static void gemm_pack_chunk(const struct gemm_work *w, const struct gemm_block *k)
{
	const struct hpcbert_gemm *g = w->g;
	int64_t row = g->a_transposed ? k->k0 : k->m0, column = g->a_transposed ? k->m0 : k->k0;
	gemm_pack_a(k->a, k->stride, gemm_part(gemm_source(g->a, g->lda, g->dtype), row, column), g->a_transposed, k->m1 - k->m0, k->k1 - k->k0);
}

/* The part of an item that lies in the chunks of A held. */
static void gemm_chunks(const struct gemm_work *w, struct gemm_block *k, struct gemm_held *held)
{
	const struct hpcbert_gemm *g = w->g;
	int64_t chunks = ceil_div(k->held1 - k->held0, w->chunk);
	int pack = held->m0 != k->m0 || held->k0 != k->held0;
	for (int64_t i = 0; i < chunks; i++) {
		gemm_chunk(w, k, i);
		if (pack)
			gemm_pack_chunk(w, k);
		if (g->a_sums && k->n0 == 0)
			gemm_add_row_sums(g->a_sums + k->m0, k->a, k->stride, k->m1 - k->m0, k->depth, gemm_pairs(g->dtype));
	}
	*held = (struct gemm_held){k->m0, k->held0};
	for (int64_t n = k->n0; n < k->n1; n += GEMM_COLUMNS)
		for (int64_t i = 0; i < chunks; i++) {
			gemm_chunk(w, k, i);
			for (int64_t begin = 0; begin < k->depth;) {
				struct gemm_sliver v = gemm_sliver(w, k, n, begin);
				gemm_tiles(w, k, &v, n);
				begin = v.end;
			}
		}
}

/* How many columns of A a thread holds of a block of m rows: whole chunks, one at least. */
static int64_t gemm_held_at_once(const struct gemm_work *w, int64_t m)
{
	return max(GEMM_BLOCK / (gemm_tiles_of(m) * gemm_a_stride(gemm_depth(w->chunk, w->g->dtype))), 1) * w->chunk;
}

static void gemm_item(void *arg, long item, int thread)
{
	const struct gemm_work *w = arg;
	struct gemm_block k = {.m0 = item / w->column_blocks * w->block_rows, .n0 = w->n0 + item % w->column_blocks * w->block_columns};
	k.m1 = min(k.m0 + w->block_rows, w->g->m);
	k.n1 = min(k.n0 + w->block_columns, w->n1);
	k.tiles = gemm_tiles_of(k.m1 - k.m0);
	k.held = thread_scratch(w->stream, thread);
	k.partial = k.held + GEMM_BLOCK;
	k.waiting = k.partial + GEMM_BLOCK_ROWS * GEMM_COLUMNS;
	int64_t held = gemm_held_at_once(w, k.m1 - k.m0);
	for (k.held0 = w->k0; k.held0 < w->k1; k.held0 = k.held1) {
		k.held1 = min(k.held0 + held, w->k1);
		gemm_chunks(w, &k, &w->held[thread]);
	}
}

/* Divides the product into items: the division that keeps the threads equally busy at the least packing. Costs are in multiply-adds. Threads
 * are never equally fast, and at the end the faster ones wait for part of an item: where rows are few, that decides. */
static long gemm_divide(struct gemm_work *w)
{
	const int64_t pack_a = 16, load_b = 8, start = 16; /* what packing a unit of A, loading one of B, beginning an item costs */
	const int64_t uneven = 4;                          /* the part of an item that is waited for at the end */
	int threads = stream_threads(w->stream);
	int64_t m = w->g->m, panels = ceil_div(w->n1 - w->n0, GEMM_COLUMNS);
	int64_t tallest = min(GEMM_BLOCK_ROWS / GEMM_ROWS, GEMM_BLOCK / gemm_a_stride(gemm_depth(w->chunk, w->g->dtype)));
	tallest = min(tallest, gemm_tiles_of(m)) * GEMM_ROWS;
	int64_t best = INT64_MAX, items = 0;
	for (int64_t rows = tallest; rows >= tallest / 2; rows -= GEMM_ROWS) {
		int64_t height = min(rows, m), row_blocks = ceil_div(m, rows);
		int once = gemm_held_at_once(w, height) >= w->k1 - w->k0; /* A is packed once for a row of items */
		for (int64_t split = 1; split <= panels; split += 1 + split / (4 * threads)) {
			int64_t columns = ceil_div(panels, split) * GEMM_COLUMNS;
			int64_t column_blocks = ceil_div(w->n1 - w->n0, columns), count = row_blocks * column_blocks;
			int64_t each = ceil_div(count, threads), packings = once ? ceil_div(each, column_blocks) : each;
			int64_t item = height * columns + load_b * columns + start;
			int64_t cost = each * item + packings * pack_a * height + (threads > 1 ? item / uneven : 0);
			if (cost >= best || (!w->direct && rows * columns > GEMM_WAITING))
				continue;
			best = cost;
			items = count;
			w->block_rows = rows;
			w->block_columns = columns;
			w->column_blocks = column_blocks;
		}
	}
	return (long)items;
}

static void gemm_run(struct gemm_work *w)
{
	struct gemm_held held[stream_threads(w->stream)];
	for (int i = 0; i < stream_threads(w->stream); i++)
		held[i].m0 = -1;
	w->held = held;
	parallel_for(w->stream, gemm_divide(w), gemm_item, w);
	w->held = NULL;
}

/* The product with B packed in advance. */
static void gemm_packed(struct gemm_work *w)
{
	const struct hpcbert_gemm *g = w->g;
	w->panels = g->b;
	w->panel_stride = gemm_depth(g->k, g->dtype) * GEMM_COLUMNS;
	w->n1 = g->n;
	w->k1 = g->k;
	gemm_run(w);
}

/* The product with B packed here, as much of it at a time as the shared scratch holds; all of K where the sums are not in D. */
static void gemm_unpacked(struct gemm_work *w)
{
	const struct hpcbert_gemm *g = w->g;
	int64_t room = SHARED_SCRATCH / (int64_t)sizeof(float), depth = gemm_depth(w->chunk, g->dtype);
	int64_t width = min(g->n, room / (w->direct ? depth : gemm_depth(g->k, g->dtype)) / GEMM_COLUMNS * GEMM_COLUMNS);
	int64_t chunks = room / (round_up(width, GEMM_COLUMNS) * depth);
	int across = g->b_layout == HPCBERT_B_KN;
	for (w->n0 = 0; w->n0 < g->n; w->n0 = w->n1) {
		w->n1 = min(w->n0 + width, g->n);
		for (w->k0 = 0; w->k0 < g->k; w->k0 = w->k1) {
			w->k1 = min(w->k0 + chunks * w->chunk, g->k);
			w->panels = shared_scratch(w->stream);
			w->panel_stride = gemm_depth(w->k1 - w->k0, g->dtype) * GEMM_COLUMNS;
			struct gemm_packing p = {.stream = w->stream, .panels = shared_scratch(w->stream), .panel_stride = w->panel_stride, .n = w->n1 - w->n0,
			                         .k = w->k1 - w->k0, .layout = g->b_layout, .dtype = g->dtype};
			p.b = gemm_part(gemm_source(g->b, g->ldb, g->dtype), across ? w->k0 : w->n0, across ? w->n0 : w->k0);
			gemm_pack_panels(&p);
			gemm_run(w);
		}
	}
}

static int gemm_check(const struct hpcbert_gemm *g)
{
	if (g->m < 0 || g->n < 0 || g->k < 1 || g->ldd < g->n || g->lda < (g->a_transposed ? g->m : g->k))
		return HPCBERT_BAD_ARGUMENT;
	if (g->b_layout < HPCBERT_B_KN || g->b_layout > HPCBERT_B_PACKED || g->epilogue < HPCBERT_LINEAR || g->epilogue > HPCBERT_GELU_GRADIENT)
		return HPCBERT_BAD_ARGUMENT;
	if (g->b_layout != HPCBERT_B_PACKED && g->ldb < (g->b_layout == HPCBERT_B_KN ? g->n : g->k))
		return HPCBERT_BAD_ARGUMENT;
	if (g->epilogue != HPCBERT_LINEAR && (!g->pre || g->accumulate || g->d_dtype != g->dtype))
		return HPCBERT_BAD_ARGUMENT;
	if (!HAS_DTYPE(g->dtype) || (g->d_dtype != g->dtype && g->d_dtype != HPCBERT_F32))
		return HPCBERT_UNSUPPORTED;
	return HPCBERT_OK;
}

static int gemm(const struct hpcbert_gemm *g, struct hpcbert_stream *s)
{
	int error = gemm_check(g);
	if (error || g->m == 0 || g->n == 0)
		return error;
	struct gemm_work w = {.g = g, .stream = s, .direct = g->d_dtype == HPCBERT_F32 && g->epilogue == HPCBERT_LINEAR};
	int64_t depth = gemm_depth(g->k, g->dtype);
	w.chunk = ceil_div(depth, ceil_div(depth, GEMM_CHUNK)) * (gemm_pairs(g->dtype) ? 2 : 1);
	if (!w.direct && g->b_layout != HPCBERT_B_PACKED && depth * GEMM_COLUMNS * (int64_t)sizeof(float) > SHARED_SCRATCH)
		return HPCBERT_NO_MEMORY;
	if (g->b_layout == HPCBERT_B_PACKED)
		gemm_packed(&w);
	else
		gemm_unpacked(&w);
	return HPCBERT_OK;
}

#endif
