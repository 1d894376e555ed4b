package kernels

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// runLayerNorms calls the operations that CUDA must have, over rows enough for several blocks, and returns all they wrote.
func runLayerNorms(t *testing.T, m machine) []float32 {
	const rows, h = 70, 100
	ramp := func(n int) Tensor {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i*i%97) / 97
		}
		return tensor(t, m, x)
	}
	x, gamma, dgamma, dbeta := ramp(rows*h), ramp(h), ramp(h), ramp(h)
	y, z, mean, rstd := ramp(rows*h), ramp(rows*h), ramp(rows), ramp(rows)
	names := tensor(t, m, make([]int32, rows))
	m.LayerNormForward(y, mean, rstd, x, gamma, gamma, rows, h, epsilon)
	m.LayerNormBackward(y, dgamma, dbeta, y, x, mean, rstd, gamma, rows, h)
	m.DropoutResidualLayerNormForward(x, z, mean, rstd, x, y, gamma, gamma, names, names, dropouts[1], rows, h, epsilon)
	m.DropoutResidualLayerNormBackward(y, x, dgamma, dbeta, x, z, mean, rstd, gamma, names, names, dropouts[1], rows, h)
	return slices.Concat(values[float32](t, m, x), values[float32](t, m, y), values[float32](t, m, dgamma), values[float32](t, m, dbeta))
}

// TestCUDAHost names the operations that the CUDA library must have, and runs its threads forwards and backwards: same bits, or a kernel
// depends on an order that no GPU promises.
func TestCUDAHost(t *testing.T) {
	dev := openCUDAHost(t)
	if dev.Name() != "cudahost" {
		t.Errorf("the device calls itself %q", dev.Name())
	}
	var forwards, backwards []float32
	onDevice(t, dev, func(t *testing.T, m machine) { forwards = runLayerNorms(t, m) })
	t.Setenv("CUDAHOST_REVERSE", "1")
	onDevice(t, dev, func(t *testing.T, m machine) { backwards = runLayerNorms(t, m) })
	if forwards == nil || !slices.Equal(forwards, backwards) {
		t.Error("results depend on the order in which threads run")
	}
}

// TestMissingOperations wants an error, not a crash, for each operation that a library lacks.
func TestMissingOperations(t *testing.T) {
	onDevice(t, openCUDAHost(t), func(t *testing.T, m machine) {
		x := tensor(t, m, []float32{1})
		m.GELUForward(x, x)
		if !errors.Is(m.Err(), ErrUnsupported) {
			t.Errorf("an operation that is not there: %v", m.Err())
		}
	})
}

func TestOpenRefusesLibraries(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{text, filepath.Join(t.TempDir(), "missing.so"), "libm.so.6"} {
		if _, err := Open("cuda", Options{Threads: 1, Library: file}); err == nil {
			t.Errorf("%s is opened as a device", file)
		}
	}
	if _, err := Open("tpu", Options{Threads: 1}); err == nil {
		t.Error("an unknown device is opened")
	}
	if dev, err := Open("auto", Options{Threads: 1}); err != nil || dev.Name() == "" {
		t.Errorf("auto: %v", err)
	}
}
