package corpus

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/fault"

	"github.com/google/go-cmp/cmp"
)

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.txt": "B one.\n\nB two.\n", "a/z.txt": "Z \xe9.", "c.txt.gz": "\n{\"text\":\"C\"}\n{\"text\":\"D\"}\n", "README": "not a book", ".hidden.txt": "no",
		".git/x.txt": "no", "wiki/AA/wiki_01": "<doc id=\"1\">\nT\nsecond\n</doc>\n", "wiki/AA/wiki_00": "<doc id=\"0\">\nT\nfirst\n</doc>\n", "empty/e.md": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name  string
		names []string
		form  Form
		want  []string // texts; or the error
		warns string
	}{
		{"books", []string{"."}, Auto, []string{"Z é.", "B one.\nB two.", "C", "D"}, "read a/z.txt: it is not UTF-8: taken as Latin-1, 1 characters beyond ASCII"},
		{"a folder and a file", []string{"a", "b.txt"}, Auto, []string{"Z é.", "B one.", "B two."}, "read a/z.txt: it is not UTF-8: taken as Latin-1, 1 characters beyond ASCII"},
		{"extracted articles", []string{"wiki"}, Doc, []string{"first", "second"}, ""},
		{"no books", []string{"b.txt", "wiki"}, Auto, []string{"no .txt file in folder wiki"}, ""},
	}
	t.Chdir(dir)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, warns := readFolder(t, c.names, c.form)
			if diff := cmp.Diff(c.want, got); diff != "" || warns != c.warns {
				t.Errorf("warns %q, want %q; (-want +got):\n%s", warns, c.warns, diff)
			}
		})
	}
}

// readFolder returns the texts of all documents, or the error alone, and the warnings.
func readFolder(t *testing.T, names []string, form Form) (texts []string, warns string) {
	in, err := OpenDocuments(context.Background(), names, nil, form, 2)
	if err != nil {
		if fault.HintOf(err) == "" {
			t.Error("no hint")
		}
		return []string{err.Error()}, ""
	}
	defer in.Close()
	in.Warn = func(text string) { warns += text }
	for {
		d, err := in.Next()
		if err == io.EOF {
			return texts, warns
		}
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, d.Text)
	}
}

// endless is text without a newline, or with short lines.
type endless struct{ block string }

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.block)
	}
	return n, nil
}

func TestNoDocumentFillsTheMemory(t *testing.T) {
	for _, c := range []struct {
		name, block, want string
		form              Form
	}{
		{"one line of plain text", "word ", "read x: line 1: the line is longer than 32 MiB", Auto},
		{"one line of JSON", `{"text":"`, "read x: line 1: the line is longer than 32 MiB", Auto},
		{"lines of plain text", strings.Repeat("word ", 999) + "\n", "the document is longer than 32 MiB", Text},
		{"lines of a book", strings.Repeat("word ", 999) + "\n", "the document is longer than 32 MiB", File},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewFormReader(endless{c.block}, "x", c.form).Next()
			if err == nil || !strings.Contains(err.Error(), c.want) || fault.HintOf(err) == "" {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
