package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hpcbert/lib/cli/clitest"
)

// buildTools builds the programs before shard, and shard.
func buildTools(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+"/", "hpcbert/tools/wikiextract", "hpcbert/tools/segment", "hpcbert/tools/shard").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func dump(pages int) string {
	var b strings.Builder
	b.WriteString("<mediawiki>\n")
	for i := range pages {
		fmt.Fprintf(&b, "<page><title>T%d</title><ns>0</ns><id>%d</id><revision><text>Page %x is here. It ends.</text></revision></page>\n", i, i, i*i*7919)
	}
	return b.String() + "</mediawiki>\n"
}

// pipeline runs wikiextract | segment | shard -o FOLDER; during runs beside it. It returns what each said, the folder, and shard's error.
func pipeline(t *testing.T, bin string, stdin io.Reader, args []string, during func(wikiextract *os.Process)) (talk [3]bytes.Buffer, folder string, err error) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "S")
	extract, segment := exec.Command(bin+"/wikiextract", args...), exec.Command(bin+"/segment")
	spread := exec.Command(bin+"/shard", "--train", "2", "--test", "1", "-o", folder)
	all := []*exec.Cmd{extract, segment, spread}
	extract.Stdin = stdin
	for i, c := range all {
		c.Stderr = &talk[i]
		if i > 0 {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			all[i-1].Stdout, c.Stdin = w, r
		}
	}
	for i, c := range all {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			c.Stdout.(*os.File).Close() // ours: the reader is to see the end
		}
	}
	during(extract.Process)
	extract.Wait()
	segment.Wait()
	return talk, folder, spread.Wait()
}

// The examples of the help texts work as pasted, here with fewer shards.
func TestExamples(t *testing.T) {
	bin, dir := buildTools(t), t.TempDir()
	var documents strings.Builder
	for i := range 40 {
		fmt.Fprintf(&documents, "{\"text\":\"Article %d.\"}\n", i)
	}
	for name, text := range map[string]string{
		"dump.xml.bz2": dump(100), "enwiki.xml.bz2": dump(100), "enwiki-latest-pages-articles.xml.bz2": dump(100), "a.jsonl": documents.String(),
		"sentences.txt.zst": referenceCorpus(), "books/a.txt": "A book.", "wiki.txt": referenceCorpus(), "books.txt": referenceCorpus(), "lbzip2": "#!/bin/sh\nexec cat \"$2\"\n",
	} { // compression is told by the first bytes: the names may lie
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, tool := range []string{"wikiextract", "segment", "shard"} {
		help, err := exec.Command(filepath.Join(bin, tool), "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		_, examples, _ := strings.Cut(string(help), "Examples:\n")
		for line := range strings.Lines(examples) {
			line = strings.NewReplacer("256", "2", "--min-chars 200", "--min-chars 2").Replace(line)
			c := exec.Command("bash", "-o", "pipefail", "-c", line)
			c.Dir, c.Env = dir, append(os.Environ(), "PATH="+bin+":"+dir+":"+os.Getenv("PATH"))
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
	}
}

func TestFailureReachesTheEndOfThePipeline(t *testing.T) {
	bin := buildTools(t)
	packed := clitest.Gzip(dump(20_000))
	cut := clitest.WriteFile(t, "cut.gz", packed[:len(packed)*3/4])
	held, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	defer feed.Close()
	for _, c := range []struct {
		name, why string
		stdin     io.Reader
		args      []string
		during    func(*os.Process)
	}{
		{"dump cut off", "read " + cut + ": unexpected EOF", nil, []string{cut}, func(*os.Process) {}},
		{"dump missing", "open none: no such file or directory", nil, []string{"none"}, func(*os.Process) {}},
		{"killed softly", "terminated", held, nil, func(p *os.Process) {
			text := dump(20_000)
			io.WriteString(feed, text[:len(text)-20]) // more than a pipe holds: when this returns, it is at work
			p.Signal(syscall.SIGTERM)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			talk, folder, err := pipeline(t, bin, c.stdin, c.args, c.during)
			if err == nil {
				t.Error("shard succeeded")
			}
			for i, program := range []string{"segment", "shard"} {
				if said := talk[1+i].String(); !strings.Contains(said, program+": error: read standard input: line ") || !strings.Contains(said, "the program before failed: wikiextract: ") || !strings.Contains(said, c.why) {
					t.Errorf("%s says %q", program, said)
				}
			}
			if _, err := os.Stat(folder); !os.IsNotExist(err) {
				t.Errorf("the folder is there: %v", err)
			}
		})
	}
	whole := clitest.WriteFile(t, "whole.gz", packed)
	if talk, folder, err := pipeline(t, bin, nil, []string{whole}, func(*os.Process) {}); err != nil || len(clitest.ReadFolder(t, folder)) != 4 {
		t.Errorf("whole dump: %v\n%s", err, &talk[2])
	}
}
