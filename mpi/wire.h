/* wire.h: sums and gathers over all ranks. Roots below 0 mean every rank. All return MPI's error code. */
#include <stdbool.h>
#include <stdint.h>

/* b[n], in place on the root: the sum over the ranks. */
int wire_sum(float *b, int n, int root, int rank);

/* wire_sum whose values travel as words[n] of IEEE half or bfloat16, added in float32 and rounded again where ranks add them. */
int wire_sum_words(float *b, uint16_t *words, int n, int root, int rank, bool half);

/* Copies b[first[r] ... first[r] + count[r] - 1] of each rank r to the root. */
int wire_gather(float *b, const int *count, const int *first, int root, int rank);

/* Sends out[n] to one rank and receives in[m] from another. */
int wire_shift(const void *out, int n, int to, void *in, int m, int from);
