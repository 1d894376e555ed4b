package wiki

import (
	"bytes"
	"html"
	"strconv"
	"unicode/utf8"
)

// appendXMLText appends the text that XML character data stands for. Carriage returns become line ends and control characters, which
// XML forbids, vanish: the passes over the wikitext use them as marks.
func appendXMLText(dst, src []byte) []byte {
	done := 0
	for i := nextUnusual(src, 0); i < len(src); i = nextUnusual(src, i+1) {
		c := src[i]
		if c == '\t' || c >= ' ' && c != '&' {
			continue
		}
		dst = append(dst, src[done:i]...)
		done = i + 1
		switch {
		case c == '&':
			r, n := xmlEntity(src[i:])
			if n == 0 {
				done = i // no entity of XML: as written
				continue
			}
			dst = appendLegal(dst, r)
			i += n - 1
			done = i + 1
		case c == '\r' && (i+1 == len(src) || src[i+1] != '\n'):
			dst = append(dst, '\n')
		}
	}
	dst = append(dst, src[done:]...)
	if !utf8.Valid(dst) {
		dst = bytes.ToValidUTF8(dst, []byte("\uFFFD"))
	}
	return dst
}

func appendLegal(dst []byte, r rune) []byte {
	if r < ' ' && r != '\n' && r != '\t' {
		return dst
	}
	return utf8.AppendRune(dst, r)
}

// xmlEntity decodes the reference at the start of s; n is its length, 0 when it is none.
func xmlEntity(s []byte) (r rune, n int) {
	switch { // what dumps are full of, without a search for the end
	case bytes.HasPrefix(s, []byte("&lt;")):
		return '<', len("&lt;")
	case bytes.HasPrefix(s, []byte("&gt;")):
		return '>', len("&gt;")
	case bytes.HasPrefix(s, []byte("&quot;")):
		return '"', len("&quot;")
	case bytes.HasPrefix(s, []byte("&amp;")):
		return '&', len("&amp;")
	}
	end := bytes.IndexByte(s[:min(len(s), 12)], ';')
	if end < 2 {
		return 0, 0
	}
	switch name := s[1:end]; string(name) {
	case "apos":
		return '\'', end + 1
	default:
		if name[0] != '#' || len(name) < 2 {
			return 0, 0
		}
		digits, base := name[1:], 10
		if digits[0]|0x20 == 'x' {
			digits, base = digits[1:], 16
		}
		code, err := strconv.ParseUint(string(digits), base, 32)
		if err != nil || code > utf8.MaxRune {
			return 0, 0
		}
		return rune(code), end + 1
	}
}

const longestEntity = 34 // "&CounterClockwiseContourIntegral;" and one more

// htmlEntity returns what the HTML reference at the start of s stands for and its length, 0 when it is none. As in MediaWiki the
// semicolon is needed.
func htmlEntity(s []byte) (text string, n int) {
	end := bytes.IndexByte(s[:min(len(s), longestEntity)], ';')
	if end < 2 {
		return "", 0
	}
	for _, c := range s[1:end] {
		if c != '#' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return "", 0
		}
	}
	source := string(s[:end+1])
	text = html.UnescapeString(source)
	if text == source || len(text) > 0 && text[len(text)-1] == ';' && len(text) > 1 {
		return "", 0 // unknown, or only a prefix known: "&notit;"
	}
	return text, end + 1
}
