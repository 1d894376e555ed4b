package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/lib/cli/clitest"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

const metrics = `{"run":"pretraining","steps":2}` + "\n" + `{"step":1,"loss":9.5,"learning_rate":0.1,"sequences_per_s":8}` + "\n" +
	`{"step":2,"loss":9.25,"learning_rate":0.2,"sequences_per_s":9}` + "\n"

func TestPictures(t *testing.T) {
	dir := t.TempDir()
	file := clitest.WriteFile(t, "metrics.jsonl", metrics)
	for suffix, magic := range map[string]string{".png": "\x89PNG", ".svg": "<?xml", ".pdf": "%PDF"} {
		status, _, stderr := run(metrics, "-o", filepath.Join(dir, "loss"+suffix), "-", file)
		if status != 0 || !strings.Contains(stderr, "loss, learning_rate, sequences_per_s of 4 steps in 2 file(s)") {
			t.Errorf("%s: exit %d: %s", suffix, status, stderr)
		}
		if got := clitest.ReadFolder(t, dir)["loss"+suffix]; !strings.HasPrefix(got, magic) {
			t.Errorf("%s: begins with %.10q", suffix, got)
		}
	}
}

// TestRunThatGoesOn draws a file whose last line is being written, beside one without throughput.
func TestRunThatGoesOn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "loss.png")
	other := clitest.WriteFile(t, "metrics.jsonl", `{"step":1,"loss":3,"learning_rate":0.1}`+"\n")
	status, _, stderr := run(metrics+`{"step":3,"lo`, "--smooth", "2", "-o", name, "-", other)
	if status != 0 || !strings.Contains(stderr, "of 3 steps in 2 file(s)") || !strings.Contains(stderr, "warning: "+other+" has no sequences_per_s") {
		t.Errorf("exit %d: %s", status, stderr)
	}
}

// TestPhasesOfOneTraining draws two phases as one file, and as two that --join joins.
func TestPhasesOfOneTraining(t *testing.T) {
	file := clitest.WriteFile(t, "metrics.jsonl", metrics)
	for _, args := range [][]string{{"-"}, {"--join", file, file}} {
		status, _, stderr := run(metrics+metrics, append(args, "-o", filepath.Join(t.TempDir(), "loss.svg"))...)
		if status != 0 || !strings.Contains(stderr, " of 4 steps in ") {
			t.Errorf("%q: exit %d: %s", args, status, stderr)
		}
	}
}

func TestLabels(t *testing.T) {
	got := labels([]string{"a/metrics.jsonl", "b/dllogger.json", "b/metrics.jsonl", "metrics.jsonl", "c/run.jsonl", "-"})
	if want := []string{"a", "b", "b/metrics.jsonl", "metrics.jsonl", "c/run.jsonl", "-"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFaults(t *testing.T) {
	same := clitest.WriteFile(t, "same.png", metrics)
	for _, c := range []struct {
		name, stdin string
		args        []string
		status      int
		says        []string
	}{
		{"unknown flag", metrics, []string{"--frobnicate"}, 2, []string{"frobnicate"}},
		{"unknown form", metrics, []string{"-o", "loss.bmp"}, 2, []string{`option -o "loss.bmp"`, ".png"}},
		{"negative smoothing", metrics, []string{"--smooth", "-1"}, 2, []string{"--smooth -1"}},
		{"a label too many", metrics, []string{"--label", "a", "--label", "b"}, 2, []string{"2 labels for 1 files"}},
		{"missing file", "", []string{"none.jsonl"}, 1, []string{"none.jsonl"}},
		{"folder", "", []string{t.TempDir()}, 1, []string{"is a directory"}},
		{"empty", "", nil, 1, []string{`read standard input: no step has a number "loss"`, "hint: "}},
		{"no such field", metrics, []string{"--field", "los"}, 1, []string{`no step has a number "los"`, "hint: it has learning_rate, loss, sequences_per_s"}},
		{"text", "hello\n", nil, 1, []string{"read standard input: line 1: ", "hint: "}},
		{"broken in the middle", `{"step":3,"lo` + "\n" + metrics, nil, 1, []string{"read standard input: line 1: ", "hint: "}},
		{"output is the input", metrics, []string{"-o", same, same}, 2, []string{same}},
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
