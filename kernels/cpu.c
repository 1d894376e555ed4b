/* cpu.c: chooses the instruction set. */
#include "cpu.h"

#include <string.h>

struct instruction_set {
	const char *name;
	const struct hpcbert_ops *(*ops)(void);
	int (*available)(void);
};

static int always(void)
{
	return 1;
}

#if defined(__x86_64__)
/* The compiler's test asks cpuid and whether the system saves the registers. */
static int has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static int has_avx512bf16(void)
{
	return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

static int has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
#else
#define has_avx512bf16 always
#define has_avx512 always
#define has_avx2 always
#endif

static const struct instruction_set sets[] = {
	/* best first */
	{"avx512bf16", cpu_ops_avx512bf16, has_avx512bf16},
	{"avx512", cpu_ops_avx512, has_avx512},
	{"avx2", cpu_ops_avx2, has_avx2},
	{"neon", cpu_ops_neon, always},
	{"plain", cpu_ops_plain, always},
};

const struct hpcbert_ops *cpu_ops(const char *name, const char **reason)
{
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		const struct instruction_set *set = &sets[i];
		int usable = set->ops() && set->available();
		if (!*name && usable)
			return set->ops();
		if (!strcmp(name, set->name)) {
			*reason = set->ops() ? "this CPU does not have it" : "it belongs to another architecture";
			return usable ? set->ops() : NULL;
		}
	}
	*reason = "unknown instruction set: avx512bf16, avx512, avx2, neon or plain";
	return NULL;
}
