package corpus

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"hpcbert/lib/fault"

	"github.com/google/go-cmp/cmp"
)

func readDocuments(input string, form Form) ([]Document, error) {
	// One byte a read: no result may depend on how the bytes arrive.
	r := NewFormReader(iotest.OneByteReader(strings.NewReader(input)), "x", form)
	var all []Document
	for {
		d, err := r.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, d)
	}
}

func TestDocumentForms(t *testing.T) {
	long := strings.Repeat("a word ", 200_000) + "end"
	cases := []struct {
		name, input string
		form        Form
		want        []Document
	}{
		{"empty input", "", Auto, nil},
		{"blank input", " \n\n\t\n", Auto, nil},
		{"JSON", `{"id":"7","title":"A & B","text":"one\ntwo"}` + "\n", Auto, []Document{{ID: "7", Title: "A & B", Text: "one\ntwo"}}},
		{"JSON with blank lines, without last newline", "\n {\"text\":\"a\"}\n\n{ \"text\" : \"\", \"url\": 1}", Auto, []Document{{Text: "a"}, {}}},
		{"JSON with a number as id", `{"id":12,"text":"a"}`, Auto, []Document{{ID: "12", Text: "a"}}},
		{"JSON after a byte order mark", "\ufeff{\"text\":\"a\"}", Auto, []Document{{Text: "a"}}},
		{"JSON line beyond any buffer", `{"text":"` + long + `"}`, Auto, []Document{{Text: long}}},
		{"plain text", "a\r\nb  \n\n \n\nc", Auto, []Document{{Text: "a b"}, {Text: "c"}}},
		{"plain text that begins with a brace", "{a set}\n", Auto, []Document{{Text: "{a set}"}}},
		{"plain text that looks like JSON, asked for", `{"text":"a"}`, Text, []Document{{Text: `{"text":"a"}`}}},
		{"plain text in one long line", long, Auto, []Document{{Text: long}}},
		{"one document a line", "a b\nc \n\nd", Line, []Document{{Text: "a b"}, {Text: "c"}, {Text: "d"}}},
		{"a whole file", "\n  a\n\n\n b \nc\n \n", File, []Document{{Text: "a\nb c"}}},
		{"a book with byte order mark and carriage returns", "\ufeffa b\r\nc d\r\n\r\ne\r\n", File, []Document{{Text: "a b c d\ne"}}},
		{"a book with carriage returns only", "a b\rc d\r\re\r", File, []Document{{Text: "a b c d\ne"}}},
		{"a book in Latin-1", "caf\xe9\nand \x93so\x94 on\n\n\xa9", File, []Document{{Text: "café and “so” on\n©"}}},
		{"frames", "<doc id=\"12\" url=\"u?id=1\" title=\"Say \"hi\" &amp; go\">\nSay \"hi\" & go\n\nfirst\n\nsecond\n\n</doc>\n\n<doc id=\"13\">\nT\n</doc>\n", Auto,
			[]Document{{ID: "12", Title: `Say "hi" & go`, Text: "first\n\nsecond"}, {ID: "13", Title: "T"}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := readDocuments(c.input, c.form)
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("error %v, difference (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestDocumentErrors(t *testing.T) {
	cases := []struct {
		name, input, want string
		form              Form
	}{
		{"JSON cut off", "{\"text\":\"a\"}\n{\"text\":\"b", "read x: line 2: broken JSON: unexpected end", Auto},
		{"JSON without text", "{\"id\":\"1\"}", `read x: line 1: no "text"`, Auto},
		{"plain text asked to be JSON", "hello", "read x: line 1: broken JSON", JSON},
		{"JSON with NUL", `{"text":"a\u0000b"}`, "read x: line 1: NUL character", Auto},
		{"NUL", "fine\nab\x00c", "read x: line 2: byte 3 is NUL", Auto},
		{"Latin-1", "fine\n\ncaf\xe9", "read x: line 3: byte 4 is not UTF-8", Auto},
		{"a book in UTF-8 with a broken byte", "é ü\n ö\xe9", "read x: the document from line 1 on has 3 characters in UTF-8 and 1 bytes that are not", File},
		{"a book in UTF-16", "\xff\xfea\x00", "read x: line 1: byte 4 is NUL", File},
		{"frame cut off", "<doc id=\"1\">\nT\ntext", "read x: line 3: the document that begins at line 1 has no </doc>", Auto},
		{"frame in a frame", "<doc id=\"1\">\nT\n<doc id=\"2\">\n", "read x: line 3: the document that begins at line 1", Auto},
		{"text between frames", "<doc id=\"1\">\nT\n</doc>\nlost\n", "read x: line 4: text outside", Auto},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := readDocuments(c.input, c.form)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if fault.HintOf(err) == "" {
				t.Error("no hint")
			}
		})
	}
}

func TestReadErrorSaysWhere(t *testing.T) {
	broken := errors.New("read x: broken")
	r := NewFormReader(io.MultiReader(strings.NewReader("{\"text\":\"a\"}\n"), iotest.ErrReader(broken)), "x", Auto)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	_, err := r.Next()
	if !errors.Is(err, broken) || err.Error() != "read x: broken after line 1" {
		t.Errorf("error %v", err)
	}
}

func TestDocumentsSurviveTheRoundTrip(t *testing.T) {
	want := []Document{{ID: "1", Title: "<b> & \"q\"", Text: "line\n\u2028 \\ é 中 \U0001f600\t"}, {}, {Text: "{"}}
	var b bytes.Buffer
	w := newDocumentWriter(&b)
	for _, d := range want {
		if err := w.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(b.String(), `<b> & \"q\"`) {
		t.Errorf("HTML characters are escaped: %s", b.String())
	}
	got, err := readDocuments(b.String(), Auto)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, difference (-want +got):\n%s", err, diff)
	}
}

func TestSentenceStream(t *testing.T) {
	cases := []struct {
		name, input string
		want        [][]string
		extents     []Extent
	}{
		{"empty", "", nil, nil},
		{"blank", "\n \n", nil, nil},
		{"two documents", "a b.\nc.\n\nd.\n\n", [][]string{{"a b.", "c."}, {"d."}}, []Extent{{0, 8, 2}, {9, 3, 1}}},
		{"more blank lines than needed, no last newline", "\n\na.\n\n \nb.", [][]string{{"a."}, {"b."}}, []Extent{{2, 3, 1}, {8, 2, 1}}},
		{"carriage returns", "a.\r\n\r\nb.\r\n", [][]string{{"a."}, {"b."}}, []Extent{{0, 4, 1}, {6, 4, 1}}},
		{"byte order mark", "\ufeffa.\n", [][]string{{"a."}}, []Extent{{3, 3, 1}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got [][]string
			r := NewSentenceReader(strings.NewReader(c.input), "x")
			for d, err := r.Next(); err == nil; d, err = r.Next() {
				got = append(got, d)
			}
			var extents []Extent
			r = NewSentenceReader(strings.NewReader(c.input), "x")
			for e, err := r.NextExtent(); err == nil; e, err = r.NextExtent() {
				extents = append(extents, e)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("documents (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.extents, extents); diff != "" {
				t.Errorf("extents (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSentenceStreamRefusesWhatIsNotText(t *testing.T) {
	for _, input := range []string{"a.\nb\xff.\n", "a.\nb\x00.\n"} {
		r := NewSentenceReader(strings.NewReader(input), "x")
		if _, err := r.Next(); err == nil || !strings.Contains(err.Error(), "read x: line 2: byte 2") {
			t.Errorf("%q: error %v", input, err)
		}
	}
}

func TestAppendSentences(t *testing.T) {
	var b []byte
	for _, d := range [][]string{{"a.", "b."}, {"c."}} {
		b = AppendSentences(b, d)
	}
	if string(b) != "a.\nb.\n\nc.\n\n" {
		t.Errorf("%q", b)
	}
}
