/* peak.c: the rate of multiply-adds in registers, which no product can exceed: of float32, or of bfloat16 pairs where products use them. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

enum {
	PEAK_CHAINS = GEMM_ROWS * GEMM_VECTORS, /* independent sums, as many as in a tile: more than a multiply-add takes cycles */
	PEAK_STEPS = 10000,                     /* of an item: less than a millisecond */
	PEAK_ITEMS = 4,                         /* of a thread in a round: the threads' ends even out */
	PEAK_MILLISECONDS = 50,
};

/* Multiply-adds of float32, or of pairs of bfloat16, in independent chains. */
INLINE void peak_chains(struct hpcbert_stream *s, int thread, int pairs)
{
	float *memory = thread_scratch(s, thread); /* the compiler does not know what is in it: chains of constants it would cut short */
	vf sum[PEAK_CHAINS], factor = vload(memory), term = vload(memory + VL);
	for (int i = 0; i < PEAK_CHAINS; i++)
		sum[i] = vload(memory + i * VL);
	for (long step = 0; step < PEAK_STEPS; step++)
		for (int i = 0; i < PEAK_CHAINS; i++)
			sum[i] = pairs ? vdot(sum[i], (vu)factor, (vu)term) : sum[i] * factor + term;
	for (int i = 0; i < PEAK_CHAINS; i++)
		vstore(memory + (PEAK_CHAINS + i) * VL, sum[i]); /* a result nobody keeps would not be computed */
}

static void peak_item(void *arg, long item, int thread)
{
	(void)item;
	peak_chains(arg, thread, 0);
}

static void peak_item_pairs(void *arg, long item, int thread)
{
	(void)item;
	peak_chains(arg, thread, 1);
}

/* Values whose sums stay finite: a subnormal or NaN can take longer. */
static void peak_prepare(struct hpcbert_stream *s, int pairs)
{
	const float values[2] = {0.999f, 0.001f};
	const uint32_t halves[2] = {0x3f803f80, 0x3a803a80}; /* 1 and 2^-10, twice */
	for (int thread = 0; thread < stream_threads(s); thread++) {
		float *memory = thread_scratch(s, thread);
		for (int i = 0; i < PEAK_CHAINS * VL; i++)
			memcpy(&memory[i], pairs ? (const void *)&halves[i / VL % 2] : (const void *)&values[i / VL % 2], sizeof *memory);
	}
}

static double peak_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int peak_gflops(double *gflops, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	int pairs = gemm_pairs(dtype);
	long items = (long)PEAK_ITEMS * stream_threads(s);
	double operations = (pairs ? 4. : 2.) * VL * PEAK_CHAINS * PEAK_STEPS * (double)items, best = 0;
	peak_prepare(s, pairs);
	double start = peak_seconds(), now = start;
	while (now - start < PEAK_MILLISECONDS * 1e-3) {
		double begin = now;
		parallel_for(s, items, pairs ? peak_item_pairs : peak_item, s);
		now = peak_seconds();
		if (operations / (now - begin) > best)
			best = operations / (now - begin);
	}
	*gflops = 1e-9 * best;
	return HPCBERT_OK;
}

#endif
