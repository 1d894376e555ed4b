package kernels

/*
#include "ops.h"
static int op_attention_forward(const struct hpcbert_ops *o, void *ctx, float *lse, const void *qkv, const int32_t *cu_seqlens, const int32_t *key_lengths,
	const int32_t *samples, struct hpcbert_dropout drop, int64_t b, int64_t t, int64_t heads, int64_t h, int32_t dtype, struct hpcbert_stream *s)
{ return o->attention_forward(ctx, lse, qkv, cu_seqlens, key_lengths, samples, &drop, b, t, heads, h, dtype, s); }
static int op_attention_backward(const struct hpcbert_ops *o, void *dqkv, const void *dctx, const void *ctx, const float *lse, const void *qkv,
	const int32_t *cu_seqlens, const int32_t *key_lengths, const int32_t *samples, struct hpcbert_dropout drop, int64_t b, int64_t t, int64_t heads,
	int64_t h, int32_t dtype, struct hpcbert_stream *s)
{ return o->attention_backward(dqkv, dctx, ctx, lse, qkv, cu_seqlens, key_lengths, samples, &drop, b, t, heads, h, dtype, s); }
*/
import "C"

// AttentionForward is multi-head self-attention of b packed sequences (Vaswani et al. 2017, section 3.2): for each head of d = h/heads
// columns, ctx [t,h] = dropout(softmax(q·kᵀ / sqrt(d)))·v. Sequence i owns the rows cuSeqlens[i] to cuSeqlens[i+1]-1 of qkv [t,3h], which
// holds queries, keys and values side by side; its keys from keyLengths[i] on are masked out (keyLengths may be the zero Tensor: none are).
// A sequence whose keys are all masked out has the context 0. samples [b] names the sequences' dropout draws; it may be the zero Tensor
// where drop.P is 0. lse [heads,t] keeps log(sum(exp(scores))) for the backward pass.
func (s *Stream) AttentionForward(ctx, lse, qkv, cuSeqlens, keyLengths, samples Tensor, drop Dropout, b, t, heads, h int) {
	if !s.ok("attention_forward", append(attentionInputs(qkv, cuSeqlens, keyLengths, samples, drop, b, t, h),
		sized("ctx", ctx, t*h), sized("lse", lse, heads*t))...) {
		return
	}
	s.did("attention_forward", C.op_attention_forward(s.ops, ctx.ptr, floats(lse), qkv.ptr, int32s(cuSeqlens), int32s(keyLengths), int32s(samples), drop.c(),
		C.int64_t(b), C.int64_t(t), C.int64_t(heads), C.int64_t(h), C.int32_t(qkv.dtype), s.s))
}

// AttentionBackward writes dqkv [t,3h] from dctx [t,h] and what AttentionForward took and gave. With P = exp(scores - lse),
// M = the dropout mask times 1/(1-p) and D = sum over keys of M * P * (dctx·Vᵀ): dV = (M*P)ᵀ·dctx, dS = P * (M * (dctx·Vᵀ) - D) / sqrt(d),
// dQ = dS·K, dK = dSᵀ·Q.
func (s *Stream) AttentionBackward(dqkv, dctx, ctx, lse, qkv, cuSeqlens, keyLengths, samples Tensor, drop Dropout, b, t, heads, h int) {
	if !s.ok("attention_backward", append(attentionInputs(qkv, cuSeqlens, keyLengths, samples, drop, b, t, h),
		sized("dqkv", dqkv, 3*t*h), sized("dctx", dctx, t*h), sized("ctx", ctx, t*h), sized("lse", lse, heads*t))...) {
		return
	}
	s.did("attention_backward", C.op_attention_backward(s.ops, dqkv.ptr, dctx.ptr, ctx.ptr, floats(lse), qkv.ptr, int32s(cuSeqlens), int32s(keyLengths),
		int32s(samples), drop.c(), C.int64_t(b), C.int64_t(t), C.int64_t(heads), C.int64_t(h), C.int32_t(qkv.dtype), s.s))
}

func attentionInputs(qkv, cuSeqlens, keyLengths, samples Tensor, drop Dropout, b, t, h int) []need {
	needs := []need{sized("qkv", qkv, 3*t*h), sized("cuSeqlens", cuSeqlens, b+1)}
	if !keyLengths.IsZero() {
		needs = append(needs, sized("keyLengths", keyLengths, b))
	}
	if drop.P > 0 {
		needs = append(needs, sized("samples", samples, b))
	}
	return needs
}
