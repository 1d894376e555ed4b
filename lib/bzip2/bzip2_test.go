package bzip2

import (
	"bytes"
	stdbzip2 "compress/bzip2"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var threadCounts = []int{1, 3}

// unpack reads file to its end; what was ignored behind it is told too.
func unpack(file []byte, threads int) (text []byte, trailing bool, err error) {
	r := NewReader(bytes.NewReader(file), threads)
	defer r.Close()
	text, err = io.ReadAll(r)
	return text, r.Trailing(), err
}

// pack compresses text with the program bzip2.
func pack(t *testing.T, text []byte, options ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("bzip2")
	if err != nil {
		t.Skip("skipped: no bzip2 here")
	}
	cmd := exec.Command(program, append(options, "-c")...)
	cmd.Stdin = bytes.NewReader(text)
	file, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func check(t *testing.T, name string, file, text []byte) {
	t.Helper()
	for _, threads := range threadCounts {
		got, trailing, err := unpack(file, threads)
		if err != nil || trailing || !bytes.Equal(got, text) {
			t.Errorf("%s, %d threads: %d bytes, want %d; trailing %v, error %v", name, threads, len(got), len(text), trailing, err)
		}
	}
}

// prose is text with the statistics of a language: words of letters drawn unevenly.
func prose(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 3000)
	for i := range words {
		w := make([]byte, 2+rng.IntN(8))
		for j := range w {
			w[j] = "eeeettaaooiinnsshhrrdlcumwfgypbvk"[rng.IntN(33)]
		}
		words[i] = string(w)
	}
	var b []byte
	for len(b) < n {
		b = append(append(b, words[min(rng.IntN(3000), rng.IntN(3000))]...), ' ')
	}
	return b[:n]
}

func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestWhatBzip2Writes(t *testing.T) {
	var runs []byte
	for n := range 600 {
		runs = append(runs, bytes.Repeat([]byte{byte(n % 7)}, n%300)...)
	}
	for _, c := range []struct {
		name    string
		text    []byte
		options []string
	}{
		{"nothing", nil, nil},
		{"one byte", []byte("x"), nil},
		{"runs of all lengths", runs, nil},
		{"a run at the end", []byte("abcdddd"), nil},
		{"a text of equal rotations", bytes.Repeat([]byte("abc"), 1000), nil},
		{"blocks of one byte value", bytes.Repeat([]byte{'a'}, 48_000_000), nil},
		{"all bytes at random, codes beyond the lookup", noise(300_000), nil},
		{"prose, the largest blocks", prose(2_500_000), []string{"-9"}},
		{"prose, the smallest blocks", prose(450_000), []string{"-1"}},
		{"a rare byte has a long code", append(bytes.Repeat([]byte("ab ba a"), 30_000), noise(400)...), nil},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.name, pack(t, c.text, c.options...), c.text) })
	}
}

func TestStreamsBehindEachOther(t *testing.T) {
	var file, text []byte
	for i, n := range []int{0, 5, 0, 0, 70_000, 1, 250_000, 0} {
		part := prose(n)
		file = append(file, pack(t, part, fmt.Sprintf("-%d", i+1))...)
		text = append(text, part...)
	}
	check(t, "streams", file, text)
}

