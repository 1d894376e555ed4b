/* gemm_pack.c: the operands of matrix products in the order that a tile reads them. Compiled by isa.inc once for each instruction set.
 *
 * A packed operand is a row of panels of `width` lanes (GEMM_ROWS rows of A, GEMM_COLUMNS columns of B), each [depth][width] units of four
 * bytes. A unit is a float32; or, where the instruction set multiplies pairs of bfloat16 values (BF16_PAIRS), the values of two neighbours
 * in K, the first in the low half, with a zero after an odd last one. Without such an instruction bfloat16 is widened here, as half precision
 * always is, once for all the tiles that read it, and the products are those of float32.
 *
 * An operand is stored along K (a lane is contiguous: A[M,K], B[N,K]) or across it (the lanes of one k are: A[K,M], B[K,N]).
 */
#ifdef ISA

enum {
	GEMM_COLUMNS = GEMM_VECTORS * VL,
	GEMM_PACK_DEPTH = 32, /* units of depth of B[K,N] packed by one item */
	GEMM_PACK_RUN = 8,    /* units of depth copied before going on to the next panel: runs of whole cache lines on both sides */
};

/* What the units of packed operands are. */
INLINE int gemm_pairs(int32_t dtype)
{
	return BF16_PAIRS && dtype == HPCBERT_BF16;
}

/* Units of depth that hold k elements. */
INLINE int64_t gemm_depth(int64_t k, int32_t dtype)
{
	return gemm_pairs(dtype) ? (k + 1) / 2 : k;
}

/* The value of each unit, or the sum of its pair. */
INLINE vf gemm_unit_sum(vf units, int pairs)
{
	return pairs ? (vf)((vu)units << 16) + (vf)((vu)units & 0xffff0000) : units;
}

/* How many tiles m rows of A are divided into, and the first row of one. They are as even as can be: tiles of 5 rows and of 6, not of 6 and
 * one of a single row that takes almost as long. */
INLINE int64_t gemm_tiles_of(int64_t m)
{
	return ceil_div(m, GEMM_ROWS);
}

INLINE int64_t gemm_tile_row(int64_t tile, int64_t tiles, int64_t m)
{
	return tile * m / tiles;
}

/* A matrix in memory. */
struct gemm_source {
	const char *p;
	int64_t ld; /* bytes from one row to the next */
	int32_t dtype;
};

INLINE struct gemm_source gemm_source(const void *p, int64_t ld, int32_t dtype)
{
	return (struct gemm_source){p, ld * (int64_t)dtype_bytes(dtype), dtype};
}

/* The part of it from a row and column on. */
INLINE struct gemm_source gemm_part(struct gemm_source s, int64_t row, int64_t column)
{
	s.p += row * s.ld + column * (int64_t)dtype_bytes(s.dtype);
	return s;
}

typedef float gemm_quad __attribute__((vector_size(16)));
typedef int32_t gemm_order __attribute__((vector_size(16)));
typedef uint16_t gemm_half_quad __attribute__((vector_size(8)));

/* Bytes of one unit of a lane stored along K. */
INLINE int64_t gemm_unit_bytes(int32_t dtype)
{
	return gemm_pairs(dtype) ? 4 : (int64_t)dtype_bytes(dtype);
}

INLINE gemm_quad gemm_widen4(gemm_half_quad h, int32_t dtype)
{
#if VL == 4
	return (gemm_quad)vwiden((vh)h, dtype);
#else
	if (dtype == HPCBERT_F16)
		return (gemm_quad)_mm_cvtph_ps(_mm_cvtsi64_si128((int64_t)h));
	return (gemm_quad)(__builtin_convertvector(h, gemm_order) << 16);
#endif
}

/* Four units, and one, of a lane stored along K. */
INLINE gemm_quad gemm_load4(const char *p, int32_t dtype)
{
	gemm_quad q;
	if (gemm_unit_bytes(dtype) == 2) {
		gemm_half_quad h;
		memcpy(&h, p, sizeof h);
		return gemm_widen4(h, dtype);
	}
	memcpy(&q, p, sizeof q);
	return q;
}

INLINE float gemm_load1(const char *p, int32_t dtype)
{
	float x;
	if (gemm_unit_bytes(dtype) == 2)
		return get(p, 0, dtype);
	memcpy(&x, p, sizeof x);
	return x;
}

