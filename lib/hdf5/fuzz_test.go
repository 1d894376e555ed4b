package hdf5

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
	f.Fuzz(func(t *testing.T, data []byte) { readDamaged(t, put(t, data)) })
}

// readDamaged reads all that the files of the tests hold.
func readDamaged(t *testing.T, name string) {
	begun := time.Now()
	file, err := Open(name)
	if err == nil {
		defer file.Close()
		for _, set := range []string{"ids", "split", "shuffled", "contiguous", "none", "huge", "group", "link 7"} {
			values, dims, err := Read[int32](file, set, -1, -1)
			if err == nil && len(values) != dims[0]*dims[1] {
				t.Errorf("%s: %d values of shape %v", set, len(values), dims)
			}
		}
		Read[int32](file, "contiguous", -1)
		Read[int32](file, "more", -1)
		Read[int8](file, "bytes", -1, -1)
		for _, set := range []string{"flags", "bytes"} {
			Read[int8](file, set, -1)
			file.Dims(set)
		}
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("reading it took %v", took)
	}
}

// TestDamagedMetadata damages nothing but the structures that lead to data sets, where a blind fuzzer seldom hits: a few
// always the same, or with HPCBERT_SLOW many that differ from run to run. A crash of libhdf5 leaves the file under the name logged with -v.
func TestDamagedMetadata(t *testing.T) {
	count, seed := 20, uint64(1)
	if os.Getenv("HPCBERT_SLOW") != "" {
		count, seed = 2000, uint64(time.Now().UnixNano())
	}
	files := formats(t)
	for _, name := range []string{foreign, filepath.Join(t.TempDir(), "small.hdf5")} {
		if name != foreign {
			writeFile(t, name, 65, 1)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = data
	}
	rng, path := rand.New(rand.NewPCG(1, seed)), filepath.Join(t.TempDir(), "x.hdf5")
	t.Log(path)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		whole := files[name]
		m, err := validate(bytes.NewReader(whole), int64(len(whole)))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range slices.Sorted(maps.Keys(m.links)) {
			m.dataset(link)
		}
		for range count {
			data := bytes.Clone(whole)
			for range 1 + rng.IntN(3) {
				damage(rng, data, int(m.base), m.claimed[rng.IntN(len(m.claimed))])
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			readDamaged(t, path)
		}
	}
}

// damage changes a number somewhere in an extent: to a small one, a large one, one of elsewhere in the file, or by a bit.
func damage(rng *rand.Rand, data []byte, base int, e extent) {
	n := 1 << rng.IntN(4)
	if rng.IntN(2) == 0 {
		n = 1
	}
	at := base + int(e.from) + rng.IntN(int(e.to-e.from))
	if rng.IntN(2) == 0 {
		at &^= n - 1
	}
	b := data[at:min(at+n, len(data))]
	switch rng.IntN(6) {
	case 0:
		clear(b)
	case 1:
		for i := range b {
			b[i] = 255
		}
	case 2:
		copy(b, data[rng.IntN(len(data)/8)*8:])
	case 3:
		clear(b)
		b[0] = byte(rng.IntN(8))
	case 4:
		b[0] ^= 1 << rng.IntN(8)
	case 5:
		b[rng.IntN(len(b))] = byte(rng.Uint32())
	}
}
