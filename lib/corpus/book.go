package corpus

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"

	"hpcbert/lib/fault"

	"golang.org/x/text/encoding/charmap"
)

// nextBook takes all that is left as one document. Books are wrapped at some seventy columns: the lines up to a blank one are a
// paragraph.
func (r *DocumentReader) nextBook() (Document, error) {
	l := r.lines
	l.bytes = true // in which encoding, is known at the end
	book := paragraphs{}
	line, err := l.nextFull()
	first := l.n
	for ; err == nil; line, err = l.next() {
		if len(book.text)+len(line) > maxDocument {
			return Document{}, l.tooLong("the document")
		}
		for part := range bytes.SplitSeq(bytes.TrimSpace(line), []byte("\r")) { // old Macintosh files have no other line ends
			book.add(bytes.TrimSpace(part))
		}
	}
	if len(book.text) == 0 || err != io.EOF {
		return Document{}, err
	}
	text, err := r.decode(book.text, first)
	return Document{Text: text}, err
}

// paragraphs joins wrapped lines with blanks, and parts paragraphs by newlines.
type paragraphs struct {
	text  []byte
	blank bool // the last line was
}

func (p *paragraphs) add(line []byte) {
	if len(line) == 0 {
		p.blank = true
		return
	}
	if len(p.text) > 0 {
		between := byte(' ')
		if p.blank {
			between = '\n'
		}
		p.text = append(p.text, between)
	}
	p.text, p.blank = append(p.text, line...), false
}

// decode returns a book in UTF-8. Bytes that are not UTF-8 are taken for Latin-1 with the quotes and dashes that Windows adds (code page
// 1252), unless most of what is beyond ASCII is good UTF-8: that is a damaged file.
func (r *DocumentReader) decode(text []byte, first int) (string, error) {
	if utf8.Valid(text) {
		return string(text), nil
	}
	whole, broken := 0, 0
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRune(text[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			broken++
		case size > 1:
			whole++
		}
		i += size
	}
	if whole > broken {
		return "", fault.WithHint(fmt.Errorf("read %s: the document from line %d on has %d characters in UTF-8 and %d bytes that are not", r.lines.name, first, whole, broken),
			"the file is damaged or holds two encodings: iconv -c -f UTF-8 -t UTF-8 drops what is broken")
	}
	decoded, err := charmap.Windows1252.NewDecoder().Bytes(text)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", r.lines.name, err)
	}
	if r.Warn != nil {
		r.Warn(fmt.Sprintf("read %s: it is not UTF-8: taken as Latin-1, %d characters beyond ASCII", r.lines.name, whole+broken))
	}
	return string(decoded), nil
}
