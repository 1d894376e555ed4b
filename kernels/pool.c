/* pool.c: the CPU's stream: a team of threads that spin briefly for the next operation, then sleep.
 *
 * Thread 0 is whoever calls parallel_for, the others are ours. An operation's number goes down a tree and its end comes back up: each thread
 * calls its four children, does its work, awaits their ends and tells its own parent. So every word that is waited on has one writer and one
 * reader, each thread writes a handful of cache lines however many threads there are, and sleepers wake each other in parallel.
 *
 * Each thread first takes the items of its own share, always the same part of the whole, then helps the others. So the same rows of the same
 * matrices meet the same thread in every operation: they are in its cache, and in the memory of its NUMA node where it touched them first.
 */
#define _GNU_SOURCE
#include "cpu.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	CHILDREN = 4,
	SPIN_NANOSECONDS = 100000, /* longer than the gap between two operations of a step and than waking takes on a virtual machine */
	TIMER_SLACK = 1000000,     /* nanoseconds */
	PAUSES = 32,               /* looks between two looks at the clock: about a microsecond; a pause differs tenfold between CPUs */
};

/* A number that one thread sets and one other thread awaits. */
struct signal {
	_Alignas(CACHE_LINE) atomic_uint value;
	atomic_bool asleep; /* the one who waits is in the kernel, or on its way */
};

struct member {
	struct signal called, done; /* the operation that the parent calls to, and the last one that this thread and all below it have ended */
	_Alignas(CACHE_LINE) atomic_uint_least64_t next; /* of its share: operation << 32 | items taken */
	struct hpcbert_stream *stream;
	pthread_t thread;
	int id;
};

struct hpcbert_stream {
	struct member *team;
	int threads, started; /* started: how many of ours run, the caller not counted */
	char *scratch;        /* threads * THREAD_SCRATCH, then SHARED_SCRATCH */
	size_t scratch_bytes;
	atomic_long spin; /* nanoseconds of waiting before sleep */

	/* The operation at work; written while all threads wait. */
	_Alignas(CACHE_LINE) void (*body)(void *arg, long item, int thread);
	void *arg;
	long items;
	unsigned operation; /* counts them */
	bool quit;
};

/* While C computes, Go's monitor sleeps for 20 microseconds at a time to see whether a goroutine could use the processor: thousands of times a
 * second it takes a core from a thread that computes. Threads inherit the slack that timers of their creator have, so Go's get it before its
 * runtime starts; a timer of a program that computes may be late by that. */
__attribute__((constructor)) static void slacken_timers(void)
{
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK, 0, 0, 0);
}

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb"); /* yield returns at once on most of them */
#endif
}

static int64_t nanoseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void set(struct signal *x, unsigned value)
{
	atomic_store_explicit(&x->value, value, memory_order_release);
}

