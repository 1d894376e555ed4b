package corpus

import (
	"bytes"
	"strconv"
	"unicode/utf16"
)

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
		n := 0
		for n < len(s) && !endsRun[s[n]] {
			n++
		}
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

// endsRun marks the bytes that cannot be copied from a string as they are.
var endsRun = func() (t [256]bool) {
	for c := range ' ' {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// appendEscape appends the character of the escape that s begins with and returns the escape's length, 0 for one that is left to encoding/json.
func appendEscape(buf, s []byte) ([]byte, int) {
	if len(s) < 2 {
		return buf, 0
	}
	if at := bytes.IndexByte([]byte(`"\/bfnrt`), s[1]); at >= 0 {
		return append(buf, "\"\\/\b\f\n\r\t"[at]), 2
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