/* out[i * step + r] = unit i of lane r for 4 units of 4 lanes, ld bytes from lane to lane */
INLINE void gemm_transpose4(float *out, int64_t step, const char *in, int64_t ld, int32_t dtype)
{
	gemm_quad r0 = gemm_load4(in, dtype), r1 = gemm_load4(in + ld, dtype), r2 = gemm_load4(in + 2 * ld, dtype), r3 = gemm_load4(in + 3 * ld, dtype);
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

/* The same for 2 lanes. */
INLINE void gemm_transpose2(float *out, int64_t step, const char *in, int64_t ld, int32_t dtype)
{
	gemm_quad r0 = gemm_load4(in, dtype), r1 = gemm_load4(in + ld, dtype);
	gemm_quad low = __builtin_shuffle(r0, r1, (gemm_order){0, 4, 1, 5}), high = __builtin_shuffle(r0, r1, (gemm_order){2, 6, 3, 7});
	memcpy(out, &low, 8);
	memcpy(out + step, (const char *)&low + 8, 8);
	memcpy(out + 2 * step, &high, 8);
	memcpy(out + 3 * step, (const char *)&high + 8, 8);
}

/* One cache line of each of `lanes` lanes stored along K, `units` of them at most: what memory gives is used at once. */
INLINE void gemm_pack_line(float *out, int width, struct gemm_source s, int64_t lanes, int64_t units, int32_t dtype)
{
	const int64_t unit = gemm_unit_bytes(dtype);
	for (int64_t r = 0; r < lanes; r += 4) {
		const char *in = s.p + r * s.ld;
		int64_t count = min(4, lanes - r), i = 0;
		for (; count == 4 && i + 4 <= units; i += 4)
			gemm_transpose4(out + i * width + r, width, in + i * unit, s.ld, dtype);
		for (; count == 2 && i + 4 <= units; i += 4)
			gemm_transpose2(out + i * width + r, width, in + i * unit, s.ld, dtype);
		for (; i < units; i++)
			for (int64_t j = 0; j < count; j++)
				out[i * width + r + j] = gemm_load1(in + j * s.ld + i * unit, dtype);
	}
}

/* n lanes of one unit of depth stored across K: of row in, and of the row below where units are pairs (NULL: there is none). */
INLINE void gemm_pack_row(float *out, const char *in, const char *below, int64_t n, int32_t dtype)
{
	if (dtype == HPCBERT_F32) {
		memcpy(out, in, (size_t)n * sizeof *out);
		return;
	}
	int64_t c = 0;
	for (; c + VL <= n; c += VL) {
		vu units = (vu)vget(in, c, dtype);
		if (gemm_pairs(dtype))
			units = units >> 16 | (below ? (vu)vget(below, c, dtype) : (vu){0});
		vstore(out + c, (vf)units);
	}
	for (; c < n; c++) {
		if (!gemm_pairs(dtype)) {
			out[c] = get(in, c, dtype);
			continue;
		}
		uint32_t unit = ((const uint16_t *)in)[c] | (below ? (uint32_t)((const uint16_t *)below)[c] << 16 : 0);
		memcpy(&out[c], &unit, sizeof unit);
	}
}

/* One panel from `lanes` lanes of k elements stored along K. Lanes that are missing are left as they are: nothing reads their sums. */
INLINE void gemm_pack_along(float *panel, int width, struct gemm_source s, int64_t lanes, int64_t k, int32_t dtype)
{
	const int64_t unit = gemm_unit_bytes(dtype), line = CACHE_LINE / unit;
	int64_t whole = gemm_pairs(dtype) ? k / 2 : k;
	const char *odd = s.p + whole * unit; /* the last element, alone in its pair */
	for (int64_t i = 0; i < whole; i += line, s.p += line * unit)
		gemm_pack_line(panel + i * width, width, s, lanes, min(line, whole - i), dtype);
	if (!gemm_pairs(dtype) || k % 2 == 0)
		return;
	for (int64_t r = 0; r < lanes; r++)
		gemm_pack_row(panel + whole * width + r, odd + r * s.ld, NULL, 1, dtype);
}

/* `lanes` lanes of one panel, for `units` of its depth stored across K; k elements are left from the first of them on. */
INLINE void gemm_pack_rows(float *out, int width, struct gemm_source s, int64_t lanes, int64_t units, int64_t k, int32_t dtype)
{
	const int64_t rows = gemm_pairs(dtype) ? 2 : 1;
	for (int64_t i = 0; i < units; i++, out += width, s.p += rows * s.ld) {
		const char *below = rows == 2 && 2 * i + 1 < k ? s.p + s.ld : NULL;
		if (lanes == width)
			gemm_pack_row(out, s.p, below, width, dtype);
		else
			gemm_pack_row(out, s.p, below, lanes, dtype);
	}
}

/* m lanes of A[K,M] into panels, a few rows at a time: a panel alone would have its lines in few sets of the cache. */
INLINE void gemm_pack_a_across(float *panels, int64_t stride, struct gemm_source a, int64_t m, int64_t k, int32_t dtype)
{
	const int64_t depth = gemm_depth(k, dtype), rows = gemm_pairs(dtype) ? 2 : 1, tiles = gemm_tiles_of(m);
	for (int64_t i = 0; i < depth; i += GEMM_PACK_RUN)
		for (int64_t tile = 0; tile < tiles; tile++) {
			int64_t first = gemm_tile_row(tile, tiles, m);
			gemm_pack_rows(panels + tile * stride + i * GEMM_ROWS, GEMM_ROWS, gemm_part(a, i * rows, first), gemm_tile_row(tile + 1, tiles, m) - first,
			               min(GEMM_PACK_RUN, depth - i), k - i * rows, dtype);
		}
}

INLINE void gemm_pack_a_of(float *panels, int64_t stride, struct gemm_source a, int transposed, int64_t m, int64_t k, int32_t dtype)
{
	if (transposed) {
		gemm_pack_a_across(panels, stride, a, m, k, dtype);
		return;
	}
	int64_t tiles = gemm_tiles_of(m);
	for (int64_t tile = 0; tile < tiles; tile++) {
		int64_t first = gemm_tile_row(tile, tiles, m);
		gemm_pack_along(panels + tile * stride, GEMM_ROWS, gemm_part(a, first, 0), gemm_tile_row(tile + 1, tiles, m) - first, k, dtype);
	}
}

/* Floats from one panel of A to the next: an odd number of cache lines, so that panels written side by side do not share few sets of L1. */
INLINE int64_t gemm_a_stride(int64_t depth)
{
	const int64_t line = CACHE_LINE / (int64_t)sizeof(float);
	return (ceil_div(depth * GEMM_ROWS, line) | 1) * line;
}

/* Copies m rows, k columns of A, stored from a on, into panels that are stride floats apart. */
static void gemm_pack_a(float *panels, int64_t stride, struct gemm_source a, int transposed, int64_t m, int64_t k)
{
	if (a.dtype == HPCBERT_F16)
		gemm_pack_a_of(panels, stride, a, transposed, m, k, HPCBERT_F16);
	else if (a.dtype == HPCBERT_BF16)
		gemm_pack_a_of(panels, stride, a, transposed, m, k, HPCBERT_BF16);
	else
		gemm_pack_a_of(panels, stride, a, transposed, m, k, HPCBERT_F32);
}

/* The part b[k,n] of an operand B, to be written into panels from row k0, column n0 on. */
struct gemm_packing {
	struct hpcbert_stream *stream;
	float *panels;
	struct gemm_source b;
	int64_t panel_stride; /* units from one panel to the next */
	int64_t n0, n, k0, k;
	int32_t layout, dtype; /* dtype of the packed operand: that of b, or one of 16 bits from float32 */
};

/* Float32 values in dtype, in the thread's scratch: rows x columns of b, dense. */
INLINE struct gemm_source gemm_rounded(struct hpcbert_stream *stream, int thread, struct gemm_source b, int64_t rows, int64_t columns, int32_t dtype)
{
	uint16_t *out = thread_scratch(stream, thread);
	for (int64_t r = 0; r < rows; r++) {
		const float *in = (const float *)(b.p + r * b.ld);
		int64_t c = 0;
		for (; c + VL <= columns; c += VL)
			vput(out, r * columns + c, vload(in + c), dtype);
		for (; c < columns; c++)
			put(out, r * columns + c, in[c], dtype);
	}
	return gemm_source(out, columns, dtype);
}

/* `units` of the depth of B[K,N] from b on, k elements of it, into all panels at depth `at`. */
INLINE void gemm_pack_across(const struct gemm_packing *p, struct gemm_source b, int64_t at, int64_t units, int64_t k, int32_t dtype)
{
	for (int64_t c = 0, lanes; c < p->n; c += lanes) {
		int64_t lane = (p->n0 + c) % GEMM_COLUMNS;
		lanes = min(GEMM_COLUMNS - lane, p->n - c);
		float *out = p->panels + (p->n0 + c) / GEMM_COLUMNS * p->panel_stride + at * GEMM_COLUMNS + lane;
		gemm_pack_rows(out, GEMM_COLUMNS, gemm_part(b, 0, c), lanes, units, k, dtype);
	}
}

/* An item of B[K,N]: some units of depth. */
INLINE void gemm_pack_depth(const struct gemm_packing *p, long item, int thread, int32_t dtype)
{
	const int64_t rows = gemm_pairs(dtype) ? 2 : 1;
	int64_t depth = gemm_depth(p->k, dtype), end = min((item + 1) * GEMM_PACK_DEPTH, depth);
	for (int64_t i = item * GEMM_PACK_DEPTH; i < end; i += GEMM_PACK_RUN) {
		int64_t units = min(GEMM_PACK_RUN, end - i), k = p->k - i * rows;
		struct gemm_source b = gemm_part(p->b, i * rows, 0);
		if (b.dtype != dtype)
			b = gemm_rounded(p->stream, thread, b, min(units * rows, k), p->n, dtype);
		gemm_pack_across(p, b, p->k0 / rows + i, units, k, dtype);
	}
}

/* An item of B[N,K]: the columns of one panel. */
INLINE void gemm_pack_panel(const struct gemm_packing *p, long item, int thread, int32_t dtype)
{
	int64_t panel = p->n0 / GEMM_COLUMNS + item;
	int64_t first = panel * GEMM_COLUMNS - p->n0, end = min(first + GEMM_COLUMNS, p->n);
	if (first < 0)
		first = 0;
	struct gemm_source b = gemm_part(p->b, first, 0);
	if (b.dtype != dtype)
		b = gemm_rounded(p->stream, thread, b, end - first, p->k, dtype);
	float *out = p->panels + panel * p->panel_stride + gemm_depth(p->k0, dtype) * GEMM_COLUMNS + (p->n0 + first) % GEMM_COLUMNS;
	gemm_pack_along(out, GEMM_COLUMNS, b, end - first, p->k, dtype);
}

INLINE void gemm_pack_item(void *arg, long item, int thread, int32_t dtype)
{
	const struct gemm_packing *p = arg;
	if (p->layout == HPCBERT_B_KN)
		gemm_pack_depth(p, item, thread, dtype);
	else
		gemm_pack_panel(p, item, thread, dtype);
}
BODY_OF_EACH_DTYPE(gemm_pack_item)

static void gemm_pack_panels(struct gemm_packing *p)
{
	int64_t panels = ceil_div(p->n0 + p->n, GEMM_COLUMNS) - p->n0 / GEMM_COLUMNS;
	long items = p->layout == HPCBERT_B_KN ? item_count(gemm_depth(p->k, p->dtype), GEMM_PACK_DEPTH) : (long)panels;
	parallel_for(p->stream, items, BODY(gemm_pack_item, p->dtype), p);
}

/* Whole cache lines, so that packed operands can lie side by side in one allocation. */
static size_t gemm_packed_bytes(int64_t n, int64_t k, int32_t dtype)
{
	if (!HAS_DTYPE(dtype))
		return 0;
	return (size_t)round_up(round_up(n, GEMM_COLUMNS) * gemm_depth(k, dtype) * (int64_t)sizeof(float), CACHE_LINE);
}

static int gemm_pack(void *packed, const float *b, int64_t ldb, int32_t layout, int64_t n_total, int64_t k_total, int64_t n0, int64_t n,
                     int64_t k0, int64_t k, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	if (layout != HPCBERT_B_KN && layout != HPCBERT_B_NK)
		return HPCBERT_BAD_ARGUMENT;
	if (n0 < 0 || n < 1 || n0 + n > n_total || k0 < 0 || k < 1 || k0 + k > k_total || ldb < (layout == HPCBERT_B_KN ? n : k))
		return HPCBERT_BAD_ARGUMENT;
	if (dtype != HPCBERT_F32 && (k0 % 2 || (k % 2 && k0 + k != k_total)))
		return HPCBERT_BAD_ARGUMENT;
	if (dtype != HPCBERT_F32 && (layout == HPCBERT_B_KN ? 2 * GEMM_PACK_RUN * n : GEMM_COLUMNS * k) * 2 > THREAD_SCRATCH)
		return HPCBERT_NO_MEMORY;
	struct gemm_packing p = {.stream = s, .panels = packed, .b = gemm_source(b, ldb, HPCBERT_F32), .panel_stride = gemm_depth(k_total, dtype) * GEMM_COLUMNS,
	                         .n0 = n0, .n = n, .k0 = k0, .k = k, .layout = layout, .dtype = dtype};
	gemm_pack_panels(&p);
	return HPCBERT_OK;
}

#endif
