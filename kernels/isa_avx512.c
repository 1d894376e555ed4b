/* isa_avx512.c: the CPU's operations for AVX-512 (x86-64-v4): 6 x 64 tiles in 24 of 32 registers. */
#include "cpu.h"

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,f16c,prefer-vector-width=512")
#define ISA avx512
#define ISA_NAME "avx512"
#define VL 16
#define GEMM_ROWS 6
#define GEMM_VECTORS 4
#define GEMM_DEPTH 128
#define GEMM_BLOCK (120 << 10)
#define BF16_PAIRS 0
#include "isa.inc"
#else
const struct hpcbert_ops *cpu_ops_avx512(void)
{
	return NULL;
}
#endif
