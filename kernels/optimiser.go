package kernels

/*
#include "ops.h"
static int op_squared_sums(const struct hpcbert_ops *o, double *sums, const float *x, const int64_t *offsets, int64_t n, struct hpcbert_stream *s) {
	return o->squared_sums(sums, x, offsets, n, s); }
static int op_lamb_direction(const struct hpcbert_ops *o, float *g, float *m, float *v, double *w_sums, double *u_sums, const float *w, const int64_t *offsets,
	const float *decay, int64_t n, const struct hpcbert_lamb *lamb, struct hpcbert_stream *s) {
	return o->lamb_direction(g, m, v, w_sums, u_sums, w, offsets, decay, n, lamb, s); }
static int op_lamb_apply(const struct hpcbert_ops *o, float *w, const float *u, const double *w_sums, const double *u_sums, const int64_t *offsets,
	const float *decay, int64_t n, const struct hpcbert_lamb *lamb, struct hpcbert_stream *s) {
	return o->lamb_apply(w, u, w_sums, u_sums, offsets, decay, n, lamb, s); }
static int op_adamw(const struct hpcbert_ops *o, float *w, float *m, float *v, const float *g, const int64_t *offsets, const float *decay, int64_t n,
	const struct hpcbert_lamb *lamb, struct hpcbert_stream *s) { return o->adamw(w, m, v, g, offsets, decay, n, lamb, s); }
*/
import "C"

// Lamb holds the constants of one update of LAMB (You et al. 2020, "Large Batch Optimization for Deep Learning") or AdamW.
type Lamb struct {
	LearningRate             float32
	Beta1, Beta2, Epsilon    float32
	Correction1, Correction2 float32 // 1 - beta^t for the t-th update; 1 switches bias correction off
	GradientScale            float32 // multiplied onto the gradient first: clipping and unscaling
}

func (l Lamb) c() C.struct_hpcbert_lamb {
	return C.struct_hpcbert_lamb{learning_rate: C.float(l.LearningRate), beta1: C.float(l.Beta1), beta2: C.float(l.Beta2), epsilon: C.float(l.Epsilon),
		correction1: C.float(l.Correction1), correction2: C.float(l.Correction2), gradient_scale: C.float(l.GradientScale)}
}

// arena returns the elements that n tensors span: the last of offsets [n+1] where the host can read it.
func arena(offsets Tensor, n int) int {
	if at := Host[int64](offsets); len(at) > n {
		return int(at[n])
	}
	return 0
}

// SquaredSums sets sums[i] (float64) to the sum of squares of tensor i = x[offsets[i]:offsets[i+1]], for n tensors; offsets is int64 [n+1].
func (s *Stream) SquaredSums(sums, x, offsets Tensor, n int) {
	if !s.ok("squared_sums", sized("sums", sums, n).of(Float64), sized("offsets", offsets, n+1).of(Int64),
		sized("x", x, arena(offsets, n)).of(Float32)) {
		return
	}
	s.did("squared_sums", C.op_squared_sums(s.ops, doubles(sums), floats(x), int64s(offsets), C.int64_t(n), s.s))
}

// LambDirection is the first half of an update, for n tensors laid out as in SquaredSums: with g' = g * GradientScale
//
//	m = Beta1*m + (1-Beta1)*g'    v = Beta2*v + (1-Beta2)*g'²
//	u = m/Correction1 / (sqrt(v/Correction2) + Epsilon) + decay[i]*w
//
// u overwrites g; wSums and uSums (float64 [n]) get the sums of squares of w and u.
func (s *Stream) LambDirection(g, m, v, wSums, uSums, w, offsets, decay Tensor, n int, l Lamb) {
	end := arena(offsets, n)
	if !s.ok("lamb_direction", sized("g", g, end).of(Float32), sized("m", m, end).of(Float32), sized("v", v, end).of(Float32),
		sized("wSums", wSums, n).of(Float64), sized("uSums", uSums, n).of(Float64), sized("w", w, end).of(Float32),
		sized("offsets", offsets, n+1).of(Int64), sized("decay", decay, n).of(Float32)) {
		return
	}
	lamb := l.c()
	s.did("lamb_direction", C.op_lamb_direction(s.ops, floats(g), floats(m), floats(v), doubles(wSums), doubles(uSums), floats(w), int64s(offsets), floats(decay),
		C.int64_t(n), &lamb, s.s))
}

// LambApply is the second half: w -= r * u, with r = LearningRate * |w|/|u| where decay[i] is not 0 and neither norm is, else LearningRate.
func (s *Stream) LambApply(w, u, wSums, uSums, offsets, decay Tensor, n int, l Lamb) {
	end := arena(offsets, n)
	if !s.ok("lamb_apply", sized("w", w, end).of(Float32), sized("u", u, end).of(Float32), sized("wSums", wSums, n).of(Float64),
		sized("uSums", uSums, n).of(Float64), sized("offsets", offsets, n+1).of(Int64), sized("decay", decay, n).of(Float32)) {
		return
	}
	lamb := l.c()
	s.did("lamb_apply", C.op_lamb_apply(s.ops, floats(w), floats(u), doubles(wSums), doubles(uSums), int64s(offsets), floats(decay), C.int64_t(n), &lamb, s.s))
}

// AdamW is a whole update without trust ratio (Loshchilov, Hutter 2019, "Decoupled Weight Decay Regularization") in one pass over memory:
// m, v and u as LambDirection has them, w -= LearningRate * u. g is only read.
func (s *Stream) AdamW(w, m, v, g, offsets, decay Tensor, n int, l Lamb) {
	end := arena(offsets, n)
	if !s.ok("adamw", sized("w", w, end).of(Float32), sized("m", m, end).of(Float32), sized("v", v, end).of(Float32),
		sized("g", g, end).of(Float32), sized("offsets", offsets, n+1).of(Int64), sized("decay", decay, n).of(Float32)) {
		return
	}
	lamb := l.c()
	s.did("adamw", C.op_adamw(s.ops, floats(w), floats(m), floats(v), floats(g), int64s(offsets), floats(decay), C.int64_t(n), &lamb, s.s))
}

func doubles(t Tensor) *C.double { return (*C.double)(t.ptr) }
func int64s(t Tensor) *C.int64_t { return (*C.int64_t)(t.ptr) }
