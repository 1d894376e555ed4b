package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/cli/clitest"
)

const pieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhe\n##llo\nworld\n,\n!\nHe\nworld\u00e9\n.\n'\ns\n"

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

func TestFilter(t *testing.T) {
	vocab := clitest.WriteFile(t, "vocab.txt", pieces)
	cases := []struct {
		name, stdin string
		args        []string
		want        string
	}{
		{"ids", "Hello, world!\n", nil, "5 6 8 7 9\n"},
		{"a line in, a line out", "\nhello\n\nxyz world", nil, "\n5 6\n\n1 7\n"},
		{"CR LF", "hello\r\nhe\r\n", nil, "5 6\n5\n"},
		{"cased", "Hello world\u00e9", []string{"--cased"}, "10 6 11\n"},
		{"pieces", "Hello, world\u00e9x!", []string{"--tokens"}, "he ##llo , [UNK] !\n"},
		{"back to text", "5 6 8 7 9\n\n 1\t7 13 14 12 ", []string{"--decode"}, "hello, world!\n\n[UNK] world's.\n"},
		{"a piece that continues nothing", "6 6", []string{"--decode"}, "##llollo\n"},
		{"gzip", clitest.Gzip("hello\n"), nil, "5 6\n"},
		{"empty input", "", nil, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := run(c.stdin, append(c.args, "--vocab", vocab)...)
			if status != 0 || stdout != c.want {
				t.Errorf("exit %d, output %q, want %q\n%s", status, stdout, c.want, stderr)
			}
		})
	}
}

func TestCount(t *testing.T) {
	vocab := clitest.WriteFile(t, "vocab.txt", pieces)
	status, stdout, stderr := run("Hello, world!\n\nxyz\n", "--count", "--vocab", vocab)
	if want := "lines\t3\nbytes\t19\nwords\t5\npieces\t6\nunknown\t1\nMB/s\t"; status != 0 || !strings.HasPrefix(stdout, want) {
		t.Errorf("exit %d, output %q, want %q first\n%s", status, stdout, want, stderr)
	}
}

func TestRefused(t *testing.T) {
	vocab := clitest.WriteFile(t, "vocab.txt", pieces)
	cases := []struct {
		name, stdin string
		args        []string
		status      int
		says        string
	}{
		{"no vocabulary", "a", nil, 2, "option --vocab FILE is missing"},
		{"vocabulary missing", "a", []string{"--vocab", "none"}, 1, "open none: no such file"},
		{"two modes", "a", []string{"--vocab", vocab, "--decode", "--count"}, 2, "only one can be done"},
		{"cased decoding", "5", []string{"--vocab", vocab, "--decode", "--cased"}, 2, "--cased does nothing with --decode"},
		{"file missing", "", []string{"--vocab", vocab, "none"}, 1, "stat none: no such file"},
		{"not an id", "5\n6 x\n", []string{"--vocab", vocab, "--decode"}, 1, `read standard input: line 2: "x" is not an id`},
		{"id too large", "5 15\n", []string{"--vocab", vocab, "--decode"}, 1, "line 1: id 15 is not in vocabulary"},
		{"vocabulary and text in one", "[UNK]\n", []string{"--vocab", "-"}, 2, "standard input cannot be both"},
		{"negative id", "-1\n", []string{"--vocab", vocab, "--decode"}, 1, "line 1: id -1 is not in vocabulary"},
		{"not UTF-8", "caf\xe9", []string{"--vocab", vocab}, 1, "line 1: byte 4 is not UTF-8"},
		{"cut-off gzip", clitest.Gzip("hello hello")[:20], []string{"--vocab", vocab}, 1, "unexpected EOF"},
		{"a dump", "<mediawiki xml:lang=\"en\">\n", []string{"--vocab", vocab}, 1, "line 1: looks like a MediaWiki dump\nwordpiece: hint: run wikiextract first"},
		{"a dump to count", "\n<?xml version=\"1.0\"?>\n", []string{"--vocab", vocab, "--count"}, 1, "line 2: looks like a MediaWiki dump"},
		{"documents", `{"text": "a"}`, []string{"--vocab", vocab}, 1, "looks like JSON documents\nwordpiece: hint: run segment first"},
		{"a shard", "\x89HDF\r\n\x1a\n\x00", []string{"--vocab", vocab}, 1, "line 1: looks like an HDF5 file"},
		{"a binary file", "\x7fELF\x02\x01\x00", []string{"--vocab", vocab}, 1, "line 1: byte 7 is NUL"},
		{"blank input", "\n \n", []string{"--vocab", vocab}, 1, "no word in 2 lines of input"},
		{"blank ids", "\n", []string{"--vocab", vocab, "--decode"}, 1, "no id in 1 lines of input"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			clitest.Refused(t, run, c.stdin, c.args, c.status, c.says)
		})
	}
}

func TestOutputIsAnInput(t *testing.T) {
	vocab, in := clitest.WriteFile(t, "vocab.txt", pieces), clitest.WriteFile(t, "in", "hello")
	for _, output := range []string{vocab, in} {
		if status, _, stderr := run("", "--vocab", vocab, "-o", output, in); status != 2 || !strings.Contains(stderr, "is also an input") {
			t.Errorf("exit %d: %s", status, stderr)
		}
	}
}

// The bytes must not depend on the number of threads.
func TestThreadsDoNotMatter(t *testing.T) {
	vocab := clitest.WriteFile(t, "vocab.txt", pieces)
	var text strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&text, "Hello, world %d!\n", i)
	}
	_, want, _ := run(text.String(), "--vocab", vocab, "-j1")
	for _, j := range []string{"-j2", "-j7"} {
		if _, got, stderr := run(text.String(), "--vocab", vocab, j); got != want {
			t.Errorf("%s differs from -j1\n%s", j, stderr)
		}
	}
}

// What Hugging Face's tokenizer makes of ids.
func TestGoldenDecoding(t *testing.T) {
	dir := os.Getenv("HPCBERT_DATA")
	if dir == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	f, err := os.Open(filepath.Join(dir, "wordpiece/golden/transformersjs_bert_cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ids, want := map[string]string{}, map[string]string{} // by vocabulary, a case a line
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var r struct {
			Vocab, Decoded string
			IDs            []int
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		ids[r.Vocab] += strings.Trim(fmt.Sprint(r.IDs), "[]") + "\n"
		want[r.Vocab] += r.Decoded + "\n"
	}
	if n != 60 {
		t.Errorf("%d cases, want 60", n)
	}
	for vocab := range ids {
		status, got, stderr := run(ids[vocab], "--decode", "--vocab", filepath.Join(dir, "wordpiece/vocab", vocab+"-vocab.txt"))
		if status != 0 || got != want[vocab] {
			t.Errorf("%s: exit %d\n%s\nwant\n%s%s", vocab, status, got, want[vocab], stderr)
		}
	}
}
