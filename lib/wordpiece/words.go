package wordpiece

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Splitter does the basic step: it cuts text into words. Each goroutine has its own.
type Splitter struct {
	class  []class
	lower  bool
	emit   func(word []byte) // gets each word, valid during the call
	runes  []rune            // a word after cleaning
	folded []byte            // lower-cased
	bytes  []byte            // decomposed
}

// NewSplitter returns a splitter.
func NewSplitter(o Options) *Splitter { return &Splitter{class: classes(), lower: o.LowerCase} }

// Each gives the words of text one by one to f; they are valid during the call only.
func (s *Splitter) Each(text string, f func(word []byte)) {
	s.emit = f
	for len(text) > 0 {
		text = text[s.next(text):]
	}
}

// next handles the first word of text between white space, ideographs or the ends, and returns the bytes it took.
func (s *Splitter) next(text string) int {
	s.runes = s.runes[:0]
	for i, r := range text {
		switch c := s.class[r]; {
		case c&ideograph != 0 && c&drop == 0:
			if len(s.runes) > 0 {
				s.word()
				return i
			}
			s.runes = append(s.runes, r)
			s.word()
			return i + utf8.RuneLen(r)
		case c&drop != 0:
		case c&space != 0:
			s.word()
			return i + utf8.RuneLen(r)
		default:
			s.runes = append(s.runes, r)
		}
	}
	s.word()
	return len(text)
}

// word lower-cases the cleaned word in s.runes, strips its accents, and splits it at punctuation.
func (s *Splitter) word() {
	b := s.bytes[:0]
	for _, r := range s.runes {
		b = utf8.AppendRune(b, r)
	}
	if len(b) > 0 && b[0] == '[' && neverSplit(string(b)) {
		s.bytes = b
		s.emit(b)
		return
	}
	if s.lower {
		s.folded = s.appendLower(s.folded[:0], s.runes)
		b = norm.NFD.Append(b[:0], s.folded...)
	}
	s.bytes = b
	s.folded = s.folded[:0]
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch c := s.class[r]; {
		case c&punct != 0:
			s.flush(s.folded)
			s.emit(b[i : i+n])
			s.folded = s.folded[:0]
		case c&mark != 0 && s.lower:
		default:
			s.folded = append(s.folded, b[i:i+n]...)
		}
		i += n
	}
	s.flush(s.folded)
}

func (s *Splitter) flush(b []byte) {
	if len(b) > 0 {
		s.emit(b)
	}
}

// Lower is Python's str.lower(), which golang.org/x/text/cases is not behind letters such as ʰ.
func Lower(text string) string {
	s := Splitter{class: classes()}
	return string(s.appendLower(nil, []rune(text)))
}

// appendLower appends the lower case of word; a capital sigma at the end of a word becomes the final one.
func (s *Splitter) appendLower(b []byte, word []rune) []byte {
	for i, r := range word {
		switch {
		case r == 'Σ' && s.finalSigma(word, i):
			b = append(b, "ς"...)
		case r == 'İ':
			b = append(b, "i\u0307"...)
		default:
			b = utf8.AppendRune(b, unicode.ToLower(r))
		}
	}
	return b
}

// finalSigma is Unicode's Final_Sigma: a cased letter before it and none behind, case-ignorable characters skipped.
func (s *Splitter) finalSigma(word []rune, i int) bool {
	before := i - 1
	for before >= 0 && s.class[word[before]]&ignorable != 0 {
		before--
	}
	if before < 0 || s.class[word[before]]&cased == 0 {
		return false
	}
	behind := i + 1
	for behind < len(word) && s.class[word[behind]]&ignorable != 0 {
		behind++
	}
	return behind == len(word) || s.class[word[behind]]&cased == 0
}

func neverSplit(word string) bool {
	switch word {
	case "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]":
		return true
	}
	return false
}
