#include "wire.h"

#include <mpi.h>
#include <string.h>

static uint32_t bits_of(float x)
{
	uint32_t u;
	memcpy(&u, &x, sizeof u);
	return u;
}

static float float_of(uint32_t u)
{
	float x;
	memcpy(&x, &u, sizeof x);
	return x;
}

/* Rounding is to the nearest, ties to even. A NaN stays one: rounding must not carry it to infinity. */
static uint16_t bfloat16_of(float x)
{
	uint32_t u = bits_of(x);
	return (u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static float from_bfloat16(uint16_t w) { return float_of((uint32_t)w << 16); }

static uint16_t half_of(float x)
{
	uint32_t u = bits_of(x), sign = u >> 16 & 0x8000;
	u &= 0x7fffffff;
	uint32_t beyond = u > 0x7f800000 ? 0x7e00 : 0x7c00;
	uint32_t small = bits_of(float_of(u) + 0.5f) - bits_of(0.5f); /* below 2^-14 half has steps of 2^-24, as float32 has from 0.5 on */
	uint32_t usual = (u - (112u << 23) + 0xfff + (u >> 13 & 1)) >> 13;
	return sign | (u >= 0x47800000 ? beyond : u < 0x38800000 ? small : usual);
}

static float from_half(uint16_t w)
{
	uint32_t sign = (uint32_t)(w & 0x8000) << 16, mantissa = w & 0x3ff, exponent = w & 0x7c00, u = (uint32_t)(w & 0x7fff) << 13;
	float small = (float)mantissa * 0x1p-24f;
	u += exponent == 0x7c00 ? 224u << 23 : 112u << 23;
	return float_of(sign | (exponent == 0 ? bits_of(small) : u));
}

void wire_narrow(uint16_t *words, const float *b, int n, enum wire wire)
{
	if (wire == WIRE_FLOAT16)
		for (int i = 0; i < n; i++)
			words[i] = half_of(b[i]);
	else
		for (int i = 0; i < n; i++)
			words[i] = bfloat16_of(b[i]);
}

void wire_widen(float *b, const uint16_t *words, int n, enum wire wire)
{
	if (wire == WIRE_FLOAT16)
		for (int i = 0; i < n; i++)
			b[i] = from_half(words[i]);
	else
		for (int i = 0; i < n; i++)
			b[i] = from_bfloat16(words[i]);
}

void wire_add(float *b, const void *values, int n, enum wire wire)
{
	const float *x = values;
	const uint16_t *words = values;
	if (wire == WIRE_FLOAT32)
		for (int i = 0; i < n; i++)
			b[i] += x[i];
	else if (wire == WIRE_FLOAT16)
		for (int i = 0; i < n; i++)
			b[i] += from_half(words[i]);
	else
		for (int i = 0; i < n; i++)
			b[i] += from_bfloat16(words[i]);
}

int wire_gather(float *b, const int *count, const int *first, int root, int rank)
{
	if (root < 0)
		return MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_FLOAT, b, count, first, MPI_FLOAT, MPI_COMM_WORLD);
	if (rank == root)
		return MPI_Gatherv(MPI_IN_PLACE, 0, MPI_FLOAT, b, count, first, MPI_FLOAT, root, MPI_COMM_WORLD);
	return MPI_Gatherv(b + first[rank], count[rank], MPI_FLOAT, NULL, NULL, NULL, MPI_FLOAT, root, MPI_COMM_WORLD);
}

int wire_shift(const void *out, int n, int to, void *in, int m, int from)
{
	return MPI_Sendrecv(out, n, MPI_BYTE, to, 0, in, m, MPI_BYTE, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}
