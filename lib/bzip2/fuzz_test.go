package bzip2

import (
	"bytes"
	stdbzip2 "compress/bzip2"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// fuzzText bounds what a fuzz case decompresses: a block of 30 bytes may hold 45 MB.
const fuzzText = 4 << 20

// FuzzReader: whatever the file, the same text and the same decision on one thread and on several, and the text of compress/bzip2 where that
// accepts the file.
func FuzzReader(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.bz2")
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		text, err := readSome(t, file, 1)
		parallel, parallelErr := readSome(t, file, 3)
		if !bytes.Equal(text, parallel) || (err == nil) != (parallelErr == nil) {
			t.Fatalf("%d bytes, error %v; on threads %d bytes, error %v", len(text), err, len(parallel), parallelErr)
		}
		sameAsStandard(t, file, text, err)
	})
}

// FuzzBlock: blocks of any symbols, with checksums that fit, and codes of any lengths that leave no bits over.
func FuzzBlock(f *testing.F) {
	f.Add(uint64(1), []byte{0, 1, 2, 3, 4, 5, 2, 2, 0, 1}, uint16(3), false)
	f.Add(uint64(2), bytes.Repeat([]byte{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 9}, 20), uint16(0), true)
	f.Fuzz(func(t *testing.T, seed uint64, symbols []byte, origin uint16, randomised bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := plainBlock{randomised: randomised, lengths: lopsided(rng, 3+rng.IntN(256))}
		for i := range len(b.lengths) - 2 {
			b.inUse = append(b.inUse, byte(i))
		}
		digits := 0
		for _, s := range symbols[:min(len(symbols), 2000)] {
			symbol := int(s) % (len(b.lengths) - 1)
			if digits++; symbol > 1 {
				digits = 0
			}
			if digits < 11 {
				b.symbols = append(b.symbols, symbol)
			}
		}
		n := len(b.column())
		if n == 0 || n > 5000 { // the plain decoder is slow
			return
		}
		b.origin = int(origin) % n
		file, want := plainStream(1, b, b)
		text, err := readSome(t, file, 1)
		if err != nil || !bytes.Equal(text, want) {
			t.Fatalf("%d bytes, want %d; error %v", len(text), len(want), err)
		}
		sameAsStandard(t, file, text, err)
	})
}

// lopsided makes a complete code of n symbols: a code is split in two until there are enough.
func lopsided(rng *rand.Rand, n int) []int {
	lengths := []int{1, 1}
	for len(lengths) < n {
		i := rng.IntN(len(lengths))
		if rng.IntN(2) == 0 {
			i = len(lengths) - 1
		}
		if lengths[i] < maxLength {
			lengths[i]++
			lengths = append(lengths, lengths[i])
		}
	}
	rng.Shuffle(n, func(i, j int) { lengths[i], lengths[j] = lengths[j], lengths[i] })
	return lengths
}

func readSome(t *testing.T, file []byte, threads int) ([]byte, error) {
	r := NewReader(bytes.NewReader(file), threads)
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, fuzzText))
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("error of no kind: %v", err)
	}
	return text, err
}

// sameAsStandard compares with compress/bzip2 what that accepts. Codes that leave bits over it gives out from the longest on, bzip2 from the
// shortest on: such a file may be damaged to one and whole to the other, and bzip2 decides.
func sameAsStandard(t *testing.T, file, text []byte, err error) {
	want, stdErr := io.ReadAll(io.LimitReader(stdbzip2.NewReader(bytes.NewReader(file)), fuzzText))
	if stdErr == nil && errors.Is(err, errNoCode) && refusedByBzip2(file) {
		return
	}
	if stdErr == nil && (err != nil || !bytes.Equal(text, want)) {
		t.Fatalf("%d bytes, error %v; compress/bzip2 has %d", len(text), err, len(want))
	}
}

// refusedByBzip2 is also true where there is no bzip2 to ask.
func refusedByBzip2(file []byte) bool {
	test := exec.Command("bzip2", "-t")
	test.Stdin = bytes.NewReader(file)
	return test.Run() != nil
}
