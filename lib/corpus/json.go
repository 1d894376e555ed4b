package corpus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// appendDocument appends d as encoding/json writes it with <, > and & as they are, several times as fast. What that treats in other ways than the
// characters that JSON forbids in strings it is asked for itself: bytes that are no UTF-8, and the line ends of JavaScript.
func appendDocument(dst []byte, d Document) []byte {
	start := len(dst)
	for _, field := range []struct{ key, value string }{{`{"id":"`, d.ID}, {`","title":"`, d.Title}, {`","text":"`, d.Text}} {
		if !utf8.ValidString(field.value) || strings.Contains(field.value, "\u2028") || strings.Contains(field.value, "\u2029") {
			return appendEncoded(dst[:start], d)
		}
		dst = appendString(append(dst, field.key...), field.value)
	}
	return append(dst, "\"}\n"...)
}

// appendEncoded is appendDocument by encoding/json.
func appendEncoded(dst []byte, d Document) []byte {
	line := bytes.NewBuffer(dst)
	enc := json.NewEncoder(line)
	enc.SetEscapeHTML(false)
	enc.Encode(d) // a buffer takes everything, and strings can be encoded
	return line.Bytes()
}

// appendString appends what stands for s between quotes.
func appendString(dst []byte, s string) []byte {
	for {
		n := plainRun(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return dst
		}
		if at := strings.IndexByte(escaped, s[n]); at >= 0 {
			dst = append(dst, '\\', escapes[at])
		} else {
			dst = fmt.Appendf(dst, `\u%04x`, s[n])
		}
		s = s[n+1:]
	}
}

// parseDocument reads an object of the strings id, title and text several times as fast as encoding/json, which else takes most of
// segment's time. It refuses all that is not plainly so: that is for encoding/json to take or to complain of. The line is valid UTF-8; buf
// is room for work.
func parseDocument(line, buf []byte) (d Document, rest []byte, ok bool) {
	line = bytes.TrimSpace(line)
	if len(line) < 2 || line[0] != '{' || line[len(line)-1] != '}' {
		return d, buf, false
	}
	hasText := false
	for line = line[1:]; ; line = line[1:] {
		var key, value string
		if key, line, buf, ok = parseString(line, buf); !ok {
			return d, buf, false
		}
		line = bytes.TrimLeft(line, jsonSpace)
		if len(line) == 0 || line[0] != ':' {
			return d, buf, false
		}
		if value, line, buf, ok = parseString(line[1:], buf); !ok {
			return d, buf, false
		}
		switch key {
		case "id":
			d.ID = value
		case "title":
			d.Title = value
		case "text":
			d.Text, hasText = value, true
		default:
			return d, buf, false
		}
		line = bytes.TrimLeft(line, jsonSpace)
		if len(line) == 1 { // the brace
			return d, buf, hasText
		}
		if len(line) == 0 || line[0] != ',' {
			return d, buf, false
		}
	}
}

const jsonSpace = " \t\r\n"

// parseString reads a string, behind blanks, and returns what follows it.
func parseString(s, buf []byte) (value string, rest, room []byte, ok bool) {
	s = bytes.TrimLeft(s, jsonSpace)
	if len(s) == 0 || s[0] != '"' {
		return "", s, buf, false
	}
	buf = buf[:0]
	for s = s[1:]; ; {
		n := plainRun(s)
		buf, s = append(buf, s[:n]...), s[n:]
		switch {
		case len(s) == 0 || s[0] < ' ':
			return "", s, buf, false
		case s[0] == '"':
			return string(buf), s[1:], buf, true
		}
		var length int
		if buf, length = appendEscape(buf, s); length == 0 {
			return "", s, buf, false
		}
		s = s[length:]
	}
}

// plainRun returns how many bytes s begins with that a string holds as they are: all but quotes, backslashes and control characters. It looks at
// eight bytes at a time.
func plainRun[T string | []byte](s T) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; n+8 <= len(s); n += 8 {
		v := uint64(s[n]) | uint64(s[n+1])<<8 | uint64(s[n+2])<<16 | uint64(s[n+3])<<24 | // one load, to the compiler
			uint64(s[n+4])<<32 | uint64(s[n+5])<<40 | uint64(s[n+6])<<48 | uint64(s[n+7])<<56
		quote, backslash := v^ones*'"', v^ones*'\\'
		if found := ((v-ones*' ')&^v | (quote-ones)&^quote | (backslash-ones)&^backslash) & tops; found != 0 {
			return n + bits.TrailingZeros64(found)/8 // the lowest mark is exact, those above may be borrows
		}
	}
	for n < len(s) && s[n] >= ' ' && s[n] != '"' && s[n] != '\\' {
		n++
	}
	return n
}

// What stands behind a backslash for a character of its own.
const (
	escapes = `"\bfnrt`
	escaped = "\"\\\b\f\n\r\t"
)

// appendEscape appends the character of the escape that s begins with and returns the escape's length, 0 for one that is left to encoding/json.
func appendEscape(buf, s []byte) ([]byte, int) {
	if len(s) < 2 {
		return buf, 0
	}
	if s[1] == '/' {
		return append(buf, '/'), 2
	}
	if at := strings.IndexByte(escapes, s[1]); at >= 0 {
		return append(buf, escaped[at]), 2
	}
	if s[1] != 'u' || len(s) < 6 {
		return buf, 0
	}
	r, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil || r == 0 || utf16.IsSurrogate(rune(r)) {
		return buf, 0
	}
	return append(buf, string(rune(r))...), 6
}
