package kernels

/*
#include "ops.h"
static int op_dropout_residual_layernorm_forward(const struct hpcbert_ops *o, void *y, void *z, float *mean, float *rstd, const void *x, const void *residual,
	const float *gamma, const float *beta, const int32_t *samples, const int32_t *positions, const struct hpcbert_dropout *drop, int64_t t, int64_t h,
	float epsilon, int32_t dtype, struct hpcbert_stream *s) {
	return o->dropout_residual_layernorm_forward(y, z, mean, rstd, x, residual, gamma, beta, samples, positions, drop, t, h, epsilon, dtype, s); }
static int op_dropout_residual_layernorm_backward(const struct hpcbert_ops *o, void *dx, void *dresidual, float *dgamma, float *dbeta, const void *dy,
	const void *z, const float *mean, const float *rstd, const float *gamma, const int32_t *samples, const int32_t *positions,
	const struct hpcbert_dropout *drop, int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s) {
	return o->dropout_residual_layernorm_backward(dx, dresidual, dgamma, dbeta, dy, z, mean, rstd, gamma, samples, positions, drop, t, h, dtype, s); }
*/
import "C"

// DropoutResidualLayerNormForward ends a block of the encoder in one pass over memory: z = residual + dropout(x), y = layernorm(z), all
// [t,h]. z, mean and rstd [t] are kept for the backward pass. z may be x; samples and positions are as for Dropout.
func (s *Stream) DropoutResidualLayerNormForward(y, z, mean, rstd, x, residual, gamma, beta, samples, positions Tensor, d Dropout, t, h int, epsilon float32) {
	const op = "dropout_residual_layernorm_forward"
	if !s.ok(op, sized("y", y, t*h).of(x.dtype), sized("z", z, t*h).of(x.dtype), sized("mean", mean, t).of(Float32), sized("rstd", rstd, t).of(Float32),
		sized("x", x, t*h), sized("residual", residual, t*h).of(x.dtype), sized("gamma", gamma, h).of(Float32), sized("beta", beta, h).of(Float32),
		sized("samples", samples, d.tokens(t)).of(Int32), sized("positions", positions, d.tokens(t)).of(Int32)) {
		return
	}
	drop := d.c()
	s.did(op, C.op_dropout_residual_layernorm_forward(s.ops, y.ptr, z.ptr, floats(mean), floats(rstd), x.ptr, residual.ptr, floats(gamma), floats(beta),
		int32s(samples), int32s(positions), &drop, C.int64_t(t), C.int64_t(h), C.float(epsilon), C.int32_t(x.dtype), s.s))
}

// DropoutResidualLayerNormBackward writes dresidual = the gradient of z (see LayerNormBackward) and dx = dropout of it, both [t,h], and
// adds to dgamma and dbeta [h]. dresidual may be dy.
func (s *Stream) DropoutResidualLayerNormBackward(dx, dresidual, dgamma, dbeta, dy, z, mean, rstd, gamma, samples, positions Tensor, d Dropout, t, h int) {
	const op = "dropout_residual_layernorm_backward"
	if !s.ok(op, sized("dx", dx, t*h).of(z.dtype), sized("dresidual", dresidual, t*h).of(z.dtype), sized("dgamma", dgamma, h).of(Float32),
		sized("dbeta", dbeta, h).of(Float32), sized("dy", dy, t*h).of(z.dtype), sized("z", z, t*h), sized("mean", mean, t).of(Float32),
		sized("rstd", rstd, t).of(Float32), sized("gamma", gamma, h).of(Float32), sized("samples", samples, d.tokens(t)).of(Int32),
		sized("positions", positions, d.tokens(t)).of(Int32)) {
		return
	}
	drop := d.c()
	s.did(op, C.op_dropout_residual_layernorm_backward(s.ops, dx.ptr, dresidual.ptr, floats(dgamma), floats(dbeta), dy.ptr, z.ptr, floats(mean), floats(rstd),
		floats(gamma), int32s(samples), int32s(positions), &drop, C.int64_t(t), C.int64_t(h), C.int32_t(z.dtype), s.s))
}
