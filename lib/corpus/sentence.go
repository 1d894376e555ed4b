package corpus

import (
	"io"
	"strings"
)

// SentenceReader reads a sentence stream: one sentence a line, documents parted by blank lines. Blank lines beyond the first and at
// the ends mean nothing. Input that begins as documents or dumps do is an error.
type SentenceReader struct {
	lines *lineReader
	begun bool // the first line was seen
}

// NewSentenceReader reads sentences from r, called name in errors. Lines may have any length.
func NewSentenceReader(r io.Reader, name string) *SentenceReader {
	return &SentenceReader{lines: newLineReader(r, name)}
}

// begin returns the first line of the next document.
func (r *SentenceReader) begin() ([]byte, error) {
	line, err := r.lines.nextFull()
	if err == nil && !r.begun {
		r.begun = true
		err = r.lines.sentences(line)
	}
	return line, err
}

// Next returns the sentences of the next document, at least one, without line ends; io.EOF after the last.
func (r *SentenceReader) Next() ([]string, error) {
	line, err := r.begin()
	var document []string
	for err == nil && !isBlank(line) {
		document = append(document, strings.TrimSuffix(string(line), "\r"))
		line, err = r.lines.next()
	}
	if len(document) == 0 || err != nil && err != io.EOF {
		return nil, err
	}
	return document, nil
}

// Extent is where a document's lines lie in a sentence stream.
type Extent struct {
	Offset    int64 // of the first byte
	Length    int64 // in bytes, with the newline of the last line where there is one
	Sentences int
}

// NextExtent returns the place of the next document instead of its text.
func (r *SentenceReader) NextExtent() (Extent, error) {
	line, err := r.begin()
	if err != nil {
		return Extent{}, err
	}
	e := Extent{Offset: r.lines.start}
	for err == nil && !isBlank(line) {
		e.Sentences++
		e.Length = r.lines.offset - e.Offset
		line, err = r.lines.next()
	}
	if err != nil && err != io.EOF {
		return Extent{}, err
	}
	return e, nil
}

// AppendSentences appends a document as it stands in a sentence stream: a sentence a line, then a blank line.
func AppendSentences(b []byte, sentences []string) []byte {
	for _, s := range sentences {
		b = append(append(b, s...), '\n')
	}
	return append(b, '\n')
}