// The files of testdata, beside what bzip2 1.0.8 says is in them.
func TestFiles(t *testing.T) {
	names, _ := filepath.Glob("testdata/*.bz2")
	if len(names) < 4 {
		t.Fatalf("%d files", len(names))
	}
	for _, name := range names {
		check(t, name, readFile(t, name), readFile(t, strings.TrimSuffix(name, ".bz2")+".txt"))
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every dump of the real data, whole, against the standard library.
func TestRealDumps(t *testing.T) {
	dir := os.Getenv("HPCBERT_DATA")
	if dir == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	names, _ := filepath.Glob(filepath.Join(dir, "wiki/dumps/*.bz2"))
	if len(names) == 0 {
		t.Fatal("no dumps")
	}
	for _, name := range names {
		file := readFile(t, name)
		text, err := io.ReadAll(stdbzip2.NewReader(bytes.NewReader(file)))
		if err != nil {
			t.Fatal(err)
		}
		check(t, name, file, text)
	}
}

// fourteen bytes in use make 16 symbols, whose codes are their own numbers in 4 bits.
var fourteen = []byte("abcdefghijklmn")

func nibbles(magic uint64) []int {
	var s []int
	for shift := 44; shift >= 0; shift -= 4 {
		s = append(s, int(magic>>shift&15))
	}
	return s
}

// A block may hold any bits, so also those of a magic number. Each 50 symbols more shift them by one bit against the bytes.
func TestMagicNumbersInsideBlocks(t *testing.T) {
	for shift := range 8 {
		for _, magic := range []uint64{blockMagic, endMagic} {
			var symbols []int
			for i := range 3 {
				symbols = append(symbols, nibbles(magic)...)
				symbols = append(symbols, bytesToInts(bytes.Repeat([]byte{2, 7, 1, 14}, 50+50*shift/4+i))...)
			}
			b := plainBlock{inUse: fourteen, symbols: symbols, origin: 3}
			file, text := plainStream(9, b, plainBlock{inUse: []byte("xyz"), symbols: []int{2, 3, 0, 1, 2}}, b)
			if found := countMagics(file); found != 10 {
				t.Fatalf("%d magic numbers, want 10", found)
			}
			file2 := append(bytes.Clone(file), file...)
			check(t, fmt.Sprintf("magic %x, shift %d", magic, shift), file2, append(bytes.Clone(text), text...))
		}
	}
}

func bytesToInts(b []byte) []int {
	s := make([]int, len(b))
	for i, c := range b {
		s[i] = int(c)
	}
	return s
}

func countMagics(file []byte) int {
	n := 0
	for bit := range int64(len(file)) * 8 {
		if w := window(file, bit); w == blockMagic || w == endMagic {
			n++
		}
	}
	return n
}

func TestTooManyMagicNumbersInABlock(t *testing.T) {
	var symbols []int
	for range maxChance + 1 {
		symbols = append(symbols, nibbles(blockMagic)...)
	}
	file, _ := plainStream(9, plainBlock{inUse: fourteen, symbols: symbols})
	for _, threads := range threadCounts {
		if _, _, err := unpack(file, threads); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "magic numbers") {
			t.Errorf("%d threads: error %v", threads, err)
		}
	}
}

// Symbols at random make rows of several cycles, which no text has; bzip2 decodes them nevertheless.
func TestRowsThatNoTextHas(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 5 {
		var blocks []plainBlock
		for range 100 {
			blocks = append(blocks, randomBlock(rng))
		}
		file, text := plainStream(9, blocks...)
		if std, err := io.ReadAll(stdbzip2.NewReader(bytes.NewReader(file))); err != nil || !bytes.Equal(std, text) {
			t.Fatalf("case %d: the test and compress/bzip2 differ: %v", i, err)
		}
		check(t, fmt.Sprint("case ", i), file, text)
	}
}

func randomBlock(rng *rand.Rand) plainBlock {
	b := plainBlock{inUse: fourteen[:1+rng.IntN(14)]}
	for i := range 1 + rng.IntN(200) {
		s := rng.IntN(len(b.inUse) + 1)
		if i%8 == 0 && len(b.inUse) > 1 {
			s = 2 // no run of more than seven digits
		}
		b.symbols = append(b.symbols, s)
	}
	if len(b.inUse) == 1 {
		b.symbols = b.symbols[:min(len(b.symbols), 15)]
	}
	b.origin = rng.IntN(len(b.column()))
	return b
}

func TestRandomisedBlocks(t *testing.T) {
	b := plainBlock{inUse: fourteen, origin: 100, randomised: true}
	rng := rand.New(rand.NewPCG(7, 8))
	for range 120_000 {
		b.symbols = append(b.symbols, rng.IntN(2), 2+rng.IntN(13))
	}
	if n := len(b.column()); n < 278_212 { // all distances together
		t.Fatalf("%d bytes", n)
	}
	file, text := plainStream(9, b, b)
	check(t, "randomised", file, text)
	if program, err := exec.LookPath("bzip2"); err == nil {
		cmd := exec.Command(program, "-dc")
		cmd.Stdin = bytes.NewReader(file)
		if out, err := cmd.Output(); err != nil || !bytes.Equal(out, text) {
			t.Errorf("bzip2 has %d bytes, the test %d: %v", len(out), len(text), err)
		}
	}
}

// A file that is cut off anywhere gives what was there, and an error; between its streams it is whole.
func TestCutOffAnywhere(t *testing.T) {
	file, text := readFile(t, "testdata/streams.bz2"), readFile(t, "testdata/streams.txt")
	whole := 0
	for n := range file {
		for _, threads := range threadCounts {
			got, _, err := unpack(file[:n], threads)
			if !bytes.HasPrefix(text, got) {
				t.Fatalf("%d bytes, %d threads: other text", n, threads)
			}
			if std, stdErr := io.ReadAll(stdbzip2.NewReader(bytes.NewReader(file[:n]))); n > 0 && stdErr == nil {
				whole++
				if err != nil || !bytes.Equal(std, got) {
					t.Errorf("%d bytes, %d threads: %v", n, threads, err)
				}
			} else if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes, %d threads: error %v", n, threads, err)
			}
		}
	}
	if whole != 2*2 {
		t.Errorf("whole at %d places, want 2", whole/2)
	}
}

