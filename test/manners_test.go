package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHelp asks every program for its help: on standard output, with examples, in at most 60 lines.
func TestHelp(t *testing.T) {
	tools, err := os.ReadDir("../tools")
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range tools {
		got := must(t, filepath.Join(programs, tool.Name())+" --help")
		if n := strings.Count(got.stdout, "\n") + 1; n > 60 {
			t.Errorf("%s --help: %d lines, expected at most 60", tool.Name(), n)
		}
		if !strings.Contains(got.stdout, "Examples:\n") || got.stderr != "" {
			t.Errorf("%s --help: no examples, or words on standard error: %q", tool.Name(), got.stderr)
		}
	}
}
