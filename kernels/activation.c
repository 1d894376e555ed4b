/* activation.c: GELU and tanh, element by element. Compiled by isa.inc once for each instruction set. */
#ifdef ISA

enum { ACTIVATION_ITEM = 16384 }; /* elements of one item: about 10 microseconds of work */

struct activation {
	void *out;
	const void *dy, *in; /* dy: NULL in a forward pass */
	int64_t n;
};

INLINE void gelu_item(void *arg, long item, int thread, int32_t dtype)
{
	const struct activation *a = arg;
	(void)thread;
	int64_t end = item_end(item, ACTIVATION_ITEM, a->n);
	for (int64_t i = item * ACTIVATION_ITEM; i < end; i += VL) {
		int64_t lanes = end - i < VL ? end - i : VL;
		vf x = lanes == VL ? vget(a->in, i, dtype) : vget_first(a->in, i, lanes, dtype);
		vf y;
		if (a->dy)
			y = (lanes == VL ? vget(a->dy, i, dtype) : vget_first(a->dy, i, lanes, dtype)) * vgelu_gradient(x);
		else
			y = vgelu(x);
		if (lanes == VL)
			vput(a->out, i, y, dtype);
		else
			vput_first(a->out, i, y, lanes, dtype);
	}
}
BODY_OF_EACH_DTYPE(gelu_item)

/* Only the pooler's few rows pass here, so the library's tanh does; in double, for it is the same on every machine then, to rounding. */
INLINE void tanh_item(void *arg, long item, int thread, int32_t dtype)
{
	const struct activation *a = arg;
	(void)thread;
	int64_t end = item_end(item, ACTIVATION_ITEM, a->n);
	for (int64_t i = item * ACTIVATION_ITEM; i < end; i++) {
		float x = get(a->in, i, dtype);
		put(a->out, i, a->dy ? get(a->dy, i, dtype) * (1.f - x * x) : (float)tanh(x), dtype);
	}
}
BODY_OF_EACH_DTYPE(tanh_item)

static int activate(void (*body)(void *, long, int), void *out, const void *dy, const void *in, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	if (!HAS_DTYPE(dtype))
		return HPCBERT_UNSUPPORTED;
	struct activation a = {.out = out, .dy = dy, .in = in, .n = n};
	parallel_for(s, item_count(n, ACTIVATION_ITEM), body, &a);
	return HPCBERT_OK;
}

static int gelu_forward(void *y, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	return activate(BODY(gelu_item, dtype), y, NULL, x, n, dtype, s);
}

static int gelu_backward(void *dx, const void *dy, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	return activate(BODY(gelu_item, dtype), dx, dy, x, n, dtype, s);
}

static int tanh_forward(void *y, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	return activate(BODY(tanh_item, dtype), y, NULL, x, n, dtype, s);
}

static int tanh_backward(void *dx, const void *dy, const void *y, int64_t n, int32_t dtype, struct hpcbert_stream *s)
{
	return activate(BODY(tanh_item, dtype), dx, dy, y, n, dtype, s);
}

#endif
