/* memory.c: the CPU's memory. It comes from the system in whole mappings, zero, in huge pages where there are some, and nothing here touches
 * it: a page is taken from the NUMA node of the thread that writes it first. Clearing and copying go through the stream's threads in the same
 * parts as every other operation, so that whoever clears or uploads a tensor before its use puts each part beside the thread that will use it. */
#define _GNU_SOURCE
#include "cpu.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
	STREAMED = 64 << 20,     /* bytes from which on a cache is no use: they are written past it, without being read first */
	HUGE_PAGE = 2 << 20,     /* of x86-64, and of arm64 with pages of 4 KiB */
	MEMORY_ITEM = 256 << 10, /* bytes of an item of clearing or copying: some ten microseconds */
};

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

/* Older systems put a mapping anywhere: then only its middle can be huge pages, and an arena of few megabytes has no middle. So more is mapped
 * and the ends are given back. */
static void *map_huge(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), length = (bytes + page - 1) / page * page;
	char *p = map(length + HUGE_PAGE);
	if (!p)
		return NULL;
	size_t before = -(uintptr_t)p % HUGE_PAGE;
	if (before)
		munmap(p, before);
	if (before < HUGE_PAGE)
		munmap(p + before + length, HUGE_PAGE - before);
	madvise(p + before, length, MADV_HUGEPAGE); /* advice: a refusal changes nothing */
	return p + before;
}

int cpu_alloc(void **p, size_t bytes, int device)
{
	(void)device;
	*p = bytes < HUGE_PAGE ? map(bytes ? bytes : 1) : map_huge(bytes);
	return *p ? HPCBERT_OK : HPCBERT_NO_MEMORY;
}

int cpu_release(void *p, size_t bytes)
{
	return munmap(p, bytes ? bytes : 1) ? HPCBERT_BAD_ARGUMENT : HPCBERT_OK;
}

struct memory_copy {
	char *dst;
	const char *src; /* NULL: zeros */
	int64_t bytes;
};

#if defined(__SSE2__)
/* bytes is a multiple of 64, dst of 16. */
static void memory_stream(char *dst, const char *src, int64_t bytes)
{
	__m128i x[4] = {0};
	for (int64_t i = 0; i < bytes; i += sizeof x) {
		if (src)
			memcpy(x, src + i, sizeof x);
		for (int k = 0; k < 4; k++)
			_mm_stream_si128((__m128i *)(dst + i) + k, x[k]);
	}
	_mm_sfence();
}
#endif

static void memory_item(void *arg, long item, int thread)
{
	const struct memory_copy *a = arg;
	int64_t begin = (int64_t)item * MEMORY_ITEM, bytes = item_end(item, MEMORY_ITEM, a->bytes) - begin;
	(void)thread;
#if defined(__SSE2__)
	if (a->bytes >= STREAMED && (uintptr_t)a->dst % 16 == 0 && bytes == MEMORY_ITEM) {
		memory_stream(a->dst + begin, a->src ? a->src + begin : NULL, bytes);
		return;
	}
#endif
	if (a->src)
		memcpy(a->dst + begin, a->src + begin, (size_t)bytes);
	else
		memset(a->dst + begin, 0, (size_t)bytes);
}

int cpu_copy(void *dst, const void *src, size_t bytes, struct hpcbert_stream *s)
{
	struct memory_copy a = {.dst = dst, .src = src, .bytes = (int64_t)bytes};
	parallel_for(s, item_count(a.bytes, MEMORY_ITEM), memory_item, &a);
	return HPCBERT_OK;
}

int cpu_upload(void *dst, const void *host, size_t bytes, struct hpcbert_stream *s)
{
	return cpu_copy(dst, host, bytes, s);
}

int cpu_download(void *host, const void *src, size_t bytes, struct hpcbert_stream *s)
{
	return cpu_copy(host, src, bytes, s);
}

int cpu_zero(void *dst, size_t bytes, struct hpcbert_stream *s)
{
	struct memory_copy a = {.dst = dst, .bytes = (int64_t)bytes};
	parallel_for(s, item_count(a.bytes, MEMORY_ITEM), memory_item, &a);
	return HPCBERT_OK;
}
