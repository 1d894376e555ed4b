package test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// memoryCase is a command and the MiB that it may take.
type memoryCase struct {
	line  string
	limit float64
}

// checkMemory runs commands and compares the peaks that they tell with what their --help does.
func checkMemory(t *testing.T, cases []memoryCase) {
	t.Helper()
	for _, c := range cases {
		r := must(t, c.line+" >/dev/null")
		_, said, _ := strings.Cut(r.stderr, "peak memory ")
		var peak float64
		if n, err := fmt.Sscanf(said, "%f MiB", &peak); n != 1 {
			t.Fatalf("%v in %q", err, r.stderr)
		}
		t.Logf("%s: %.1f MiB of %.1f", c.line, peak, c.limit)
		if peak > c.limit {
			t.Errorf("%s: peak memory %.1f MiB, told are %.1f", c.line, peak, c.limit)
		}
	}
}

// mebibytes is the size of a file.
func mebibytes(t *testing.T, name string) float64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return float64(info.Size()) / (1 << 20)
}

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
	checkMemory(t, []memoryCase{
		{"wordpiece -j 1 --count --vocab " + vocab + " " + text, 25 + 9},
		{"wordpiece -j 4 --count --vocab " + vocab + " " + text, 25 + 4*9},
		{"wordpiece -j 4 --vocab " + vocab + " " + text, 25 + 4*18},
		{"mkvocab -j 2 --size 5000 " + text, 20 + words*0.8/1024},
	})
}

// So with the programs that prepare the data: the bundled dump's pages 400 times with 2000 large templates between them, 110 MB; its documents,
// 300,000 tiny articles, and a shard of 3 MB beside the same text in twenty.
func TestMemoryOfData(t *testing.T) {
	dir := t.TempDir()
	must(t, "cd "+dir+"; D=$OLDPWD/data/tinywiki.xml"+`
n=$(grep -n -m1 '<page>' $D | cut -d: -f1) && sed -n "$n,\$p" $D | grep -v '</mediawiki>' > pages
awk 'BEGIN { for (i = 0; i < 2000; i++) {
	printf "<page><title>Template:T%d</title><ns>10</ns><id>%d</id><revision><id>1</id><text>", i, i + 100000
	for (j = 0; j < 500; j++) printf "word %d ", j
	print "</text></revision></page>" } }' > templates
(head -n $((n - 1)) $D; for i in {1..400}; do cat pages; done; cat templates; tail -n 1 $D) > dump
wikiextract -q dump -o documents.jsonl
awk 'BEGIN { for (i = 0; i < 300000; i++) print "One small sentence .\nTwo of them .\n" }' > tiny
(head -n $((n - 1)) $D; for i in {1..20}; do cat pages; done; tail -n 1 $D) | wikiextract -q | segment -q > sentences
shard -q --train 1 --test 1 --fraction 0.05 -o one sentences
shard -q --train 20 --test 1 --fraction 0.05 -o twenty sentences`)
	file := func(name string) string { return filepath.Join(dir, name) }
	templates, one, twenty := mebibytes(t, file("templates")), mebibytes(t, file("one/training_0.txt")), mebibytes(t, file("twenty/training_0.txt"))
	mkpretrain := "mkpretrain --vocab data/vocab.txt --seq 128 --max-pred 20 --dupe 5 -o " + dir + "/hdf5-"
	checkMemory(t, []memoryCase{
		{"wikiextract -j 1 " + file("dump"), 100 + 2*templates},
		{"wikiextract -j 4 " + file("dump"), 100 + 2*templates},
		{"segment -j 1 " + file("documents.jsonl"), 25 + 1},
		{"segment -j 4 " + file("documents.jsonl"), 25 + 4},
		{"shard -j 1 --train 4 --test 2 -o " + dir + "/tiny-1 " + file("tiny"), 300_000*100/(1<<20) + 16},
		{"shard -j 4 --train 4 --test 2 -o " + dir + "/tiny-4 " + file("tiny"), 300_000*100/(1<<20) + 4*16},
		{mkpretrain + "one " + file("one/training_0.txt"), 35 + 25 + 30*one},
		{mkpretrain + "twenty-1 -j 1 " + file("twenty/training_*.txt"), 35 + 25 + 30*twenty},
		{mkpretrain + "twenty-4 -j 4 " + file("twenty/training_*.txt"), 35 + 4*(25+30*twenty)},
	})
}
