package kernels

/*
#include "ops.h"
static int op_gather_rows(const struct hpcbert_ops *o, void *dst, const void *src, const int32_t *rows, int64_t m, int64_t h, int32_t dtype,
	struct hpcbert_stream *s) { return o->gather_rows(dst, src, rows, m, h, dtype, s); }
static int op_scatter_rows_add(const struct hpcbert_ops *o, void *dst, const void *src, const int32_t *rows, int64_t m, int64_t h, int32_t dtype,
	struct hpcbert_stream *s) { return o->scatter_rows_add(dst, src, rows, m, h, dtype, s); }
*/
import "C"

// GatherRows takes m rows out of src: dst[i] = src[rows[i]], with dst [m,h] and src [T,h]. The rows are not checked here.
func (s *Stream) GatherRows(dst, src, rows Tensor, m, h int) {
	if !s.ok("gather_rows", sized("dst", dst, m*h).of(src.dtype), sized("rows", rows, m).of(Int32)) {
		return
	}
	s.did("gather_rows", C.op_gather_rows(s.ops, dst.ptr, src.ptr, int32s(rows), C.int64_t(m), C.int64_t(h), C.int32_t(src.dtype), s.s))
}

// ScatterRowsAdd is its gradient: dst[rows[i]] += src[i], with dst [T,h] and src [m,h]. The rows must be distinct.
func (s *Stream) ScatterRowsAdd(dst, src, rows Tensor, m, h int) {
	if !s.ok("scatter_rows_add", sized("dst", dst, m*h).of(src.dtype), sized("src", src, m*h), sized("rows", rows, m).of(Int32)) {
		return
	}
	s.did("scatter_rows_add", C.op_scatter_rows_add(s.ops, dst.ptr, src.ptr, int32s(rows), C.int64_t(m), C.int64_t(h), C.int32_t(src.dtype), s.s))
}