// threadsFor has one case in seven run on several threads too.
func threadsFor(n int) []int {
	if n%7 == 0 {
		return threadCounts
	}
	return threadCounts[:1]
}

// A wrong bit anywhere is an error. It goes unnoticed where it means nothing: in the bits that fill the last byte of a stream, and as bzip2
// has it, it ends the file where it hits the begin of a later stream.
func TestFlippedBits(t *testing.T) {
	file, text := readFile(t, "testdata/streams.bz2"), readFile(t, "testdata/streams.txt")
	unnoticed, ended := 0, 0
	for bit := range len(file) * 8 {
		file[bit/8] ^= 1 << (bit % 8)
		for _, threads := range threadsFor(bit) {
			got, trailing, err := unpack(file, threads)
			switch {
			case err != nil:
			case trailing && bytes.HasPrefix(text, got):
				ended++
			case bytes.Equal(got, text):
				unnoticed++
			default:
				t.Errorf("bit %d, %d threads: other text, no error", bit, threads)
			}
		}
		file[bit/8] ^= 1 << (bit % 8)
	}
	if unnoticed > 3*8*2 || ended > 2*32*2 {
		t.Errorf("unnoticed %d times, ended %d times", unnoticed, ended)
	}
}

func TestWhatFollowsTheStreams(t *testing.T) {
	file, text := readFile(t, "testdata/prose.bz2"), readFile(t, "testdata/prose.txt")
	for _, c := range []struct {
		behind   string
		trailing bool
		err      error
	}{
		{"garbage", true, nil},
		{"\x00", true, nil},
		{strings.Repeat("\x00", 3_000_000), true, nil},
		{"C", true, nil},
		{"BZip", true, nil},
		{"BZh0", true, nil},
		{"\x31\x41\x59\x26\x53\x59", true, nil},
		{"B", false, io.ErrUnexpectedEOF},
		{"BZh", false, io.ErrUnexpectedEOF},
		{"BZh9", false, io.ErrUnexpectedEOF},
		{"BZh9\x31\x41\x59", false, io.ErrUnexpectedEOF},
		{"BZh9 a block?", false, ErrCorrupt},
		{"BZh9" + strings.Repeat("x", 3_000_000), false, ErrCorrupt},
		{"BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00", false, nil},
		{"BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x01", false, ErrCorrupt},
		{"BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00", false, io.ErrUnexpectedEOF},
	} {
		all := append(bytes.Clone(file), c.behind...)
		for _, threads := range threadCounts {
			got, trailing, err := unpack(all, threads)
			if !bytes.Equal(got, text) || trailing != c.trailing || !errors.Is(err, c.err) {
				t.Errorf("%.20q, %d threads: %d bytes, trailing %v, error %v", c.behind, threads, len(got), trailing, err)
			}
		}
		sameAsBzip2(t, all, text, c.err)
	}
}

