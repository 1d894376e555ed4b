package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hpcbert/lib/cli/clitest"

	"github.com/google/go-cmp/cmp"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

func mustRun(t *testing.T, stdin string, args ...string) {
	t.Helper()
	if status, _, stderr := run(stdin, args...); status != 0 {
		t.Fatalf("shard %q: exit %d\n%s", args, status, stderr)
	}
}

// referenceCorpus has 40 articles, article k of 1+((7k²+3k) mod 23) sentences.
func referenceCorpus() string {
	var b strings.Builder
	for k := range 40 {
		for s := range 1 + (7*k*k+3*k)%23 {
			fmt.Fprintf(&b, "%d.%d sentence\n", k, s)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// referenceShards are the shards of the original data preparation for it, by the article numbers it gave.
func referenceShards(prefix string) map[string]string {
	placement := map[string][]int{
		"training_0": {21, 10, 37, 38, 35, 12, 11, 36, 13}, "training_1": {18, 6, 25, 24, 27, 4, 5, 26, 3},
		"training_2": {32, 33, 31, 14, 15, 20, 34, 22}, "training_3": {30, 29, 8, 2, 1, 19, 28, 17},
		"test_0": {9, 39, 16}, "test_1": {7, 23, 0},
	}
	files := map[string]string{}
	for name, articles := range placement {
		var b strings.Builder
		for _, k := range articles {
			for s := range 1 + (7*k*k+3*k)%23 {
				fmt.Fprintf(&b, "%d.%d sentence\n", k, s)
			}
			b.WriteByte('\n')
		}
		files[prefix+name+".txt"] = b.String()
	}
	return files
}

func TestShardsOfTheReference(t *testing.T) {
	text := referenceCorpus()
	half := strings.Index(text, "20.0 sentence")
	cases := []struct {
		name, stdin string
		inputs      []string
	}{
		{"standard input", text, nil},
		{"packed standard input", clitest.Gzip(text), []string{"-"}},
		{"plain file", "", []string{clitest.WriteFile(t, "in", text)}},
		{"packed file", "", []string{clitest.WriteFile(t, "in", clitest.Gzip(text))}},
		{"several files of all kinds", text[half:], []string{clitest.WriteFile(t, "a", "\n\n"+text[:half]), "-"}},
		{"several files, the second packed", "", []string{clitest.WriteFile(t, "a", text[:half]), clitest.WriteFile(t, "b", clitest.Gzip(text[half:]))}},
		{"byte order marks", "", []string{clitest.WriteFile(t, "a", "\ufeff"+text[:half]), clitest.WriteFile(t, "b", "\ufeff"+text[half:])}},
		{"carriage returns", strings.ReplaceAll(text, "\n", "\r\n"), nil},
		{"no last newlines", strings.TrimRight(text, "\n"), nil},
		{"more blank lines", strings.ReplaceAll(text, "\n\n", "\n\n \n\n"), nil},
	}
	for _, c := range cases {
		for _, threads := range []string{"-j1", "-j5"} {
			t.Run(c.name+threads, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "a", "shards")
				mustRun(t, c.stdin, append([]string{threads, "--train", "4", "--test=2", "--name", "wiki", "-o", dir}, c.inputs...)...)
				got := clitest.ReadFolder(t, dir)
				if !strings.Contains(got["wiki_shards.json"], `"sentences": 432`) {
					t.Errorf("shards.json: %s", got["wiki_shards.json"])
				}
				delete(got, "wiki_shards.json")
				if diff := cmp.Diff(referenceShards("wiki_"), got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestDryRun(t *testing.T) {
	status, stdout, stderr := run(referenceCorpus(), "--train", "4", "--test", "2", "--dry-run")
	want := "training_0.txt\t9\t99\ntraining_1.txt\t9\t99\ntraining_2.txt\t8\t95\ntraining_3.txt\t8\t95\ntest_0.txt\t3\t22\ntest_1.txt\t3\t22\n"
	if status != 0 || stdout != want {
		t.Errorf("exit %d, output %q\n%s", status, stdout, stderr)
	}
}

func TestBalance(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, referenceCorpus(), "--train", "3", "--test", "1", "--fraction", "0.25", "--balance", "-o", dir)
	for name, text := range clitest.ReadFolder(t, dir) {
		if n := strings.Count(text, " sentence\n"); name != "shards.json" && (n < 432/4-23 || n > 432/4+23) {
			t.Errorf("%s: %d sentences, want %d and at most one article of 23 more or less", name, n, 432/4)
		}
	}
}

func TestCheck(t *testing.T) {
	cases := []struct {
		name   string
		change func(dir string) error
		says   string // "" = is whole
	}{
		{"whole", func(string) error { return nil }, ""},
		{"another set beside it", func(dir string) error { return os.WriteFile(filepath.Join(dir, "b_test_0.txt"), []byte("b.\n"), 0o666) }, ""},
		{"file missing", func(dir string) error { return os.Remove(filepath.Join(dir, "test_1.txt")) }, "test_1.txt is missing"},
		{"file of another set", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "training_4.txt"), []byte("b.\n"), 0o666)
		}, "training_4.txt is not of this set"},
		{"file cut off", func(dir string) error { return os.Truncate(filepath.Join(dir, "training_2.txt"), 100) }, "training_2.txt has 1 articles of 8 sentences, want 8 of 95"},
		{"one letter changed", func(dir string) error {
			return edit(filepath.Join(dir, "test_0.txt"), "9.0 sentence", "9.0 sentense")
		}, "test_0.txt holds other text than was written"},
		{"no text", func(dir string) error { return edit(filepath.Join(dir, "test_0.txt"), "9.0 sentence", "9.0 sent\xff") }, "line 1: byte 9 is not UTF-8"},
		{"manifest changed", func(dir string) error { return edit(filepath.Join(dir, "shards.json"), "432", "433") }, "shards.json tells of 6 files, 40 articles and 433 sentences"},
		{"manifest broken", func(dir string) error { return os.Truncate(filepath.Join(dir, "shards.json"), 50) }, "shards.json: unexpected end of JSON"},
		{"no manifest", func(dir string) error { return os.Remove(filepath.Join(dir, "shards.json")) }, "has no shards.json: 6 shards, not known to be whole"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			mustRun(t, referenceCorpus(), "--train", "4", "--test", "2", "-o", dir)
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			status, stdout, stderr := run("", "--check", dir)
			if c.says == "" && (status != 0 || !strings.Contains(stderr, "is whole: 40 articles of 432 sentences")) {
				t.Errorf("exit %d: %s", status, stderr)
			}
			if c.says != "" && (status != 3 || !strings.Contains(stderr, c.says)) || stdout != "" {
				t.Errorf("exit %d, want 3; says %q, want %q", status, stderr, c.says)
			}
		})
	}
	if status, _, stderr := run("", "--check", "none"); status != 1 || !strings.Contains(stderr, "no such file") {
		t.Errorf("folder missing: exit %d: %s", status, stderr)
	}
	if status, _, _ := run("", "--check", "none", "--train", "3"); status != 2 {
		t.Errorf("with --train: exit %d", status)
	}
}

// edit replaces a part of a file.
func edit(name, old, new string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, []byte(strings.Replace(string(text), old, new, 1)), 0o666)
}

func TestReplacing(t *testing.T) {
	text, dir := referenceCorpus(), t.TempDir()
	mustRun(t, text, "--train", "4", "--test", "2", "-o", dir)
	first := clitest.ReadFolder(t, dir)
	mustRun(t, text, "--train", "4", "--test", "2", "-o", dir)
	if diff := cmp.Diff(first, clitest.ReadFolder(t, dir)); diff != "" {
		t.Errorf("the same run again gives other bytes (-first +again):\n%s", diff)
	}
	for _, other := range [][]string{{"--train", "3", "--test", "2"}, {"--train", "4", "--test", "2", "--fraction", "0.2"}, {"--train", "4", "--test", "2", "--balance"}} {
		status, _, stderr := run(text, append(other, "-o", dir)...)
		if status != 1 || !strings.Contains(stderr, "shards of other options: 4 training, 2 test, fraction 0.1, placed as the reference does") || !strings.Contains(stderr, "shard: hint: ") {
			t.Errorf("%q: exit %d: %s", other, status, stderr)
		}
	}
	if diff := cmp.Diff(first, clitest.ReadFolder(t, dir)); diff != "" {
		t.Errorf("a refused run changed the folder (-before +after):\n%s", diff)
	}
	mustRun(t, text, "--train", "3", "--test", "1", "--name", "other", "-o", dir)
	mustRun(t, text, "--train", "2", "--test", "1", "--force", "-o", dir)
	if got := len(clitest.ReadFolder(t, dir)); got != 5+4 {
		t.Errorf("%d files, want the 5 of one set and the 4 of the other", got)
	}
	os.Remove(filepath.Join(dir, "shards.json"))
	if status, _, stderr := run(text, "--train", "2", "--test", "1", "-o", dir); status != 1 || !strings.Contains(stderr, "not known to be whole") {
		t.Errorf("unfinished set: exit %d: %s", status, stderr)
	}
}

func TestWhatAKilledRunLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".shard-123.tmp", "input0"), 0o777); err != nil {
		t.Fatal(err)
	}
	mustRun(t, referenceCorpus(), "--train", "1", "-o", dir)
	if left := clitest.ReadFolder(t, dir); len(left) != 3 {
		t.Errorf("%d files, want 3", len(left))
	}
}

