/* pool_check.c: the pool by itself, compiled by pool_test.go together with pool.c and memory.c: `check` looks for items lost or done twice,
 * `bench` prints the nanoseconds of an operation without work, threads awake and asleep. */
#define _GNU_SOURCE
#include "../cpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_ITEMS = 300, OPERATIONS = 400 };

struct operation {
	struct hpcbert_stream *stream;
	int done[MOST_ITEMS]; /* not atomic: each item has one thread, and the pool orders operations */
	int threads, items, failed;
};

static void count_item(void *arg, long item, int thread)
{
	struct operation *o = arg;
	o->done[item]++;
	if (thread < 0 || thread >= o->threads)
		o->failed = 1;
	((char *)thread_scratch(o->stream, thread))[0]++;
}

static void *run_operation(void *arg)
{
	struct operation *o = arg;
	parallel_for(o->stream, o->items, count_item, o);
	return NULL;
}

/* Some operations are called from a thread of their own, as Go does; before some the threads fall asleep. */
static int check(int threads, int crowded, unsigned seed)
{
	struct operation o = {.threads = threads};
	int anywhere[64];
	memset(anywhere, -1, sizeof anywhere);
	if (cpu_stream_create(&o.stream, 0, threads))
		return printf("%d threads: no stream\n", threads);
	cpu_stream_place(o.stream, anywhere, crowded);
	for (int n = 0; n < OPERATIONS && !o.failed; n++) {
		o.items = (int)(rand_r(&seed) % MOST_ITEMS);
		memset(o.done, 0, sizeof o.done);
		pthread_t caller;
		if (n % 8 == 0 && pthread_create(&caller, NULL, run_operation, &o) == 0)
			pthread_join(caller, NULL);
		else
			run_operation(&o);
		if (n % 64 == 0)
			usleep(300);
		for (int i = 0; i < MOST_ITEMS; i++)
			if (o.done[i] != (i < o.items)) {
				o.failed = 1;
				printf("%d threads, operation %d: item %d of %d done %d times\n", threads, n, i, o.items, o.done[i]);
			}
	}
	cpu_stream_destroy(o.stream);
	return o.failed;
}

static void *check_all(void *arg)
{
	long failed = 0;
	for (int threads = 1; threads <= 23; threads += threads < 4 ? 1 : 6)
		failed += check(threads, threads % 2, (unsigned)(size_t)arg + (unsigned)threads);
	return (void *)failed;
}

static double nanoseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void nothing(void *arg, long item, int thread)
{
	(void)arg, (void)item, (void)thread;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(struct hpcbert_stream *s, int threads, int operations, unsigned pause)
{
	enum { RUNS = 301 };
	double took[RUNS];
	for (int r = 0; r < RUNS; r++) {
		usleep(pause);
		double start = nanoseconds();
		for (int i = 0; i < operations; i++)
			parallel_for(s, threads, nothing, NULL);
		took[r] = (nanoseconds() - start) / operations;
	}
	qsort(took, RUNS, sizeof *took, by_size);
	return took[RUNS / 2];
}

int main(int argc, char **argv)
{
	struct hpcbert_stream *s;
	if (argc > 2 && strcmp(argv[1], "bench") == 0 && cpu_stream_create(&s, 0, atoi(argv[2])) == 0) {
		double awake = median(s, atoi(argv[2]), 200, 0);
		printf("%.0f %.0f\n", awake, median(s, atoi(argv[2]), 1, 500));
		return cpu_stream_destroy(s);
	}
	pthread_t other; /* two pools at once */
	void *failed = NULL;
	if (pthread_create(&other, NULL, check_all, (void *)1))
		return 1;
	long mine = (long)check_all((void *)2);
	pthread_join(other, &failed);
	return mine + (long)failed != 0;
}
