// Package corpus reads and writes the text streams between the data programs: documents, and sentences grouped by document.
package corpus

import (
	"bytes"
	"encoding/json"
	"html"
	"io"
	"strings"
	"unicode"

	"hpcbert/lib/fault"
)

// Document is one article or book. Text holds its paragraphs on lines, without the title.
type Document struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Text  string `json:"text"`
	URL   string `json:"-"` // written in frames only
}

// DocumentWriter writes documents as JSON lines: one object a line, with <, > and & as they are.
type DocumentWriter struct {
	w    io.Writer
	line []byte
}

// newDocumentWriter returns a writer to w. It does not buffer: w should.
func newDocumentWriter(w io.Writer) *DocumentWriter { return &DocumentWriter{w: w} }

// Write writes one document.
func (w *DocumentWriter) Write(d Document) error {
	w.line = appendDocument(w.line[:0], d)
	_, err := w.w.Write(w.line)
	return err
}

// Form is how documents lie in a stream.
type Form int

const (
	Auto Form = iota // told from the first bytes that are not blank
	JSON             // one object {"id","title","text"} a line; blank lines mean nothing
	Text             // plain text, blank lines between documents, whose lines mean nothing
	Doc              // WikiExtractor's <doc id= ...> and </doc> lines; the first line between them is the title
	Line             // one document a line; blank lines mean nothing; never detected, must be asked for
	File             // the whole stream is one document, a book, with blank lines between paragraphs; UTF-8 or Latin-1; must be asked for
)

var formNames = []string{"auto", "json", "text", "doc", "line", "file"}

// ParseForm returns the form called name: auto, json, text, doc, line or file.
func ParseForm(name string) (Form, error) {
	for i, n := range formNames {
		if n == name {
			return Form(i), nil
		}
	}
	return Auto, fault.Usagef("unknown input format %q, want %s", name, strings.Join(formNames, ", "))
}

// DocumentReader reads a stream of documents.
type DocumentReader struct {
	Warn func(text string) // unless nil, is told what was done with odd input

	lines *lineReader
	form  Form
	plain Form // what Auto takes plain text for: Text or File
	buf   []byte
}

// NewFormReader reads documents of the given form from r, called name in errors. Auto detects the form: after blank bytes, a brace and a
// quote (or a closing brace) begin JSON lines, "<doc" begins frames, a MediaWiki dump is refused, all else is plain text. Lines may have any
// length.
func NewFormReader(r io.Reader, name string, form Form) *DocumentReader {
	return &DocumentReader{lines: newLineReader(r, name), form: form, plain: Text}
}

// Next returns the next document, io.EOF after the last. Documents may be empty.
func (r *DocumentReader) Next() (Document, error) {
	if r.form == Auto {
		form, err := r.detect()
		if err != nil {
			return Document{}, err
		}
		r.form = form
	}
	switch r.form {
	case JSON:
		return r.nextJSON()
	case Doc:
		return r.nextFrame()
	case Line:
		line, err := r.lines.nextFull()
		return Document{Text: string(bytes.TrimRightFunc(line, unicode.IsSpace))}, err
	case File:
		return r.nextBook()
	}
	return r.nextText()
}

// Line returns the number of the last line read, from 1: where the last document ends.
func (r *DocumentReader) Line() int { return r.lines.n }

func (r *DocumentReader) detect() (Form, error) {
	l := r.lines
	l.bytes = r.plain == File // which asks for its encoding later
	line, err := l.nextFull()
	if err != nil {
		return Auto, err
	}
	l.unread()
	line = bytes.TrimSpace(line)
	form := r.plain
	switch {
	case isJSON(line):
		form = JSON
	case isFrameStart(line):
		form = Doc
	}
	if form == r.plain {
		return form, l.notDump(line)
	}
	l.bytes = false
	return form, l.check()
}

// jsonDocument tells a missing text from an empty one, and takes ids that are numbers.
type jsonDocument struct {
	ID    looseString `json:"id"`
	Title string      `json:"title"`
	Text  *string     `json:"text"`
	Error *string     `json:"error"` // see documentMark
}

