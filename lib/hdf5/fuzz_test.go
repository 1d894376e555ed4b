package hdf5

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzRead reads damaged files: the result is data or an error, soon, and libhdf5 gets nothing that it cannot bear.
func FuzzRead(f *testing.F) {
	small := filepath.Join(f.TempDir(), "small.hdf5")
	writeFile(f, small, 65, 1)
	for _, name := range []string{foreign, small} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, data := range formats(f) {
		if len(data) < 30000 { // others would slow it down
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "x.hdf5")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := Open(name)
		if err != nil {
			return
		}
		defer file.Close()
		begun := time.Now()
		for _, set := range []string{"ids", "split", "shuffled", "contiguous", "none", "huge", "group"} {
			values, dims, err := Read[int32](file, set, -1, -1)
			if err == nil && len(values) != dims[0]*dims[1] {
				t.Errorf("%s: %d values of shape %v", set, len(values), dims)
			}
		}
		for _, set := range []string{"flags", "bytes"} {
			Read[int8](file, set, -1)
			file.Dims(set)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("reading %d bytes took %v", len(data), took)
		}
	})
}
