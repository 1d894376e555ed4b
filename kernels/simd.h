/* simd.h: the vectors that the CPU's operations are written in. VL, the number of float32 lanes, is set by the isa_*.c file. */
#ifndef HPCBERT_SIMD_H
#define HPCBERT_SIMD_H

#include "ops.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define UNROLL _Pragma("GCC unroll 16") /* before a loop over registers: they stay in registers only when it is gone */
#define INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef float vf_unaligned __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef uint16_t vh __attribute__((vector_size(VL * 2))); /* VL values of one of the types of 16 bits */
typedef uint16_t vh_unaligned __attribute__((vector_size(VL * 2), aligned(2), may_alias));

/* The same value in every lane. Written as a difference because that compiles to one broadcast from memory. */
INLINE vf vset(float x)
{
	return x - (vf){0};
}

/* The same four bytes, whatever they are, in every lane. */
INLINE vf vset_bits(const float *p)
{
	uint32_t bits;
	memcpy(&bits, p, sizeof bits);
	return (vf)(bits - (vu){0});
}

INLINE vf vload(const float *p)
{
	return *(const vf_unaligned *)p;
}

INLINE void vstore(float *p, vf v)
{
	*(vf_unaligned *)p = v;
}

/* The first n < VL lanes; the others are 0, and are not touched in memory. */
INLINE vf vload_first(const float *p, long n)
{
	float lanes[VL] = {0};
	memcpy(lanes, p, (size_t)n * sizeof *p);
	return vload(lanes);
}

INLINE void vstore_first(float *p, vf v, long n)
{
	float lanes[VL];
	vstore(lanes, v);
	memcpy(p, lanes, (size_t)n * sizeof *p);
}

/* Lanes of a where the mask (all ones or all zeros) is set, else of b. */
INLINE vf vselect(vi mask, vf a, vf b)
{
	return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

/* What 16 bits mean: bfloat16 is the upper half of a float32; a half of IEEE 754 has 5 bits of exponent and 10 of fraction. dtype is a constant
 * wherever these and the functions below are used. */

/* The float32 values of halves, exact. As the instructions do, NaN becomes a quiet NaN with the same fraction. */
INLINE vf vwiden_half(vh h)
{
#if defined(__AVX512F__) && VL == 16
	return (vf)_mm512_cvtph_ps((__m256i)h);
#elif defined(__F16C__) && VL == 8
	return (vf)_mm256_cvtph_ps((__m128i)h);
#elif defined(__aarch64__) && VL == 4
	return (vf)vcvt_f32_f16((float16x4_t)h);
#else
	vu bits = __builtin_convertvector(h, vu), magnitude = bits & 0x7fff;
	vf finite = (vf)(magnitude << 13) * 0x1p112f; /* the exponent's bias is 15 there, 127 here; a subnormal is one here too, and is made normal */
	vu other = magnitude << 13 | 0x7f800000 | ((vu)((vi)magnitude > 0x7c00) & 0x400000);
	return (vf)((vu)vselect((vi)magnitude < 0x7c00, finite, (vf)other) | (bits & 0x8000) << 16);
#endif
}

/* Rounded to the nearest half, to even in the middle, with subnormals; beyond 65504 and half a step it is infinite. */
INLINE vh vround_half(vf x)
{
#if defined(__AVX512F__) && VL == 16
	return (vh)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__F16C__) && VL == 8
	return (vh)_mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__aarch64__) && VL == 4
	return (vh)vcvt_f16_f32((float32x4_t)x);
#else
	vu bits = (vu)x, magnitude = bits & 0x7fffffff;
	vu normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
	vu subnormal = (vu)((vf)magnitude + 0.5f) - 0x3f000000; /* the last bit of such a sum is 2^-24, as of a subnormal half */
	vu nan = 0x7e00 | (magnitude >> 13 & 0x3ff);
	vu h = (vu)vselect((vi)magnitude < 0x38800000, (vf)subnormal, (vf)normal);
	h = (vu)vselect((vi)magnitude < 0x477ff000, (vf)h, (vf)((vu){0} + 0x7c00));
	h = (vu)vselect((vi)magnitude > 0x7f800000, (vf)nan, (vf)h);
	return __builtin_convertvector(h | (bits >> 16 & 0x8000), vh);
#endif
}

/* The float32 values of bfloat16 ones, exact. */
INLINE vf vwiden_bf16(vh h)
{
#if defined(__AVX512F__) && VL == 16
	return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)h), 16);
#elif defined(__AVX2__) && VL == 8
	return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)h), 16);
#else
	return (vf)(__builtin_convertvector(h, vu) << 16);
#endif
}

