package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/cli/clitest"
	"hpcbert/lib/corpus"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

const dump = `<mediawiki><siteinfo><sitename>W</sitename></siteinfo>
<page><title>Anarchism</title><ns>0</ns><id>12</id><revision><id>7</id><text>'''Anarchism''' is a [[political philosophy]].&lt;ref&gt;x&lt;/ref&gt;

== Etymology ==
It is &quot;old&quot; &amp;amp; more.</text></revision></page>
<page><title>Template:X</title><ns>10</ns><id>13</id><revision><text>A template.</text></revision></page>
<page><title>A &amp; B</title><ns>0</ns><id>14</id><revision><text>Short.</text></revision></page>
</mediawiki>
`

const (
	first  = `{"id":"12","title":"Anarchism","text":"Anarchism is a political philosophy.\nIt is \"old\" & more."}` + "\n"
	second = `{"id":"14","title":"A & B","text":"Short."}` + "\n"
)

// dumpBZ2 is dump, compressed with bzip2 and then in base64: Go has no writer for bzip2.
const dumpBZ2 = `QlpoOTFBWSZTWWi7eoMAADbfgAAQQYH8nzIgDMov7//gMAEFihilP0o0ZD0gGj1AeoGjQYMUyp6h6hk0AeppoAAAEkVPU2ptUb0mSNqeggwCemiepjgQ6FLe7XNvb5O/xNOJC3LJphXBwlR2ESRkRIv60QimeLAkjVt3RqicJMs5p49XgYEUUSIjTehWrFVrOkDyWLuWgXMYwcOBFJCQmpCUDwbrXvaYPb1OP0znAsXgdwNBXBr1dQnTJ1Agr2HEwqDMdBSLZzL3wLiXMP0MTxM+RWmIoGQPekVpZMrgJiFhEoM87s8FMpExgSIrMsCeyrXEU3roxMhumRpocWYhUHt0I3C2ATBQLulAP9rsalKHwG8IlTFMkw7p04v7E+BRKnFL21/4u5IpwoSDRdvUGA==`

