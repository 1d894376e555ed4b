/* peak.c: the rate of multiply-adds in registers, which no product can exceed. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

enum {
	PEAK_CHAINS = GEMM_ROWS * GEMM_VECTORS, /* independent sums, as many as in a tile: more than a multiply-add takes cycles */
	PEAK_STEPS = 10000,                     /* of an item: less than a millisecond */
	PEAK_ITEMS = 4,                         /* of a thread in a round: the threads' ends even out */
	PEAK_MILLISECONDS = 50,
};

static void peak_item(void *arg, long item, int thread)
{
	float *memory = thread_scratch(arg, thread); /* the compiler does not know what is in it: constants it would multiply itself */
	vf sum[PEAK_CHAINS], factor = vset(0.999f), term = vset(0.001f);
	(void)item;
	for (int i = 0; i < PEAK_CHAINS; i++)
		sum[i] = vload(memory + i * VL);
	for (long step = 0; step < PEAK_STEPS; step++)
		for (int i = 0; i < PEAK_CHAINS; i++)
			sum[i] = sum[i] * factor + term;
	for (int i = 0; i < PEAK_CHAINS; i++)
		vstore(memory + i * VL, sum[i]); /* a result nobody keeps would not be computed */
}

static double peak_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int peak_gflops(double *gflops, int32_t dtype, struct hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	long items = (long)PEAK_ITEMS * stream_threads(s);
	double operations = 2. * VL * PEAK_CHAINS * PEAK_STEPS * (double)items, start = peak_seconds(), now = start, best = 0;
	while (now - start < PEAK_MILLISECONDS * 1e-3) {
		double begin = now;
		parallel_for(s, items, peak_item, s);
		now = peak_seconds();
		if (operations / (now - begin) > best)
			best = operations / (now - begin);
	}
	*gflops = 1e-9 * best;
	return HPCBERT_OK;
}

#endif