/* Rounded to the nearest bfloat16, to even in the middle; NaN stays NaN. The instruction of AVX-512 makes 0 of what is subnormal. */
INLINE vh vround_bf16(vf x)
{
#if defined(__AVX512BF16__) && VL == 16
	return (vh)_mm512_cvtneps_pbh((__m512)x);
#else
	vu bits = (vu)x;
	bits += 0x7fff + ((bits >> 16) & 1);
	bits = (vu)vselect(x == x, (vf)bits, vset(NAN)) >> 16;
#if defined(__AVX512F__) && VL == 16
	return (vh)_mm512_cvtepi32_epi16((__m512i)bits);
#elif defined(__AVX2__) && VL == 8
	return (vh)_mm_packus_epi32(_mm256_castsi256_si128((__m256i)bits), _mm256_extracti128_si256((__m256i)bits, 1));
#else
	return __builtin_convertvector(bits, vh);
#endif
#endif
}

/* The float32 values of 16 bits, and 16 bits of float32 values. */
INLINE vf vwiden(vh h, int32_t dtype)
{
	return dtype == HPCBERT_F16 ? vwiden_half(h) : vwiden_bf16(h);
}

INLINE vh vround(vf x, int32_t dtype)
{
	return dtype == HPCBERT_F16 ? vround_half(x) : vround_bf16(x);
}

INLINE float widen(uint16_t h, int32_t dtype)
{
	if (dtype == HPCBERT_F16)
		return vwiden_half(h - (vh){0})[0];
	uint32_t bits = (uint32_t)h << 16;
	float x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

/* Element i, or VL elements from there on, of an array of float32 or of one of the types of 16 bits. */
INLINE float get(const void *p, int64_t i, int32_t dtype)
{
	return dtype == HPCBERT_F32 ? ((const float *)p)[i] : widen(((const uint16_t *)p)[i], dtype);
}

INLINE void put(void *p, int64_t i, float x, int32_t dtype)
{
	if (dtype == HPCBERT_F32)
		((float *)p)[i] = x;
	else
		((uint16_t *)p)[i] = vround(vset(x), dtype)[0];
}

INLINE vf vget(const void *p, int64_t i, int32_t dtype)
{
	return dtype == HPCBERT_F32 ? vload((const float *)p + i) : vwiden(*(const vh_unaligned *)((const uint16_t *)p + i), dtype);
}

INLINE void vput(void *p, int64_t i, vf x, int32_t dtype)
{
	if (dtype == HPCBERT_F32)
		vstore((float *)p + i, x);
	else
		*(vh_unaligned *)((uint16_t *)p + i) = vround(x, dtype);
}

/* The first n < VL of them. */
INLINE vf vget_first(const void *p, int64_t i, long n, int32_t dtype)
{
	if (dtype == HPCBERT_F32)
		return vload_first((const float *)p + i, n);
	uint16_t lanes[VL] = {0};
	memcpy(lanes, (const uint16_t *)p + i, (size_t)n * sizeof *lanes);
	return vget(lanes, 0, dtype);
}

INLINE void vput_first(void *p, int64_t i, vf x, long n, int32_t dtype)
{
	if (dtype == HPCBERT_F32) {
		vstore_first((float *)p + i, x, n);
		return;
	}
	uint16_t lanes[VL];
	vput(lanes, 0, x, dtype);
	memcpy((uint16_t *)p + i, lanes, (size_t)n * sizeof *lanes);
}

/* The first n <= VL of them. */
INLINE vf vget_upto(const void *p, int64_t i, long n, int32_t dtype)
{
	return n == VL ? vget(p, i, dtype) : vget_first(p, i, n, dtype);
}

INLINE void vput_upto(void *p, int64_t i, vf x, long n, int32_t dtype)
{
	if (n == VL)
		vput(p, i, x, dtype);
	else
		vput_first(p, i, x, n, dtype);
}

INLINE size_t dtype_bytes(int32_t dtype)
{
	return dtype == HPCBERT_F32 ? 4 : 2;
}

/* The address of element i. */
INLINE void *at(const void *p, int64_t i, int32_t dtype)
{
	return (char *)p + i * (int64_t)dtype_bytes(dtype);
}

/* sum + the products of the pairs of bfloat16 values in each lane of a and b */
INLINE vf vdot(vf sum, vu a, vu b)
{
#if defined(__AVX512BF16__) && VL == 16
	return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512)a, (__m512bh)(__m512)b);
#else
	sum += (vf)(a & 0xffff0000) * (vf)(b & 0xffff0000);
	return sum + (vf)(a << 16) * (vf)(b << 16);
#endif
}

/* An operation on arrays of any type is written once, with the type as its last parameter, and inlined into a body for each of them. */
#define BODY_OF_EACH_DTYPE(name)                                                                \
	static void name##_f32(void *arg, long item, int thread) { name(arg, item, thread, HPCBERT_F32); } \
	static void name##_bf16(void *arg, long item, int thread) { name(arg, item, thread, HPCBERT_BF16); } \
	static void name##_f16(void *arg, long item, int thread) { name(arg, item, thread, HPCBERT_F16); }
