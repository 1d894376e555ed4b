/* activation.c: GELU and tanh, element by element. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

enum { ACTIVATION_ITEM = 16384 }; /* elements of one item: about 10 microseconds of work */

struct activation {
	float *out;
	const float *dy, *in; /* dy: NULL in a forward pass */
	int64_t n;
};

static void gelu_item(void *arg, long item, int thread)
{
	const struct activation *a = arg;
	(void)thread;
	int64_t begin = item * ACTIVATION_ITEM, end = begin + ACTIVATION_ITEM < a->n ? begin + ACTIVATION_ITEM : a->n;
	for (int64_t i = begin; i < end; i += VL) {
		int64_t lanes = end - i < VL ? end - i : VL;
		vf x = lanes == VL ? vload(a->in + i) : vload_first(a->in + i, lanes);
		vf y;
		if (a->dy)
			y = (lanes == VL ? vload(a->dy + i) : vload_first(a->dy + i, lanes)) * vgelu_gradient(x);
		else
			y = vgelu(x);
		if (lanes == VL)
			vstore(a->out + i, y);
		else
			vstore_first(a->out + i, y, lanes);
	}
}

/* Only the pooler's few rows pass here, so the library's tanh does; in double, for it is the same on every machine then, to rounding. */
static void tanh_item(void *arg, long item, int thread)
{
	const struct activation *a = arg;
	(void)thread;
	int64_t begin = item * ACTIVATION_ITEM, end = begin + ACTIVATION_ITEM < a->n ? begin + ACTIVATION_ITEM : a->n;
	for (int64_t i = begin; i < end; i++)
		a->out[i] = a->dy ? a->dy[i] * (1.f - a->in[i] * a->in[i]) : (float)tanh(a->in[i]);
}

static int activate(void (*body)(void *, long, int), void *out, const void *dy, const void *in, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	if (dtype != HPCBERT_F32)
		return HPCBERT_UNSUPPORTED;
	struct activation a = {.out = out, .dy = dy, .in = in, .n = n};
	parallel_for(s, (n + ACTIVATION_ITEM - 1) / ACTIVATION_ITEM, body, &a);
	return HPCBERT_OK;
}

static int gelu_forward(void *y, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	return activate(gelu_item, y, NULL, x, n, dtype, s);
}

static int gelu_backward(void *dx, const void *dy, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	return activate(gelu_item, dx, dy, x, n, dtype, s);
}

static int tanh_forward(void *y, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	return activate(tanh_item, y, NULL, x, n, dtype, s);
}

static int tanh_backward(void *dx, const void *dy, const void *y, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	return activate(tanh_item, dx, dy, y, n, dtype, s);
}

#endif
