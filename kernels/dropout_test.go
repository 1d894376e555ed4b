package kernels

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// philoxBlock is Philox 4x32-10 as in Salmon et al. 2011, figure 4: ten rounds, the key raised by two Weyl constants.
func philoxBlock(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		high0, low0 := bits.Mul32(0xD2511F53, counter[0])
		high1, low1 := bits.Mul32(0xCD9E8D57, counter[2])
		counter = [4]uint32{high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return counter
}

// The known answers of the authors' library, Random123.
func TestPhiloxOracle(t *testing.T) {
	const ones = 0xffffffff
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philoxBlock(c.counter, c.key); got != c.want {
			t.Errorf("philox(%x, %x) = %x, the authors' library has %x", c.counter, c.key, got, c.want)
		}
	}
}

// kept tells whether dropout keeps a column, by the words of ops.h.
func kept(d Dropout, sample, row int32, column int) bool {
	words := philoxBlock([4]uint32{uint32(column / 8), uint32(row), uint32(sample), d.Step*4096 + d.Site}, [2]uint32{uint32(d.Seed), uint32(d.Seed >> 32)})
	draw := words[column%8/2] >> (16 * (column % 2)) & 0xffff
	return float64(draw) >= math.Round(float64(d.P)*65536)
}

// drop is dropout of x [t,h].
func drop[F number](x []F, samples, positions []int32, d Dropout, t, h int) []F {
	y := make([]F, t*h)
	for i := range y {
		if kept(d, samples[i/h], positions[i/h], i%h) {
			y[i] = x[i] / (1 - F(d.P))
		}
	}
	return y
}

// tokenNames makes samples and positions with large and negative numbers among them: all 32 bits count.
func tokenNames(r *rand.Rand, t int) (samples, positions []int32) {
	samples, positions = make([]int32, t), make([]int32, t)
	for i := range t {
		samples[i], positions[i] = int32(r.Uint32()), int32(r.IntN(512))
	}
	return samples, positions
}

var dropoutSizes = []struct{ t, h int }{
	{1, 1}, {2, 7}, {3, 8}, {2, 9}, {1, 63}, {2, 64}, {33, 65}, {2, 127}, {3, 129}, {31, 61}, {70, 768}, {5, 1024},
}

var dropouts = []Dropout{
	{Seed: 0, Step: 0, Site: 0, P: 0.1},
	{Seed: 0x0123456789abcdef, Step: 1, Site: 4095, P: 0.1},
	{Seed: math.MaxUint64, Step: math.MaxUint32, Site: 47, P: 0.5},
	{Seed: 42, Step: 7038, Site: 1, P: 0.999},
	{Seed: 42, Step: 7038, Site: 1, P: 1e-6}, // rounds to no draw at all
	{Seed: 42, Step: 7038, Site: 2, P: 0},
}

func TestDropoutMasks(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range dropoutSizes {
			for _, d := range dropouts {
				samples, positions := tokenNames(rand.New(rand.NewPCG(1, uint64(i))), c.t)
				x := make([]float32, c.t*c.h)
				for i := range x {
					x[i] = 1
				}
				y := activation(t, m, dtype, x)
				m.Dropout(y, y, tensor(t, m, samples), tensor(t, m, positions), d, c.t, c.h)
				scale := asStored(dtype, []float32{1 / (1 - d.P)})[0]
				for i, got := range read(t, m, y) {
					want := float32(0)
					if kept(d, samples[i/c.h], positions[i/c.h], i%c.h) {
						want = scale
					}
					if got != want {
						t.Fatalf("%dx%d %+v: row %d column %d is %v, expected %v", c.t, c.h, d, i/c.h, i%c.h, got, want)
					}
				}
			}
		}
	})
}

func TestDropout(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range dropoutSizes {
			r := rand.New(rand.NewPCG(2, uint64(i)))
			samples, positions := tokenNames(r, c.t)
			x, d := asStored(dtype, normal(r, c.t*c.h, 0, 1)), dropouts[1]
			y := activation(t, m, dtype, make([]float32, c.t*c.h))
			m.Dropout(y, activation(t, m, dtype, x), tensor(t, m, samples), tensor(t, m, positions), d, c.t, c.h)
			compare(t, fmt.Sprintf("%dx%d", c.t, c.h), read(t, m, y), asStored(dtype, drop(x, samples, positions, d, c.t, c.h)),
				drop(convert[float64](x), samples, positions, d, c.t, c.h))
		}
	})
}

func TestDropoutWithoutTokens(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		x, y := activation(t, m, dtype, []float32{1, 2, 3}), activation(t, m, dtype, make([]float32, 3))
		m.Dropout(y, x, Tensor{}, Tensor{}, Dropout{}, 1, 3)
		if got := read(t, m, y); got[0] != 1 || got[1] != 2 || got[2] != 3 {
			t.Errorf("dropout of part 0 changed 1 2 3 to %v", got)
		}
	})
}

func TestDropoutRefusesParts(t *testing.T) {
	for _, p := range []float32{-0.1, 1, 2, float32(math.NaN())} {
		onEveryDevice(t, func(t *testing.T, m machine) {
			x, names := tensor(t, m, []float32{1}), tensor(t, m, []int32{0})
			m.Dropout(x, x, names, names, Dropout{P: p}, 1, 1)
			if m.Err() == nil {
				t.Errorf("a dropped part of %v is accepted", p)
			}
		})
	}
}

func TestDropoutThreads(t *testing.T) {
	const rows, h = 131, 300
	for _, dtype := range storages {
		sameForAnyThreads(t, func(t *testing.T, m machine) []float32 {
			r := rand.New(rand.NewPCG(3, 0))
			samples, positions := tokenNames(r, rows)
			x := activation(t, m, dtype, normal(r, rows*h, 0, 1))
			m.Dropout(x, x, tensor(t, m, samples), tensor(t, m, positions), dropouts[1], rows, h)
			return read(t, m, x)
		})
	}
}
