package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tools returns the names of all programs.
func tools(t *testing.T) (names []string) {
	t.Helper()
	folders, err := os.ReadDir("../tools")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		names = append(names, f.Name())
	}
	return names
}

// TestHelp asks every program for its help: on standard output, with examples, in at most 60 lines.
func TestHelp(t *testing.T) {
	for _, tool := range tools(t) {
		got := must(t, filepath.Join(programs, tool)+" --help")
		if n := strings.Count(got.stdout, "\n") + 1; n > 60 {
			t.Errorf("%s --help: %d lines, expected at most 60", tool, n)
		}
		if !strings.Contains(got.stdout, "Examples:\n") || got.stderr != "" {
			t.Errorf("%s --help: no examples, or words on standard error: %q", tool, got.stderr)
		}
		if regexp.MustCompile(`\(required\)\s+\(required\)`).MatchString(got.stdout) {
			t.Errorf("%s --help: lib/cli says which options are required, their descriptions need not:\n%s", tool, got.stdout)
		}
	}
}

var (
	optionOfHelp = regexp.MustCompile(`(?m)^ +(?:-., )?--([a-z-]+)=`)
	wordsOfGo    = regexp.MustCompile(`strconv|parsing|invalid argument|\bflag\b|\b(main|cli)\.|\bu?int(8|16|32|64)?\b|\bfloat(32|64)?\b`)
)

// TestUsageErrors gives every option of every program what it cannot take, and behind it an option that nobody has, so that nothing is run.
func TestUsageErrors(t *testing.T) {
	for _, tool := range tools(t) {
		help := must(t, tool+" --help-all").stdout
		lines := []string{"--no-such", "-j 0", "-j -1 --no-such", "--quiet=yes"}
		for _, m := range optionOfHelp.FindAllStringSubmatch(help, -1) {
			lines = append(lines, "--"+m[1]+"='?!' --no-such", "--"+m[1], "--"+m[1]+"=-1x --no-such", "--"+m[1]+"=99999999999999999999 --no-such")
		}
		for _, line := range lines {
			r := sh(t, tool+" "+line+" </dev/null")
			first, rest, _ := strings.Cut(r.stderr, "\n")
			if r.status != 2 || r.stdout != "" || !strings.HasPrefix(first, tool+": error: ") || rest != tool+": hint: "+tool+" --help lists the options\n" {
				t.Errorf("%s %s: exit status %d\n%s%s", tool, line, r.status, r.stdout, r.stderr)
			}
			if word := wordsOfGo.FindString(first); word != "" {
				t.Errorf("%s %s: says %q, a word of Go: %s", tool, line, word, first)
			}
		}
	}
}

// TestMissingOptions: what is required is marked in the help, and missed in the same words everywhere.
func TestMissingOptions(t *testing.T) {
	says := regexp.MustCompile(`^[a-z]+: error: (option \S+ [A-Z]+ is|options (\S+ [A-Z]+, )*\S+ [A-Z]+ and \S+ [A-Z]+ are) missing\n[a-z]+: hint: [a-z]+ --help lists the options\n$`)
	marked := 0
	for _, tool := range tools(t) {
		if !strings.Contains(strings.Join(strings.Fields(must(t, tool+" --help-all").stdout), " "), "(required") {
			continue
		}
		marked++
		if r := sh(t, tool+" </dev/null"); r.status != 2 || !says.MatchString(r.stderr) {
			t.Errorf("%s: exit status %d, %q", tool, r.status, r.stderr)
		}
	}
	if marked < 4 {
		t.Errorf("%d programs require an option, expected more", marked)
	}
}

