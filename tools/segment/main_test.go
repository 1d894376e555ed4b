package main

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/cli"
	"hpcbert/lib/cli/clitest"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

func TestForms(t *testing.T) {
	const want = "Dr. Smith left.\nShe stayed.\n\nThe end.\n\n"
	cases := []struct {
		name, stdin string
		args        []string
		want        string
	}{
		{"JSON, lines joined, empty document dropped", `{"id":"1","title":"T","text":"Dr. Smith \nleft.\n\nShe stayed."}` + "\n" + `{"text":""}` + "\n" + `{"text":"The end."}`, nil, want},
		{"plain text", "Dr. Smith\nleft. She stayed.\n\nThe end.\n", nil, want},
		{"frames, title dropped", "<doc id=\"1\" title=\"T\">\nT\n\nDr. Smith left.\n\nShe stayed.\n</doc>\n<doc id=\"2\">\nU\n\nThe end.\n</doc>\n", nil, want},
		{"a document a line", "Dr. Smith left. She stayed.\nThe end.\n", []string{"--input-format", "line"}, want},
		{"a file a document", "Dr. Smith left.\n\nShe stayed.\n", []string{"--input-format=file"}, "Dr. Smith left.\nShe stayed.\n\n"},
		{"underscore in a flag", "Dr. Smith left. She stayed.\nThe end.\n", []string{"--input_format=line"}, want},
		{"gzip", clitest.Gzip("Dr. Smith left. She stayed.\n\nThe end."), nil, want},
		{"empty input", "", nil, ""},
		{"improved rules", `{"text":"A heading\nSee Fig. 3. “So.” He left."}`, []string{"--rules", "improved"}, "A heading\nSee Fig. 3.\n“So.”\nHe left.\n\n"},
		{"carriage returns in JSON", `{"text":"One\r\ntwo.\rThree."}`, nil, "One two.\nThree.\n\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := run(c.stdin, c.args...)
			if status != 0 || stdout != c.want {
				t.Errorf("exit %d, output %q, want %q\n%s", status, stdout, c.want, stderr)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	_, _, stderr := run("A cat. A dog.\n\nA bird.\n")
	if want := "segment: info: segmented 2 documents into 3 sentences, 0 documents without text dropped in "; !strings.HasPrefix(stderr, want) {
		t.Errorf("%q, want %q first", stderr, want)
	}
	if _, _, stderr := run("A cat.\n", "-q"); stderr != "" {
		t.Errorf("-q says %q", stderr)
	}
}

func TestSeveralFiles(t *testing.T) {
	a, b := clitest.WriteFile(t, "a", "One."), clitest.WriteFile(t, "b", `{"text":"Two."}`)
	if status, stdout, stderr := run("Three.", a, b, "-"); status != 0 || stdout != "One.\n\nTwo.\n\nThree.\n\n" {
		t.Errorf("exit %d, output %q\n%s", status, stdout, stderr)
	}
}

func TestFolderOfBooks(t *testing.T) {
	dir := filepath.Dir(clitest.WriteFile(t, "b.txt", "\ufeffThe house of\r\nMr. Smith. It\r\n\r\nfell.\r\n"))
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("Le caf\xe9. Fin."), 0o666); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := run("", dir)
	if want := "Le café.\nFin.\n\nThe house of Mr. Smith.\nIt fell.\n\n"; status != 0 || stdout != want {
		t.Errorf("exit %d, output %q, want %q\n%s", status, stdout, want, stderr)
	}
	if want := "segment: warning: read " + dir + "/a.txt: it is not UTF-8: taken as Latin-1, 1 characters beyond ASCII\n"; !strings.HasPrefix(stderr, want) {
		t.Errorf("%q, want %q first", stderr, want)
	}
	if status, _, stderr := run("", dir, "-o", filepath.Join(dir, "a.txt")); status != 2 || !strings.Contains(stderr, "is also an input") {
		t.Errorf("output in the folder: exit %d: %s", status, stderr)
	}
}

func TestFaults(t *testing.T) {
	text := clitest.Gzip(strings.Repeat("A sentence here. ", 100_000))
	cases := []struct {
		name, stdin string
		args        []string
		status      int
		says        string
	}{
		{"unknown flag", "", []string{"--frobnicate"}, 2, "frobnicate"},
		{"unknown form", "", []string{"--input-format", "xml"}, 2, `unknown input format "xml"`},
		{"missing file", "", []string{"no-such-file"}, 1, "no-such-file"},
		{"folder without books", "", []string{t.TempDir()}, 1, "no .txt file in folder"},
		{"unknown rules", "", []string{"--rules=best"}, 2, `option --rules: "best", want nltk or improved`},
		{"document beyond all bounds", strings.Repeat("word ", 7<<20), nil, 1, "read standard input: line 1: the line is longer than 32 MiB"},
		{"missing model", "A.", []string{"--model", "no-such-file"}, 1, "no-such-file"},
		{"model of the wrong kind", "A.", []string{"--model", clitest.WriteFile(t, "m", `{"a":1}`)}, 1, "no AbbrevTypes"},
		{"cut-off gzip", text[:len(text)-10], nil, 1, "read standard input: unexpected EOF"},
		{"gzip cut in its header", text[:5], nil, 1, "read standard input: unexpected EOF"},
		{"binary", "\x7fELF\x02\x01\x01\x00", nil, 1, "read standard input: line 1: byte 8 is NUL"},
		{"Latin-1", "One.\n\ncaf\xe9.", nil, 1, "read standard input: line 3: byte 4 is not UTF-8"},
		{"JSON cut off", "{\"text\":\"One.\"}\n{\"text\":\"Tw", nil, 1, "read standard input: line 2: broken JSON"},
		{"dump", "<mediawiki xml:lang=\"en\">\n", nil, 1, "line 1: looks like a MediaWiki dump\nsegment: hint: run wikiextract first"},
		{"dump with a declaration", "\ufeff<?xml version=\"1.0\"?>\n<mediawiki>", nil, 1, "looks like a MediaWiki dump"},
		{"blank input", "\n\n", nil, 1, "no sentence in 2 lines of input"},
		{"documents without text", `{"text":""}`, nil, 1, "no sentence in 1 lines of input"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			clitest.Refused(t, run, c.stdin, c.args, c.status, c.says)
		})
	}
}

func TestOutputFaults(t *testing.T) {
	in := clitest.WriteFile(t, "in", "One. Two.")
	cases := []struct{ name, output, says string }{
		{"folder missing", filepath.Join(t.TempDir(), "none", "out"), "no such file or directory"},
		{"output of xz", "out.xz", "hint: can write .gz and .zst"},
		{"output is the input", in, "is also an input"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if status, _, stderr := run("", in, "-o", c.output); status == 0 || !strings.Contains(stderr, c.says) {
				t.Errorf("exit %d: %s", status, stderr)
			}
		})
	}
	if b, err := os.ReadFile(in); err != nil || string(b) != "One. Two." {
		t.Errorf("the input is now %q, %v", b, err)
	}
}

