package kernels

/*
#include "ops.h"
static int op_gemm(const struct hpcbert_ops *o, const struct hpcbert_gemm *g, struct hpcbert_stream *s) { return o->gemm(g, s); }
static size_t op_gemm_packed_bytes(const struct hpcbert_ops *o, int64_t n, int64_t k, int32_t dtype) { return o->gemm_packed_bytes(n, k, dtype); }
static int op_gemm_pack(const struct hpcbert_ops *o, void *packed, const float *b, int64_t ldb, int32_t layout, int64_t n_total, int64_t k_total,
	int64_t n0, int64_t n, int64_t k0, int64_t k, int32_t dtype, struct hpcbert_stream *s) { return o->gemm_pack(packed, b, ldb, layout, n_total, k_total, n0, n, k0, k, dtype, s); }
*/
import "C"

import "fmt"

// BLayout tells how the right operand of a product is stored.
type BLayout int32

// The layouts of B.
const (
	BKN     BLayout = C.HPCBERT_B_KN     // [K,N]
	BNK     BLayout = C.HPCBERT_B_NK     // [N,K]: a weight [out,in] in y = x·Wᵀ
	BPacked BLayout = C.HPCBERT_B_PACKED // written by PackGEMM
)

// Epilogue is what a product does with its sums before it stores them.
type Epilogue int32

// The epilogues, with z = A·B + bias.
const (
	Linear           Epilogue = C.HPCBERT_LINEAR        // D = z
	ThenGELU         Epilogue = C.HPCBERT_GELU          // Pre = z, D = gelu(z)
	ThenGELUGradient Epilogue = C.HPCBERT_GELU_GRADIENT // D = z * gelu'(Pre)
)

// GEMM describes the product D [M,N] = epilogue(A [M,K] · B [K,N] + Bias [N]). Tensors that are not needed stay zero. A, B and Pre are of one
// type; D is of it too, or Float32 with Linear. Sums are float32.
type GEMM struct {
	D, A, B Tensor
	Bias    Tensor // [N], or none
	Pre     Tensor // [M,N] with D's row length: the sums before GELU, written by ThenGELU, read by ThenGELUGradient
	ASums   Tensor // [M], or none: ASums[m] += sum over k of A[m,k], the bias gradient of dW = dYᵀ·X

	M, N, K       int
	LDD, LDA, LDB int  // elements from one row to the next as stored; 0 = dense
	ATransposed   bool // A is stored [K,M]
	BLayout       BLayout
	Epilogue      Epilogue
	Accumulate    bool // add to D; only with Linear
}

// GEMM computes a matrix product. M or N of 0 is legal and does nothing.
func (s *Stream) GEMM(g GEMM) {
	if g.M == 0 || g.N == 0 {
		return
	}
	aRows, aColumns := g.M, g.K
	if g.ATransposed {
		aRows, aColumns = g.K, g.M
	}
	bRows, bColumns := g.K, g.N
	if g.BLayout == BNK {
		bRows, bColumns = g.N, g.K
	}
	ldd, lda, ldb := dense(g.LDD, g.N), dense(g.LDA, aColumns), dense(g.LDB, bColumns)
	needs := []need{sized("D", g.D, stored(g.M, g.N, ldd)), sized("A", g.A, stored(aRows, aColumns, lda))}
	if g.BLayout == BPacked {
		needs = append(needs, sized("B", g.B, s.dev.PackedLen(g.N, g.K, g.A.dtype)).of(g.A.dtype))
	} else {
		needs = append(needs, sized("B", g.B, stored(bRows, bColumns, ldb)).of(g.A.dtype))
	}
	if !g.Bias.IsZero() {
		needs = append(needs, sized("Bias", g.Bias, g.N).of(Float32))
	}
	if g.Epilogue != Linear {
		needs = append(needs, sized("Pre", g.Pre, stored(g.M, g.N, ldd)).of(g.A.dtype))
	}
	if !g.ASums.IsZero() {
		needs = append(needs, sized("ASums", g.ASums, g.M).of(Float32))
	}
	if !s.ok("gemm", needs...) {
		return
	}
	c := C.struct_hpcbert_gemm{
		d: g.D.ptr, a: g.A.ptr, b: g.B.ptr, bias: floats(g.Bias), pre: g.Pre.ptr, a_sums: floats(g.ASums),
		m: C.int64_t(g.M), n: C.int64_t(g.N), k: C.int64_t(g.K), ldd: C.int64_t(ldd), lda: C.int64_t(lda), ldb: C.int64_t(ldb),
		a_transposed: flag(g.ATransposed), b_layout: C.int32_t(g.BLayout), epilogue: C.int32_t(g.Epilogue), accumulate: flag(g.Accumulate),
		dtype: C.int32_t(g.A.dtype), d_dtype: C.int32_t(g.D.dtype),
	}
	s.did(fmt.Sprintf("gemm %dx%dx%d", g.M, g.N, g.K), C.op_gemm(s.ops, &c, s.s))
}

// PackedLen returns the elements that an operand B [k,n] takes when packed for products with A of the type dtype; 0 when the device does
// not take it. Allocate them zeroed. Slices of one allocation may each hold a packed operand.
func (d *Device) PackedLen(n, k int, dtype DType) int {
	return int(C.op_gemm_packed_bytes(d.ops, C.int64_t(n), C.int64_t(k), C.int32_t(dtype))) / dtype.Size()
}

// PackGEMM writes b, the block of rows k0 to k0+k-1 and columns n0 to n0+n-1 of an operand B [kTotal,nTotal], into packed, whose type is that
// of the products' A. b is float32, stored as layout says with ldb elements from row to row (0 = dense). Blocks may come in any order; in
// a type of 16 bits k0 is even, and so is k unless the block ends the operand.
//
// For y = x·Wᵀ with W [out,in]: layout BNK, nTotal = out, kTotal = in. For dx = dy·W: layout BKN, nTotal = in, kTotal = out.
func (s *Stream) PackGEMM(packed Tensor, b Tensor, layout BLayout, ldb int, nTotal, kTotal, n0, n, k0, k int) {
	rows, columns := k, n
	if layout == BNK {
		rows, columns = n, k
	}
	ldb = dense(ldb, columns)
	if !s.ok("gemm_pack", sized("packed", packed, s.dev.PackedLen(nTotal, kTotal, packed.dtype)), sized("b", b, stored(rows, columns, ldb)).of(Float32)) {
		return
	}
	s.did("gemm_pack", C.op_gemm_pack(s.ops, packed.ptr, floats(b), C.int64_t(ldb), C.int32_t(layout), C.int64_t(nTotal), C.int64_t(kTotal),
		C.int64_t(n0), C.int64_t(n), C.int64_t(k0), C.int64_t(k), C.int32_t(packed.dtype), s.s))
}

// dense returns the row length ld, or columns when ld is 0.
func dense(ld, columns int) int {
	if ld == 0 {
		return columns
	}
	return ld
}

// stored returns the elements from the first to the last of a matrix.
func stored(rows, columns, ld int) int { return (rows-1)*ld + columns }

func flag(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}
