package ckpt

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The writers here are plain: one block of entries, none sharing its key with another, and no compression. The formats are LevelDB's table and
// TensorFlow's tensor_bundle.proto.

func masked(data []byte) []byte {
	crc := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return binary.LittleEndian.AppendUint32(nil, (crc>>15|crc<<17)+0xa282ead8)
}

// tableBlock ends entries with one restart, its type and its sum.
func tableBlock(entries []entry) []byte {
	var b []byte
	for _, e := range entries {
		b = binary.AppendUvarint(append(b, 0), uint64(len(e.key)))
		b = binary.AppendUvarint(b, uint64(len(e.value)))
		b = append(append(b, e.key...), e.value...)
	}
	b = append(b, 0, 0, 0, 0, 1, 0, 0, 0, 0)
	return append(b, masked(b)...)
}

func table(entries []entry) []byte {
	data := tableBlock(entries)
	handle := func(start, end int) []byte {
		return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(start)), uint64(end-start-5))
	}
	first := handle(0, len(data))
	meta := len(data)
	data = append(data, tableBlock(nil)...)
	index := len(data)
	data = append(data, tableBlock([]entry{{"~", first}})...)
	footer := append(handle(meta, index), handle(index, len(data))...)
	footer = append(footer, make([]byte, 40-len(footer))...)
	return append(append(data, footer...), 0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb)
}

// bundleEntry is a BundleEntryProto of float32 in the first data file.
func bundleEntry(offset int, data []byte, shape ...int) []byte {
	var dims []byte
	for _, d := range shape {
		dim := binary.AppendUvarint([]byte{1 << 3}, uint64(d))
		dims = append(append(dims, 2<<3|2, byte(len(dim))), dim...)
	}
	b := append([]byte{1 << 3, 1, 2<<3 | 2, byte(len(dims))}, dims...)
	b = binary.AppendUvarint(append(b, 4<<3), uint64(offset))
	b = binary.AppendUvarint(append(b, 5<<3), uint64(len(data)))
	return append(append(b, 6<<3|5), masked(data)...)
}

// writeBundle writes a checkpoint of a vector, a kernel, a slot of the optimiser and a count, and returns its prefix.
func writeBundle(t testing.TB) string {
	t.Helper()
	var data []byte
	for i := range 12 {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i)))
	}
	prefix := filepath.Join(t.TempDir(), "model.ckpt")
	index := table([]entry{
		{"", []byte{1 << 3, 1}},
		{"bert/embeddings/LayerNorm/gamma", bundleEntry(0, data[:24], 6)},
		{"bert/embeddings/LayerNorm/gamma/adam_m", bundleEntry(0, data[:24], 6)},
		{"bert/pooler/dense/kernel", bundleEntry(24, data[24:], 2, 3)},
		{"global_step", bundleEntry(0, data[:4])},
	})
	for suffix, content := range map[string][]byte{".index": index, ".data-00000-of-00001": data} {
		if err := os.WriteFile(prefix+suffix, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return prefix
}

func TestTensorFlow(t *testing.T) {
	prefix := writeBundle(t)
	for _, path := range []string{prefix, prefix + ".index", filepath.Dir(prefix)} {
		s := open(t, path)
		if err := s.CheckSums(); err != nil {
			t.Error(err)
		}
		if got, want := s.Names(), []string{"bert.embeddings.LayerNorm.weight", "bert.pooler.dense.weight"}; !slices.Equal(got, want) {
			t.Fatalf("tensors %q, expected %q", got, want)
		}
		kernel, err := s.Float32("bert.pooler.dense.weight")
		if want := []float32{6, 9, 7, 10, 8, 11}; err != nil || !slices.Equal(kernel, want) || !slices.Equal(s.Tensor("bert.pooler.dense.weight").Shape, []int{3, 2}) {
			t.Errorf("kernel %v, expected transposed %v, %v", kernel, want, err)
		}
		vector, err := s.Float32("bert.embeddings.LayerNorm.weight")
		if want := []float32{0, 1, 2, 3, 4, 5}; err != nil || !slices.Equal(vector, want) {
			t.Errorf("vector %v, expected %v, %v", vector, want, err)
		}
	}
}

func TestTensorFlowDamage(t *testing.T) {
	prefix := writeBundle(t)
	for suffix, most := range map[string]int{".index": footerBytes + 24, ".data-00000-of-00001": 0} { // nothing is read of the footer's padding and the meta index
		name := prefix + suffix
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if unseen := damage(t, prefix, name, whole); unseen > most {
			t.Errorf("%s: %d of %d changes are not seen, expected at most %d", suffix, unseen, len(whole), most)
		}
	}
}

func FuzzTensorFlow(f *testing.F) {
	prefix := writeBundle(f)
	data, err := os.ReadFile(prefix + ".index")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := tableEntries(data)
		if err != nil {
			return
		}
		for _, e := range entries {
			readBundle(e.value)
			shardCount(e.value)
		}
	})
}
