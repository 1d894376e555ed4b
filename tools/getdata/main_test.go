package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/cli/clitest"
)

func run(args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, "", args...)
}

// server has /good and a catalogue of sets made of it.
func server(t *testing.T) (address, catalogue string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/good" || r.URL.Path == "/mirror/f/one.txt":
			http.ServeContent(w, r, "one.txt", time.Time{}, strings.NewReader("one\n"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	sum := sha256.Sum256([]byte("one\n"))
	set := func(name, path, content string) string {
		return fmt.Sprintf(`{"name":%q,"what":"a line","licence":"free","folder":"f","files":[{"name":"one.txt","urls":["%s%s"]%s}]}`, name, s.URL, path, content)
	}
	return s.URL, clitest.WriteFile(t, "catalogue.json", `{"sets":[`+strings.Join([]string{
		set("good", "/good", `,"sha256":"`+hex.EncodeToString(sum[:])+`"`), set("unknown", "/good", `,"format":"text"`),
		set("wrong", "/good", `,"sha256":"`+strings.Repeat("0", 64)+`"`), set("gone", "/gone", ""),
	}, ",")+`]}`)
}

func TestProgram(t *testing.T) {
	address, catalogue := server(t)
	for _, c := range []struct {
		name   string
		args   string
		status int
		out    string // of standard output
		talk   string // in the messages
		there  bool   // the file
	}{
		{"list", "list", 0, "good\t-\tfree\ta line", "", false},
		{"fetch", "good", 0, "", "getdata: info: have 1 set(s), 0 of them from before, of 1 files and 4 bytes, in ", true},
		{"licence is told", "good", 0, "", "info: good: 1 files of 4 bytes in OUT/f, licence: free", true},
		{"no checksum is known", "unknown", 0, "", "warning: unknown: no checksum is published for one.txt, only its size and form are checked: its sha256 is 2c8b08da", true},
		{"plan", "--dry-run good", 0, "good\tone.txt\t-\t" + address + "/good", "", false},
		{"plan from elsewhere", "--dry-run --from " + address + "/mirror good", 0, address + "/mirror/f/one.txt " + address + "/mirror/one.txt", "", false},
		{"from elsewhere", "--from " + address + "/mirror/ good", 0, "", "have 1 set(s)", true},
		{"from elsewhere, not there", "--from " + address + "/none good", 1, "", "none/one.txt: the server answers 404 Not Found", false},
		{"wrong checksum", "--tries 1 wrong", 1, "", "hint: the source has changed", false},
		{"not there", "gone", 1, "", "error: fetch one.txt: " + address + "/gone: the server answers 404 Not Found", false},
		{"one of two fails", "gone good", 1, "", "the server answers 404 Not Found", true},
		{"check before", "--check good", 3, "", "good is not whole in OUT/f", false},
		{"BookCorpus", "bookscorpus", 1, "", "hint: put books of your own as .txt files into a folder, then: BOOKS=FOLDER bash sub/dataprep.sub", false},
		{"BookCorpus by another name", "books", 1, "", "BookCorpus cannot be fetched from anyone", false},
		{"check of BookCorpus", "--check bookcorpus", 1, "", "BookCorpus cannot be fetched from anyone", false},
		{"list of one", "list good", 0, "good\t-\tfree\ta line\n", "", false},
		{"list of an unknown one", "list nothing", 2, "", `no set "nothing"`, false},
		{"files", "list --files good", 0, "good\tf/one.txt\t-\t" + address + "/good\n", "", false},
		{"files of a dump", "list --files wiki --lang de", 0, "wiki\tdewiki/YYYYMMDD/dumpstatus.json\t-\thttps://dumps.wikimedia.org/dewiki/YYYYMMDD/dumpstatus.json\n", "", false},
		{"files without list", "--files good", 2, "", "goes with getdata list", false},
		{"no dump to check", "--check wiki", 3, "", "enwiki-latest is not whole in OUT/wiki", false},
		{"plan of BookCorpus", "--dry-run bookscorpus", 1, "", "cannot be fetched from anyone", false},
		{"no name", "", 2, "", "no set named", false},
		{"unknown name", "good nothing", 2, "", `no set "nothing"`, false},
		{"bad date", "wiki --date 2026", 2, "", `date "2026" is neither YYYYMMDD nor latest`, false},
		{"bad language", "wiki --lang ../en", 2, "", `language "../en"`, false},
		{"bad source", "--from ftp://host good", 2, "", `option --from: "ftp://host" is neither a folder nor`, false},
		{"no such folder", "--from no/such good", 2, "", "no/such: no such file or directory", false},
		{"no tries", "--tries 0 good", 2, "", "option --tries: 0", false},
		{"no stall", "--stall 0 good", 2, "", "option --stall: 0 seconds", false},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			out := t.TempDir()
			args := append([]string{"-o", out, "--catalogue", catalogue, "--tries=1"}, strings.Fields(c.args)...)
			status, stdout, talk := run(args...)
			talk = strings.ReplaceAll(talk, out, "OUT")
			if status != c.status || !strings.Contains(stdout, c.out) || !strings.Contains(talk, c.talk) {
				t.Errorf("status %d, want %d; output %q, messages:\n%s", status, c.status, stdout, talk)
			}
			if errors := strings.Count(talk, ": error: "); status > 0 && errors != 1 {
				t.Errorf("%d errors:\n%s", errors, talk)
			}
			text, _ := os.ReadFile(filepath.Join(out, "f", "one.txt"))
			if string(text) == "one\n" != c.there {
				t.Errorf("the file holds %q", text)
			}
			if c.out == "" && stdout != "" {
				t.Errorf("standard output %q", stdout)
			}
		})
	}
}

