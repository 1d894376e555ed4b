package corpus

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

var jsonLines = []string{
	`{"id":"1","title":"T","text":"a \"b\" \\ \/ \b\f\n\r\t é \u00e9\u2028 中"}`, ` { "text" : "a" , "id" : "b" } `, `{"text":""}`, `{"text":"a","text":"b"}`,
	`{}`, `{"id":"1"}`, `{"text":"a"`, `{"text":"a",}`, `{"text":"a"}}`, `{"text":"a"} {"text":"b"}`, `{"text":"a\u0000"}`, `{"text":"\ud83d\ude00"}`, `{"text":"\ud83d"}`,
	`{"text":"a","url":"u"}`, `{"text":1}`, `{"text":null}`, `{"Text":"a"}`, `{"text":"\x"}`, `{"text":"\u12"}`, `{"text":"\u+123"}`, "{\"text\":\"a\tb\"}", `{"text":"a" "id":"b"}`,
	`{"text" "a"}`, `{"text":"a"]`, `{,"text":"a"}`, `{"text":"}`, `{"text":"a\"}`, `{`, ``,
}

// What the fast reader takes, encoding/json takes for the same.
func checkJSON(t *testing.T, line string) {
	d, _, ok := parseDocument([]byte(line), nil)
	if !ok {
		return
	}
	var want Document
	if err := json.Unmarshal([]byte(line), &want); err != nil || d != want {
		t.Errorf("%q is read as %q, want %q, %v", line, d, want, err)
	}
	if strings.Contains(d.Text, "\x00") {
		t.Errorf("%q: NUL is taken", line)
	}
}

func TestJSONAsTheLibrary(t *testing.T) {
	taken := 0
	for _, line := range jsonLines {
		checkJSON(t, line)
		if _, _, ok := parseDocument([]byte(line), nil); ok {
			taken++
		}
	}
	if taken != 4 {
		t.Errorf("takes %d lines, want the first 4", taken)
	}
}

// The fast writer writes what encoding/json does.
func checkWriting(t *testing.T, text string) {
	d := Document{ID: "7", Title: text, Text: text}
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		t.Fatal(err)
	}
	if got := string(appendDocument([]byte("before"), d)); got != "before"+want.String() {
		t.Errorf("writes %q, want %q", got, want.String())
	}
}

func TestJSONIsWrittenAsByTheLibrary(t *testing.T) {
	for _, text := range jsonLines {
		checkWriting(t, text)
	}
	for c := range 256 { // each byte at each place of a word of eight, at the begin, inside and at the end
		for n := range 18 {
			checkWriting(t, strings.Repeat("x", n)+string(rune(c))+strings.Repeat("y", 17-n))
			checkWriting(t, strings.Repeat("é", n)+string([]byte{byte(c)}))
		}
	}
	checkWriting(t, "a\u2028b\u2029c\"\xff")
}

func FuzzJSON(f *testing.F) {
	for _, line := range jsonLines {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		checkWriting(t, line)
		if utf8.ValidString(line) {
			checkJSON(t, line)
		}
	})
}
