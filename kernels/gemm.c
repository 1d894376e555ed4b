/* gemm.c: matrix products. Compiled by isa.inc once for each instruction set.
 *
 * D is made of tiles of GEMM_ROWS x GEMM_COLUMNS that are summed in registers. Both operands are copied first, so that a tile reads them in
 * order (gemm_pack.c): B whole and in advance, A by the thread that uses it, a block of rows and a chunk of K at a time. The block of A stays
 * in L2. Of each panel of B a sliver of the chunk's depth stays in L1 while all rows of the block pass by (Goto, van de Geijn, "Anatomy of
 * High-Performance Matrix Multiplication", 2008). The sums of the panel's tiles stay in L1 or L2 from one sliver to the next, so that D is
 * touched once a chunk.
 *
 * Every element of D is summed over the slivers of K in order, and these depend on K alone; so the division of D into items of work, which
 * does depend on the threads, changes no bit.
 */
#ifdef ISA

enum {
	GEMM_CHUNK = 768,       /* at most so many units of K at once: what a block of A holds of each row */
	GEMM_BLOCK_ROWS = 144,  /* at most so many rows of A at once */
	GEMM_WAITING = 2 << 20, /* at most so many sums of an item wait in scratch from one chunk to the next */
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
};

/* A block of A with a chunk of B: rows m0..m1-1 and columns n0..n1-1 of D, k0..k1-1 of K. */
struct gemm_block {
	int64_t m0, m1, n0, n1, k0, k1;
	int64_t depth, stride; /* units of the chunk; floats from one panel of a to the next */
	float *a;       /* packed */
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
	for (int64_t first = 0; first < m; first += GEMM_ROWS, panels += stride) {
		vf partial[GEMM_ROWS] = {{0}}; /* VL units of depth side by side: lane i of the whole belongs to row i % GEMM_ROWS */
		float lanes[GEMM_ROWS * VL];
		int64_t whole = depth / VL * VL, rows = min(GEMM_ROWS, m - first);
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

/* One tile: out = a·b + start + from, with a in [depth][GEMM_ROWS], b in [depth][GEMM_COLUMNS]. Without from (NULL) it counts as 0. */
INLINE void gemm_tile(float *out, int64_t ldo, const float *from, int64_t ldf, const float *start /* [GEMM_COLUMNS] */, const float *a,
                      const float *b, int64_t depth, int pairs)
{
	vf sum[GEMM_ROWS][GEMM_VECTORS];
	UNROLL for (int r = 0; r < GEMM_ROWS; r++)
		UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
			sum[r][v] = (vf){0};
#pragma GCC unroll 4 /* the counting of so short a loop shows in its time */
	for (int64_t i = 0; i < depth; i++) {
		vf column[GEMM_VECTORS];
		UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
			column[v] = *(const vf *)(b + i * GEMM_COLUMNS + v * VL);
		UNROLL for (int r = 0; r < GEMM_ROWS; r++) {
			vf row = gemm_row(a, i, r, pairs);
			UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
				sum[r][v] = pairs ? vdot(sum[r][v], (vu)row, (vu)column[v]) : sum[r][v] + row * column[v];
		}
	}
	UNROLL for (int v = 0; v < GEMM_VECTORS; v++) {
		vf first = vload(start + v * VL);
		UNROLL for (int r = 0; r < GEMM_ROWS; r++)
			sum[r][v] += first;
	}
	if (from)
		UNROLL for (int r = 0; r < GEMM_ROWS; r++)
			UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
				sum[r][v] += vload(from + r * ldf + v * VL);
	UNROLL for (int r = 0; r < GEMM_ROWS; r++)
		UNROLL for (int v = 0; v < GEMM_VECTORS; v++)
			vstore(out + r * ldo + v * VL, sum[r][v]);
}

typedef void gemm_tile_function(float *out, int64_t ldo, const float *from, int64_t ldf, const float *start, const float *a, const float *b,
                                int64_t depth);

static __attribute__((noinline)) void gemm_tile_f32(float *out, int64_t ldo, const float *from, int64_t ldf, const float *start, const float *a,
                                                    const float *b, int64_t depth)
{
	gemm_tile(out, ldo, from, ldf, start, a, b, depth, 0);
}

static __attribute__((noinline)) void gemm_tile_pairs(float *out, int64_t ldo, const float *from, int64_t ldf, const float *start, const float *a,
                                                      const float *b, int64_t depth)
{
	gemm_tile(out, ldo, from, ldf, start, a, b, depth, 1);
}

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

/* Fetches n floats into L2. */
INLINE void gemm_fetch_panel(const float *p, int64_t n)
{
	for (int64_t i = 0; i < n; i += CACHE_LINE / (int64_t)sizeof(float))
		__builtin_prefetch(p + i, 0, 2);
}

/* Fetches a tile of D or pre into L1, where hardware sees no pattern: it takes from memory about as long as a tile's sums take. */
INLINE void gemm_fetch_tile(const void *matrix, const struct hpcbert_gemm *g, int64_t m, int64_t n)
{
	const int64_t bytes = (int64_t)dtype_bytes(g->d_dtype);
	const char *p = (const char *)matrix + (m * g->ldd + n) * bytes;
	for (int r = 0; r < GEMM_ROWS; r++)
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
static void gemm_edge(const struct gemm_work *w, const struct gemm_block *k, const struct gemm_sliver *v, int64_t row, const float *a,
                      gemm_tile_function *tile, int64_t rows, int64_t columns)
{
	float copy[GEMM_ROWS * GEMM_COLUMNS] = {0};
	float *out = v->out.p + row * v->out.ld, *from = v->from.p ? v->from.p + row * v->from.ld : NULL;
	int64_t ldo = v->out.ld, ldf = v->from.ld;
	if (w->direct && from && v->begin == 0) {
		gemm_copy(copy, GEMM_COLUMNS, from, ldf, rows, columns);
		from = copy;
		ldf = GEMM_COLUMNS;
	}
	if (!w->direct || v->end < k->depth) {
		tile(out, ldo, from, ldf, v->start, a, v->b, v->end - v->begin);
		return;
	}
	tile(copy, GEMM_COLUMNS, from, ldf, v->start, a, v->b, v->end - v->begin);
	gemm_copy(out, ldo, copy, GEMM_COLUMNS, rows, columns);
}

/* Sums all tiles of a panel, at column n, over a sliver. */
static void gemm_tiles(const struct gemm_work *w, const struct gemm_block *k, const struct gemm_sliver *v, int64_t n)
{
	const struct hpcbert_gemm *g = w->g;
	gemm_tile_function *tile = gemm_pairs(g->dtype) ? gemm_tile_pairs : gemm_tile_f32;
	int64_t depth = v->end - v->begin, columns = min(GEMM_COLUMNS, k->n1 - n), tiles = ceil_div(k->m1 - k->m0, GEMM_ROWS);
	int64_t ahead = ceil_div(depth * GEMM_COLUMNS, tiles); /* each tile fetches its share of the next sliver */
	const float *next = v->end < k->depth ? v->b + depth * GEMM_COLUMNS : v->b - v->begin * GEMM_COLUMNS + w->panel_stride;
	const float *a = k->a + v->begin * GEMM_ROWS;
	int store = v->finish || (w->direct && v->end == k->depth);
	for (int64_t row = 0; row < k->m1 - k->m0; row += GEMM_ROWS, next += ahead, a += k->stride) {
		int64_t rows = min(GEMM_ROWS, k->m1 - k->m0 - row);
		gemm_fetch_panel(next, ahead);
		if (store)
			gemm_fetch_tile(g->d, g, k->m0 + row, n);
		if (v->finish && g->epilogue != HPCBERT_LINEAR)
			gemm_fetch_tile(g->pre, g, k->m0 + row, n);
		if (rows == GEMM_ROWS && columns == GEMM_COLUMNS)
			tile(v->out.p + row * v->out.ld, v->out.ld, v->from.p ? v->from.p + row * v->from.ld : NULL, v->from.ld, v->start, a, v->b, depth);
		else
			gemm_edge(w, k, v, row, a, tile, rows, columns);
		if (v->finish)
			gemm_finish(g, k->m0 + row, n, k->partial + row * GEMM_COLUMNS, rows, columns);
	}
}

/* One chunk of K of an item. */
static void gemm_chunk(const struct gemm_work *w, struct gemm_block *k)
{
	const struct hpcbert_gemm *g = w->g;
	int64_t row = g->a_transposed ? k->k0 : k->m0, column = g->a_transposed ? k->m0 : k->k0;
	k->depth = gemm_depth(k->k1 - k->k0, g->dtype);
	k->stride = gemm_a_stride(k->depth);
	gemm_pack_a(k->a, k->stride, gemm_part(gemm_source(g->a, g->lda, g->dtype), row, column), g->a_transposed, k->m1 - k->m0, k->k1 - k->k0);
	if (g->a_sums && k->n0 == 0)
		gemm_add_row_sums(g->a_sums + k->m0, k->a, k->stride, k->m1 - k->m0, k->depth, gemm_pairs(g->dtype));
	for (int64_t n = k->n0; n < k->n1; n += GEMM_COLUMNS)
		for (int64_t begin = 0; begin < k->depth;) {
			struct gemm_sliver v = gemm_sliver(w, k, n, begin);
			gemm_tiles(w, k, &v, n);
			begin = v.end;
		}
}

static void gemm_item(void *arg, long item, int thread)
{
	const struct gemm_work *w = arg;
	struct gemm_block k = {.m0 = item / w->column_blocks * w->block_rows, .n0 = w->n0 + item % w->column_blocks * w->block_columns};
	k.m1 = min(k.m0 + w->block_rows, w->g->m);
	k.n1 = min(k.n0 + w->block_columns, w->n1);
	k.a = thread_scratch(w->stream, thread);
	k.partial = k.a + GEMM_BLOCK;
	k.waiting = k.partial + GEMM_BLOCK_ROWS * GEMM_COLUMNS;
	for (k.k0 = w->k0; k.k0 < w->k1; k.k0 = k.k1) {
		k.k1 = min(k.k0 + w->chunk, w->k1);
		gemm_chunk(w, &k);
	}
}

/* Divides the product into items: the division that keeps the threads equally busy at the least packing. Costs are in multiply-adds. */
static long gemm_divide(struct gemm_work *w)
{
	const int64_t pack_a = 16, load_b = 8; /* what packing a unit of A, loading one of B costs */
	int threads = stream_threads(w->stream);
	int64_t m = w->g->m, panels = ceil_div(w->n1 - w->n0, GEMM_COLUMNS), most = min(panels, 4 * (int64_t)threads);
	int64_t tallest = min(GEMM_BLOCK_ROWS / GEMM_ROWS, GEMM_BLOCK / gemm_a_stride(gemm_depth(w->chunk, w->g->dtype))) * GEMM_ROWS;
	int64_t best = INT64_MAX, items = 0;
	if (!w->direct)
		most = min(panels, most + ceil_div(tallest * panels * GEMM_COLUMNS, GEMM_WAITING));
	for (int64_t rows = tallest; rows >= tallest / 2; rows -= GEMM_ROWS)
		for (int64_t split = 1; split <= most; split++) {
			int64_t columns = ceil_div(panels, split) * GEMM_COLUMNS, height = min(rows, m);
			int64_t column_blocks = ceil_div(w->n1 - w->n0, columns), count = ceil_div(m, rows) * column_blocks;
			int64_t cost = ceil_div(count, threads) * (height * columns + pack_a * height + load_b * columns);
			if (cost >= best || (!w->direct && rows * columns > GEMM_WAITING))
				continue;
			best = cost;
			items = count;
			w->block_rows = rows;
			w->block_columns = columns;
			w->column_blocks = column_blocks;
		}
	return (long)items;
}

static void gemm_run(struct gemm_work *w)
{
	parallel_for(w->stream, gemm_divide(w), gemm_item, w);
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
