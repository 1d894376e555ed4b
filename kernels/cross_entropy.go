package kernels

/*
#include "ops.h"
static int op_cross_entropy(const struct hpcbert_ops *o, float *loss, int32_t *predicted, void *dlogits, const void *logits, const int32_t *targets, float scale,
	int64_t m, int64_t v, int64_t ld, int32_t dtype, struct hpcbert_stream *s) {
	return o->cross_entropy(loss, predicted, dlogits, logits, targets, scale, m, v, ld, dtype, s); }
*/
import "C"

// CrossEntropy is the softmax cross-entropy of each row of logits [m,ld] over its first v columns:
//
//	loss[i] = log(sum(exp(logits[i]))) - logits[i][targets[i]]
//	dlogits[i] = (softmax(logits[i]) - onehot(targets[i])) * scale, 0 in the columns v to ld-1
//
// with sums in float64. predicted[i] is the first column that holds the largest logit. A target below 0 gives loss 0 and gradient 0; one at
// or beyond v, or a NaN in the row, gives a loss of NaN. dlogits may be logits; predicted and dlogits may be the zero Tensor.
func (s *Stream) CrossEntropy(loss, predicted, dlogits, logits, targets Tensor, scale float32, m, v, ld int) {
	needs := []need{sized("loss", loss, m).of(Float32), sized("logits", logits, m*ld), sized("targets", targets, m).of(Int32)}
	if !predicted.IsZero() {
		needs = append(needs, sized("predicted", predicted, m).of(Int32))
	}
	if !dlogits.IsZero() {
		needs = append(needs, sized("dlogits", dlogits, m*ld).of(logits.dtype))
	}
	if !s.ok("cross_entropy", needs...) {
		return
	}
	s.did("cross_entropy", C.op_cross_entropy(s.ops, floats(loss), int32s(predicted), dlogits.ptr, logits.ptr, int32s(targets), C.float(scale),
		C.int64_t(m), C.int64_t(v), C.int64_t(ld), C.int32_t(logits.dtype), s.s))
}
