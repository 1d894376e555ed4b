package kernels

/*
#include "ops.h"
static int op_dropout(const struct hpcbert_ops *o, void *y, const void *x, const int32_t *samples, const int32_t *positions,
	const struct hpcbert_dropout *drop, int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s) { return o->dropout(y, x, samples, positions, drop, t, h, dtype, s); }
*/
import "C"

// Dropout names the draws of one dropout layer: each is a pure function of these, the token's sample and position, and the column
// (ops.h, struct hpcbert_dropout). So masks are the same on every device and for every packing, and the backward pass makes them again.
type Dropout struct {
	Seed uint64
	Step uint32
	Site uint32  // 4 * layer + 0 attention, 1 attention output, 2 feed-forward output; 4095 embeddings
	P    float32 // the part that is dropped, in [0,1); 0 keeps everything
}

func (d Dropout) c() C.struct_hpcbert_dropout {
	return C.struct_hpcbert_dropout{seed: C.uint64_t(d.Seed), step: C.uint32_t(d.Step), site: C.uint32_t(d.Site), p: C.float(d.P)}
}

// tokens returns how many of t samples and positions an operation reads: none when nothing is dropped.
func (d Dropout) tokens(t int) int {
	if d.P == 0 {
		return 0
	}
	return t
}

// Dropout sets y [t,h] to x with a part d.P of its elements dropped and the rest divided by 1 - d.P; also the backward pass. samples and
// positions [t] name each row's draws; they may be the zero Tensor when d.P is 0. y may be x.
func (s *Stream) Dropout(y, x, samples, positions Tensor, d Dropout, t, h int) {
	if !s.ok("dropout", sized("y", y, t*h).of(x.dtype), sized("x", x, t*h), sized("samples", samples, d.tokens(t)).of(Int32),
		sized("positions", positions, d.tokens(t)).of(Int32)) {
		return
	}
	drop := d.c()
	s.did("dropout", C.op_dropout(s.ops, y.ptr, x.ptr, int32s(samples), int32s(positions), &drop, C.int64_t(t), C.int64_t(h), C.int32_t(x.dtype), s.s))
}
