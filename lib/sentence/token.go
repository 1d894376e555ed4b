package sentence

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a word or punctuation of a candidate's context.
type token struct {
	text     string
	ends     bool // ends a sentence
	short    bool // is an abbreviation
	ellipsis bool
}

// breaks tells whether a token of the context that is not its last ends a sentence.
func (s *splitter) breaks(context string) bool {
	s.tokens = s.tokens[:0]
	for line := range strings.SplitSeq(context, "\n") { // no token spans lines
		s.tokenize(line)
	}
	tokens := s.tokens
	for i := range tokens {
		s.classify(&tokens[i])
	}
	for i := range len(tokens) - 1 {
		if strings.HasSuffix(tokens[i].text, ".") {
			s.reclassify(&tokens[i], &tokens[i+1])
		}
		if tokens[i].ends {
			return true
		}
	}
	return false
}

// tokenize appends the tokens of line.
func (s *splitter) tokenize(line string) {
	for i := skipSpace(line, 0); i < len(line); i = skipSpace(line, i) {
		end := i + punctuationRun(line[i:])
		if end == i {
			_, n := utf8.DecodeRuneInString(line[i:])
			end = i + n
			if class[line[i]]&isNoStart == 0 {
				end = wordEnd(line, end)
			}
		}
		s.tokens = append(s.tokens, token{text: line[i:end]})
		i = end
	}
}

// wordEnd returns where the word whose first character lies before i ends.
func wordEnd(line string, i int) int {
	for i < len(line) {
		c := line[i]
		if endsWord(line, i) || c == ',' && (i+1 == len(line) || endsWord(line, i+1)) {
			break
		}
		i++
	}
	return i
}

// endsWord tells whether white space, a stop or a run of punctuation stands at i.
func endsWord(line string, i int) bool {
	return class[line[i]]&isStop != 0 || spaceAt(line, i) > 0 || punctuationRun(line[i:]) > 0
}

// punctuationRun returns the length of the punctuation of several characters that s begins with: hyphens, periods, or at least three
// periods with a blank between each two.
func punctuationRun(s string) int {
	c := s[0]
	if c != '-' && c != '.' || len(s) < 2 {
		return 0
	}
	n := 1
	for n < len(s) && s[n] == c {
		n++
	}
	if n > 1 || c == '-' {
		if n == 1 {
			return 0
		}
		return n
	}
	periods := 1
	for n < len(s) {
		blank := spaceAt(s, n)
		if blank == 0 || n+blank == len(s) || s[n+blank] != '.' {
			break
		}
		n += blank + 1
		periods++
	}
	if periods < 3 {
		return 0
	}
	return n
}

// classify is Punkt's first pass, on the token alone.
func (s *splitter) classify(t *token) {
	switch {
	case t.text == "." || t.text == "?" || t.text == "!":
		t.ends = true
	case !strings.HasSuffix(t.text, "."):
	case isEllipsis(t.text):
		t.ellipsis = true
	case !strings.HasSuffix(t.text, ".."):
		s.key = appendLower(s.key[:0], t.text[:len(t.text)-1])
		known := s.punkt.words[string(s.key)].abbreviation
		if hyphen := bytes.LastIndexByte(s.key, '-'); hyphen >= 0 && !known {
			known = s.punkt.words[string(s.key[hyphen+1:])].abbreviation
		}
		t.short, t.ends = known, !known
	}
}

// isEllipsis: two periods or more and nothing else.
func isEllipsis(s string) bool { return len(s) > 1 && strings.Trim(s, ".") == "" }

// reclassify is the second pass, on a token that ends in a period and its successor.
func (s *splitter) reclassify(t, next *token) {
	number := isNumber(t.text)
	initial := isInitial(t.text)
	s.key = appendType(s.key[:0], t.text, true)
	collocates := s.punkt.words[string(s.key)].collocates
	if !collocates && !t.short && !t.ellipsis && !number && !initial {
		return // the usual word at the end of a sentence
	}
	typ := len(s.key)
	s.key = appendType(append(s.key, ','), next.text, next.ends)
	if collocates && s.punkt.collocations[string(s.key)] {
		t.ends, t.short = false, true
		return
	}
	follower := s.punkt.words[string(s.key[typ+1:])]
	starts := orthographic(next.text, follower.ortho)
	if (t.short || t.ellipsis) && !initial {
		if starts == yes || isUpper(next.text) && follower.starter {
			t.ends = true
			return
		}
	}
	if initial || number {
		if starts == no || starts == unknown && initial && isUpper(next.text) && follower.ortho&anyLower == 0 {
			t.ends, t.short = false, true
		}
	}
}

type verdict int

const (
	unknown verdict = iota
	yes
	no
)

// orthographic tells from the case of a word, and the cases it was seen in, whether it begins a sentence.
func orthographic(text string, ortho uint8) verdict {
	switch {
	case len(text) == 1 && strings.Contains(";:,.!?", text):
		return no
	case isUpper(text) && ortho&anyLower != 0 && ortho&middleUpper == 0:
		return yes
	case isLower(text) && (ortho&anyUpper != 0 || ortho&beginLower == 0):
		return no
	}
	return unknown
}

const numberType = "##number##"

// appendType appends the type of a token: numbers folded, else lower case; without its last period if stripped.
func appendType(b []byte, text string, stripped bool) []byte {
	if isNumber(text) {
		return append(b, numberType...)
	}
	if stripped && len(text) > 1 {
		text = strings.TrimSuffix(text, ".")
	}
	return appendLower(b, text)
}

// isNumber: an optional minus, an optional period or comma, a digit, then only digits, commas, periods and hyphens.
func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	if s != "" && (s[0] == '.' || s[0] == ',') {
		s = s[1:]
	}
	first, _ := utf8.DecodeRuneInString(s)
	if !unicode.IsDigit(first) {
		return false
	}
	for _, r := range s {
		if r != ',' && r != '.' && r != '-' && !unicode.IsDigit(r) {
			return false
		}
	}
	return true
}

// isInitial: one letter and a period.
func isInitial(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n+1 == len(s) && s[n] == '.' && (r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r) || unicode.Is(unicode.No, r))
}

func isUpper(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsUpper(r) || r >= utf8.RuneSelf && unicode.Is(unicode.Other_Uppercase, r)
}

func isLower(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLower(r) || r >= utf8.RuneSelf && unicode.Is(unicode.Other_Lowercase, r)
}

// appendLower appends s in lower case, as Python writes it.
func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return appendLowerWide(b, s)
		}
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// appendLowerWide knows the two characters whose lower case is not one character for another: İ, and Σ at the end of a word.
func appendLowerWide(b []byte, s string) []byte {
	for i, r := range s {
		switch r {
		case 'İ':
			b = append(b, "i\u0307"...)
		case 'Σ':
			before, _ := utf8.DecodeLastRuneInString(s[:i])
			after, _ := utf8.DecodeRuneInString(s[i+len("Σ"):])
			if unicode.IsLetter(before) && !unicode.IsLetter(after) {
				r = 'ς'
			}
			b = utf8.AppendRune(b, unicode.ToLower(r))
		default:
			b = utf8.AppendRune(b, unicode.ToLower(r))
		}
	}
	return b
}