/* Comes after set and a fence. The waiter tells that it sleeps before its last look at the value: so one of the two sees the other. */
static void wake(struct signal *x)
{
	if (atomic_load_explicit(&x->asleep, memory_order_relaxed))
		syscall(SYS_futex, &x->value, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* The core is not offered to others meanwhile: one that is given away comes back after a slice of the scheduler, milliseconds. With another
 * program on one of two cores, operations of 0.2 ms then took three times as long in the mean, with four programs five times. */
static bool spin_for(struct signal *x, unsigned value, long limit)
{
	for (int64_t start = 0;;) {
		for (int i = 0; i < PAUSES; i++) {
			if (atomic_load_explicit(&x->value, memory_order_acquire) == value)
				return true;
			relax();
		}
		int64_t now = nanoseconds();
		if (start == 0)
			start = now;
		if (now - start >= limit)
			return false;
	}
}

static void await(struct signal *x, unsigned value, const struct hpcbert_stream *s)
{
	if (spin_for(x, value, atomic_load_explicit(&s->spin, memory_order_relaxed)))
		return;
	atomic_store(&x->asleep, true);
	for (unsigned now; (now = atomic_load(&x->value)) != value;)
		syscall(SYS_futex, &x->value, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
	atomic_store_explicit(&x->asleep, false, memory_order_relaxed);
}

/* The next item of a share that is the items first..end-1, or -1. Whoever takes the first one sets the counter to this operation. */
static long take(struct member *owner, unsigned operation, long first, long end)
{
	uint64_t seen = atomic_load_explicit(&owner->next, memory_order_relaxed), taken;
	do {
		taken = seen >> 32 == operation ? (uint32_t)seen : 0;
		if ((long)taken >= end - first)
			return -1;
	} while (!atomic_compare_exchange_weak_explicit(&owner->next, &seen, (uint64_t)operation << 32 | (taken + 1), memory_order_relaxed, memory_order_relaxed));
	return first + (long)taken;
}

static void take_items(struct hpcbert_stream *s, int thread)
{
	for (int i = 0; i < s->threads; i++) {
		int owner = (thread + i) % s->threads;
		long first = s->items * owner / s->threads, end = s->items * (owner + 1) / s->threads;
		for (long item; (item = take(&s->team[owner], s->operation, first, end)) >= 0;)
			s->body(s->arg, item, thread);
	}
}

/* One operation, as each thread sees it. */
static void take_part(struct hpcbert_stream *s, int thread)
{
	unsigned operation = s->operation;
	int first = CHILDREN * thread + 1, end = first + CHILDREN < s->threads ? first + CHILDREN : s->threads;
	for (int i = first; i < end; i++) /* the stores overlap */
		set(&s->team[i].called, operation);
	atomic_thread_fence(memory_order_seq_cst);
	for (int i = first; i < end; i++)
		wake(&s->team[i].called);
	take_items(s, thread);
	for (int i = first; i < end; i++)
		await(&s->team[i].done, operation, s);
}

static void *work(void *p)
{
	struct member *me = p;
	for (unsigned operation = 1;; operation++) {
		await(&me->called, operation, me->stream);
		if (me->stream->quit)
			return NULL;
		take_part(me->stream, me->id);
		set(&me->done, operation);
		atomic_thread_fence(memory_order_seq_cst);
		wake(&me->done);
	}
}

void parallel_for(struct hpcbert_stream *s, long items, void (*body)(void *arg, long item, int thread), void *arg)
{
	if (s->threads == 1 || items <= 1) {
		for (long i = 0; i < items; i++)
			body(arg, i, 0);
		return;
	}
	s->body = body;
	s->arg = arg;
	s->items = items;
	s->operation++;
	take_part(s, 0);
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

static int start_threads(struct hpcbert_stream *s)
{
	for (int i = 1; i < s->threads; i++) {
		struct member *m = &s->team[i];
		m->stream = s;
		m->id = i;
		if (pthread_create(&m->thread, NULL, work, m))
			return HPCBERT_NO_MEMORY;
		s->started = i;
	}
	return HPCBERT_OK;
}

static void stop_threads(struct hpcbert_stream *s)
{
	s->quit = true;
	for (int i = 1; i <= s->started; i++)
		set(&s->team[i].called, s->operation + 1);
	atomic_thread_fence(memory_order_seq_cst);
	for (int i = 1; i <= s->started; i++)
		wake(&s->team[i].called);
	for (int i = 1; i <= s->started; i++)
		pthread_join(s->team[i].thread, NULL);
}

int cpu_stream_create(struct hpcbert_stream **out, int device, int threads)
{
	if (threads < 1)
		return HPCBERT_BAD_ARGUMENT;
	size_t team_bytes = (size_t)threads * sizeof(struct member), scratch_bytes = (size_t)threads * THREAD_SCRATCH + SHARED_SCRATCH;
	struct hpcbert_stream *s = aligned_alloc(CACHE_LINE, sizeof *s);
	struct member *team = aligned_alloc(CACHE_LINE, team_bytes);
	void *scratch;
	if (!s || !team || cpu_alloc(&scratch, scratch_bytes, device)) {
		free(s);
		free(team);
		return HPCBERT_NO_MEMORY;
	}
	memset(team, 0, team_bytes);
	memset(s, 0, sizeof *s);
	s->team = team;
	s->threads = threads;
	s->scratch = scratch;
	s->scratch_bytes = scratch_bytes;
	atomic_store(&s->spin, SPIN_NANOSECONDS);
	int rc = start_threads(s);
	if (rc)
		cpu_stream_destroy(s);
	else
		*out = s;
	return rc;
}

int cpu_stream_destroy(struct hpcbert_stream *s)
{
	stop_threads(s);
	cpu_release(s->scratch, s->scratch_bytes);
	free(s->team);
	free(s);
	return HPCBERT_OK;
}

/* A CPU that cannot be had changes nothing: the thread runs where the system puts it. */
static void pin(pthread_t thread, int cpu)
{
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	if (!set)
		return;
	CPU_ZERO_S(CPU_ALLOC_SIZE(cpu + 1), set);
	CPU_SET_S(cpu, CPU_ALLOC_SIZE(cpu + 1), set);
	pthread_setaffinity_np(thread, CPU_ALLOC_SIZE(cpu + 1), set);
	CPU_FREE(set);
}

void cpu_stream_place(struct hpcbert_stream *s, const int *cpus, int crowded)
{
	if (crowded)
		atomic_store(&s->spin, 0);
	for (int i = 1; i < s->threads; i++)
		if (cpus[i] >= 0)
			pin(s->team[i].thread, cpus[i]);
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
