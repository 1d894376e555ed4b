/* backend.c: opens a backend that is a library of its own: CUDA, and CUDA on the host. */
#include "backend.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* Stands for every operation that a backend lacks, whatever its parameters: where this suite runs, the caller removes the arguments. */
static size_t unsupported(void)
{
	return HPCBERT_UNSUPPORTED;
}

/* Fills the gaps of a table; the operations are its entries from gemm on. Returns how many there were. */
static int complete(struct hpcbert_ops *table)
{
	size_t (*const stand_in)(void) = unsupported;
	char *end = (char *)(table + 1);
	int missing = 0;
	for (char *entry = (char *)&table->gemm; entry < end; entry += sizeof stand_in) {
		size_t (*function)(void);
		memcpy(&function, entry, sizeof function);
		if (function)
			continue;
		memcpy(entry, &stand_in, sizeof stand_in);
		missing++;
	}
	return missing;
}

const struct hpcbert_ops *backend_open(const char *path, int *missing, const char **reason)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		*reason = dlerror();
		return NULL;
	}
	hpcbert_open_fn open;
	void *symbol = dlsym(library, HPCBERT_OPEN_SYMBOL);
	if (!symbol) {
		*reason = "the library does not export " HPCBERT_OPEN_SYMBOL;
		return NULL;
	}
	memcpy(&open, &symbol, sizeof open);
	const struct hpcbert_ops *ops = open(reason);
	if (!ops)
		return NULL;
	if (ops->abi != HPCBERT_ABI) {
		*reason = "the library was built from other sources than this program";
		return NULL;
	}
	struct hpcbert_ops *table = malloc(sizeof *table);
	if (!table) {
		*reason = "out of memory";
		return NULL;
	}
	*table = *ops;
	*missing = complete(table);
	return table;
}
