package corpus

import (
	"context"
	"html"
	"io"
	"strings"
	"unicode"
)

// FormWriter writes documents in the form JSON, Doc or Line. It does not buffer: its writer should.
type FormWriter struct {
	w    io.Writer
	form Form
	json *DocumentWriter
	buf  []byte
}

// NewFormWriter returns a writer to w.
func NewFormWriter(w io.Writer, form Form) *FormWriter {
	return &FormWriter{w: w, form: form, json: newDocumentWriter(w)}
}

// Write writes one document.
func (w *FormWriter) Write(d Document) error {
	switch w.form {
	case Doc:
		w.buf = appendFrame(w.buf[:0], d)
	case Line:
		w.buf = appendArticleLine(w.buf[:0], d)
	default:
		return w.json.Write(d)
	}
	_, err := w.w.Write(w.buf)
	return err
}

// Mark returns what ends a stream of this form that could not be written whole, see documentMark and SentenceMark.
func (f Form) Mark(ctx context.Context, program string) func(error) []byte {
	if f == JSON {
		return documentMark(ctx, program)
	}
	return SentenceMark(ctx, program)
}

// appendFrame writes d as WikiExtractor does. A text that says "</doc>" itself does not end the frame for its readers.
func appendFrame(b []byte, d Document) []byte {
	b = append(b, `<doc id="`+html.EscapeString(d.ID)+`" url="`+html.EscapeString(d.URL)+`" title="`+html.EscapeString(d.Title)+"\">\n"...)
	text := strings.NewReplacer("</doc>", "&lt;/doc>", "<doc", "&lt;doc").Replace(d.Title + "\n\n" + d.Text)
	return append(append(b, text...), "\n\n</doc>\n"...)
}

// appendArticleLine writes d as the reference formats an article: its paragraphs in one line, a blank behind each, and an empty line.
func appendArticleLine(b []byte, d Document) []byte {
	for line := range strings.Lines(d.Text) {
		if line = strings.TrimRightFunc(line, unicode.IsSpace); line != "" {
			b = append(append(b, line...), ' ')
		}
	}
	return append(b, "\n\n"...)
}
