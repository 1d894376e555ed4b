package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// fromHalf returns what the 16 bits mean: IEEE 754, binary16. A NaN keeps its fraction and is quiet.
func fromHalf(h uint16) float32 {
	exponent, fraction := int(h>>10&31), float64(h&1023)
	var x float64
	switch exponent {
	case 0:
		x = math.Ldexp(fraction, -24)
	case 31:
		bits := uint32(0xff<<23) | uint32(h&1023)<<13
		if fraction > 0 {
			bits |= 1 << 22
		}
		return math.Float32frombits(uint32(h&0x8000)<<16 | bits)
	default:
		x = math.Ldexp(1024+fraction, exponent-25)
	}
	if h>>15 == 1 {
		x = -x
	}
	return float32(x)
}

// roundToHalf returns the nearest half, the even one in the middle: a whole number of the steps that halves of this size have. Halves in order
// of size are numbered from 0; so the bits are the steps' number, and 1024 for each doubling of the step.
func roundToHalf(x float32) uint16 {
	sign := uint16(math.Float32bits(x) >> 16 & 0x8000)
	if x != x {
		return sign | 0x7e00 | uint16(math.Float32bits(x)>>13&1023)
	}
	size := math.Abs(float64(x))
	if size >= 65520 {
		return sign | 0x7c00
	}
	exponent := -14
	if size >= 0x1p-14 {
		exponent = math.Ilogb(size)
	}
	steps := math.RoundToEven(math.Ldexp(size, 10-exponent))
	return sign | uint16(steps) + uint16(exponent+14)<<10
}

// The nearest half is none of the two beside it, and each half is the nearest to itself.
func TestFloat16Oracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	distance := func(x float32, h uint16) float64 { return math.Abs(float64(fromHalf(h)) - float64(x)) }
	for range 100000 {
		x := float32(math.Ldexp(r.NormFloat64(), r.IntN(36)-24))
		h := roundToHalf(x)
		if d := distance(x, h); h&0x7fff > 0 && d > distance(x, h-1) || d > distance(x, h+1) {
			t.Fatalf("%v becomes %v", x, fromHalf(h))
		}
	}
	for h := range uint16(0x7c01) {
		if got := roundToHalf(fromHalf(h)); got != h {
			t.Fatalf("%#x becomes %#x", h, got)
		}
	}
	inf := float32(math.Inf(1))
	for x, want := range map[float32]float32{1: 1, 65504: 65504, 65519: 65504, 65520: inf, -65520: -inf, 0x1p-24: 0x1p-24, 0x1p-25: 0, 0x3p-25: 0x1p-23, 0x1.002p0: 1,
		0x1.006p0: 0x1.008p0, 0x1.0021p0: 0x1.004p0, 0.333251953125: 0.333251953125, 0x1.ffep-15: 0x1p-14, inf: inf} {
		if got := fromHalf(roundToHalf(x)); got != want {
			t.Errorf("%v becomes %v, expected %v", x, got, want)
		}
	}
}

// sameBits fails at the first difference.
func sameBits[E uint16 | uint32](t *testing.T, what string, got, want []E, from func(i int) any) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: %#x becomes %#x, expected %#x", what, from(i), got[i], want[i])
		}
	}
}

func bitsOf(x []float32) []uint32 {
	bits := make([]uint32, len(x))
	for i, v := range x {
		bits[i] = math.Float32bits(v)
	}
	return bits
}

// float16Row is a length of rows that is no multiple of a vector's.
const float16Row = 4099

// Every half is widened to its float32, bit by bit, when it is read as a gradient of the embeddings: added to -0 it is itself.
func TestFloat16Widened(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		const rows = (1<<16 + float16Row - 1) / float16Row
		halves, want := make([]uint16, rows*float16Row), make([]float32, rows*float16Row)
		for i := range halves {
			halves[i] = uint16(i)
			want[i] = fromHalf(uint16(i))
		}
		negativeZero := slices.Repeat([]float32{float32(math.Copysign(0, -1))}, len(halves))
		ids, zeros := make([]int32, rows), make([]int32, rows)
		for i := range ids {
			ids[i] = int32(i)
		}
		word, other := tensor(t, m, negativeZero), tensor(t, m, make([]float32, 2*float16Row))
		m.EmbeddingBackward(word, other, other, tensorOf(t, m, Float16, halves), tensor(t, m, ids), tensor(t, m, zeros), tensor(t, m, zeros), rows, float16Row)
		sameBits(t, "half", bitsOf(values[float32](t, m, word)), bitsOf(want), func(i int) any { return halves[i] })
	})
}