func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	defer full.Close()
	var o options
	status, talk := clitest.RunTo(full, program, &o, o.run, strings.Repeat("A sentence here. \n\n", 200_000))
	for _, want := range []string{"write standard output: ", "no space left", "hint: free some space"} {
		if status != 1 || !strings.Contains(talk, want) {
			t.Errorf("exit %d: %s", status, talk)
		}
	}
}

// The bytes must not depend on the number of threads, nor on how much is read at a time.
func TestThreadsDoNotMatter(t *testing.T) {
	var in strings.Builder
	for i := range 3000 {
		in.WriteString(strings.Repeat("Mr. Jones came. He saw 3. cats and left. ", i%97) + "The end.\n\n")
	}
	_, want, _ := run(in.String(), "-j1")
	for _, j := range []string{"-j2", "-j3", "-j16"} {
		if _, got, stderr := run(in.String(), j); got != want {
			t.Errorf("%s differs from -j1 in length %d, %d\n%s", j, len(got), len(want), stderr)
		}
	}
}

// A canceled run ends, whatever waits for whom.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	in, feed := io.Pipe()
	defer feed.Close()
	go func() {
		io.WriteString(feed, strings.Repeat("A sentence.\n\n", 10_000))
		cancel()
	}()
	var o options
	o.Form, o.Rules = "auto", "nltk"
	err := o.run(ctx, &cli.Env{Stdin: in, Stdout: io.Discard, Stderr: io.Discard, Getenv: os.Getenv}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func golden(t *testing.T, name string) string {
	dir := os.Getenv("HPCBERT_DATA")
	if dir == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	return filepath.Join(dir, name)
}

func unpack(t *testing.T, name string) string {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// From the extractor's files, and from formatted articles, the whole way to the sentences of the reference.
func TestGolden(t *testing.T) {
	wiki := unpack(t, golden(t, "wiki/golden/enwiki-shortened.punkt_sentences.txt.gz"))
	frames := golden(t, "wiki/golden/enwiki-shortened.wikiextractor.txt.gz")
	if status, stdout, stderr := run("", frames); status != 0 || stdout != wiki {
		t.Errorf("frames: exit %d, %d bytes, want %d\n%s", status, len(stdout), len(wiki), stderr)
	}
	lines := golden(t, "wiki/golden/enwiki-shortened.one_article_per_line.txt.gz")
	if status, stdout, stderr := run("", "--input-format", "line", lines); status != 0 || stdout != wiki {
		t.Errorf("lines: exit %d, %d bytes, want %d\n%s", status, len(stdout), len(wiki), stderr)
	}
	books, err := filepath.Glob(golden(t, "books/gutenberg/*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--input-format", "file"}
	for _, b := range books {
		if base := filepath.Base(b); base != "chesterton-ball.txt" && base != "shakespeare-caesar.txt" { // Latin-1
			args = append(args, b)
		}
	}
	want := unpack(t, golden(t, "books/golden/gutenberg.shared.punkt_sentences.txt.gz"))
	if status, stdout, stderr := run("", args...); status != 0 || stdout != want {
		t.Errorf("books: exit %d, %d bytes, want %d\n%s", status, len(stdout), len(want), stderr)
	}
	status, stdout, stderr := run("", golden(t, "books/gutenberg"), golden(t, "books/state_union"))
	if status != 0 || strings.Count(stderr, "taken as Latin-1") != 8 || strings.Count(stdout, "\n\n") != len(books)+65 {
		t.Errorf("folder of books: exit %d, %d documents: %s", status, strings.Count(stdout, "\n\n"), stderr)
	}
	if status, _, stderr := run("", golden(t, "books/gutenberg/shakespeare-caesar.txt")); status != 1 || !strings.Contains(stderr, "is not UTF-8") {
		t.Errorf("Latin-1 book: exit %d: %s", status, stderr)
	}
}