func bzipped(t *testing.T) string {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(dumpBZ2)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func zipped(t *testing.T, text string) string {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return string(z.EncodeAll([]byte(text), nil))
}

func TestInputs(t *testing.T) {
	for _, c := range []struct{ name, input string }{
		{"plain", dump}, {"gzip", clitest.Gzip(dump)}, {"zstd", zipped(t, dump)}, {"bzip2", bzipped(t)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, args := range [][]string{{}, {"-"}, {clitest.WriteFile(t, "dump", c.input)}} {
				status, out, talk := run(c.input, args...)
				if status != 0 || out != first+second {
					t.Errorf("%q: status %d, output %s, messages %s", args, status, out, talk)
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	name := clitest.WriteFile(t, "dump.xml", dump)
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"two dumps in order", []string{name, name}, first + second + first + second},
		{"long texts", []string{"--min-chars=7", name}, first},
		{"just as long", []string{"--min_chars", "6", name}, first + second},
		{"templates", []string{"--namespaces", "10", name}, `{"id":"13","title":"Template:X","text":"A template."}` + "\n"},
		{"both", []string{"--namespaces", "0, 10", "--min-chars=7", name}, first + `{"id":"13","title":"Template:X","text":"A template."}` + "\n"},
		{"headings", []string{"--keep-headings", "--min-chars=7", name}, strings.Replace(first, `\nIt is`, `\nEtymology\nIt is`, 1)},
		{"frames", []string{"--format=doc", "--min-chars=7", name}, "<doc id=\"12\" url=\"\" title=\"Anarchism\">\nAnarchism\n\nAnarchism is a political philosophy.\nIt is \"old\" & more.\n\n</doc>\n"},
		{"lines", []string{"--format", "line", name}, "Anarchism is a political philosophy. It is \"old\" & more. \n\nShort. \n\n"},
		{"one thread", []string{"-j1", name}, first + second},
		{"many threads", []string{"-j", "16", name}, first + second},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, talk := run("", c.args...)
			if diff := cmp.Diff(c.want, out); status != 0 || diff != "" {
				t.Errorf("status %d, messages %s (-want +got):\n%s", status, talk, diff)
			}
		})
	}
}

// Templates are those of all dumps, wherever they stand and however the dumps come.
func TestTemplates(t *testing.T) {
	uses := `<mediawiki><page><title>A</title><ns>0</ns><id>1</id><revision><text>Say {{hi}}{{bye}}.
* item</text></revision></page><page><title>Template:Hi</title><ns>10</ns><id>2</id><revision><text>hello</text></revision></page></mediawiki>`
	defines := `<mediawiki><page><title>B</title><ns>0</ns><id>3</id><revision><text>B.</text></revision></page>` +
		`<page><title>Template:Bye</title><ns>10</ns><id>4</id><revision><text>, bye</text></revision></page></mediawiki>`
	plain, packed, other := clitest.WriteFile(t, "a.xml", uses), clitest.WriteFile(t, "a.xml.gz", clitest.Gzip(uses)), clitest.WriteFile(t, "b.xml", defines)
	const b = `{"id":"3","title":"B","text":"B."}` + "\n"
	a := func(text string) string { return `{"id":"1","title":"A","text":"` + text + `"}` + "\n" }
	for _, c := range []struct {
		name string
		args []string
		want string
		talk string
	}{
		{"one dump", []string{plain}, a("Say hello."), ""},
		{"standard input", nil, a("Say hello."), ""},
		{"compressed", []string{packed}, a("Say hello."), ""},
		{"two dumps", []string{packed, other}, a("Say hello, bye.") + b, ""},
		{"pipe and file", []string{other, "-"}, b + a("Say hello, bye."), ""},
		{"none", []string{"--no-templates", plain}, a("Say ."), ""},
		{"none of a pipe", []string{"--no-templates"}, a("Say ."), ""},
		{"too many", []string{"--template-memory=300", plain, other}, a("Say hello.") + b, "warning: 1 templates beyond 300 bytes of text are not expanded: --template-memory allows more"},
		{"told", []string{"-v", plain, other}, a("Say hello, bye.") + b, "info: 2 templates"},
		{"lists", []string{"--keep-lists", plain}, a(`Say hello.\nitem`), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, talk := run(uses, c.args...)
			if diff := cmp.Diff(c.want, out); status != 0 || diff != "" || !strings.Contains(talk, c.talk) {
				t.Errorf("status %d, messages %s (-want +got):\n%s", status, talk, diff)
			}
		})
	}
}

func TestOutputFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"out.jsonl", "out.jsonl.gz", "out.jsonl.zst"} {
		name = filepath.Join(dir, name)
		status, out, talk := run(dump, "-o", name)
		if status != 0 || out != "" || !strings.Contains(talk, "wrote 2 documents, 62 characters, of 3 pages, 1 in other namespaces in ") {
			t.Errorf("status %d, output %q, messages %s", status, out, talk)
		}
		data, err := os.ReadFile(name)
		if err != nil || len(data) == 0 {
			t.Error(len(data), err)
		}
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "out.jsonl")); string(data) != first+second {
		t.Errorf("got %s", data)
	}
}

func TestOutputIsADocumentStream(t *testing.T) {
	_, out, _ := run(dump)
	r := corpus.NewFormReader(strings.NewReader(out), "x", corpus.Auto)
	var titles []string
	for {
		d, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		titles = append(titles, d.Title)
	}
	if !cmp.Equal(titles, []string{"Anarchism", "A & B"}) {
		t.Errorf("titles %q", titles)
	}
	if !json.Valid([]byte(strings.SplitAfter(out, "\n")[0])) {
		t.Error("invalid JSON")
	}
}

