/* isa_avx512bf16.c: the CPU's operations for AVX-512 with the product of bfloat16 pairs (Zen 4, Sapphire Rapids and later). */
#include "cpu.h"

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c,prefer-vector-width=512")
#define ISA avx512bf16
#define ISA_NAME "avx512bf16"
#define VL 16
#define GEMM_ROWS 6
#define GEMM_VECTORS 4
#define GEMM_DEPTH 128
#define GEMM_BLOCK (120 << 10)
#define BF16_PAIRS 1
#include "isa.inc"
#else
const struct hpcbert_ops *cpu_ops_avx512bf16(void)
{
	return NULL;
}
#endif
