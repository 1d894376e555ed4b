package hdf5

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/fault"
)

// formats returns the files of testdata/formats.zip: by h5py in all versions of the format.
func formats(t testing.TB) map[string][]byte {
	t.Helper()
	archive, err := zip.OpenReader("testdata/formats.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	files := map[string][]byte{}
	for _, entry := range archive.File {
		r, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[entry.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func put(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.hdf5")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReadAllFormats(t *testing.T) {
	for name, data := range formats(t) {
		t.Run(name, func(t *testing.T) {
			f, err := Open(put(t, data))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			checkArrays(t, f)
			if bytes.Contains(data, []byte("more\x00")) {
				more := make([]int32, 9970)
				for k := range more {
					more[k] = int32(k % 997)
				}
				check(t, f, "more", more, len(more))
			}
			if strings.Contains(name, "links") {
				if dims, err := f.Dims("link 299"); err != nil || dims[0] != 2 {
					t.Errorf("link 299: shape %v, error %v", dims, err)
				}
			}
		})
	}
}

// Real files: shards of the original program and files of others, some of them with groups in groups.
func TestValidateRealFiles(t *testing.T) {
	root := os.Getenv("HPCBERT_DATA")
	if root == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	for pattern, want := range map[string]int{"hdf5/*.hdf5": 6, "hdf5/other/*.hdf5": 1} {
		names, _ := filepath.Glob(filepath.Join(root, pattern))
		if names == nil {
			t.Errorf("no file %s", pattern)
		}
		for _, name := range names {
			f, err := Open(name)
			if err != nil {
				t.Error(err)
				continue
			}
			if n := len(f.metadata.links); n < want {
				t.Errorf("%s: %d links", name, n)
			}
			for link := range f.metadata.links {
				if _, err := f.Dims(link); err != nil && !strings.Contains(err.Error(), "not a dataset") {
					t.Error(err)
				}
			}
			f.Close()
		}
	}
}

// The chunked layout of "split" in foreign.hdf5: version, class, rank, address, dimensions, bytes of an element.
var splitLayout = []byte{3, 2, 3}

// Each damage is one that libhdf5 1.10 believes: it divides by zero, reads beyond its memory, or follows addresses for ever.
func TestDamagedStructures(t *testing.T) {
	whole, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	split := bytes.Index(whole, append([]byte{8, 0, 24, 0, 0, 0, 0, 0}, splitLayout...)) + 8
	heap, tree, symbols := bytes.Index(whole, []byte("HEAP")), bytes.Index(whole, []byte("TREE")), bytes.Index(whole, []byte("SNOD"))
	chunks := int(binary.LittleEndian.Uint64(whole[split+3:]))
	header := headerAddress(t, "split")
	names := int(binary.LittleEndian.Uint64(whole[heap+24:]))
	cases := []struct {
		name string
		at   int
		put  []byte
		err  string
	}{
		{"chunk without rows", split + 11, make([]byte, 4), "chunks of"},
		{"chunk of 2^32 rows and more", split + 14, []byte{255}, "chunks of"},
		{"chunks of other elements", split + 19, []byte{2}, "chunks of values of 2 bytes, not 4"},
		{"chunks of another rank", split + 2, []byte{2}, "chunks of 1 dimensions in a data set of 2"},
		{"layout of a version with an index that has no checksum here", split, []byte{4}, "layout of version number 4"},
		{"index beyond the file", split + 5, []byte{255}, "beyond the file"},
		{"index of another kind", chunks + 4, []byte{0}, "node of a B-tree"},
		{"index that says it is not a leaf", chunks + 5, []byte{1}, "node of a B-tree"},
		{"index with more entries than room", chunks + 6, []byte{255}, "node of a B-tree"},
		{"chunk beyond the file", chunks + 24 + 32 + 4, []byte{255}, "index of chunks"},
		{"chunks not in order", chunks + 24 + 40 + 16, []byte{0}, "index of chunks"},
		{"object header of no known version", header, []byte{9}, "version number 9"},
		{"object header longer than the file", header + 10, []byte{255}, "beyond the file"},
		{"object header that cuts a message", header + 8, []byte{20}, "object header at"},
		{"link to an object beyond the file", symbols + 8 + 8 + 5, bytes.Repeat([]byte{255}, 240), ""},
		{"tree of links that is its own child", tree + 5, []byte{1}, ""},
		{"symbol table node with more entries than room", symbols + 6, []byte{200}, "symbol table node"},
		{"name beyond the heap", symbols + 8 + 2, []byte{255}, "of a heap has no end"},
		{"names without end", names, bytes.Repeat([]byte{'x'}, int(binary.LittleEndian.Uint64(whole[heap+8:]))), "heap"},
		{"free space that follows itself", names + int(binary.LittleEndian.Uint64(whole[heap+16:])), whole[heap+16 : heap+24], "free space"},
		{"heap of another version", heap + 4, []byte{3}, "heap at"},
		{"addresses of four bytes", 13, []byte{4}, "width of addresses"},
		{"nodes without room", 16, []byte{0, 0}, "superblock"},
	}
	for _, c := range cases {
		data := bytes.Clone(whole)
		copy(data[c.at:], c.put)
		f, err := Open(put(t, data))
		if err == nil {
			_, _, err = Read[int32](f, "split", 37, 11)
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.err) || fault.HintOf(err) == "" {
			t.Errorf("%s: error %v, want %q and a hint", c.name, err, c.err)
		}
	}
}

// libhdf5 tells that a chunk without filters is of the size that its dimensions want, and reads what the index says: beyond the memory.
func TestChunkOfOtherSizeWithoutFilters(t *testing.T) {
	data := formats(t)["many chunks.hdf5"]
	at := bytes.Index(data, []byte{4 * 13, 0, 0, 0, 0, 0, 0, 0, 5 * 13}) // a key: size, mask of filters, place
	data[at+1] = 0x20
	f, err := Open(put(t, data))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, _, err := Read[int32](f, "more", -1); err == nil || !strings.Contains(err.Error(), "index of chunks") {
		t.Error(err)
	}
}

func headerAddress(t *testing.T, set string) int {
	t.Helper()
	f, err := Open(foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return int(f.metadata.links[set])
}