// sameAsBzip2 tells whether the program decides as the test does.
func sameAsBzip2(t *testing.T, file, text []byte, want error) {
	program, err := exec.LookPath("bzip2")
	if err != nil {
		return
	}
	cmd := exec.Command(program, "-dc")
	cmd.Stdin = bytes.NewReader(file)
	got, err := cmd.Output()
	if (err == nil) != (want == nil) || err == nil && !bytes.Equal(got, text) {
		t.Errorf("%.20q: bzip2 says %v", file[len(file)-min(len(file), 20):], err)
	}
}

func TestErrorsSayWhere(t *testing.T) {
	prose := readFile(t, "testdata/prose.bz2")
	behind := append(bytes.Clone(prose), prose...)
	spoilt := func(at int) []byte {
		b := bytes.Clone(behind)
		b[at] ^= 0x10
		return b
	}
	large, _ := plainStream(1, plainBlock{inUse: []byte("a"), symbols: bytesToInts(bytes.Repeat([]byte{1}, 17))})
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"nothing", nil, "stream 0, block 0, at byte 0 of the compressed data: unexpected EOF"},
		{"text", []byte("text"), "it does not begin as bzip2 does"},
		{"checksum of a block", spoilt(11), "stream 1, block 1, at byte 4 of the compressed data: the checksum of the block is"},
		{"checksum of a stream", spoilt(len(prose) - 3), fmt.Sprintf("stream 1, block 1, at byte %d of the compressed data: the checksum of the stream is", len(prose)-11)},
		{"the second stream cut off", behind[:len(behind)-30], fmt.Sprintf("stream 2, block 1, at byte %d of the compressed data: unexpected EOF", len(prose)+4)},
		{"the magic of a block", spoilt(len(prose) + 5), "no block follows the begin of the stream"},
		{"a block larger than its stream allows", large, "262142 bytes where the stream allows 100000"},
	} {
		for _, threads := range threadCounts {
			if _, _, err := unpack(c.file, threads); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %d threads: error %v", c.name, threads, err)
			}
		}
	}
}

// Damage that checksums cannot show because the block does not come so far.
func TestImpossibleBlocks(t *testing.T) {
	few := []byte("abc")
	for _, c := range []struct {
		name  string
		block plainBlock
		want  string
	}{
		{"a row behind the last", plainBlock{inUse: few, symbols: []int{2, 3}, origin: 2}, "row 2 of 2"},
		{"no byte in use", plainBlock{symbols: nil, lengths: []int{1, 1}}, "no byte in use"},
		{"an empty block", plainBlock{inUse: few, symbols: nil}, "row 0 of 0"},
		{"a run without end", plainBlock{inUse: few, symbols: make([]int, 40)}, "more than 900000 bytes"},
		{"a code of no bits", plainBlock{inUse: few, symbols: []int{2}, lengths: []int{0, 1, 2, 3, 3}}, "a code of 0 bits"},
		{"a code of 21 bits", plainBlock{inUse: few, symbols: []int{2}, lengths: []int{1, 2, 3, 21, 21}}, "a code of 21 bits"},
	} {
		w := &bitWriter{data: []byte("BZh9"), n: 32}
		c.block.write(w, 0)
		w.write(endMagic, 48)
		w.write(0, 32)
		for _, threads := range threadCounts {
			if _, _, err := unpack(w.data, threads); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %d threads: error %v, want %s", c.name, threads, err, c.want)
			}
		}
	}
}

