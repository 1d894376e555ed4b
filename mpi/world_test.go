package mpi

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
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
	for _, ranks := range []int{1, 2, 3, 4} {
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
	for _, check := range []func(*World, int, int) error{reductions, buckets, parts, votes} {
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
		h, err := w.AllreduceStart(x[first : first+1<<20])
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

func parts(w *World, rank, size int) error {
	in, out, all := make([]float32, 5*size), make([]float32, 5), make([]float32, 5*size)
	for i := range in {
		in[i] = float32(i)
	}
	if err := w.ReduceScatter(out, in); err != nil {
		return err
	}
	for i := range out {
		if out[i] != float32((5*rank+i)*size) {
			return fmt.Errorf("reduce-scatter: %v", out)
		}
	}
	if err := w.AllGather(all, out); err != nil {
		return err
	}
	for i := range all {
		if all[i] != float32(i*size) {
			return fmt.Errorf("all-gather: %v", all)
		}
	}
	if w.ReduceScatter(out[:4], in) == nil {
		return fmt.Errorf("reduce-scatter took parts that do not fit")
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
