package corpus

import (
	"bufio"
	"bytes"
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
	err    error
}

const lineBuffer = 1 << 18

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
		l.long = append(l.long, line...)
		line, err = l.in.ReadSlice('\n')
	}
	l.long = append(l.long, line...)
	return l.long, err
}

func (l *lineReader) check() error {
	if err := l.checkMark(); err != nil {
		return err
	}
	if i := bytes.IndexByte(l.line, 0); i >= 0 {
		return fault.WithHint(l.errorf("byte %d is NUL", i+1), "this is not a text file, or it is UTF-16: iconv -f UTF-16 -t UTF-8 converts that")
	}
	if utf8.Valid(l.line) {
		return nil
	}
	at := 0
	for at < len(l.line) {
		r, size := utf8.DecodeRune(l.line[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return fault.WithHint(l.errorf("byte %d is not UTF-8", at+1), "if the text is Latin-1, iconv -f LATIN1 -t UTF-8 converts it")
}