type looseString string

func (s *looseString) UnmarshalJSON(b []byte) error {
	var n json.Number
	if b[0] != '"' && json.Unmarshal(b, &n) == nil {
		*s = looseString(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(s))
}

func (r *DocumentReader) nextJSON() (Document, error) {
	line, err := r.lines.nextFull()
	if err != nil {
		return Document{}, err
	}
	plain, buf, ok := parseDocument(line, r.buf)
	r.buf = buf
	if ok {
		return plain, nil
	}
	var d jsonDocument
	if err := json.Unmarshal(line, &d); err != nil {
		return Document{}, fault.WithHint(r.lines.errorf("broken JSON: %w", err),
			`each line must be one whole object {"id": "...", "title": "...", "text": "..."}; was the input cut off or is it of another form?`)
	}
	if d.Text == nil && d.Error != nil {
		return Document{}, r.lines.failedBefore(*d.Error)
	}
	if d.Text == nil {
		return Document{}, fault.WithHint(r.lines.errorf(`no "text" in the JSON object`), `each line must be an object {"id": "...", "title": "...", "text": "..."}`)
	}
	if strings.IndexByte(*d.Text, 0) >= 0 {
		return Document{}, fault.WithHint(r.lines.errorf(`NUL character in "text"`), "remove the NUL characters from the text")
	}
	return Document{ID: string(d.ID), Title: d.Title, Text: *d.Text}, nil
}

// nextText joins lines up to a blank one or the end by blanks, without the white space around them.
func (r *DocumentReader) nextText() (Document, error) {
	line, err := r.lines.nextFull()
	var text strings.Builder
	for err == nil && !isBlank(line) {
		if text.Len()+len(line) > maxDocument {
			return Document{}, r.lines.tooLong("the document")
		}
		if text.Len() > 0 {
			text.WriteByte(' ')
		}
		text.Write(bytes.TrimSpace(line))
		line, err = r.lines.next()
	}
	if text.Len() == 0 || err != nil && err != io.EOF {
		return Document{}, err
	}
	return Document{Text: text.String()}, nil
}

// nextFrame follows the reference's reader of WikiExtractor's files: a line that contains </doc> ends a document, the first line
// after the start is the title, and what a frame line holds beside its tag is dropped. It refuses what that reader silently loses.
func (r *DocumentReader) nextFrame() (Document, error) {
	line, err := r.lines.nextFull()
	if err != nil {
		return Document{}, err
	}
	if !isFrameStart(line) {
		return Document{}, fault.WithHint(r.lines.errorf("text outside <doc> and </doc>"), "was a file cut or joined in the middle of a document?")
	}
	start := r.lines.n
	d := frameHeader(string(line))
	var text strings.Builder
	for i := 0; ; i++ {
		line, err := r.lines.next()
		switch {
		case err == io.EOF || err == nil && isFrameStart(line):
			return Document{}, fault.WithHint(r.lines.errorf("the document that begins at line %d has no </doc>", start), "was the input cut off?")
		case err != nil:
			return Document{}, err
		case bytes.Contains(line, []byte("</doc>")):
			d.Text = strings.Trim(text.String(), "\n")
			return d, nil
		case text.Len()+len(line) > maxDocument:
			return Document{}, r.lines.tooLong("the document")
		case i > 0:
			text.Write(line)
			text.WriteByte('\n')
		case d.Title == "":
			d.Title = string(bytes.TrimSpace(line))
		}
	}
}

// frameHeader reads id and title of a line <doc id="12" url="..." title="...">.
func frameHeader(line string) Document {
	var d Document
	if _, after, ok := strings.Cut(line, ` id="`); ok {
		d.ID, _, _ = strings.Cut(after, `"`)
	}
	if _, after, ok := strings.Cut(line, ` title="`); ok {
		// A title may hold quotes: it ends with the line's last one.
		d.Title = html.UnescapeString(after[:max(strings.LastIndexByte(after, '"'), 0)])
	}
	return d
}
