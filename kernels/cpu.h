/* cpu.h: what the CPU's operations share: the stream (a pool of threads with scratch) and the tables, one an instruction set. */
#ifndef HPCBERT_CPU_H
#define HPCBERT_CPU_H

#include "ops.h"

enum {
	CACHE_LINE = 64,
	THREAD_SCRATCH = 16 << 20, /* bytes of scratch of each thread, touched only when used */
	SHARED_SCRATCH = 64 << 20, /* bytes of scratch that the threads of one operation share */
};

/* Runs body(arg, item, thread) for item = 0 .. items-1 (below 2^32) on the stream's threads. Thread t begins with the t-th part of the items,
 * in order, and then helps the others; so a result must not depend on which thread computed it, but neighbouring items share a cache, and the
 * n-th part of a matrix meets the same thread in every operation. Returns when all are done. */
void parallel_for(struct hpcbert_stream *s, long items, void (*body)(void *arg, long item, int thread), void *arg);

/* How many threads there are: a reason to divide work this way or that, never to compute something else. */
int stream_threads(const struct hpcbert_stream *s);

/* Scratch of one thread (THREAD_SCRATCH bytes) and of the whole operation (SHARED_SCRATCH bytes), aligned to 64 bytes; contents undefined. */
void *thread_scratch(struct hpcbert_stream *s, int thread);
void *shared_scratch(struct hpcbert_stream *s);

static inline int64_t min(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static inline int64_t ceil_div(int64_t n, int64_t step)
{
	return (n + step - 1) / step;
}

static inline int64_t round_up(int64_t n, int64_t step)
{
	return ceil_div(n, step) * step;
}

/* Work over n rows or elements is cut into items of a fixed size, so that the cut does not depend on the threads. */
static inline long item_count(int64_t n, int64_t size)
{
	return (long)ceil_div(n, size);
}

static inline int64_t item_end(long item, int64_t size, int64_t n)
{
	return min((item + 1) * size, n);
}

/* The tables; one that was not compiled for this architecture is NULL. */
const struct hpcbert_ops *cpu_ops_avx512bf16(void);
const struct hpcbert_ops *cpu_ops_avx512(void);
const struct hpcbert_ops *cpu_ops_avx2(void);
const struct hpcbert_ops *cpu_ops_neon(void);
const struct hpcbert_ops *cpu_ops_plain(void);

/* The table of the instruction set named, or of the best one this CPU has when name is ""; NULL with a reason otherwise. */
const struct hpcbert_ops *cpu_ops(const char *name, const char **reason);

/* The device part of the table, the same for all instruction sets. */
int cpu_stream_create(struct hpcbert_stream **s, int device, int threads);
int cpu_stream_destroy(struct hpcbert_stream *s);
/* Where the threads run: thread i on CPU cpus[i], or where the system likes if that is below 0. Thread 0 is the caller's and is
 * left alone. crowded: there are more threads than cores, so one that waits sleeps at once. Call it before the first operation. */
void cpu_stream_place(struct hpcbert_stream *s, const int *cpus, int crowded);
int cpu_alloc(void **p, size_t bytes, int device);
int cpu_release(void *p, size_t bytes);
int cpu_upload(void *dst, const void *host, size_t bytes, struct hpcbert_stream *s);
int cpu_download(void *host, const void *src, size_t bytes, struct hpcbert_stream *s);
int cpu_copy(void *dst, const void *src, size_t bytes, struct hpcbert_stream *s);
int cpu_zero(void *dst, size_t bytes, struct hpcbert_stream *s);
int cpu_synchronize(struct hpcbert_stream *s);
const char *cpu_error_text(struct hpcbert_stream *s);

#endif
