#include "sum.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

/* The ranks are a grid: their number is factored, and a rank's digits in these bases are its place. In a round the ranks that differ in one
 * digit alone exchange messages, each with each. First, digit by digit, each rank hands the parts of its stretch of values to those that will
 * sum them and sums its own; then the sums go back the same way. So every rank sends and receives each value about twice, whatever the number
 * of ranks, and of 64 ranks each talks to 6. Neighbours, who often share a node, exchange the most. A value is summed on one rank, in an order that depends
 * on the ranks alone: the same bits in every run, and on all ranks. */

enum { MAX_LEVELS = 31, ALIGN = 16 }; /* parts begin at cache lines */

struct level {
	int size, stride, digit; /* ranks that exchange, how far they are apart, which of them this one is */
	int first, count;	 /* stretch that they have in common */
};

struct sum {
	struct level level[MAX_LEVELS + 1];
	MPI_Request *requests;
	void *in;	 /* parts of other ranks */
	uint16_t *words; /* the values as they travel, where that is not float32 */
	size_t in_bytes, words_bytes;

	float *b;
	int root, tag, round, posted, open; /* requests of this round, and those that have not ended */
	bool flying;
	enum wire wire;
};

struct sums {
	int rank, levels, most; /* most: ranks in the largest level */
	int slots, requests;	/* of one sum */
	MPI_Request *request;	/* of all */
	int *ended;
	struct sum sum[];
};

/* The bases, smallest first. */
static void factor(struct sums *s, struct level *level, int ranks)
{
	int stride = 1;
	s->most = 1;
	for (int left = ranks, prime = 2; left > 1; prime++) {
		if ((long)prime * prime > left)
			prime = left;
		for (; left % prime == 0; left /= prime, stride *= prime) {
			level[s->levels++] = (struct level){.size = prime, .stride = stride, .digit = s->rank / stride % prime};
			s->most = prime;
		}
	}
}

struct sums *sums_new(int rank, int ranks, int slots)
{
	struct level level[MAX_LEVELS + 1] = {0};
	struct sums *s = calloc(1, sizeof *s + slots * sizeof s->sum[0]);
	if (!s)
		return NULL;
	s->rank = rank;
	s->slots = slots;
	factor(s, level, ranks);
	s->requests = 2 * (s->most - 1);
	s->request = malloc((size_t)slots * s->requests * sizeof *s->request);
	s->ended = malloc((size_t)slots * s->requests * sizeof *s->ended);
	if (!s->request || !s->ended) {
		sums_free(s);
		return NULL;
	}
	for (int i = 0; i < slots * s->requests; i++)
		s->request[i] = MPI_REQUEST_NULL;
	for (int i = 0; i < slots; i++) {
		memcpy(s->sum[i].level, level, sizeof level);
		s->sum[i].requests = s->request + (size_t)i * s->requests;
	}
	return s;
}

void sums_free(struct sums *s)
{
	for (int i = 0; i < s->slots; i++) {
		free(s->sum[i].in);
		free(s->sum[i].words);
	}
	free(s->request);
	free(s->ended);
	free(s);
}

static int grow(void **buffer, size_t *bytes, size_t wanted)
{
	if (*bytes >= wanted)
		return MPI_SUCCESS;
	free(*buffer);
	*buffer = malloc(wanted);
	*bytes = *buffer ? wanted : 0;
	return *buffer ? MPI_SUCCESS : MPI_ERR_NO_MEM;
}

static size_t width(const struct sum *s) { return s->wire == WIRE_FLOAT32 ? sizeof(float) : sizeof(uint16_t); }

/* Where the value i is when it travels. */
static void *place(const struct sum *s, int i) { return s->wire == WIRE_FLOAT32 ? (void *)(s->b + i) : (void *)(s->words + i); }

/* The part of a level's stretch that belongs to a digit. */
static int part(const struct level *l, int digit, int *count)
{
	int first = (int)((int64_t)l->count * digit / l->size) / ALIGN * ALIGN;
	int end = digit + 1 == l->size ? l->count : (int)((int64_t)l->count * (digit + 1) / l->size) / ALIGN * ALIGN;
	*count = end - first;
	return l->first + first;
}

static int neighbour(const struct sums *all, const struct level *l, int digit) { return all->rank + (digit - l->digit) * l->stride; }

static int post(struct sum *s, bool send, void *values, int count, int peer)
{
	MPI_Datatype type = s->wire == WIRE_FLOAT32 ? MPI_FLOAT : MPI_UINT16_T;
	MPI_Request *r = &s->requests[s->posted++];
	s->open++;
	if (send)
		return MPI_Isend(values, count, type, peer, s->tag, MPI_COMM_WORLD, r);
	return MPI_Irecv(values, count, type, peer, s->tag, MPI_COMM_WORLD, r);
}

