package wiki

import (
	"bytes"
	"fmt"
	"io"
)

const (
	firstWindow = 1 << 20
	longestSkip = 16 << 20
	maxToken    = 1 << 30 // a text longer than any wiki stores (MediaWiki's limit is 2 MiB) is no dump
)

type tokenKind int

const (
	startTag tokenKind = iota
	endTag
	emptyTag // <name/>
	charData
	cdata // as charData, without entities
)

// token is one piece of XML; its slices hold until the next call.
type token struct {
	kind   tokenKind
	name   []byte // of tags
	attrs  []byte // the rest of a start or empty tag
	data   []byte // of charData and cdata, as written
	offset int64  // of its first byte
}

// tokenizer splits XML into tokens. It knows what a MediaWiki dump needs: no DTD entities, names compared as bytes. encoding/xml
// reads some 15 MB/s, this gigabytes, because text is skipped by searching for the next '<'.
type tokenizer struct {
	src  io.Reader
	buf  []byte
	pos  int // buf[pos:end] is unread
	end  int
	base int64 // offset of buf[0] in the XML
	tok  token // the last one, in place: copies of it showed in profiles
}

// malformed is an error in the XML itself at a byte offset.
type malformed struct {
	offset int64
	text   string
}

func (m malformed) Error() string { return fmt.Sprintf("byte %d: malformed XML: %s", m.offset, m.text) }

func newTokenizer(src io.Reader) *tokenizer {
	return &tokenizer{src: src, buf: make([]byte, firstWindow)}
}

func (t *tokenizer) offset() int64 { return t.base + int64(t.pos) }