func TestAgainAndCheck(t *testing.T) {
	_, catalogue := server(t)
	out := t.TempDir()
	for _, c := range []struct {
		args   string
		status int
		talk   string
	}{
		{"good", 0, "0 of them from before"},
		{"good", 0, "1 of them from before"},
		{"--check good", 0, "1 of them from before"},
		{"--dry-run good", 0, ""},
		{"--force good", 0, "0 of them from before"},
	} {
		status, stdout, talk := run(append([]string{"-o", out, "--catalogue", catalogue}, strings.Fields(c.args)...)...)
		if status != c.status || !strings.Contains(talk, c.talk) || stdout != "" {
			t.Errorf("%s: status %d, output %q, messages %s", c.args, status, stdout, talk)
		}
	}
	os.WriteFile(filepath.Join(out, "f", "one.txt"), []byte("oNe\n"), 0o666)
	if status, _, talk := run("-o", out, "--catalogue", catalogue, "--check", "good"); status != 3 || !strings.Contains(talk, "hint: --force fetches it anew") {
		t.Errorf("changed: status %d, messages %s", status, talk)
	}
}

// A folder that lacks a file is named, and nothing is made.
func TestFromFolderWithoutTheFile(t *testing.T) {
	_, catalogue := server(t)
	for _, c := range []struct{ name, missing string }{{"good", "one.txt"}, {"wiki", "enwiki/"}, {"wiki --date=20261101", "enwiki/20261101/dumpstatus.json"}} {
		from, out := t.TempDir(), filepath.Join(t.TempDir(), "data")
		args := append(strings.Fields(c.name), "--catalogue", catalogue, "-o", out, "--from", from)
		status, stdout, talk := run(args...)
		want := "getdata: error: " + from + " has no " + c.missing + "\ngetdata: hint: getdata list --files shows what is expected\n"
		if status != 1 || stdout != "" || talk != want {
			t.Errorf("%s: status %d, output %q, messages %s", c.name, status, stdout, talk)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: the output folder was made", c.name)
		}
	}
}

// A proxy that cannot be one is wrong usage.
func TestBadProxy(t *testing.T) {
	var o options
	var talk bytes.Buffer
	env := &cli.Env{Stdin: strings.NewReader(""), Stdout: &talk, Stderr: &talk, Getenv: func(string) string { return "ftp://me:secret@proxy" }}
	status := cli.Run(program, &o, o.run, []string{"-o", t.TempDir(), "squad"}, env)
	if status != 2 || !strings.Contains(talk.String(), "_PROXY is not the address of a proxy") || strings.Contains(talk.String(), "secret") {
		t.Errorf("status %d, messages %s", status, &talk)
	}
}

// The proxy is that of the environment.
func TestProxyFromEnvironment(t *testing.T) {
	asked := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		http.ServeContent(w, r, "one.txt", time.Time{}, strings.NewReader("one\n"))
	}))
	defer proxy.Close()
	catalogue := clitest.WriteFile(t, "catalogue.json", `{"sets":[{"name":"x","folder":"x","files":[{"name":"one.txt","urls":["http://data.example/one.txt"]}]}]}`)
	for _, name := range []string{"HTTP_PROXY", "http_proxy"} {
		asked = ""
		var o options
		var talk bytes.Buffer
		env := &cli.Env{Stdin: strings.NewReader(""), Stdout: &talk, Stderr: &talk, Getenv: func(v string) string { return map[string]string{name: proxy.URL}[v] }}
		if status := cli.Run(program, &o, o.run, []string{"--catalogue", catalogue, "-o", t.TempDir(), "x"}, env); status != 0 || asked != "http://data.example/one.txt" {
			t.Errorf("%s: status %d, the proxy was asked for %q; %s", name, status, asked, talk.String())
		}
	}
}

func TestHelp(t *testing.T) {
	status, out, _ := run("--help")
	if lines := strings.Count(out, "\n"); status != 0 || lines > 60 || !strings.Contains(out, "--from") || !strings.Contains(out, "Examples:") || !strings.Contains(out, "Memory") {
		t.Errorf("status %d, %d lines:\n%s", status, lines, out)
	}
}
