package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// number is what an oracle is computed in: float64 for the truth, float32 for the plainest implementation in the same precision.
type number interface{ float32 | float64 }

// machine is a stream on one of the devices of this computer, with the name to re-run it by.
type machine struct {
	*Stream
	name string
}

// onEveryDevice runs test on each device present, see TestInstructionSets. Two threads: the partition of work is exercised.
func onEveryDevice(t *testing.T, test func(t *testing.T, m machine)) {
	t.Helper()
	devices, _ := openHere(t)
	for _, isa := range instructionSets {
		if dev := devices[isa]; dev != nil {
			t.Run(isa, func(t *testing.T) { onDevice(t, dev, test) })
		}
	}
	t.Run("cudahost", func(t *testing.T) { onDevice(t, openCUDAHost(t), test) })
}

func onDevice(t *testing.T, dev *Device, test func(t *testing.T, m machine)) {
	t.Helper()
	test(t, newMachine(t, dev))
}

// storages are the types in which activations are stored.
var storages = []DType{Float32, BFloat16, Float16}

// inEveryStorage is onEveryDevice with the activations stored in each type. An operation that CUDA has not yet in a type is skipped there.
func inEveryStorage(t *testing.T, test func(t *testing.T, m machine, dtype DType)) {
	t.Helper()
	onEveryDevice(t, func(t *testing.T, m machine) {
		for _, dtype := range storages {
			t.Run(dtype.String(), func(t *testing.T) { onDevice(t, m.dev, func(t *testing.T, m machine) { test(t, m, dtype) }) })
		}
	})
}

// onThreads is the best instruction set of this computer, or the one that HPCBERT_ISA names, with so many threads, until the test ends.
func onThreads(t testing.TB, threads int) machine {
	t.Helper()
	dev, err := Open("cpu", Options{Threads: threads, ISA: os.Getenv("HPCBERT_ISA")})
	if err != nil {
		t.Fatal(err)
	}
	return newMachine(t, dev)
}

func newMachine(t testing.TB, dev *Device) machine {
	t.Helper()
	s, err := dev.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return machine{s, dev.Name()}
}

const cudaHostLibrary = "../build/libhpcbert_cudahost.so"

// openCUDAHost opens the device that runs the CUDA kernels without a GPU.
func openCUDAHost(t *testing.T) *Device {
	t.Helper()
	if _, err := os.Stat(cudaHostLibrary); err != nil {
		t.Skipf("skipped: %s is not built (make cudahost)", cudaHostLibrary)
	}
	dev, err := Open("cudahost", Options{Threads: 1, Library: cudaHostLibrary})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

// sameForAnyThreads wants the same bits from 1, 2 and 3 threads.
func sameForAnyThreads(t *testing.T, results func(t *testing.T, m machine) []float32) {
	t.Helper()
	var first []float32
	for threads := 1; threads <= 3; threads++ {
		on := onThreads(t, threads)
		got := results(t, on)
		if threads == 1 {
			first = got
		}
		for i := range first {
			if math.Float32bits(got[i]) != math.Float32bits(first[i]) {
				t.Errorf("%s: element %d of %d is %v with %d threads, %v with 1", on.name, i, len(got), got[i], threads, first[i])
				break
			}
		}
	}
}

// tensor puts values on the device.
func tensor[E Element](t testing.TB, m machine, values []E) Tensor {
	t.Helper()
	var e E
	return tensorOf(t, m, map[string]DType{"float32": Float32, "float64": Float64, "int32": Int32, "int64": Int64}[fmt.Sprintf("%T", e)], values)
}

// tensorOf is tensor where Go's type does not tell which one the device's is.
func tensorOf[E Element](t testing.TB, m machine, dtype DType, values []E) Tensor {
	t.Helper()
	x, err := m.dev.Alloc(dtype, len(values))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.dev.Free(x) })
	Upload(m.Stream, x, values)
	return x
}