// fill reads more behind buf[end], moving or growing the window when it is full.
func (t *tokenizer) fill() error {
	if t.end == len(t.buf) {
		switch {
		case t.pos > 0:
			copy(t.buf, t.buf[t.pos:t.end])
			t.base += int64(t.pos)
			t.end -= t.pos
			t.pos = 0
		case len(t.buf) >= maxToken:
			return malformed{t.base, fmt.Sprintf("a piece longer than %d bytes", maxToken)}
		default:
			t.buf = append(t.buf, make([]byte, len(t.buf))...)
		}
	}
	for range 100 {
		n, err := t.src.Read(t.buf[t.end:])
		t.end += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// find returns the distance from pos to the first sep at or after pos+from, io.EOF when the input ends before.
func (t *tokenizer) find(from int, sep string) (int, error) {
	for {
		if window := t.buf[t.pos:t.end]; from < len(window) {
			if i := bytes.Index(window[from:], []byte(sep)); i >= 0 {
				return from + i, nil
			}
			from = max(from, len(window)-len(sep)+1)
		}
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
}

// startsWith tells whether the unread input begins with prefix, reading more as needed.
func (t *tokenizer) startsWith(prefix string) bool {
	for t.end-t.pos < len(prefix) {
		if !bytes.HasPrefix([]byte(prefix), t.buf[t.pos:t.end]) || t.fill() != nil {
			return false
		}
	}
	return bytes.HasPrefix(t.buf[t.pos:t.end], []byte(prefix))
}

// next returns the next token; comments, processing instructions and declarations are passed over. io.EOF means that the input ends
// between tokens, io.ErrUnexpectedEOF inside one.
func (t *tokenizer) next() (*token, error) {
	for {
		if t.pos == t.end {
			if err := t.fill(); err != nil {
				return nil, err
			}
		}
		seen := true
		var err error
		switch {
		case t.buf[t.pos] != '<':
			err = t.text()
		case t.pos+1 < t.end && t.buf[t.pos+1] != '!' && t.buf[t.pos+1] != '?': // most are tags
			err = t.tag()
		case t.startsWith("<!--"):
			_, _, err = t.until("<!--", "-->")
			seen = false
		case t.startsWith("<![CDATA["):
			t.tok = token{kind: cdata}
			t.tok.data, t.tok.offset, err = t.until("<![CDATA[", "]]>")
		case t.startsWith("<?"):
			_, _, err = t.until("<?", "?>")
			seen = false
		case t.startsWith("<!"):
			_, _, err = t.until("<!", ">")
			seen = false
		default:
			err = t.tag()
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil || seen {
			return &t.tok, err
		}
	}
}

// text consumes the character data up to the next '<' or the end of the input.
func (t *tokenizer) text() error {
	n := bytes.IndexByte(t.buf[t.pos:t.end], '<')
	if n < 0 {
		var err error
		if n, err = t.find(1, "<"); err == io.EOF {
			n, err = t.end-t.pos, nil
		}
		if err != nil {
			return err
		}
	}
	t.tok = token{kind: charData, data: t.buf[t.pos : t.pos+n], offset: t.offset()}
	t.pos += n
	return nil
}

// until consumes a piece between two delimiters and returns what stands between, and its offset.
func (t *tokenizer) until(left, right string) ([]byte, int64, error) {
	n, err := t.find(len(left), right)
	if err != nil {
		return nil, 0, err
	}
	inner, offset := t.buf[t.pos+len(left):t.pos+n], t.offset()
	t.pos += n + len(right)
	return inner, offset, nil
}

// skipTo passes over what stands before the end tag. It stays where that holds comments or the like, which may hold such a tag too, where it is long,
// as the history of a page, and would have to be held whole, and where the input ends before.
func (t *tokenizer) skipTo(endTag string) error {
	for from := 0; ; {
		window := t.buf[t.pos:t.end]
		if n := bytes.Index(window[from:], []byte(endTag)); n >= 0 {
			if passed := window[:from+n]; !bytes.Contains(passed, []byte("<!")) && !bytes.Contains(passed, []byte("<?")) {
				t.pos += len(passed)
			}
			return nil
		}
		if len(window) >= longestSkip {
			return nil
		}
		from = max(from, len(window)-len(endTag)+1)
		if err := t.fill(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// shortTag consumes a tag without attributes that is all there and tells whether that was one: most are.
func (t *tokenizer) shortTag() bool {
	window := t.buf[t.pos+1 : t.end]
	kind, n := startTag, 0
	if len(window) > 0 && window[0] == '/' {
		kind, window = endTag, window[1:]
	}
	for n < len(window) && (window[n]|0x20 >= 'a' && window[n]|0x20 <= 'z') {
		n++
	}
	if n == 0 || n == len(window) || window[n] != '>' {
		return false
	}
	t.tok = token{kind: kind, name: window[:n], offset: t.offset()}
	t.pos = t.end - len(window) + n + 1
	return true
}

// tag consumes a start, end or empty tag. A '>' inside a quoted value does not end it.
func (t *tokenizer) tag() error {
	if t.shortTag() {
		return nil
	}
	var quote byte
	checked, n := 1, 0
	for n == 0 {
		i := checked + bytes.IndexByte(t.buf[min(t.pos+checked, t.end):t.end], '>')
		if i < checked {
			var err error
			if i, err = t.find(checked, ">"); err != nil {
				return err
			}
		}
		for _, c := range t.buf[t.pos+checked : t.pos+i] {
			switch {
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '"' || c == '\'':
				quote = c
			case c == '<':
				return malformed{t.offset(), "'<' inside a tag"}
			}
		}
		checked = i + 1
		if quote == 0 {
			n = i
		}
	}
	t.tok = token{kind: startTag, offset: t.offset()}
	tok := &t.tok
	body := t.buf[t.pos+1 : t.pos+n]
	t.pos += n + 1
	switch {
	case bytes.HasPrefix(body, []byte("/")):
		tok.kind, body = endTag, body[1:]
	case bytes.HasSuffix(body, []byte("/")):
		tok.kind, body = emptyTag, body[:len(body)-1]
	}
	tok.name = body
	for i, c := range body {
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			tok.name, tok.attrs = body[:i], body[i:]
			break
		}
	}
	if !validName(tok.name) {
		return malformed{tok.offset, "'<' begins no tag"}
	}
	return nil
}

func validName(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	for i, c := range name {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '-' || c == '.' || c == ':')) {
			return false
		}
	}
	return true
}

// attribute returns the raw value of the attribute name in attrs, "" when absent.
func attribute(attrs []byte, name string) []byte {
	for {
		i := bytes.IndexByte(attrs, '=')
		if i < 0 {
			return nil
		}
		key, rest := bytes.TrimSpace(attrs[:i]), bytes.TrimSpace(attrs[i+1:])
		if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
			return nil
		}
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 {
			return nil
		}
		if string(key) == name {
			return rest[1 : 1+end]
		}
		attrs = rest[end+2:]
	}
}
