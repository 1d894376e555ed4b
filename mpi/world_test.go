package mpi

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hpcbert/lib/comm"
	"hpcbert/lib/comm/commtest"
)

// The test starts itself under mpirun; the child's ranks run the collectives on values whose sums are known.
const childVariable = "HPCBERT_MPI_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	w, err := Start("testhost")
	if err == nil {
		err = collectives(w)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := w.Close(); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func TestCollectives(t *testing.T) {
	mpirun, err := exec.LookPath("mpirun")
	if err != nil {
		t.Skip("skipped: no mpirun on this machine")
	}
	for _, ranks := range []int{1, 2, 3, 4, 6} {
		t.Run(strconv.Itoa(ranks), func(t *testing.T) {
			cmd := exec.Command(mpirun, "--oversubscribe", "--bind-to", "none", "-np", strconv.Itoa(ranks), os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"=1", "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_mpi_yield_when_idle=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

func collectives(w *World) error {
	rank, size := w.Rank(), w.Size()
	for _, check := range []func(*World, int, int) error{reductions, buckets, flights, repeats, wires, parts, shifts, votes} {
		if err := check(w, rank, size); err != nil {
			return fmt.Errorf("rank %d of %d: %w", rank, size, err)
		}
	}
	return w.Barrier()
}

func reductions(w *World, rank, size int) error {
	sum := size * (size + 1) / 2
	f, n := []float64{float64(rank + 1), 0.5}, []int64{int64(rank + 1), -1}
	if err := w.AllreduceFloat64(f); err != nil {
		return err
	}
	if err := w.AllreduceInt64(n); err != nil {
		return err
	}
	if f[0] != float64(sum) || f[1] != 0.5*float64(size) || n[0] != int64(sum) || n[1] != int64(-size) {
		return fmt.Errorf("all-reduce: %v %v", f, n)
	}
	data := make([]byte, 17)
	if rank == size-1 {
		copy(data, "sixteen bytes and")
	}
	if err := w.Bcast(data, size-1); err != nil {
		return err
	}
	if string(data) != "sixteen bytes and" {
		return fmt.Errorf("broadcast: %q", data)
	}
	if err := w.Bcast(nil, 0); err != nil {
		return err
	}
	return nil
}

func buckets(w *World, rank, size int) error {
	x := make([]float32, 3<<20)
	for i := range x {
		x[i] = float32(rank + i%7)
	}
	for first := 0; first < len(x); first += 1 << 20 {
		h, err := w.AllreduceStart(x[first:first+1<<20], comm.Float32)
		if err != nil {
			return err
		}
		defer h.Wait()
	}
	if err := w.Barrier(); err != nil { // calls are carried out in order: the buckets are done now
		return err
	}
	for i := range x {
		if want := float32(size*(size-1)/2 + size*(i%7)); x[i] != want {
			return fmt.Errorf("bucket element %d is %v, not %v", i, x[i], want)
		}
	}
	return nil
}

// flights starts sums of many lengths, to all ranks and to each, in each form, before the first of them can have ended: one rank comes late, and
// asks for another call behind them.
func flights(w *World, rank, size int) error {
	type sum struct {
		x      []float32
		root   int
		handle comm.Handle
	}
	var all []sum
	if rank == size-1 {
		time.Sleep(20 * time.Millisecond)
	}
	for i, n := range []int{0, 1, 5, 16, 17, 95, 96, 97, 1000, 65537, 2*maxSum + 3} {
		for root := toAll; root < size; root++ {
			s := sum{x: make([]float32, n), root: root}
			for j := range s.x {
				s.x[j] = float32(rank + j%5 + i)
			}
			s.handle = w.sumStart("sum", s.x, root, comm.Wire((i+root+1)%3))
			all = append(all, s)
		}
	}
	if err := w.Barrier(); err != nil {
		return err
	}
	for i, s := range all {
		if err := s.handle.Wait(); err != nil {
			return err
		}
		for j, got := range s.x {
			if want := size*(size-1)/2 + size*(j%5+i/(size+1)); (s.root == toAll || s.root == rank) && got != float32(want) {
				return fmt.Errorf("sum of %d values to %d: value %d is %v, not %d", len(s.x), s.root, j, got, want)
			}
		}
	}
	return nil
}

// repeats sums values whose sum depends on the order: it must be the same each time, and on all ranks.
func repeats(w *World, rank, size int) error {
	values := make([]float32, 100003)
	random := rand.New(rand.NewPCG(1, uint64(rank)))
	for i := range values {
		values[i] = float32(math.Ldexp(random.Float64()-0.5, random.IntN(20)))
	}
	var first []float32
	for again := range 5 {
		x := slices.Clone(values)
		time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
		if err := w.sumStart("sum", x, toAll, comm.Float32).Wait(); err != nil {
			return err
		}
		if first == nil {
			first = x
		}
		bits := make([]byte, 4*len(x))
		for i := range x {
			binary.LittleEndian.PutUint32(bits[4*i:], math.Float32bits(x[i]))
		}
		theirs, err := w.Shift(bits, 1)
		if err != nil {
			return err
		}
		if !slices.Equal(x, first) || !slices.Equal(bits, theirs) {
			return fmt.Errorf("sum %d differs from the first, or from that of another rank", again)
		}
	}
	return nil
}

// wires sends every half, values between and beyond them, and random float32 values through the narrow forms: each as a sum with zeros, which is
// rounded once, and then sums of all ranks.
func wires(w *World, rank, size int) error {
	var values []float32
	for u := range uint32(1 << 16) {
		values = append(values, math.Float32frombits(u<<16), math.Float32frombits(u<<16|0x8000), math.Float32frombits(u*0x9e3779b1))
		values = append(values, float32(u)*0x1p-25, float32(u)*0x1p-24+0x1p-40, 65504+float32(u)/1024)
	}
	for _, wire := range []comm.Wire{comm.Float32, comm.BFloat16, comm.Float16} {
		for _, root := range []int{toAll, size - 1} {
			mine := make([]float32, len(values))
			if rank == 0 {
				copy(mine, values)
			}
			if err := w.sumStart("sum", mine, root, wire).Wait(); err != nil {
				return err
			}
			for i, got := range mine {
				want := values[i]
				if size > 1 {
					want = commtest.Round(values[i], wire) + 0
				}
				if (root == toAll || root == rank) && got != want && (got == got || want == want) {
					return fmt.Errorf("form %d: %g arrives as %g, not %g", wire, values[i], got, want)
				}
			}
		}
		ones := slices.Repeat([]float32{1.0 / 3}, 1000)
		h, err := w.AllreduceStart(ones, wire)
		if err != nil {
			return err
		}
		if err := h.Wait(); err != nil {
			return err
		}
		if e := math.Abs(float64(ones[999])*3/float64(size) - 1); e > float64(size)*0x1p-8 {
			return fmt.Errorf("form %d: a sum of thirds is off by %g", wire, e)
		}
	}
	return nil
}

func parts(w *World, rank, size int) error {
	cuts := []int{0}
	for r := range size {
		cuts = append(cuts, cuts[r]+r*3) // the first rank has nothing
	}
	n := cuts[size]
	for _, root := range []int{toAll, size - 1} {
		data := slices.Repeat([]float32{-1}, n+1)
		for i := cuts[rank]; i < cuts[rank+1]; i++ {
			data[i] = float32(i)
		}
		if err := w.gather("gather", data, cuts, root); err != nil {
			return err
		}
		for i, got := range data[:n] {
			if (root == toAll || rank == root) && got != float32(i) {
				return fmt.Errorf("gather to %d: %v", root, data)
			}
		}
		if data[n] != -1 {
			return fmt.Errorf("gather wrote beyond the stretches")
		}
	}
	sum := slices.Repeat([]float32{float32(rank + 1)}, 5)
	h, err := w.ReduceStart(sum, size-1, comm.Float32)
	if err != nil {
		return err
	}
	if err := h.Wait(); err != nil || rank == size-1 && sum[4] != float32(size*(size+1)/2) {
		return fmt.Errorf("reduce: %v, %v", sum, err)
	}
	if w.Gather(sum, append(cuts, n), 0) == nil {
		return fmt.Errorf("gather took stretches of another number of ranks")
	}
	return nil
}

func shifts(w *World, rank, size int) error {
	text := func(rank int) string { return strings.Repeat(strconv.Itoa(rank), 3*rank) } // rank 0 sends nothing
	for by := -size; by <= size; by++ {
		got, err := w.Shift([]byte(text(rank)), by)
		if err != nil {
			return err
		}
		if want := text((rank - by + size) % size); string(got) != want {
			return fmt.Errorf("shift by %d: %q, expected %q", by, got, want)
		}
	}
	texts, err := comm.Texts(w, text(rank))
	if err != nil {
		return err
	}
	for r, got := range texts {
		if got != text(r) {
			return fmt.Errorf("text of rank %d: %q", r, got)
		}
	}
	return nil
}

func votes(w *World, rank, size int) error {
	for _, c := range []struct{ yes, want bool }{{rank == size-1, true}, {false, false}, {true, true}} {
		agreed, err := w.Agree(c.yes)
		if err != nil {
			return err
		}
		if agreed != c.want {
			return fmt.Errorf("agree: %v, expected %v", agreed, c.want)
		}
	}
	return nil
}
