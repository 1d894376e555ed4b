package kernels

/*
#include "ops.h"
static int op_embedding_forward(const struct hpcbert_ops *o, void *z, const int32_t *ids, const int32_t *positions, const int32_t *segments, const float *word,
	const float *position, const float *type, int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s) {
	return o->embedding_forward(z, ids, positions, segments, word, position, type, t, h, dtype, s); }
static int op_embedding_backward(const struct hpcbert_ops *o, float *dword, float *dposition, float *dtype_, const void *dz, const int32_t *ids,
	const int32_t *positions, const int32_t *segments, int64_t t, int64_t h, int32_t dtype, struct hpcbert_stream *s) {
	return o->embedding_backward(dword, dposition, dtype_, dz, ids, positions, segments, t, h, dtype, s); }
*/
import "C"

// EmbeddingForward sums the three embeddings of each token: z[t] = word[ids[t]] + position[positions[t]] + typ[segments[t]], with z [t,h],
// word [V,h], position [P,h], typ [2,h]. The indices [t] are not checked here: they come from data whose reader checked them.
func (s *Stream) EmbeddingForward(z, ids, positions, segments, word, position, typ Tensor, t, h int) {
	if !s.ok("embedding_forward", sized("z", z, t*h), sized("ids", ids, t).of(Int32), sized("positions", positions, t).of(Int32),
		sized("segments", segments, t).of(Int32), sized("word", word, h).of(Float32), sized("position", position, h).of(Float32),
		sized("typ", typ, h).of(Float32)) {
		return
	}
	s.did("embedding_forward", C.op_embedding_forward(s.ops, z.ptr, int32s(ids), int32s(positions), int32s(segments), floats(word), floats(position), floats(typ),
		C.int64_t(t), C.int64_t(h), C.int32_t(z.dtype), s.s))
}

// EmbeddingBackward adds each row of dz [t,h] to the rows of dword, dposition and dtyp that made it, in token order; other rows are not
// touched.
func (s *Stream) EmbeddingBackward(dword, dposition, dtyp, dz, ids, positions, segments Tensor, t, h int) {
	if !s.ok("embedding_backward", sized("dword", dword, h).of(Float32), sized("dposition", dposition, h).of(Float32),
		sized("dtyp", dtyp, h).of(Float32), sized("dz", dz, t*h), sized("ids", ids, t).of(Int32), sized("positions", positions, t).of(Int32),
		sized("segments", segments, t).of(Int32)) {
		return
	}
	s.did("embedding_backward", C.op_embedding_backward(s.ops, floats(dword), floats(dposition), floats(dtyp), dz.ptr, int32s(ids), int32s(positions), int32s(segments),
		C.int64_t(t), C.int64_t(h), C.int32_t(dz.dtype), s.s))
}
