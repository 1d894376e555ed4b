package test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the tokenizer and the trainer of vocabularies take is what their --help says, which does not grow with the text where it says so.
func TestMemoryOfWords(t *testing.T) {
	dir := t.TempDir()
	vocab, text := filepath.Join(dir, "vocab.txt"), filepath.Join(dir, "text")
	if err := os.WriteFile(vocab, []byte("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nw\n##0\n##1\n##2\n##3\n##4\n##5\n##6\n##7\n##8\n##9\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	const words = 100_000
	f, err := os.Create(text)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(f)
	for i := range 40 * words {
		fmt.Fprintf(out, "w%d%c", i%words, " \n"[i%20/19])
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for line, limit := range map[string]float64{
		"wordpiece -j 1 --count --vocab " + vocab: 25 + 9,
		"wordpiece -j 4 --count --vocab " + vocab: 25 + 4*9,
		"wordpiece -j 4 --vocab " + vocab:         25 + 4*18,
		"mkvocab -j 2 --size 5000":                20 + words*0.8/1024,
	} {
		r := must(t, line+" "+text+" >/dev/null")
		_, said, _ := strings.Cut(r.stderr, "peak memory ")
		var peak float64
		if n, err := fmt.Sscanf(said, "%f MiB", &peak); n != 1 {
			t.Fatalf("%v in %q", err, r.stderr)
		}
		t.Logf("%s: %.1f MiB of %.1f", line, peak, limit)
		if peak > limit {
			t.Errorf("%s: peak memory %.1f MiB, told are %.1f", line, peak, limit)
		}
	}
}
