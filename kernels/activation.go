package kernels

/*
#include "ops.h"
static int op_gelu_forward(const struct hpcbert_ops *o, void *y, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s) { return o->gelu_forward(y, x, n, dtype, s); }
static int op_gelu_backward(const struct hpcbert_ops *o, void *dx, const void *dy, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s) { return o->gelu_backward(dx, dy, x, n, dtype, s); }
static int op_tanh_forward(const struct hpcbert_ops *o, void *y, const void *x, int64_t n, int32_t dtype, struct hpcbert_stream *s) { return o->tanh_forward(y, x, n, dtype, s); }
static int op_tanh_backward(const struct hpcbert_ops *o, void *dx, const void *dy, const void *y, int64_t n, int32_t dtype, struct hpcbert_stream *s) { return o->tanh_backward(dx, dy, y, n, dtype, s); }
*/
import "C"

// GELUForward computes y = x * Φ(x) with Φ the normal distribution function (Hendrycks, Gimpel 2016, the exact form), for all of x.
// y may be x.
func (s *Stream) GELUForward(y, x Tensor) {
	if s.ok("gelu_forward", sized("y", y, x.n).of(x.dtype)) && x.n > 0 {
		s.did("gelu_forward", C.op_gelu_forward(s.ops, y.ptr, x.ptr, C.int64_t(x.n), C.int32_t(x.dtype), s.s))
	}
}

// GELUBackward computes dx = dy * (Φ(x) + x * φ(x)) with φ the normal density. dx may be dy.
func (s *Stream) GELUBackward(dx, dy, x Tensor) {
	if s.ok("gelu_backward", sized("dx", dx, x.n).of(x.dtype), sized("dy", dy, x.n).of(x.dtype)) && x.n > 0 {
		s.did("gelu_backward", C.op_gelu_backward(s.ops, dx.ptr, dy.ptr, x.ptr, C.int64_t(x.n), C.int32_t(x.dtype), s.s))
	}
}

// TanhForward computes y = tanh(x) for all of x. y may be x.
func (s *Stream) TanhForward(y, x Tensor) {
	if s.ok("tanh_forward", sized("y", y, x.n).of(x.dtype)) && x.n > 0 {
		s.did("tanh_forward", C.op_tanh_forward(s.ops, y.ptr, x.ptr, C.int64_t(x.n), C.int32_t(x.dtype), s.s))
	}
}

// TanhBackward computes dx = dy * (1 - y²) from the result y of TanhForward. dx may be dy.
func (s *Stream) TanhBackward(dx, dy, y Tensor) {
	if s.ok("tanh_backward", sized("dx", dx, y.n).of(y.dtype), sized("dy", dy, y.n).of(y.dtype)) && y.n > 0 {
		s.did("tanh_backward", C.op_tanh_backward(s.ops, dx.ptr, dy.ptr, y.ptr, C.int64_t(y.n), C.int32_t(y.dtype), s.s))
	}
}
