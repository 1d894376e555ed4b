package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/cli/clitest"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

const metrics = `{"run":"pretraining","steps":2}` + "\n" + `{"step":1,"loss":9.5}` + "\n" + `{"step":2,"loss":9.25}` + "\n"

func TestPictures(t *testing.T) {
	dir := t.TempDir()
	file := clitest.WriteFile(t, "metrics.jsonl", metrics)
	for suffix, magic := range map[string]string{".png": "\x89PNG", ".svg": "<?xml", ".pdf": "%PDF"} {
		status, _, stderr := run(metrics, "-o", filepath.Join(dir, "loss"+suffix), "-", file)
		if status != 0 || !strings.Contains(stderr, "loss of 4 steps in 2 file(s)") {
			t.Errorf("%s: exit %d: %s", suffix, status, stderr)
		}
		if got := clitest.ReadFolder(t, dir)["loss"+suffix]; !strings.HasPrefix(got, magic) {
			t.Errorf("%s: begins with %.10q", suffix, got)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name, stdin string
		args        []string
		status      int
		says        []string
	}{
		{"unknown flag", metrics, []string{"--frobnicate"}, 2, []string{"frobnicate"}},
		{"unknown form", metrics, []string{"-o", "loss.bmp"}, 2, []string{`option -o "loss.bmp"`, ".png"}},
		{"missing file", "", []string{"none.jsonl"}, 1, []string{"none.jsonl"}},
		{"folder", "", []string{t.TempDir()}, 1, []string{"is a directory"}},
		{"empty", "", nil, 1, []string{`read standard input: no step has a number "loss"`, "hint: "}},
		{"no such field", metrics, []string{"--field", "los"}, 1, []string{`no step has a number "los"`, "hint: "}},
		{"text", "hello\n", nil, 1, []string{"read standard input: line 1: ", "hint: "}},
		{"cut off", metrics + `{"step":3,"lo`, nil, 1, []string{"read standard input: line 4: ", "hint: "}},
		{"output folder is missing", metrics, []string{"-o", filepath.Join(t.TempDir(), "none", "loss.png")}, 1, []string{"no such file or directory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			status, stdout, stderr := run(c.stdin, append([]string{"-o", filepath.Join(dir, "loss.png")}, c.args...)...)
			if status != c.status || stdout != "" || strings.Count(stderr, ": error: ") != 1 {
				t.Errorf("exit %d, want %d, output %q: %s", status, c.status, stdout, stderr)
			}
			for _, want := range c.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("says %q, want %q", stderr, want)
				}
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
