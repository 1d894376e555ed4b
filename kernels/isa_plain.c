/* isa_plain.c: the CPU's operations for any CPU, in what the compiler makes of its vectors. */
#include "cpu.h"

#if 1
#define ISA plain
#define ISA_NAME "plain"
#define VL 4
#define GEMM_ROWS 4
#define GEMM_VECTORS 2
#define GEMM_DEPTH 256
#define GEMM_BLOCK (40 << 10)
#define BF16_PAIRS 1
#include "isa.inc"
#else
const struct hpcbert_ops *cpu_ops_plain(void)
{
	return NULL;
}
#endif
