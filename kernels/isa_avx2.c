/* isa_avx2.c: the CPU's operations for AVX2 with FMA (x86-64-v3): 6 x 16 tiles in 12 of 16 registers. */
#include "cpu.h"

#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#define ISA avx2
#define ISA_NAME "avx2"
#define VL 8
#define GEMM_ROWS 6
#define GEMM_VECTORS 2
#define GEMM_DEPTH 384
#define GEMM_BLOCK (112 << 10)
#define BF16_PAIRS 0
#include "isa.inc"
#else
const struct hpcbert_ops *cpu_ops_avx2(void)
{
	return NULL;
}
#endif
