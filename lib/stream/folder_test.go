package stream

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The pattern is one of names in the folder, whose own name is none.
func TestInFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a[b]*?/x-2.json", "a[b]*?/x-1.json", "a[b]*?/x-1.txt", "a[b]*?/deeper/x-3.json", "ab/x-4.json", "x-5.json"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string][]string{
		"a[b]*?":   {"a[b]*?/x-1.json", "a[b]*?/x-2.json"},
		"":         {"x-5.json"},
		".":        {"x-5.json"},
		"none":     nil,
		"x-5.json": nil,
	} {
		if got, err := InFolder(dir, "x-*.json"); !slices.Equal(got, want) || err != nil {
			t.Errorf("in %q: %q, %v, expected %q", dir, got, err, want)
		}
	}
}
