// Package clitest runs programs inside their tests.
package clitest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/lib/cli"
)

// Run runs a program and returns its exit status, standard output and standard error.
func Run(p cli.Program, o cli.Options, work cli.Work, stdin string, args ...string) (status int, stdout, stderr string) {
	var out bytes.Buffer
	status, stderr = RunTo(&out, p, o, work, stdin, args...)
	return status, out.String(), stderr
}

// RunTo is Run with a standard output of the caller's, such as a full device.
func RunTo(stdout io.Writer, p cli.Program, o cli.Options, work cli.Work, stdin string, args ...string) (status int, stderr string) {
	var talk bytes.Buffer
	status = cli.Run(p, o, work, args, &cli.Env{Stdin: strings.NewReader(stdin), Stdout: stdout, Stderr: &talk})
	return status, talk.String()
}

// Refused checks that a program, run with an output file, ends with that status, says what it says in one error, and leaves no output.
func Refused(t *testing.T, run func(stdin string, args ...string) (status int, stdout, stderr string), stdin string, args []string, status int, says string) {
	t.Helper()
	dir := t.TempDir()
	got, stdout, stderr := run(stdin, append(slices.Clip(args), "-o", filepath.Join(dir, "out"))...)
	if got != status || !strings.Contains(stderr, says) || strings.Count(stderr, ": error: ") != 1 {
		t.Errorf("exit %d, want %d; says %q, want %q once", got, status, stderr, says)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 || stdout != "" {
		t.Errorf("left behind: %v, output %q", left, stdout)
	}
}

// Examples returns the arguments of the lines that a program's help shows, as a shell makes them in this folder.
func Examples(t *testing.T, p cli.Program) (all [][]string) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(p.Examples)) {
		args, ofProgram := strings.CutPrefix(strings.TrimSpace(line), p.Name)
		if !ofProgram {
			t.Fatalf("%s is no example of %s", line, p.Name)
		}
		out, err := exec.Command("bash", "-c", `printf '%s\0' `+args).Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"))
	}
	return all
}

// WriteFile writes text to a file of that name in a folder of its own and returns its path.
func WriteFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// ReadJSON reads a file that must hold something.
func ReadJSON[T any](t *testing.T, name string, into *[]T) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil || len(*into) == 0 {
		t.Fatalf("%s: %d entries, %v", name, len(*into), err)
	}
}

// ReadFolder returns the contents of a folder's files by name.
func ReadFolder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return files
}

// Gzip returns text compressed.
func Gzip(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}
