package sentence

import (
	"strings"
	"unicode/utf8"
)

// span is text[start:stop].
type span struct{ start, stop int }

// candidate is a mark . ? or ! that may end a sentence: it is followed by punctuation, or by white space and another token.
type candidate struct {
	word span // what stands before the mark, back to the last white space
	next int  // where the token after the white space begins, -1 if punctuation follows
}

// Split returns the sentences of text in order, as parts of it: white space between them and at the end is dropped, white space inside
// them is kept. Text without anything but white space has none.
func (p *Punkt) Split(text string) []string {
	s := splitter{punkt: p, text: text}
	s.cut()
	return s.realign()
}

// splitter is the state of one Split. Positions are in bytes.
type splitter struct {
	punkt  *Punkt
	text   string
	spans  []span
	start  int // of the sentence not yet cut
	tokens []token
	key    []byte
}

// cut finds the sentences before realignment. Of candidates whose words before them overlap, only the last counts: "!!!" is one.
func (s *splitter) cut() {
	text := s.text
	var last candidate
	found := false
	for i := 0; i < len(text); i++ {
		if class[text[i]]&isMark == 0 {
			continue
		}
		next, ok := s.follower(i + 1)
		if !ok {
			continue
		}
		start := last.word.start
		for j := i - 1; j > last.word.stop; j-- {
			if class[text[j]]&isBlank != 0 {
				start = j + 1
				break
			}
		}
		if found && last.word.stop <= start {
			s.decide(last)
		}
		last, found = candidate{span{start, i}, next}, true
	}
	if found {
		s.decide(last)
	}
	s.spans = append(s.spans, span{s.start, max(s.start, trimmedLen(text))})
}

// follower tells whether what begins at i, right after a mark, makes the mark a candidate, and where the next token begins.
func (s *splitter) follower(i int) (next int, ok bool) {
	if i == len(s.text) {
		return 0, false
	}
	if class[s.text[i]]&isStop != 0 {
		return -1, true
	}
	next = skipSpace(s.text, i)
	return next, next > i && next < len(s.text)
}

// decide ends a sentence after the candidate's mark if a token of its context, but the last, ends one.
func (s *splitter) decide(c candidate) {
	end := c.word.stop + 2
	if c.next >= 0 {
		end = skipToken(s.text, c.next)
	}
	if !s.breaks(s.text[c.word.start:end]) {
		return
	}
	mark := c.word.stop + 1
	s.spans = append(s.spans, span{s.start, mark})
	s.start = mark
	if c.next >= 0 {
		s.start = c.next
	}
}

// realign moves closing quotes and brackets at the beginning of a sentence to the one before, and drops sentences left empty.
func (s *splitter) realign() []string {
	out := make([]string, 0, len(s.spans))
	moved := 0
	for i, sentence := range s.spans {
		sentence.start += moved
		moved = 0
		if i+1 < len(s.spans) {
			next := s.spans[i+1]
			var closers int
			if closers, moved = closing(s.text[next.start:next.stop]); closers > 0 {
				sentence.stop = next.start + closers
			}
		}
		if sentence.start < sentence.stop {
			out = append(out, s.text[sentence.start:sentence.stop])
		}
	}
	return out
}

// closing returns the length of the closers that sentence begins with, and their length with the white space behind them; 0 if the
// closers are not followed by white space, two hyphens or the end.
func closing(sentence string) (closers, length int) {
	for n := 0; n < len(sentence) && class[sentence[n]]&isCloser != 0; {
		n++
		end := skipSpace(sentence, n)
		if end > n || n == len(sentence) || strings.HasPrefix(sentence[n:], "--") {
			return n, end
		}
	}
	return 0, 0
}

// Classes of bytes; characters beyond ASCII are in none.
const (
	isMark      = 1 << iota // may end a sentence
	isStop                  // ends a word, and follows a mark directly
	isCloser                // belongs to the sentence before
	isNoStart               // cannot begin a word
	isBlank                 // white space that bounds the word before a mark
	isRuleBlank             // all white space of one byte
)

var class = func() (t [256]uint8) {
	for bit, set := range map[uint8]string{
		isMark: ".?!", isStop: `)";}]*:@'({[?!`, isCloser: `"')]}`, isNoStart: "(\"`{[:;&#*@)}]-,",
		isBlank: " \t\n\r\v\f", isRuleBlank: " \t\n\r\v\f\x1c\x1d\x1e\x1f",
	} {
		for i := range len(set) {
			t[set[i]] |= bit
		}
	}
	return t
}()

// spaceAt returns the length of the white space character at i, 0 if there is none.
func spaceAt(s string, i int) int {
	if class[s[i]]&isRuleBlank != 0 {
		return 1
	}
	if s[i] < utf8.RuneSelf {
		return 0
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	if isWideSpace(r) {
		return n
	}
	return 0
}

func isWideSpace(r rune) bool {
	switch r {
	case 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000:
		return true
	}
	return 0x2000 <= r && r <= 0x200a
}

// skipSpace returns the position behind the white space at i.
func skipSpace(s string, i int) int {
	for i < len(s) {
		n := spaceAt(s, i)
		if n == 0 {
			break
		}
		i += n
	}
	return i
}

// skipToken returns the position of the first white space from i on.
func skipToken(s string, i int) int {
	for i < len(s) && spaceAt(s, i) == 0 {
		i++ // bytes inside a character decode to an error, which is no white space
	}
	return i
}

// trimmedLen returns the length of s without the white space at its end.
func trimmedLen(s string) int {
	return len(strings.TrimRightFunc(s, func(r rune) bool {
		if r < utf8.RuneSelf {
			return class[r]&isRuleBlank != 0
		}
		return isWideSpace(r)
	}))
}
