/* wire.h: how values travel, and gathers over all ranks, where a root below 0 means every rank. */
#pragma once
#include <stdint.h>

/* The forms of comm.Wire. */
enum wire { WIRE_FLOAT32, WIRE_BFLOAT16, WIRE_FLOAT16 };

/* b[n] as words, and back. */
void wire_narrow(uint16_t *words, const float *b, int n, enum wire wire);
void wire_widen(float *b, const uint16_t *words, int n, enum wire wire);

/* Adds values[n] that have arrived to b. */
void wire_add(float *b, const void *values, int n, enum wire wire);

/* Copies b[first[r] ... first[r] + count[r] - 1] of each rank r to the root. Returns MPI's error code, as the next one. */
int wire_gather(float *b, const int *count, const int *first, int root, int rank);

/* Sends out[n] to one rank and receives in[m] from another. */
int wire_shift(const void *out, int n, int to, void *in, int m, int from);
