package kernels

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// embed sums the three rows of each token.
func embed[F number](ids, positions, segments []int32, word, position, typ []F, h int) []F {
	z := make([]F, len(ids)*h)
	for i := range z {
		r, c := i/h, i%h
		z[i] = word[int(ids[r])*h+c] + position[int(positions[r])*h+c] + typ[int(segments[r])*h+c]
	}
	return z
}

// embedGradient adds dz to the rows that made it.
func embedGradient[F number](dword, dposition, dtyp, dz []F, ids, positions, segments []int32, h int) {
	for i, d := range dz {
		r, c := i/h, i%h
		dword[int(ids[r])*h+c] += d
		dposition[int(positions[r])*h+c] += d
		dtyp[int(segments[r])*h+c] += d
	}
}

const embeddingPositions = 16

// embeddingCases have more tokens than words, so that rows repeat, and the reverse.
var embeddingCases = []struct{ t, h, v int }{
	{1, 1, 1}, {5, 7, 3}, {3, 8, 100}, {64, 9, 5}, {65, 63, 2}, {31, 64, 40}, {7, 65, 9}, {130, 768, 50}, {9, 1024, 30522},
}

func tokens(r *rand.Rand, t, v int) (ids, positions, segments []int32) {
	ids, positions, segments = make([]int32, t), make([]int32, t), make([]int32, t)
	for i := range t {
		ids[i], positions[i], segments[i] = int32(r.IntN(v)), int32(r.IntN(embeddingPositions)), int32(r.IntN(2))
	}
	return ids, positions, segments
}

func TestEmbeddingForward(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range embeddingCases {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			ids, positions, segments := tokens(r, c.t, c.v)
			word, position, typ := normal(r, c.v*c.h, 0, 1), normal(r, embeddingPositions*c.h, 0, 1), normal(r, 2*c.h, 0, 1)
			z := activation(t, m, dtype, make([]float32, c.t*c.h))
			m.EmbeddingForward(z, tensor(t, m, ids), tensor(t, m, positions), tensor(t, m, segments), tensor(t, m, word), tensor(t, m, position), tensor(t, m, typ), c.t, c.h)
			compare(t, fmt.Sprintf("%+v", c), read(t, m, z), asStored(dtype, embed(ids, positions, segments, word, position, typ, c.h)),
				embed(ids, positions, segments, convert[float64](word), convert[float64](position), convert[float64](typ), c.h))
		}
	})
}

func TestEmbeddingBackward(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range embeddingCases {
			r := rand.New(rand.NewPCG(2, uint64(i)))
			ids, positions, segments := tokens(r, c.t, c.v)
			dz := asStored(dtype, normal(r, c.t*c.h, 0, 1))
			// Gradients are added to what is there.
			word, position, typ := normal(r, c.v*c.h, 0, 1), normal(r, embeddingPositions*c.h, 0, 1), normal(r, 2*c.h, 0, 1)
			word64, position64, typ64 := convert[float64](word), convert[float64](position), convert[float64](typ)
			dword, dposition, dtyp := tensor(t, m, word), tensor(t, m, position), tensor(t, m, typ)
			m.EmbeddingBackward(dword, dposition, dtyp, activation(t, m, dtype, dz), tensor(t, m, ids), tensor(t, m, positions), tensor(t, m, segments), c.t, c.h)
			embedGradient(word, position, typ, dz, ids, positions, segments, c.h)
			embedGradient(word64, position64, typ64, convert[float64](dz), ids, positions, segments, c.h)
			compare(t, fmt.Sprintf("%+v: dword", c), values[float32](t, m, dword), word, word64)
			compare(t, fmt.Sprintf("%+v: dposition", c), values[float32](t, m, dposition), position, position64)
			compare(t, fmt.Sprintf("%+v: dtyp", c), values[float32](t, m, dtyp), typ, typ64)
		}
	})
}

func TestEmbeddingOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	const rows, h, v = 5, 3, 4
	ids, positions, segments := tokens(r, rows, v)
	dz := convert[float64](normal(r, rows*h, 0, 1))
	word, position, typ := convert[float64](normal(r, v*h, 0, 1)), convert[float64](normal(r, embeddingPositions*h, 0, 1)), convert[float64](normal(r, 2*h, 0, 1))
	loss := func() float64 { return dot(embed(ids, positions, segments, word, position, typ, h), dz) }
	dword, dposition, dtyp := make([]float64, len(word)), make([]float64, len(position)), make([]float64, len(typ))
	embedGradient(dword, dposition, dtyp, dz, ids, positions, segments, h)
	agree(t, "dword", dword, gradient(word, loss))
	agree(t, "dposition", dposition, gradient(position, loss))
	agree(t, "dtyp", dtyp, gradient(typ, loss))
}

func TestEmbeddingThreads(t *testing.T) {
	const rows, h, v = 150, 200, 20
	for _, dtype := range storages {
		sameForAnyThreads(t, func(t *testing.T, m machine) []float32 {
			r := rand.New(rand.NewPCG(4, 0))
			a, b, c := tokens(r, rows, v)
			ids, positions, segments := tensor(t, m, a), tensor(t, m, b), tensor(t, m, c)
			dword, dposition, dtyp := tensor(t, m, make([]float32, v*h)), tensor(t, m, make([]float32, embeddingPositions*h)), tensor(t, m, make([]float32, 2*h))
			z := activation(t, m, dtype, normal(r, rows*h, 0, 1))
			m.EmbeddingBackward(dword, dposition, dtyp, z, ids, positions, segments, rows, h)
			m.EmbeddingForward(z, ids, positions, segments, dword, dposition, dtyp, rows, h)
			return slices.Concat(read(t, m, z), values[float32](t, m, dword), values[float32](t, m, dposition), values[float32](t, m, dtyp))
		})
	}
}
