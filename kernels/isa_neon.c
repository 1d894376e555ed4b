/* isa_neon.c: the CPU's operations for NEON (every 64-bit Arm): 6 x 16 tiles in 24 of 32 registers. */
#include "cpu.h"

#if defined(__aarch64__)
#define ISA neon
#define ISA_NAME "neon"
#define VL 4
#define GEMM_ROWS 6
#define GEMM_VECTORS 4
#define GEMM_DEPTH 256
#define GEMM_BLOCK (120 << 10)
#define BF16_PAIRS 0
#include "isa.inc"
#else
const struct hpcbert_ops *cpu_ops_neon(void)
{
	return NULL;
}
#endif
