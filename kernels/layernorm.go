package kernels

/*
#include "ops.h"
static int op_layernorm_forward(const struct hpcbert_ops *o, void *y, float *mean, float *rstd, const void *x, const float *gamma, const float *beta,
	int64_t t, int64_t h, float epsilon, int32_t dtype, struct hpcbert_stream *s) { return o->layernorm_forward(y, mean, rstd, x, gamma, beta, t, h, epsilon, dtype, s); }
static int op_layernorm_backward(const struct hpcbert_ops *o, void *dx, float *dgamma, float *dbeta, const void *dy, const void *x, const float *mean,
	const float *rstd, const float *gamma, int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s) { return o->layernorm_backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, t, h, dtype, s); }
*/
import "C"

// LayerNormForward normalises each of the t rows of x [t,h]: y = (x - mean) * rstd * gamma + beta, with the biased variance
// (Ba, Kiros, Hinton 2016). mean and rstd [t] are kept for the backward pass.
func (s *Stream) LayerNormForward(y, mean, rstd, x, gamma, beta Tensor, t, h int, epsilon float32) {
	if !s.ok("layernorm_forward", sized("y", y, t*h).of(x.dtype), sized("mean", mean, t).of(Float32), sized("rstd", rstd, t).of(Float32),
		sized("x", x, t*h), sized("gamma", gamma, h).of(Float32), sized("beta", beta, h).of(Float32)) {
		return
	}
	s.did("layernorm_forward", C.op_layernorm_forward(s.ops, y.ptr, floats(mean), floats(rstd), x.ptr, floats(gamma), floats(beta),
		C.int64_t(t), C.int64_t(h), C.float(epsilon), C.int32_t(x.dtype), s.s))
}

// LayerNormBackward adds to dgamma and dbeta [h] and writes dx [t,h]; with xhat = (x - mean) * rstd and g = dy * gamma,
// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)). dx may be dy.
func (s *Stream) LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma Tensor, t, h int) {
	if !s.ok("layernorm_backward", sized("dx", dx, t*h).of(x.dtype), sized("dgamma", dgamma, h).of(Float32), sized("dbeta", dbeta, h).of(Float32),
		sized("dy", dy, t*h).of(x.dtype), sized("x", x, t*h), sized("mean", mean, t).of(Float32), sized("rstd", rstd, t).of(Float32),
		sized("gamma", gamma, h).of(Float32)) {
		return
	}
	s.did("layernorm_backward", C.op_layernorm_backward(s.ops, dx.ptr, floats(dgamma), floats(dbeta), dy.ptr, x.ptr, floats(mean), floats(rstd), floats(gamma),
		C.int64_t(t), C.int64_t(h), C.int32_t(x.dtype), s.s))
}
