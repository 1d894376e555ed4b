package corpus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Blocks must hold whole lines, all of them, however long.
func TestBlocks(t *testing.T) {
	long := strings.Repeat("x", 3*blockBytes)
	cases := []struct{ name, text string }{
		{"empty", ""},
		{"no newline at the end", "a\nb"},
		{"line ends on the block's end", strings.Repeat("y", blockBytes-1) + "\nz\n"},
		{"line one longer than a block", strings.Repeat("y", blockBytes) + "\nz"},
		{"lines longer than blocks", "a\n" + long + "\nb\n" + long},
		{"many lines", strings.Repeat("some words here\n", 20_000)},
		{"only newlines", "\n\n\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in, err := OpenBlocks(t.Context(), nil, strings.NewReader(c.text), 1)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for {
				b, err := in.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if before := strings.Count(got.String(), "\n"); b.First != before+1 {
					t.Errorf("a block begins at line %d, want %d", b.First, before+1)
				}
				got.WriteString(b.Text)
			}
			if got.String() != c.text {
				t.Errorf("%d bytes, want %d", got.Len(), len(c.text))
			}
			want := strings.Count(c.text, "\n")
			if c.text != "" && !strings.HasSuffix(c.text, "\n") {
				want++
			}
			if in.Lines() != want {
				t.Errorf("%d lines, want %d", in.Lines(), want)
			}
		})
	}
}

func TestBlocksRefuse(t *testing.T) {
	cases := []struct{ name, text, err string }{
		{"NUL", "a\nb\x00", "read standard input: line 2: byte 2 is NUL"},
		{"Latin-1", strings.Repeat("a\n", blockBytes) + "caf\xe9\n", fmt.Sprintf("read standard input: line %d: byte 4 is not UTF-8", blockBytes+1)},
		{"endless line", "a\n" + strings.Repeat("x", maxDocument+1<<20), "read standard input: line 2: the line is longer than 32 MiB"},
		{"the program before failed", "a\n\x00failed: segment: no\n", "read standard input: line 2: the program before failed: segment: no"},
	}
	for _, c := range cases {
		for _, threads := range []int{1, 4} {
			in, err := OpenBlocks(t.Context(), nil, strings.NewReader(c.text), 1)
			if err != nil {
				t.Fatal(err)
			}
			err = MapBlocks(t.Context(), in, threads, func(b Block) (int, error) { return 0, nil }, func(int) error { return nil })
			if err == nil || err.Error() != c.err {
				t.Errorf("%s, %d threads: error %v, want %s", c.name, threads, err, c.err)
			}
		}
	}
}

func TestCheckSentencesOfBlock(t *testing.T) {
	for text, refused := range map[string]bool{"A sentence.\n": false, "\n\n{\"text\": \"a\"}\n": true, "<mediawiki>\n": true, "\n": false} {
		b := Block{Name: "f", First: 1, Text: text}
		if err := b.CheckSentences(); (err != nil) != refused {
			t.Errorf("%q: error %v", text, err)
		}
		b.First = 2
		if err := b.CheckSentences(); err != nil {
			t.Errorf("second block: %v", err)
		}
	}
}

// Order, several files, errors of each function, and the end of the context must not depend on the number of threads.
func TestMapBlocks(t *testing.T) {
	dir := t.TempDir()
	var names []string
	want := ""
	for i := range 3 {
		text := strings.Repeat(fmt.Sprintf("line of %d\n", i), 30_000)
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		names, want = append(names, name), want+text
	}
	stop := errors.New("stop")
	for _, threads := range []int{1, 2, 7} {
		run := func(ctx context.Context, work func(Block) (string, error), done func(string) error) error {
			in, err := OpenBlocks(ctx, names, nil, 2)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			return MapBlocks(ctx, in, threads, work, done)
		}
		var got strings.Builder
		text := func(b Block) (string, error) { return b.Text, nil }
		keep := func(s string) error { got.WriteString(s); return nil }
		if err := run(t.Context(), text, keep); err != nil || got.String() != want {
			t.Errorf("%d threads: error %v, %d bytes, want %d", threads, err, got.Len(), len(want))
		}
		if err := run(t.Context(), func(b Block) (string, error) { return "", stop }, keep); err != stop {
			t.Errorf("%d threads, work fails: error %v", threads, err)
		}
		if err := run(t.Context(), text, func(string) error { return stop }); err != stop {
			t.Errorf("%d threads, done fails: error %v", threads, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := run(ctx, func(b Block) (string, error) { cancel(); return "", nil }, keep); !errors.Is(err, context.Canceled) {
			t.Errorf("%d threads, canceled: error %v", threads, err)
		}
	}
}
