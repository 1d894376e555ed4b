/* sum.h: sums over all ranks that go on while the caller computes. Functions that can fail return MPI's error code. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

/* The sums under way, each in a slot; NULL without memory. */
struct sums;
struct sums *sums_new(int rank, int ranks, int slots);
void sums_free(struct sums *all);

/* Starts in a free slot to sum b[n] over the ranks, in place: on the root, or on all where root < 0; elsewhere b holds nothing of use in the
 * end. All ranks start their sums in the same order. Sums that are under way on any two ranks at the same time have different tags. */
int sums_start(struct sums *all, int slot, float *b, int n, int root, enum wire wire, int tag);

/* Does what can be done without waiting, and tells whether messages have come. */
int sums_advance(struct sums *all, bool *moved);
bool sums_flying(const struct sums *all, int slot);