func TestInputsThatComeSlowlyOrFail(t *testing.T) {
	file, text := readFile(t, "testdata/streams.bz2"), readFile(t, "testdata/streams.txt")
	failure := errors.New("the disk burns")
	for _, threads := range threadCounts {
		for _, in := range []io.Reader{iotest.OneByteReader(bytes.NewReader(file)), iotest.DataErrReader(bytes.NewReader(file))} {
			r := NewReader(in, threads)
			if got, err := io.ReadAll(iotest.OneByteReader(r)); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d threads: %d bytes, error %v", threads, len(got), err)
			}
			r.Close()
		}
		r := NewReader(io.MultiReader(bytes.NewReader(file[:len(file)-20]), iotest.ErrReader(failure)), threads)
		if got, err := io.ReadAll(r); err != failure || !bytes.HasPrefix(text, got) {
			t.Errorf("%d threads: %d bytes, error %v", threads, len(got), err)
		}
		r.Close()
	}
}

// Whoever stops reading in the middle leaves no thread behind.
func TestCloseEndsTheThreads(t *testing.T) {
	before := runtime.NumGoroutine()
	file := pack(t, bytes.Repeat([]byte{'a'}, 60_000_000))
	for n := range 4 {
		r := NewReader(bytes.NewReader(file), 3)
		if _, err := io.ReadFull(r, make([]byte, n*15_000_000)); err != nil {
			t.Fatal(err)
		}
		r.Close()
		r.Close()
		if _, err := io.Copy(io.Discard, r); err == nil {
			t.Error("a closed reader reads to the end")
		}
	}
	for wait := 0; runtime.NumGoroutine() > before && wait < 100; wait++ {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines more", n-before)
	}
}

// A megabyte may stand for a terabyte: texts wait in pieces.
func TestMemoryIsBounded(t *testing.T) {
	file := bytes.Repeat(pack(t, bytes.Repeat([]byte{'a'}, 45_000_000)), 6)
	for _, c := range []struct {
		threads, megabytes int
	}{{1, 16}, {3, 60}} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := NewReader(bytes.NewReader(file), c.threads)
		if n, err := io.Copy(io.Discard, r); err != nil || n != 6*45_000_000 {
			t.Errorf("%d bytes, %v", n, err)
		}
		r.Close()
		runtime.ReadMemStats(&after)
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > uint64(c.megabytes) {
			t.Errorf("%d threads allocate %d MiB for 270 MB of text", c.threads, used)
		}
	}
}

// The scanner finds what a search bit by bit finds, wherever the reads of the input end.
func TestScanner(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for i := range 200 {
		w := &bitWriter{}
		var want []int64
		for range 1 + rng.IntN(6) {
			for range rng.IntN(40) {
				w.write(rng.Uint64()>>40, 1+rng.IntN(13))
			}
			want = append(want, int64(w.n))
			w.write([]uint64{blockMagic, endMagic}[rng.IntN(2)], 48)
		}
		w.write(rng.Uint64(), rng.IntN(64))
		s := newScanner(&randomReader{w.data, rng})
		var got []int64
		var seg segment
		for size := int64(0); ; size += seg.size {
			if err := s.next(&seg); err == io.EOF {
				break
			} else if err != nil || seg.start != size {
				t.Fatalf("case %d: segment at bit %d, want %d; %v", i, seg.start, size, err)
			}
			if seg.kind != headSegment {
				got = append(got, seg.start)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("case %d: magic numbers at %v, want %v", i, got, want)
		}
	}
}

// randomReader returns a few bytes a call.
type randomReader struct {
	data []byte
	rng  *rand.Rand
}

func (r *randomReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data[:min(len(r.data), 1+r.rng.IntN(20))])
	r.data = r.data[n:]
	return n, nil
}

// The speed on the file that HPCBERT_BZIP2 names: test/bench/data-bzip2.sh.
func BenchmarkReader(b *testing.B) {
	name := os.Getenv("HPCBERT_BZIP2")
	if name == "" {
		name = "testdata/prose.bz2"
	}
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprint("threads=", threads), func(b *testing.B) {
			for b.Loop() {
				file, err := os.Open(name)
				if err != nil {
					b.Fatal(err)
				}
				r := NewReader(file, threads)
				n, err := io.Copy(io.Discard, r)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n)
				r.Close()
				file.Close()
			}
		})
	}
}
