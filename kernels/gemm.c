/* gemm.c: matrix products. Compiled by isa.inc once for each instruction set.
 *
 * D is made of tiles of GEMM_ROWS x GEMM_COLUMNS that are summed in registers over one block of K at a time. Both operands are copied first,
 * so that a tile reads them in order: B into panels of GEMM_COLUMNS columns, each [K][GEMM_COLUMNS]; a block of A, by the thread that uses
 * it, into panels of GEMM_ROWS rows, each [block of K][GEMM_ROWS]. Within a block one panel of B stays in L1 while the block of A passes by
 * from L2 (Goto, van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008).
 *
 * Every element of D is summed over the blocks of K in order, and the blocks depend on K alone; so the division of D into items of work,
 * which does depend on the threads, changes no bit.
 */
#ifdef ISA

enum {
	GEMM_COLUMNS = GEMM_VECTORS * VL,
	GEMM_DEPTH = 384,      /* at most this much of K at once: a panel of B and one of A share L1 */
	GEMM_BLOCK_ROWS = 144, /* at most this many rows of A at once, a multiple of GEMM_ROWS: with GEMM_DEPTH less than half of L2 */
	GEMM_PACK_DEPTH = 32,  /* rows of B[K,N] packed by one item */
	GEMM_PACK_RUN = 8,     /* rows copied before going on to the next panel: runs of whole cache lines on both sides */
};

