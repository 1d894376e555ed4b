package kernels

import (
	"errors"
	"math"
	"testing"
)

func TestPeakGFLOPS(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		peak := m.PeakGFLOPS(dtype)
		if err := m.Synchronize(); errors.Is(err, ErrUnsupported) && m.name == "cudahost" {
			t.Skip("skipped: the CUDA library does not measure its peak")
		} else if err != nil {
			t.Fatal(err)
		}
		if !(peak > 0) || math.IsInf(peak, 0) {
			t.Errorf("%v GFLOP/s", peak)
		}
		t.Logf("%s: %.0f GFLOP/s", m.name, peak)
	})
}