// Every finite half is itself in a product with the identity, along its rows and across them.
func TestFloat16InProducts(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		const k, rows = 67, 1<<16/67 + 1
		halves := make([]uint16, rows*k)
		for i := range halves {
			if h := uint16(i); h&0x7c00 != 0x7c00 && h != 0x8000 { // -0 + 0 is 0
				halves[i] = h
			}
		}
		identity := make([]float32, k*k)
		for i := range k {
			identity[i*k+i] = 1
		}
		a, b := tensorOf(t, m, Float16, halves), activation(t, m, Float16, identity)
		d, across := activation(t, m, Float16, make([]float32, rows*k)), tensor(t, m, make([]float32, rows*k))
		m.GEMM(GEMM{D: d, A: a, B: b, M: rows, N: k, K: k})
		sameBits(t, "half", values[uint16](t, m, d), halves, func(i int) any { return halves[i] })
		m.GEMM(GEMM{D: across, A: b, ATransposed: true, B: a, BLayout: BNK, M: k, N: rows, K: k})
		got := values[float32](t, m, across)
		for i, h := range halves {
			if v := got[i%k*rows+i/k]; v != fromHalf(h) {
				t.Fatalf("half %#x becomes %v, expected %v", h, v, fromHalf(h))
			}
		}
	})
}

// float16Samples are, for every two neighbours among the halves, both, their middle, and what is next to these; the ends of float32; and
// any bits.
func float16Samples() []float32 {
	nan := func(fraction uint32) float32 { return math.Float32frombits(0x7f800000 | fraction) }
	samples := []float32{math.SmallestNonzeroFloat32, 0x1p-126, 0x1p-126 - 0x1p-149, math.MaxFloat32, float32(math.Inf(1)), nan(1), nan(0x1fff), nan(0x400000), nan(0x7fffff), nan(0x2a2000)}
	for h := range uint16(0x7c00) {
		low, high := fromHalf(h), fromHalf(h+1)
		if h == 0x7bff {
			high = 65536
		}
		for _, x := range []float32{low, (low + high) / 2, high} {
			samples = append(samples, math.Nextafter32(x, 0), x, math.Nextafter32(x, math.MaxFloat32))
		}
	}
	for _, x := range samples {
		samples = append(samples, -x)
	}
	r := rand.New(rand.NewPCG(1, 0))
	for range 1 << 18 {
		samples = append(samples, math.Float32frombits(r.Uint32()))
	}
	return samples
}

// Float32 values are rounded to the nearest half, to even in the middle, when they are stored as the sum of the embeddings: x + -0 + -0.
func TestFloat16Rounded(t *testing.T) {
	samples := float16Samples()
	rows := len(samples)/float16Row + 1
	samples = append(samples, make([]float32, rows*float16Row-len(samples))...)
	want := make([]uint16, len(samples))
	for i, x := range samples {
		want[i] = roundToHalf(x)
	}
	ids, zeros := make([]int32, rows), make([]int32, rows)
	for i := range ids {
		ids[i] = int32(i)
	}
	onEveryDevice(t, func(t *testing.T, m machine) {
		negativeZero := tensor(t, m, slices.Repeat([]float32{float32(math.Copysign(0, -1))}, 2*float16Row))
		z := activation(t, m, Float16, make([]float32, len(samples)))
		m.EmbeddingForward(z, tensor(t, m, ids), tensor(t, m, zeros), tensor(t, m, zeros), tensor(t, m, samples), negativeZero, negativeZero, rows, float16Row)
		sameBits(t, "float32", values[uint16](t, m, z), want, func(i int) any { return math.Float32bits(samples[i]) })
	})
}
