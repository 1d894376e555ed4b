package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"hpcbert/lib/fault"
)

func isBlank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

// lineReader reads lines of any length, checks that they are text, and knows where it is.
type lineReader struct {
	name   string
	in     *bufio.Reader
	n      int   // number of the current line, from 1
	start  int64 // bytes before the current line
	offset int64 // bytes before the next line
	line   []byte
	long   []byte // a line longer than the buffer of in
	again  bool   // the current line is to be returned once more
	bytes  bool   // lines need not be UTF-8
	err    error
}

const lineBuffer = 1 << 18

// maxDocument is how many bytes a line, or a document of several lines, may have: more than any article or book, and few enough to hold.
// What is longer is no document but input of another form than was thought, and is refused before it fills the memory.
const maxDocument = 32 << 20

var byteOrderMark = []byte("\ufeff")

func newLineReader(r io.Reader, name string) *lineReader {
	return &lineReader{name: name, in: bufio.NewReaderSize(r, lineBuffer)}
}

func (l *lineReader) errorf(format string, a ...any) error {
	return fmt.Errorf("read %s: line %d: %w", l.name, l.n, fmt.Errorf(format, a...))
}

func (l *lineReader) unread() { l.again = true }

// nextFull returns the next line that is not blank.
func (l *lineReader) nextFull() ([]byte, error) {
	for {
		line, err := l.next()
		if err != nil || !isBlank(line) {
			return line, err
		}
	}
}

// next returns the next line without its newline, valid until the following call; io.EOF after the last. The last line may lack its
// newline. Lines that are not text are errors. An error of the underlying reader names the file already (see lib/stream).
func (l *lineReader) next() ([]byte, error) {
	if l.again {
		l.again = false
		return l.line, nil
	}
	if l.err != nil {
		return nil, l.err
	}
	line, err := l.read()
	if errors.Is(err, errTooLong) {
		l.err = err
		return nil, l.err
	}
	if err != nil && err != io.EOF {
		l.err = fmt.Errorf("%w after line %d", err, l.n)
		return nil, l.err
	}
	l.err = err
	if len(line) == 0 { // only at the end: any other line holds at least its newline
		return nil, io.EOF
	}
	l.n++
	l.start, l.offset = l.offset, l.offset+int64(len(line))
	if l.n == 1 && bytes.HasPrefix(line, byteOrderMark) {
		line, l.start = line[len(byteOrderMark):], int64(len(byteOrderMark))
	}
	l.line = bytes.TrimSuffix(line, []byte("\n"))
	if err := l.check(); err != nil {
		l.err = err
		return nil, err
	}
	return l.line, nil
}

// read returns the bytes up to and with the next newline.
func (l *lineReader) read() ([]byte, error) {
	line, err := l.in.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	l.long = l.long[:0]
	for err == bufio.ErrBufferFull {
		if len(l.long) > maxDocument {
			l.n++
			return nil, l.tooLong("the line")
		}
		l.long = append(l.long, line...)
		line, err = l.in.ReadSlice('\n')
	}
	l.long = append(l.long, line...)
	return l.long, err
}

var errTooLong = fmt.Errorf("is longer than %d MiB", maxDocument>>20)

func (l *lineReader) tooLong(what string) error {
	return fault.WithHint(l.errorf("%s %w", what, errTooLong),
		"no article or book is: is the input of the form that it is read as? blank lines part documents of plain text; a document a line is another form")
}

func (l *lineReader) check() error {
	if err := l.checkMark(); err != nil {
		return err
	}
	if l.n == 1 && bytes.HasPrefix(l.line, []byte("\x89HDF")) {
		return fault.WithHint(l.errorf("looks like an HDF5 file"), "text is wanted here; bertrain and evalpretrain read HDF5 shards")
	}
	if i := bytes.IndexByte(l.line, 0); i >= 0 {
		return fault.WithHint(l.errorf("byte %d is NUL", i+1), "this is not a text file, or it is UTF-16: iconv -f UTF-16 -t UTF-8 converts that")
	}
	if l.bytes || utf8.Valid(l.line) {
		return nil
	}
	return fault.WithHint(l.errorf("byte %d is not UTF-8", firstBroken(l.line)+1),
		"if the text is Latin-1, iconv -f LATIN1 -t UTF-8 converts it; segment does where a file is one document (--input-format file)")
}

// firstBroken returns the position of the first byte that is not UTF-8.
func firstBroken(text []byte) int {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return len(text)
}