static inline int64_t gemm_min(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t gemm_ceil_div(int64_t a, int64_t b)
{
	return (a + b - 1) / b;
}

/* One product, or the part of it whose columns n0..n1-1 and rows k0..k1-1 of B are packed. */
struct gemm_work {
	const struct hpcbert_gemm *g;
	struct hpcbert_stream *stream;
	const float *panels;  /* B's panels, from column n0 and row k0 on */
	int64_t panel_stride; /* floats from one panel to the next */
	int64_t n0, n1, k0, k1;
	int64_t depth;                     /* of a block of K */
	int64_t block_rows, block_columns; /* of an item, multiples of a tile */
	int64_t column_blocks;
};

typedef float gemm_quad __attribute__((vector_size(16)));
typedef int32_t gemm_order __attribute__((vector_size(16)));

static inline gemm_quad gemm_load_quad(const float *p)
{
	gemm_quad q;
	memcpy(&q, p, sizeof q);
	return q;
}

/* out[i * step + r] = in[r * ld + i] for 4 x 4 values */
INLINE void gemm_transpose4(float *out, int64_t step, const float *in, int64_t ld)
{
	gemm_quad r0 = gemm_load_quad(in), r1 = gemm_load_quad(in + ld), r2 = gemm_load_quad(in + 2 * ld), r3 = gemm_load_quad(in + 3 * ld);
	gemm_quad low01 = __builtin_shuffle(r0, r1, (gemm_order){0, 4, 1, 5}), high01 = __builtin_shuffle(r0, r1, (gemm_order){2, 6, 3, 7});
	gemm_quad low23 = __builtin_shuffle(r2, r3, (gemm_order){0, 4, 1, 5}), high23 = __builtin_shuffle(r2, r3, (gemm_order){2, 6, 3, 7});
	gemm_quad column[4] = {
		__builtin_shuffle(low01, low23, (gemm_order){0, 1, 4, 5}),
		__builtin_shuffle(low01, low23, (gemm_order){2, 3, 6, 7}),
		__builtin_shuffle(high01, high23, (gemm_order){0, 1, 4, 5}),
		__builtin_shuffle(high01, high23, (gemm_order){2, 3, 6, 7}),
	};
	for (int i = 0; i < 4; i++)
		memcpy(out + i * step, &column[i], sizeof column[i]);
}

/* The same for 2 rows. */
INLINE void gemm_transpose2(float *out, int64_t step, const float *in, int64_t ld)
{
	gemm_quad r0 = gemm_load_quad(in), r1 = gemm_load_quad(in + ld);
	gemm_quad low = __builtin_shuffle(r0, r1, (gemm_order){0, 4, 1, 5}), high = __builtin_shuffle(r0, r1, (gemm_order){2, 6, 3, 7});
	memcpy(out, &low, 8);
	memcpy(out + step, (const char *)&low + 8, 8);
	memcpy(out + 2 * step, &high, 8);
	memcpy(out + 3 * step, (const char *)&high + 8, 8);
}

/* One panel of A[M,K] from its first row a. Rows that fill a panel are left as they are: nothing reads their sums. */
static void gemm_pack_a_panel(float *out, const float *a, int64_t lda, int64_t rows, int64_t k)
{
	int64_t i = 0;
	for (; rows == GEMM_ROWS && i + 4 <= k; i += 4) {
		int r = 0;
		for (; r + 4 <= GEMM_ROWS; r += 4)
			gemm_transpose4(out + i * GEMM_ROWS + r, GEMM_ROWS, a + r * lda + i, lda);
		if (r < GEMM_ROWS)
			gemm_transpose2(out + i * GEMM_ROWS + r, GEMM_ROWS, a + r * lda + i, lda);
	}
	for (; i < k; i++)
		for (int64_t r = 0; r < rows; r++)
			out[i * GEMM_ROWS + r] = a[r * lda + i];
}

/* m columns of A[K,M] into panels, a few rows at a time: a column alone would have its lines in few sets of the cache. */
static void gemm_pack_a_transposed(float *panels, const float *a, int64_t lda, int64_t m, int64_t k)
{
	for (int64_t k0 = 0; k0 < k; k0 += GEMM_PACK_RUN)
		for (int64_t first = 0; first < m; first += GEMM_ROWS) {
			float *out = panels + first * k + k0 * GEMM_ROWS;
			const float *in = a + k0 * lda + first;
			int64_t rows = gemm_min(GEMM_ROWS, m - first), run = gemm_min(GEMM_PACK_RUN, k - k0);
			for (int64_t i = 0; i < run; i++, out += GEMM_ROWS, in += lda)
				if (rows == GEMM_ROWS)
					memcpy(out, in, GEMM_ROWS * sizeof *out);
				else
					memcpy(out, in, (size_t)rows * sizeof *out);
		}
}

/* Copies rows m0..m1-1, columns k0..k1-1 of A into panels. */
static void gemm_pack_a(float *panels, const struct hpcbert_gemm *g, int64_t m0, int64_t m1, int64_t k0, int64_t k1)
{
	const float *a = g->a;
	if (g->a_transposed) {
		gemm_pack_a_transposed(panels, a + k0 * g->lda + m0, g->lda, m1 - m0, k1 - k0);
		return;
	}
	for (int64_t m = m0; m < m1; m += GEMM_ROWS)
		gemm_pack_a_panel(panels + (m - m0) * (k1 - k0), a + m * g->lda + k0, g->lda, gemm_min(GEMM_ROWS, m1 - m), k1 - k0);
}

/* sums[m] += sum over k of a block of A in panels */
static void gemm_add_row_sums(float *sums, const float *panels, int64_t m, int64_t k)
{
	for (int64_t first = 0; first < m; first += GEMM_ROWS, panels += k * GEMM_ROWS) {
		vf partial[GEMM_ROWS] = {{0}}; /* VL rows of k side by side: lane i of the whole belongs to row i % GEMM_ROWS */
		float total[GEMM_ROWS] = {0}, lanes[GEMM_ROWS * VL];
		int64_t i = 0;
		for (; i + VL <= k; i += VL)
			for (int v = 0; v < GEMM_ROWS; v++)
				partial[v] += vload(panels + i * GEMM_ROWS + v * VL);
		memcpy(lanes, partial, sizeof lanes);
		for (int lane = 0; lane < GEMM_ROWS * VL; lane++)
			total[lane % GEMM_ROWS] += lanes[lane];
		for (; i < k; i++)
			for (int r = 0; r < GEMM_ROWS; r++)
				total[r] += panels[i * GEMM_ROWS + r];
		for (int r = 0; r < gemm_min(GEMM_ROWS, m - first); r++)
			sums[first + r] += total[r];
	}
}

/* Row r of column i of a panel of A, in every lane. NEON multiplies by one lane of a vector: the first four rows come in one load, where six
 * loads ahead of their use would leave too few registers for the sums. */
INLINE vf gemm_row(const float *a, int64_t i, int r)
{
#if defined(__aarch64__) && VL == 4
	if (r < VL)
		return vset(vload(a + i * GEMM_ROWS)[r]);
#endif
	return vset(a[i * GEMM_ROWS + r]);
}

/* One tile: c = a·b + start + (add ? c : 0), with a in [k][GEMM_ROWS], b in [k][GEMM_COLUMNS]. */
static __attribute__((noinline)) void gemm_tile(float *c, int64_t ldc, const float *a, const float *b, int64_t k, int add, const float *start /* [GEMM_COLUMNS] */)
{
	vf sum[GEMM_ROWS][GEMM_VECTORS];
	for (int r = 0; r < GEMM_ROWS; r++) {
		for (int v = 0; v < GEMM_VECTORS; v++)
			sum[r][v] = (vf){0};
	}
#pragma GCC unroll 4 /* the counting of so short a loop shows in its time */
	for (int64_t i = 0; i < k; i++) {
		vf column[GEMM_VECTORS];
		for (int v = 0; v < GEMM_VECTORS; v++)
			column[v] = *(const vf *)(b + i * GEMM_COLUMNS + v * VL);
		for (int r = 0; r < GEMM_ROWS; r++) {
			vf row = gemm_row(a, i, r);
			for (int v = 0; v < GEMM_VECTORS; v++)
				sum[r][v] += row * column[v];
		}
	}
	for (int r = 0; r < GEMM_ROWS; r++)
		for (int v = 0; v < GEMM_VECTORS; v++) {
			vf total = sum[r][v] + vload(start + v * VL);
			vstore(c + r * ldc + v * VL, add ? vload(c + r * ldc + v * VL) + total : total);
		}
}

/* The same for a tile of which only rows x columns are in the matrix. */
static void gemm_edge_tile(float *c, int64_t ldc, const float *a, const float *b, int64_t k, int add, const float *start, int64_t rows, int64_t columns)
{
	float tile[GEMM_ROWS * GEMM_COLUMNS] = {0};
	for (int64_t r = 0; add && r < rows; r++)
		memcpy(tile + r * GEMM_COLUMNS, c + r * ldc, (size_t)columns * sizeof *c);
	gemm_tile(tile, GEMM_COLUMNS, a, b, k, add, start);
	for (int64_t r = 0; r < rows; r++)
		memcpy(c + r * ldc, tile + r * GEMM_COLUMNS, (size_t)columns * sizeof *c);
}

/* d = gelu(pre), or d *= gelu'(pre), for n elements */
INLINE void gemm_epilogue_row(float *d, const float *pre, int64_t n, int32_t epilogue)
{
	for (int64_t c = 0; c < n; c += VL) {
		int64_t lanes = gemm_min(VL, n - c);
		vf x = lanes == VL ? vload(pre + c) : vload_first(pre + c, lanes);
		vf y;
		if (epilogue == HPCBERT_GELU)
			y = vgelu(x);
		else
			y = (lanes == VL ? vload(d + c) : vload_first(d + c, lanes)) * vgelu_gradient(x);
		if (lanes == VL)
			vstore(d + c, y);
		else
			vstore_first(d + c, y, lanes);
	}
}

/* Applies the epilogue to rows x columns of D at (m, n), whose sums are complete and still in L1. */
static void gemm_epilogue(const struct hpcbert_gemm *g, int64_t m, int64_t n, int64_t rows, int64_t columns)
{
	for (int64_t r = m; r < m + rows; r++)
		gemm_epilogue_row((float *)g->d + r * g->ldd + n, (const float *)g->pre + r * g->ldd + n, columns, g->epilogue);
}

/* Fetches n floats into L2. */
INLINE void gemm_fetch_panel(const float *p, int64_t n)
{
	for (int64_t i = 0; i < n; i += CACHE_LINE / (int64_t)sizeof(float))
		__builtin_prefetch(p + i, 0, 2);
}

/* Fetches a tile of a matrix into L1, where hardware sees no pattern: it takes from memory about as long as a tile's sums take. */
INLINE void gemm_fetch_tile(const float *p, int64_t ld)
{
	for (int r = 0; r < GEMM_ROWS; r++)
		for (int v = 0; v < GEMM_COLUMNS; v += CACHE_LINE / (int)sizeof(float))
			__builtin_prefetch(p + r * ld + v, 1);
}

/* Adds the product over k0..k1-1 to rows m0..m1-1, columns n0..n1-1; a is the packed block of A. */
static void gemm_block(const struct gemm_work *w, const float *a, int64_t m0, int64_t m1, int64_t n0, int64_t n1, int64_t k0, int64_t k1)
{
	const struct hpcbert_gemm *g = w->g;
	float *sums = g->epilogue == HPCBERT_GELU ? g->pre : g->d;
	int add = k0 > 0 || g->accumulate, finish = k1 == g->k && g->epilogue != HPCBERT_LINEAR;
	int64_t ahead = (k1 - k0) * GEMM_COLUMNS / gemm_ceil_div(m1 - m0, GEMM_ROWS); /* each tile fetches its share of the next panel of B into L2 */
	for (int64_t n = n0; n < n1; n += GEMM_COLUMNS) {
		int64_t columns = gemm_min(GEMM_COLUMNS, n1 - n);
		const float *b = w->panels + (n - w->n0) / GEMM_COLUMNS * w->panel_stride + (k0 - w->k0) * GEMM_COLUMNS;
		float start[GEMM_COLUMNS] = {0};
		if (g->bias && k0 == 0)
			memcpy(start, g->bias + n, (size_t)columns * sizeof *start);
		for (int64_t m = m0; m < m1; m += GEMM_ROWS) {
			int64_t rows = gemm_min(GEMM_ROWS, m1 - m);
			const float *panel = a + (m - m0) * (k1 - k0);
			float *c = sums + m * g->ldd + n;
			gemm_fetch_tile(c, g->ldd);
			gemm_fetch_panel(b + w->panel_stride + (m - m0) / GEMM_ROWS * ahead, ahead);
			if (finish)
				gemm_fetch_tile((const float *)(sums == g->d ? g->pre : g->d) + m * g->ldd + n, g->ldd);
			if (rows == GEMM_ROWS && columns == GEMM_COLUMNS)
				gemm_tile(c, g->ldd, panel, b, k1 - k0, add, start);
			else
				gemm_edge_tile(c, g->ldd, panel, b, k1 - k0, add, start, rows, columns);
			if (finish)
				gemm_epilogue(g, m, n, rows, columns);
		}
	}
}

static void gemm_item(void *arg, long item, int thread)
{
	const struct gemm_work *w = arg;
	const struct hpcbert_gemm *g = w->g;
	int64_t m0 = item / w->column_blocks * w->block_rows, m1 = gemm_min(m0 + w->block_rows, g->m);
	int64_t n0 = w->n0 + item % w->column_blocks * w->block_columns, n1 = gemm_min(n0 + w->block_columns, w->n1);
	float *a = thread_scratch(w->stream, thread);
	for (int64_t k0 = w->k0, k1; k0 < w->k1; k0 = k1) {
		k1 = gemm_min(k0 + w->depth, w->k1);
		gemm_pack_a(a, g, m0, m1, k0, k1);
		if (g->a_sums && n0 == 0)
			gemm_add_row_sums(g->a_sums + m0, a, m1 - m0, k1 - k0);
		gemm_block(w, a, m0, m1, n0, n1, k0, k1);
	}
}

/* Divides the product into items: the division that keeps the threads equally busy at the least packing. Costs are in multiply-adds. */
static long gemm_divide(struct gemm_work *w, int threads)
{
	const int64_t pack_a = 16, load_b = 8; /* what packing an element of A, loading one of B costs */
	int64_t m = w->g->m, panels = gemm_ceil_div(w->n1 - w->n0, GEMM_COLUMNS), most = gemm_min(panels, 4 * (int64_t)threads);
	int64_t best = INT64_MAX, items = 0;
	for (int64_t rows = GEMM_BLOCK_ROWS; rows >= GEMM_BLOCK_ROWS / 2; rows -= GEMM_ROWS)
		for (int64_t split = 1; split <= most; split++) {
			int64_t columns = gemm_ceil_div(panels, split) * GEMM_COLUMNS, height = gemm_min(rows, m);
			int64_t column_blocks = gemm_ceil_div(w->n1 - w->n0, columns), count = gemm_ceil_div(m, rows) * column_blocks;
			int64_t cost = gemm_ceil_div(count, threads) * (height * columns + pack_a * height + load_b * columns);
			if (cost >= best)
				continue;
			best = cost;
			items = count;
			w->block_rows = rows;
			w->block_columns = columns;
			w->column_blocks = column_blocks;
		}
	return (long)items;
}

/* The part b[k,n] of an operand B, to be written into panels from row k0, column n0 on. */
struct gemm_packing {
	float *panels;
	const float *b;
	int64_t panel_stride, ldb, n0, n, k0, k;
	int32_t layout;
};

/* Stored [K,N]: rows first..first+count-1 of b into all panels. */
static void gemm_pack_kn(const struct gemm_packing *p, int64_t first, int64_t count)
{
	for (int64_t c = 0, width; c < p->n; c += width) {
		int64_t lane = (p->n0 + c) % GEMM_COLUMNS;
		width = gemm_min(GEMM_COLUMNS - lane, p->n - c);
		const float *b = p->b + first * p->ldb + c;
		float *out = p->panels + (p->n0 + c) / GEMM_COLUMNS * p->panel_stride + (p->k0 + first) * GEMM_COLUMNS + lane;
		for (int64_t k = 0; k < count; k++, b += p->ldb, out += GEMM_COLUMNS)
			if (width == GEMM_COLUMNS)
				memcpy(out, b, GEMM_COLUMNS * sizeof *out);
			else
				memcpy(out, b, (size_t)width * sizeof *out);
	}
}

/* Stored [N,K]: columns first..first+count-1 of B, all in one panel. */
static void gemm_pack_nk(const struct gemm_packing *p, int64_t first, int64_t count)
{
	const float *b = p->b + first * p->ldb;
	int64_t column = p->n0 + first;
	float *out = p->panels + column / GEMM_COLUMNS * p->panel_stride + p->k0 * GEMM_COLUMNS + column % GEMM_COLUMNS;
	for (int64_t k = 0; k < p->k; k += 16) /* a cache line of four columns at a time */
		for (int64_t c = 0; c < count; c += 4) {
			int64_t depth = gemm_min(16, p->k - k), width = gemm_min(4, count - c), i = 0;
			for (; width == 4 && i + 4 <= depth; i += 4)
				gemm_transpose4(out + (k + i) * GEMM_COLUMNS + c, GEMM_COLUMNS, b + c * p->ldb + k + i, p->ldb);
			for (; i < depth; i++)
				for (int64_t j = c; j < c + width; j++)
					out[(k + i) * GEMM_COLUMNS + j] = b[j * p->ldb + k + i];
		}
}

/* An item is a few rows of B[K,N], or one panel of B[N,K]: what memory gives in order. */
static void gemm_pack_item(void *arg, long item, int thread)
{
	const struct gemm_packing *p = arg;
	(void)thread;
	if (p->layout == HPCBERT_B_KN) {
		int64_t end = gemm_min((item + 1) * GEMM_PACK_DEPTH, p->k);
		for (int64_t k = item * GEMM_PACK_DEPTH; k < end; k += GEMM_PACK_RUN)
			gemm_pack_kn(p, k, gemm_min(GEMM_PACK_RUN, end - k));
		return;
	}
	int64_t panel = p->n0 / GEMM_COLUMNS + item;
	int64_t first = panel * GEMM_COLUMNS - p->n0, end = gemm_min(first + GEMM_COLUMNS, p->n);
	if (first < 0)
		first = 0;
	gemm_pack_nk(p, first, end - first);
}

static void gemm_pack_panels(struct gemm_packing *p, struct hpcbert_stream *s)
{
	int64_t panels = gemm_ceil_div(p->n0 + p->n, GEMM_COLUMNS) - p->n0 / GEMM_COLUMNS;
	parallel_for(s, (long)(p->layout == HPCBERT_B_KN ? gemm_ceil_div(p->k, GEMM_PACK_DEPTH) : panels), gemm_pack_item, p);
}

/* The product with B packed in advance. */
static void gemm_packed(struct gemm_work *w)
{
	const struct hpcbert_gemm *g = w->g;
	w->panels = g->b;
	w->panel_stride = g->k * GEMM_COLUMNS;
	w->n1 = g->n;
	w->k1 = g->k;
	parallel_for(w->stream, gemm_divide(w, stream_threads(w->stream)), gemm_item, w);
}

/* The product with B packed here, as much of it at a time as the shared scratch holds. */
static void gemm_unpacked(struct gemm_work *w)
{
	const struct hpcbert_gemm *g = w->g;
	int64_t room = SHARED_SCRATCH / (int64_t)sizeof(float);
	int64_t width = gemm_min(g->n, room / GEMM_DEPTH / GEMM_COLUMNS * GEMM_COLUMNS);
	int64_t blocks = room / (gemm_ceil_div(width, GEMM_COLUMNS) * GEMM_COLUMNS * w->depth);
	for (w->n0 = 0; w->n0 < g->n; w->n0 = w->n1) {
		w->n1 = gemm_min(w->n0 + width, g->n);
		for (w->k0 = 0; w->k0 < g->k; w->k0 = w->k1) {
			w->k1 = gemm_min(w->k0 + blocks * w->depth, g->k);
			int64_t offset = g->b_layout == HPCBERT_B_KN ? w->k0 * g->ldb + w->n0 : w->n0 * g->ldb + w->k0;
			w->panels = shared_scratch(w->stream);
			w->panel_stride = (w->k1 - w->k0) * GEMM_COLUMNS;
			struct gemm_packing p = {.panels = shared_scratch(w->stream), .b = (const float *)g->b + offset, .panel_stride = w->panel_stride,
			                         .ldb = g->ldb, .n = w->n1 - w->n0, .k = w->k1 - w->k0, .layout = g->b_layout};
			gemm_pack_panels(&p, w->stream);
			parallel_for(w->stream, gemm_divide(w, stream_threads(w->stream)), gemm_item, w);
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
	if (g->epilogue != HPCBERT_LINEAR && (!g->pre || g->accumulate))
		return HPCBERT_BAD_ARGUMENT;
	if (g->dtype != HPCBERT_F32 || g->d_dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	return HPCBERT_OK;
}

static int gemm(const struct hpcbert_gemm *g, struct hpcbert_stream *s)
{
	int error = gemm_check(g);
	if (error || g->m == 0 || g->n == 0)
		return error;
	struct gemm_work w = {.g = g, .stream = s, .depth = gemm_ceil_div(g->k, gemm_ceil_div(g->k, GEMM_DEPTH))};
	if (g->b_layout == HPCBERT_B_PACKED)
		gemm_packed(&w);
	else
		gemm_unpacked(&w);
	return HPCBERT_OK;
}

/* Whole cache lines, so that packed operands can lie side by side in one allocation. */
static size_t gemm_packed_bytes(int64_t n, int64_t k, int32_t dtype)
{
	if (dtype != HPCBERT_F32)
		return 0;
	size_t bytes = (size_t)(gemm_ceil_div(n, GEMM_COLUMNS) * GEMM_COLUMNS * k) * sizeof(float);
	return (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

static int gemm_pack(void *packed, const float *b, int64_t ldb, int32_t layout, int64_t n_total, int64_t k_total, int64_t n0, int64_t n,
                     int64_t k0, int64_t k, int32_t dtype, struct hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	if (layout != HPCBERT_B_KN && layout != HPCBERT_B_NK)
		return HPCBERT_BAD_ARGUMENT;
	if (n0 < 0 || n < 1 || n0 + n > n_total || k0 < 0 || k < 1 || k0 + k > k_total || ldb < (layout == HPCBERT_B_KN ? n : k))
		return HPCBERT_BAD_ARGUMENT;
	struct gemm_packing p = {.panels = packed, .b = b, .panel_stride = k_total * GEMM_COLUMNS, .ldb = ldb, .n0 = n0, .n = n, .k0 = k0, .k = k,
	                         .layout = layout};
	gemm_pack_panels(&p, s);
	return HPCBERT_OK;
}

#endif