#define BODY(name, dtype) ((dtype) == HPCBERT_F16 ? name##_f16 : (dtype) == HPCBERT_BF16 ? name##_bf16 : name##_f32)
#define HAS_DTYPE(dtype) ((dtype) >= HPCBERT_F32 && (dtype) <= HPCBERT_F16)

/* a > b ? a : b in each lane, so b where one of them is NaN; compilers do not see the one instruction that this is. */
INLINE vf vmax(vf a, vf b)
{
#if defined(__AVX512F__) && VL == 16
	return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && VL == 8
	return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
	return vselect(a > b, a, b);
#endif
}

/* a < b ? a : b */
INLINE vf vmin(vf a, vf b)
{
#if defined(__AVX512F__) && VL == 16
	return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && VL == 8
	return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
	return vselect(a < b, a, b);
#endif
}

/* Sum and maximum over the lanes, in an order that depends on VL alone. */
INLINE float vsum(vf v)
{
	float lanes[VL];
	vstore(lanes, v);
	for (int n = VL / 2; n > 0; n /= 2)
		for (int i = 0; i < n; i++)
			lanes[i] += lanes[i + n];
	return lanes[0];
}

INLINE float vmax_lane(vf v)
{
	float lanes[VL];
	vstore(lanes, v);
	for (int n = VL / 2; n > 0; n /= 2)
		for (int i = 0; i < n; i++)
			lanes[i] = lanes[i] > lanes[i + n] ? lanes[i] : lanes[i + n];
	return lanes[0];
}

/* Square root of each lane. By hand: a compiler that must set errno for sqrtf does not vectorise it. */
INLINE vf vsqrt(vf x)
{
#if defined(__AVX512F__) && VL == 16
	return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX__) && VL == 8
	return (vf)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__) && VL == 4
	return (vf)_mm_sqrt_ps((__m128)x);
#elif defined(__aarch64__) && VL == 4
	return (vf)vsqrtq_f32((float32x4_t)x);
#else
	for (int i = 0; i < VL; i++)
		x[i] = sqrtf(x[i]);
	return x;
#endif
}

/* exp(x), relative error about 1e-7; 0 below -87.3, finite above 88. NaN stays NaN. */
INLINE vf vexp(vf x)
{
	vf clipped = vmin(vmax(x, vset(-87.3f)), vset(88.3f));
	vf n = (clipped * 1.44269504f + 12582912.f) - 12582912.f; /* round to the nearest integer */
	vf r = clipped - n * 0.693359375f;
	r = r - n * -2.12194440e-4f;
	vf p = vset(1.9875691500e-4f);
	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = r * r * p + (r + 1.f);
	vi power = (__builtin_convertvector(n, vi) + 127) << 23;
	vf y = p * (vf)power;
	y = vselect(x < vset(-87.3f), vset(0), y);
	return vselect(x == x, y, x);
}

/* x between -limit and limit; NaN stays NaN. */
INLINE vf vlimit(vf x, float limit)
{
	return vmin(vset(limit), vmax(vset(-limit), x));
}

/* x * p(x²) / q(x²) with polynomials of np and nq coefficients, the highest first. */
INLINE vf vodd_rational(vf x, const float *p, int np, const float *q, int nq)
{
	vf square = x * x, above = vset(p[0]), below = vset(q[0]);
	UNROLL for (int i = 1; i < np; i++)
		above = above * square + p[i];
	UNROLL for (int i = 1; i < nq; i++)
		below = below * square + q[i];
	return x * above / below;
}

/* x times the distribution function of the normal distribution, 1/2 + erf(x / sqrt(2)) / 2, whose odd part is a rational function fitted to an
 * error of 1e-8; rounding makes it 2e-7 at most. Beyond 6, where float32 has 0 or 1, the fit is past 1/2 and cut. */
INLINE vf vgelu(vf x)
{
	static const float p[] = {2.21453758e-08f, 6.35647432e-06f, 0.000173847114f, 0.00470723767f, 0.0343757871f, 0.398942222f};
	static const float q[] = {1.18020946e-06f, 7.51005806e-05f, 0.00191295821f, 0.0289398989f, 0.252833034f, 1.f};
	vf odd = vlimit(vodd_rational(vlimit(x, 6.f), p, 6, q, 6), 0.5f);
	return x * (0.5f + odd);
}

/* d/dx gelu(x) = cdf(x) + x * density(x): 1/2 and an odd function, fitted as above to an error of 4e-9. */
INLINE vf vgelu_gradient(vf x)
{
	static const float p[] = {1.70462051e-08f, 9.22517037e-07f, 3.40919126e-05f, 0.000202726823f, 0.0138573497f, -0.0223714929f, 0.797884531f};
	static const float q[] = {1.3147608e-09f, 3.38974429e-07f, 1.03076809e-05f, 0.000245323f, 0.00397149598f, 0.0441335048f, 0.305294453f, 1.f};
	return 0.5f + vodd_rational(vlimit(x, 6.f), p, 7, q, 8);
}

#endif