// A fault ends with one error line, the status, and no output file.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	good := clitest.WriteFile(t, "good.xml", dump)
	bz2 := bzipped(t)
	for _, c := range []struct {
		name, stdin string
		args        []string
		status      int
		want        string
	}{
		{"missing file", "", []string{"none.xml"}, 1, "open none.xml: no such file or directory"},
		{"missing second file", "", []string{good, "none.xml"}, 1, "open none.xml: no such file or directory"},
		{"folder", "", []string{dir}, 1, "is a directory"},
		{"empty", "", nil, 1, "read standard input: empty, not a MediaWiki XML dump"},
		{"empty file", "", []string{clitest.WriteFile(t, "empty", "")}, 1, "empty, not a MediaWiki XML dump"},
		{"text", "hello", nil, 1, "read standard input: not a MediaWiki XML dump: it is not XML"},
		{"JSON lines", first, nil, 1, "not a MediaWiki XML dump: it is not XML"},
		{"HTML", "<!DOCTYPE html><html></html>", nil, 1, "it begins with <html>"},
		{"SQL dump", clitest.Gzip("-- MySQL dump"), nil, 1, "it is not XML"},
		{"cut off bzip2", bz2[:len(bz2)/2], nil, 1, "unexpected EOF"},
		{"cut off gzip", clitest.Gzip(dump)[:60], nil, 1, "unexpected EOF"},
		{"cut off XML", dump[:len(dump)-30], nil, 1, `page 3 (behind "Template:X"): the XML ends inside <`},
		{"no end", strings.TrimSuffix(dump, "</mediawiki>\n"), nil, 1, `behind page 3, "A & B": the XML ends inside <mediawiki>`},
		{"malformed XML", strings.Replace(dump, "</title>", "</titel>", 1), nil, 1, "byte 77: malformed XML: </titel> where </title> is due"},
		{"no article", dump, []string{"--namespaces=4"}, 1, "no article with text in namespace 4: 3 pages, 3 in other namespaces"},
		{"all too short", dump, []string{"--min-chars=1000"}, 1, "2 too short"},
		{"bad flag", dump, []string{"--frobnicate"}, 2, "unknown option --frobnicate"},
		{"bad format", dump, []string{"--format=html"}, 2, `option --format: "html", want json, doc or line`},
		{"bad namespaces", dump, []string{"--namespaces=Talk"}, 2, `option --namespaces: "Talk" is not a number`},
		{"no namespaces", dump, []string{"--namespaces="}, 2, `option --namespaces: "" is not a number`},
		{"negative length", dump, []string{"--min-chars=-1"}, 2, "option --min-chars: -1 characters, want 0 or more"},
		{"output is the input", "", []string{"-o", good, good}, 2, "is also an input"},
		{"output of bzip2", dump, []string{"-o", filepath.Join(dir, "out.bz2")}, 2, "hint: can write .gz and .zst"},
		{"output folder is missing", dump, []string{"-o", filepath.Join(dir, "none", "out")}, 1, "no such file or directory"},
		{"output is a folder", dump, []string{"-o", dir}, 1, "is a directory"},
		{"full device", dump, []string{"-o", "/dev/full"}, 1, "no space left on device"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args, folder := c.args, t.TempDir()
			if !strings.Contains(strings.Join(args, " "), "-o ") {
				args = append([]string{"-o", filepath.Join(folder, "out.jsonl")}, args...)
			}
			status, out, talk := run(c.stdin, args...)
			if status != c.status || !strings.Contains(talk, c.want) {
				t.Errorf("status %d, want %d; messages:\n%s\nwant %s", status, c.status, talk, c.want)
			}
			if n := strings.Count(talk, ": error: "); n != 1 || out != "" {
				t.Errorf("%d errors, output %q, messages:\n%s", n, out, talk)
			}
			if left, _ := os.ReadDir(folder); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	if data, err := os.ReadFile(good); err != nil || string(data) != dump {
		t.Error("the input changed")
	}
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestFullStandardOutput(t *testing.T) {
	var o options
	if status, talk := clitest.RunTo(fullWriter{}, program, &o, o.run, dump); status != 1 || !strings.Contains(talk, "write standard output: no space left on device") {
		t.Errorf("status %d, messages %s", status, talk)
	}
}

func TestHelp(t *testing.T) {
	status, out, _ := run("", "--help")
	if lines := strings.Count(out, "\n"); status != 0 || lines > 60 || !strings.Contains(out, "--min-chars") || !strings.Contains(out, "Examples:") {
		t.Errorf("status %d, %d lines:\n%s", status, lines, out)
	}
}