func TestFaults(t *testing.T) {
	packed := clitest.Gzip(strings.Repeat(referenceCorpus(), 20))
	cases := []struct {
		name, stdin string
		args        []string
		status      int
		says        []string
	}{
		{"unknown flag", "", []string{"--frobnicate"}, 2, []string{"frobnicate"}},
		{"no training shards", "", []string{"--train=0"}, 2, []string{"0 training shards"}},
		{"fraction of everything", "", []string{"--fraction=1"}, 2, []string{"test fraction 1"}},
		{"name with a slash", "a.\n\nb.\n", []string{"--name=a/b"}, 2, []string{`set name "a/b"`}},
		{"missing file", "", []string{"no-such-file"}, 1, []string{"no-such-file", "hint: "}},
		{"folder as input", "", []string{t.TempDir()}, 1, []string{"is a directory"}},
		{"empty input", "", nil, 1, []string{"0 articles are fewer than 1 training and 1 test shards", "hint: "}},
		{"too few articles", "a.\nb.\n", nil, 1, []string{"1 articles are fewer", "hint: "}},
		{"cut-off gzip", packed[:len(packed)-10], nil, 1, []string{"read standard input: unexpected EOF", "cut off"}},
		{"documents", `{"id":"1","text":"a"}`, nil, 1, []string{"line 1: looks like JSON documents", "hint: run segment first"}},
		{"manifest", "{\n \"train\": 1\n}", nil, 1, []string{"line 1: looks like JSON", "hint: "}},
		{"frames", "<doc id=\"1\">\n", nil, 1, []string{"line 1: looks like <doc> documents", "hint: run segment first"}},
		{"dump", "\n  <page>\n", nil, 1, []string{"line 2: looks like a MediaWiki dump", "hint: run wikiextract first"}},
		{"binary", "\x7fELF\x02\x01\x01\x00", nil, 1, []string{"read standard input: line 1: byte 8 is NUL", "hint: "}},
		{"Latin-1", "a.\n\nb\xe9.\n", nil, 1, []string{"read standard input: line 3: byte 2 is not UTF-8", "hint: "}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "shards")
			status, stdout, stderr := run(c.stdin, append([]string{"--train=1", "-o", dir}, c.args...)...)
			if status != c.status || strings.Count(stderr, ": error: ") != 1 {
				t.Errorf("exit %d, want %d: %s", status, c.status, stderr)
			}
			for _, want := range c.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("says %q, want %q", stderr, want)
				}
			}
			if _, err := os.Stat(dir); err == nil || stdout != "" {
				t.Errorf("left the folder behind, or wrote %q", stdout)
			}
		})
	}
	if status, _, stderr := run("a.\n\nb.\n", "--train=1"); status != 2 || !strings.Contains(stderr, "option -o/--output FOLDER is missing") {
		t.Errorf("without -o: exit %d: %s", status, stderr)
	}
}