// values reads a tensor back and ends the test on any error so far. An operation that CUDA has not yet skips its test there; TestCUDAHost
// names those it must have.
func values[E Element](t *testing.T, m machine, x Tensor) []E {
	t.Helper()
	out := make([]E, x.Len())
	Download(m.Stream, out, x)
	if err := m.Synchronize(); errors.Is(err, ErrUnsupported) && m.name == "cudahost" {
		t.Skipf("skipped: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return out
}

// roundToBFloat16 returns the upper half of the nearest float32 whose lower half is 0, of the even one in the middle.
func roundToBFloat16(x float32) uint16 {
	if x != x {
		return 0x7fc0
	}
	bits := math.Float32bits(x)
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func fromBFloat16(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

// asStored returns x as a tensor of that type keeps it. What an operation reads is rounded so before the oracles see it, and so is all that the
// plain implementation writes; the truth is rounded nowhere.
func asStored(dtype DType, x []float32) []float32 {
	y := slices.Clone(x)
	if dtype != Float32 {
		for i := range y {
			y[i] = widen(dtype, narrow(dtype, y[i]))
		}
	}
	return y
}

// narrow and widen convert to and from the 16 bits of a type.
func narrow(dtype DType, x float32) uint16 {
	if dtype == Float16 {
		return roundToHalf(x)
	}
	return roundToBFloat16(x)
}

func widen(dtype DType, x uint16) float32 {
	if dtype == Float16 {
		return fromHalf(x)
	}
	return fromBFloat16(x)
}

// activation puts x on the device as a tensor of that type.
func activation(t testing.TB, m machine, dtype DType, x []float32) Tensor {
	t.Helper()
	if dtype == Float32 {
		return tensor(t, m, x)
	}
	rounded := make([]uint16, len(x))
	for i := range x {
		rounded[i] = narrow(dtype, x[i])
	}
	return tensorOf(t, m, dtype, rounded)
}

// read is values of activations of any type.
func read(t *testing.T, m machine, x Tensor) []float32 {
	t.Helper()
	if x.DType() == Float32 {
		return values[float32](t, m, x)
	}
	wide := make([]float32, x.Len())
	for i, v := range values[uint16](t, m, x) {
		wide[i] = widen(x.DType(), v)
	}
	return wide
}

// normal returns n draws of mean + deviation * N(0,1).
func normal(r *rand.Rand, n int, mean, deviation float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(mean + deviation*r.NormFloat64())
	}
	return x
}

// convert changes the precision of x.
func convert[To, From number](x []From) []To {
	y := make([]To, len(x))
	for i := range x {
		y[i] = To(x[i])
	}
	return y
}

// compare fails when got is further from the truth than twice the plainest implementation in the same precision, by root mean square; a
// rounding of a float32 result itself is always allowed. Where activations have 16 bits the plain one computes in float32 and rounds what it stores.
// NaN never passes. The worst element is shown with its place.
func compare(t *testing.T, what string, got, plain []float32, truth []float64) {
	t.Helper()
	if len(got) != len(truth) || len(plain) != len(truth) {
		t.Fatalf("%s: %d values, plain %d, truth %d", what, len(got), len(plain), len(truth))
	}
	var gotError, plainError, size float64
	worst, worstError := -1, 0.0
	for i := range truth {
		e := math.Abs(float64(got[i]) - truth[i])
		if math.IsNaN(float64(got[i])) != math.IsNaN(truth[i]) {
			t.Fatalf("%s: element %d is %v, expected %v; re-run: go test ./kernels -run '%s'", what, i, got[i], truth[i], t.Name())
		}
		gotError += e * e
		plainError += math.Pow(float64(plain[i])-truth[i], 2)
		size += truth[i] * truth[i]
		if e > worstError {
			worst, worstError = i, e
		}
	}
	limit := math.Max(2*math.Sqrt(plainError), math.Sqrt(size)*0x1p-24)
	if math.Sqrt(gotError) > limit {
		t.Errorf("%s: error %.3g of %.3g, allowed %.3g (twice the plain one); worst element %d: %v, expected %v; re-run: go test ./kernels -run '%s'",
			what, math.Sqrt(gotError), math.Sqrt(size), limit, worst, got[worst], truth[worst], t.Name())
	}
}

// outcome gathers a result over several draws of the inputs, so that a small size is judged by enough roundings: with three numbers, one
// lucky rounding of the plain implementation would decide.
type outcome struct {
	got, plain []float32
	truth      []float64
}

func (o *outcome) add(got, plain []float32, truth []float64) {
	o.got, o.plain, o.truth = append(o.got, got...), append(o.plain, plain...), append(o.truth, truth...)
}

// draws is how many draws make some hundred rows.
func draws(rows int) int { return max(2, min(64, 200/rows)) }

func dot[F number](a, b []F) F {
	var sum F
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// gradient returns the derivative of f at x by central differences in float64, for each element of x.
func gradient(x []float64, f func() float64) []float64 {
	g := make([]float64, len(x))
	for i, old := range x {
		h := 1e-6 * math.Max(1, math.Abs(old))
		x[i] = old + h
		up := f()
		x[i] = old - h
		down := f()
		x[i] = old
		g[i] = (up - down) / (2 * h)
	}
	return g
}

// agree checks a float64 oracle gradient against finite differences.
func agree(t *testing.T, what string, oracle, difference []float64) {
	t.Helper()
	var size float64
	for _, v := range difference {
		size = math.Max(size, math.Abs(v))
	}
	for i := range oracle {
		if !(math.Abs(oracle[i]-difference[i]) <= 1e-6*math.Max(size, 1)) {
			t.Errorf("%s: oracle's gradient %d is %v, finite differences say %v", what, i, oracle[i], difference[i])
			return
		}
	}
}

// The nearest bfloat16 is none of the two beside it.
func TestBFloat16Oracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	distance := func(x float32, h uint16) float64 { return math.Abs(float64(fromBFloat16(h)) - float64(x)) }
	for range 100000 {
		x := float32(math.Ldexp(r.NormFloat64(), r.IntN(240)-120))
		h := roundToBFloat16(x)
		if d := distance(x, h); d > distance(x, h-1) || d > distance(x, h+1) {
			t.Fatalf("%v becomes %v", x, fromBFloat16(h))
		}
	}
	for x, want := range map[float32]float32{1 + 0x1p-8: 1, 1 + 0x3p-8: 1 + 0x4p-8, -1 - 0x3p-8: -1 - 0x4p-8, 1 + 0x1p-8 + 0x1p-23: 1 + 0x2p-8} {
		if got := fromBFloat16(roundToBFloat16(x)); got != want {
			t.Errorf("%v becomes %v, expected %v", x, got, want)
		}
	}
	for _, x := range []float32{0, float32(math.Inf(1)), float32(math.Inf(-1))} {
		if got := fromBFloat16(roundToBFloat16(x)); got != x {
			t.Errorf("%v becomes %v", x, got)
		}
	}
	if x := fromBFloat16(roundToBFloat16(math.Float32frombits(0x7f800001))); x == x {
		t.Errorf("NaN becomes %v", x)
	}
}
