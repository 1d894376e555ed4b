/* pool.c: the CPU's stream: threads that spin briefly for the next operation, then sleep. */
#define _GNU_SOURCE
#include "cpu.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 4000 }; /* about 50 microseconds: longer than the gap between two operations of a step, too short to starve a neighbour */

struct worker {
	struct hpcbert_stream *stream;
	pthread_t thread;
	int id;
};

struct hpcbert_stream {
	int threads;
	struct worker *workers; /* threads - 1: the caller is thread 0 */
	char *scratch;          /* threads * THREAD_SCRATCH, then SHARED_SCRATCH */
	size_t scratch_bytes;

	void (*body)(void *arg, long item, int thread);
	void *arg;
	long items;
	_Alignas(CACHE_LINE) atomic_long next;       /* the next item */
	_Alignas(CACHE_LINE) atomic_uint generation; /* counts operations; a change wakes the workers */
	_Alignas(CACHE_LINE) atomic_uint busy;       /* workers still inside the operation */
	atomic_int sleepers;
	atomic_bool quit;
};

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void wait_while(atomic_uint *word, unsigned value, atomic_int *sleepers)
{
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(word, memory_order_acquire) != value)
			return;
		relax();
	}
	atomic_fetch_add(sleepers, 1);
	while (atomic_load(word) == value)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
	atomic_fetch_sub(sleepers, 1);
}

static void wake(atomic_uint *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void take_items(struct hpcbert_stream *s, int thread)
{
	for (long i; (i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->items;)
		s->body(s->arg, i, thread);
}

static void *work(void *p)
{
	struct worker *w = p;
	struct hpcbert_stream *s = w->stream;
	for (unsigned seen = 0;;) {
		wait_while(&s->generation, seen, &s->sleepers);
		seen++;
		if (atomic_load(&s->quit))
			return NULL;
		take_items(s, w->id);
		if (atomic_fetch_sub(&s->busy, 1) == 1)
			wake(&s->busy);
	}
}

void parallel_for(struct hpcbert_stream *s, long items, void (*body)(void *arg, long item, int thread), void *arg)
{
	if (s->threads == 1 || items == 1) {
		for (long i = 0; i < items; i++)
			body(arg, i, 0);
		return;
	}
	s->body = body;
	s->arg = arg;
	s->items = items;
	atomic_store(&s->next, 0);
	atomic_store(&s->busy, (unsigned)s->threads - 1);
	atomic_fetch_add(&s->generation, 1);
	if (atomic_load(&s->sleepers) > 0)
		wake(&s->generation);
	take_items(s, 0);
	for (unsigned left, spins = 0; (left = atomic_load_explicit(&s->busy, memory_order_acquire)) != 0;) {
		if (++spins < SPINS)
			relax();
		else
			syscall(SYS_futex, &s->busy, FUTEX_WAIT_PRIVATE, left, NULL, NULL, 0);
	}
}

int stream_threads(const struct hpcbert_stream *s)
{
	return s->threads;
}

void *thread_scratch(struct hpcbert_stream *s, int thread)
{
	return s->scratch + (size_t)thread * THREAD_SCRATCH;
}

void *shared_scratch(struct hpcbert_stream *s)
{
	return s->scratch + (size_t)s->threads * THREAD_SCRATCH;
}

int cpu_stream_create(struct hpcbert_stream **out, int device, int threads)
{
	if (threads < 1)
		return HPCBERT_BAD_ARGUMENT;
	struct hpcbert_stream *s = aligned_alloc(CACHE_LINE, sizeof *s);
	if (!s)
		return HPCBERT_NO_MEMORY;
	memset(s, 0, sizeof *s);
	s->threads = 1;
	s->scratch_bytes = (size_t)threads * THREAD_SCRATCH + SHARED_SCRATCH;
	void *scratch;
	s->workers = calloc((size_t)threads, sizeof *s->workers);
	if (!s->workers || cpu_alloc(&scratch, s->scratch_bytes, device)) {
		free(s->workers);
		free(s);
		return HPCBERT_NO_MEMORY;
	}
	s->scratch = scratch;
	for (int i = 1; i < threads; i++) {
		struct worker *w = &s->workers[i - 1];
		*w = (struct worker){.stream = s, .id = i};
		if (pthread_create(&w->thread, NULL, work, w)) {
			cpu_stream_destroy(s);
			return HPCBERT_NO_MEMORY;
		}
		s->threads++;
	}
	*out = s;
	return HPCBERT_OK;
}

int cpu_stream_destroy(struct hpcbert_stream *s)
{
	atomic_store(&s->quit, true);
	atomic_fetch_add(&s->generation, 1);
	wake(&s->generation);
	for (int i = 1; i < s->threads; i++)
		pthread_join(s->workers[i - 1].thread, NULL);
	cpu_release(s->scratch, s->scratch_bytes);
	free(s->workers);
	free(s);
	return HPCBERT_OK;
}

/* Memory comes from the system in whole mappings: zero, page-aligned, in huge pages where there are some. */
int cpu_alloc(void **p, size_t bytes, int device)
{
	(void)device;
	void *q = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (q == MAP_FAILED)
		return HPCBERT_NO_MEMORY;
	madvise(q, bytes, MADV_HUGEPAGE); /* advice: a refusal changes nothing */
	*p = q;
	return HPCBERT_OK;
}

int cpu_release(void *p, size_t bytes)
{
	return munmap(p, bytes ? bytes : 1) ? HPCBERT_BAD_ARGUMENT : HPCBERT_OK;
}

int cpu_upload(void *dst, const void *host, size_t bytes, struct hpcbert_stream *s)
{
	return cpu_copy(dst, host, bytes, s);
}

int cpu_download(void *host, const void *src, size_t bytes, struct hpcbert_stream *s)
{
	return cpu_copy(host, src, bytes, s);
}

int cpu_copy(void *dst, const void *src, size_t bytes, struct hpcbert_stream *s)
{
	(void)s;
	memcpy(dst, src, bytes);
	return HPCBERT_OK;
}

int cpu_zero(void *dst, size_t bytes, struct hpcbert_stream *s)
{
	(void)s;
	memset(dst, 0, bytes);
	return HPCBERT_OK;
}

int cpu_synchronize(struct hpcbert_stream *s)
{
	(void)s; /* every operation has ended when it returns */
	return HPCBERT_OK;
}

const char *cpu_error_text(struct hpcbert_stream *s)
{
	(void)s;
	return "the CPU reports no errors of its own";
}