func TestOutputFolderIsAFile(t *testing.T) {
	name := clitest.WriteFile(t, "file", "kept")
	if status, _, stderr := run(referenceCorpus(), "--train=1", "-o", name); status != 1 || !strings.Contains(stderr, "not a directory") {
		t.Errorf("exit %d: %s", status, stderr)
	}
	if b, _ := os.ReadFile(name); string(b) != "kept" {
		t.Errorf("the file is now %q", b)
	}
}

func TestUnwritableFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: root may write anywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := run(referenceCorpus(), "--train=1", "-o", dir); status != 1 || !strings.Contains(stderr, "permission denied") || !strings.Contains(stderr, "hint: ") {
		t.Errorf("exit %d: %s", status, stderr)
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("skipped: no small file system to fill: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	text := strings.Repeat(referenceCorpus(), 80)
	cases := []struct {
		name, stdin string
		inputs      []string
	}{
		{"while writing shards", "", []string{clitest.WriteFile(t, "in", strings.Repeat(text, 4))}},
		{"while copying the input", strings.Repeat(text, 8), nil},
	}
	for _, c := range cases {
		status, _, stderr := run(c.stdin, append([]string{"--train=2", "-o", dir}, c.inputs...)...)
		if status != 1 || !strings.Contains(stderr, "no space left on device") || !strings.Contains(stderr, "hint: free some space") {
			t.Errorf("%s: exit %d: %s", c.name, status, stderr)
		}
		if left := clitest.ReadFolder(t, dir); len(left) > 0 {
			t.Errorf("%s: left %d files behind", c.name, len(left))
		}
	}
}
