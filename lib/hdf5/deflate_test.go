package hdf5

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// What packer writes, Go's own zlib reads back, with a checksum of its own.
func TestPacker(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n, values int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.IntN(values))
		}
		return b
	}
	var runs []byte // of every length around the limits of a match
	for _, n := range []int{1, 2, 3, 7, 8, 9, 10, 11, 12, 18, 19, 20, 257, 258, 259, 260, 261, 262, 515, 516, 517, 518, 519, 5000} {
		runs = append(runs, bytes.Repeat([]byte{byte(n)}, n)...)
		runs = append(runs, random(n%5, 256)...)
	}
	var steep []byte // counts as Fibonacci's numbers, whose codes would be longer than deflate's
	for i, a, b := 0, 1, 1; i < 26; i, a, b = i+1, b, a+b {
		for range a {
			steep = append(steep, byte(i))
		}
	}
	rng.Shuffle(len(steep), func(i, j int) { steep[i], steep[j] = steep[j], steep[i] })
	cases := []struct {
		name  string
		data  []byte
		plane int
	}{
		{"one byte", []byte{7}, 1},
		{"nothing but zeros", make([]byte, 1<<20), 1 << 20},
		{"nothing but zeros, in short planes", make([]byte, 1000), 10},
		{"every byte once", random(256, 256), 256},
		{"noise", random(1<<17, 256), 1 << 17},
		{"two values", random(10001, 2), 10001},
		{"planes of different statistics", append(random(5000, 256), random(5000, 3)...), 5000},
		{"a last plane that is shorter", random(5001, 40), 2000},
		{"runs", runs, len(runs)},
		{"large bytes in runs", bytes.Repeat([]byte{255}, 1<<20), 1 << 20},
		{"codes too long", steep, len(steep)},
	}
	var p packer
	for _, c := range cases {
		packed := bytes.Clone(p.pack(c.data, c.plane))
		if err := unpack(packed, c.data); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(packed) > len(c.data)+len(c.data)/50+300*(len(c.data)/c.plane+1) {
			t.Errorf("%s: %d bytes become %d", c.name, len(c.data), len(packed))
		}
		if again := new(packer).pack(c.data, c.plane); !bytes.Equal(packed, again) {
			t.Errorf("%s: the bytes depend on what was packed before", c.name)
		}
	}
}

func unpack(packed, want []byte) error {
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	got, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes come back as %d others", len(want), len(got))
	}
	return nil
}

func FuzzPacker(f *testing.F) {
	f.Add([]byte("a"), uint16(1))
	f.Add(bytes.Repeat([]byte("aaaaaaaaaaaaaaab"), 100), uint16(300))
	f.Fuzz(func(t *testing.T, data []byte, plane uint16) {
		if len(data) == 0 {
			return
		}
		if err := unpack(new(packer).pack(data, int(plane)+1), data); err != nil {
			t.Error(err)
		}
	})
}