// TestEmptyInput: of an empty text comes an empty text, as of cat and sort. What cannot be made of nothing (a dump is XML, never empty) is an
// error, and so is input that is there but yields nothing.
func TestEmptyInput(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		command string
		status  int // for empty input
	}{
		{"segment", 0},
		{"wordpiece --vocab $REPO/test/data/vocab.txt", 0},
		{"wordpiece --decode --vocab $REPO/test/data/vocab.txt", 0},
		{"wikiextract", 1},
		{"shard --train 1 -o out", 1},
		{"shard --train 1 --dry-run", 1},
		{"mkvocab -o out", 1},
		{"mkvocab", 1},
		{"bertplot -o out.png", 1},
		{"cat > in.txt; mkpretrain --vocab $REPO/test/data/vocab.txt -o out in.txt", 1},
	} {
		for input, status := range map[string]int{"": c.status, `\n \n\n`: 1} {
			r := sh(t, inFolder(t, dir, "printf '"+input+"' | { "+c.command+"; }"))
			whole := !strings.Contains(r.stdout, "error") && !strings.Contains(r.stdout, "failed")
			if r.status != status || status == 0 && (r.stdout != "" || strings.Contains(r.stderr, "error")) || status == 1 && strings.Count(r.stderr, ": error: ") != 1 {
				t.Errorf("%q to %s: exit status %d, expected %d; output %q\n%s", input, c.command, r.status, status, r.stdout, r.stderr)
			}
			if filter := c.command == "wikiextract" || c.command == "segment" || strings.HasPrefix(c.command, "wordpiece"); filter && whole != (status == 0) {
				t.Errorf("%q to %s: exit status %d, but the reader of the pipe is told %q", input, c.command, r.status, r.stdout)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "out*")); len(left) > 0 {
				t.Errorf("%q to %s: left %v", input, c.command, left)
			}
		}
	}
}

// TestReaderGone: a filter whose reader has ended, such as head, ends too, and silently, although its own input neither ends nor brings more.
func TestReaderGone(t *testing.T) {
	for _, line := range []string{"wikiextract", "wikiextract --no-templates", "segment", "mkvocab", "wordpiece --vocab data/vocab.txt", "shard --train 1 --dry-run"} {
		args := strings.Fields(line)
		cmd := exec.Command(filepath.Join(programs, args[0]), args[1:]...)
		var talk bytes.Buffer
		cmd.Stderr = &talk
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		in.Write([]byte(map[bool]string{true: "<mediawiki>\n", false: "A sentence.\n\n"}[args[0] == "wikiextract"]))
		time.Sleep(100 * time.Millisecond)
		out.Close()
		cmd.Wait()
		if !late.Stop() || talk.Len() > 0 || cmd.ProcessState.Success() {
			t.Errorf("%s: %v, says %q", line, cmd.ProcessState, talk.String())
		}
	}
}

// TestMarkOfAFailure: segment fails, its output is a file with a mark only, and nobody behind it takes that for sentences.
func TestMarkOfAFailure(t *testing.T) {
	dir := t.TempDir()
	for _, line := range []string{"segment none", "segment .", "segment --model none $REPO/README.md", "wikiextract --format line none", "wordpiece --vocab none $REPO/README.md",
		"wordpiece --vocab $REPO/test/data/vocab.txt none"} {
		if r := sh(t, inFolder(t, dir, line)); r.status != 1 || !strings.HasPrefix(r.stdout, "\x00failed: "+strings.Fields(line)[0]+": ") || strings.Count(r.stdout, "\n") != 1 {
			t.Errorf("%s: exit status %d, output %q", line, r.status, r.stdout)
		}
	}
	r := sh(t, inFolder(t, dir, `printf '{"text": 3' | segment > marked.txt`))
	if text := read(t, filepath.Join(dir, "marked.txt")); r.status != 1 || !strings.HasPrefix(text, "\x00failed: segment: ") || strings.Count(text, "\n") != 1 {
		t.Fatalf("segment: exit status %d, output %q", r.status, text)
	}
	for _, line := range []string{"shard --train 1 -o out marked.txt", "mkpretrain --vocab $REPO/test/data/vocab.txt -o out marked.txt", "mkpretrain --vocab $REPO/test/data/vocab.txt --text 1 marked.txt",
		"wordpiece --vocab $REPO/test/data/vocab.txt -o out marked.txt", "mkvocab -o out marked.txt"} {
		r := sh(t, inFolder(t, dir, line))
		if r.status != 1 || r.stdout != "" || !strings.Contains(r.stderr, "the program before failed: segment: read standard input: ") {
			t.Errorf("%s: exit status %d, %s%s", line, r.status, r.stdout, r.stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
			t.Errorf("%s: left an output", line)
		}
	}
}