/* Each rank of the level gets its part from all others. */
static int scatter(const struct sums *all, struct sum *s, struct level *l)
{
	int count, first = part(l, l->digit, &count), e = MPI_SUCCESS;
	char *in = s->in;
	l[1].first = first;
	l[1].count = count;
	for (int d = 0; d < l->size && e == MPI_SUCCESS; d++) {
		if (d == l->digit)
			continue;
		e = post(s, false, in, count, neighbour(all, l, d));
		in += width(s) * count;
	}
	for (int d = 0; d < l->size && e == MPI_SUCCESS; d++) {
		if (d == l->digit)
			continue;
		first = part(l, d, &count);
		if (s->wire != WIRE_FLOAT32)
			wire_narrow(s->words + first, s->b + first, count, s->wire);
		e = post(s, true, place(s, first), count, neighbour(all, l, d));
	}
	return e;
}

static void add(struct sum *s, const struct level *own, int others)
{
	const char *in = s->in;
	for (int i = 0; i < others; i++, in += width(s) * own->count)
		wire_add(s->b + own->first, in, own->count, s->wire);
}

/* Each rank of the level gets the sums of all others; where only the root wants them, only those send whose way to it goes through the level. */
static int gather(const struct sums *all, struct sum *s, const struct level *l)
{
	int above = l->stride * l->size, goal = s->root / l->stride % l->size, e = MPI_SUCCESS;
	if (s->root >= 0 && all->rank / above != s->root / above)
		return e;
	for (int d = 0; d < l->size && e == MPI_SUCCESS; d++) {
		int count, first = part(l, d, &count);
		if (d != l->digit && (s->root < 0 || l->digit == goal))
			e = post(s, false, place(s, first), count, neighbour(all, l, d));
	}
	for (int d = 0; d < l->size && e == MPI_SUCCESS; d++)
		if (d != l->digit && (s->root < 0 || d == goal))
			e = post(s, true, place(s, l[1].first), l[1].count, neighbour(all, l, d));
	return e;
}

/* Goes from a round whose messages have come to the next. */
static int next(const struct sums *all, struct sum *s)
{
	struct level *own = &s->level[all->levels];
	s->posted = 0;
	if (s->round < all->levels)
		add(s, &s->level[s->round + 1], s->level[s->round].size - 1);
	s->round++;
	if (s->round < all->levels)
		return scatter(all, s, &s->level[s->round]);
	if (s->round == all->levels && s->wire != WIRE_FLOAT32)
		wire_narrow(s->words + own->first, s->b + own->first, own->count, s->wire);
	if (s->round < 2 * all->levels)
		return gather(all, s, &s->level[2 * all->levels - 1 - s->round]);
	if (s->wire != WIRE_FLOAT32)
		wire_widen(s->b, s->words, s->level[0].count, s->wire);
	s->flying = false;
	return MPI_SUCCESS;
}

int sums_start(struct sums *all, int slot, float *b, int n, int root, enum wire wire, int tag)
{
	struct sum *s = &all->sum[slot];
	int e = MPI_SUCCESS;
	if (wire != WIRE_FLOAT32)
		e = grow((void **)&s->words, &s->words_bytes, n * sizeof *s->words);
	s->b = b;
	s->root = root;
	s->wire = wire;
	s->tag = tag;
	s->round = s->posted = 0;
	s->level[0].first = 0;
	s->level[0].count = n;
	if (e == MPI_SUCCESS) /* parts are not quite equal */
		e = grow(&s->in, &s->in_bytes, (n + (size_t)all->most * ALIGN) * width(s));
	if (e != MPI_SUCCESS)
		return e;
	s->flying = true;
	return scatter(all, s, s->level);
}

int sums_advance(struct sums *all, bool *moved)
{
	int come, e = MPI_Testsome(all->slots * all->requests, all->request, &come, all->ended, MPI_STATUSES_IGNORE);
	if (e != MPI_SUCCESS || come == MPI_UNDEFINED)
		come = 0;
	*moved = come > 0;
	for (int i = 0; i < come; i++)
		all->sum[all->ended[i] / all->requests].open--;
	for (int i = 0; i < all->slots && e == MPI_SUCCESS; i++)
		while (all->sum[i].flying && all->sum[i].open == 0 && e == MPI_SUCCESS)
			e = next(all, &all->sum[i]);
	return e;
}

bool sums_flying(const struct sums *all, int slot) { return all->sum[slot].flying; }
