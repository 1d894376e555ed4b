package wordpiece

import (
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const maxPieceRunes = 100 // a longer word is unknown

// Options of a Tokenizer.
type Options struct {
	LowerCase bool // uncased: lower-case and strip accents
}

// Tokenizer splits text into word pieces. It may be used by many goroutines at once.
type Tokenizer struct {
	vocab   *Vocabulary
	options Options
	class   []class
	scratch sync.Pool

	whole    map[string]int32 // pieces that start a word
	rest     map[string]int32 // pieces that continue one, without their "##"
	longest  int              // bytes of the longest key of whole
	longestR int              // and of rest
}

// New returns a tokenizer over vocab.
func New(vocab *Vocabulary, o Options) *Tokenizer {
	t := &Tokenizer{vocab: vocab, options: o, class: classes(), whole: map[string]int32{}, rest: map[string]int32{}}
	t.scratch.New = func() any { return new(scratch) }
	for i, token := range vocab.Tokens {
		t.whole[token] = int32(i)
		t.longest = max(t.longest, len(token))
		if len(token) > 2 && token[:2] == "##" {
			t.rest[token[2:]] = int32(i)
			t.longestR = max(t.longestR, len(token)-2)
		}
	}
	return t
}

// Vocabulary returns the vocabulary in use.
func (t *Tokenizer) Vocabulary() *Vocabulary { return t.vocab }

// scratch holds the buffers of one call.
type scratch struct {
	runes  []rune // a word after cleaning
	folded []byte // lower-cased
	bytes  []byte // decomposed, or a lower-cased ASCII run
	emit   func(piece []byte)
}

// Encode appends the ids of text's word pieces to dst.
func (t *Tokenizer) Encode(dst []int32, text string) []int32 {
	t.split(text, func(piece []byte) { dst = t.appendPieces(dst, piece) })
	return dst
}

// Pieces returns the word pieces of text.
func (t *Tokenizer) Pieces(text string) []string {
	ids := t.Encode(nil, text)
	pieces := make([]string, len(ids))
	for i, id := range ids {
		pieces[i] = t.vocab.Tokens[id]
	}
	return pieces
}

// Basic returns the words that the basic step makes of text, before they are cut into word pieces.
func (t *Tokenizer) Basic(text string) []string {
	var words []string
	t.split(text, func(piece []byte) { words = append(words, string(piece)) })
	return words
}

// appendPieces appends the ids of one word: the longest piece that matches, again and again; [UNK] when any part of it matches none.
func (t *Tokenizer) appendPieces(dst []int32, word []byte) []int32 {
	if len(word) > maxPieceRunes && utf8.RuneCount(word) > maxPieceRunes {
		return append(dst, t.vocab.Unk)
	}
	start := len(dst)
	table, longest := t.whole, t.longest
	for len(word) > 0 {
		n := min(len(word), longest)
		id, found := table[string(word[:n])]
		for !found && n > 1 {
			n--
			id, found = table[string(word[:n])]
		}
		if !found {
			return append(dst[:start], t.vocab.Unk)
		}
		dst = append(dst, id)
		word = word[n:]
		table, longest = t.rest, t.longestR
	}
	return dst
}

// split is the basic step. The piece given to emit is valid during the call only.
func (t *Tokenizer) split(text string, emit func([]byte)) {
	s := t.scratch.Get().(*scratch)
	s.emit = emit
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf && t.class[c]&space != 0 {
			i++
			continue
		}
		end := i
		for end < len(text) && text[end] < utf8.RuneSelf && t.class[text[end]]&(space|drop) == 0 {
			end++
		}
		if end == len(text) || t.class[text[end]]&space != 0 && text[end] < utf8.RuneSelf {
			t.asciiWord(s, text[i:end])
			i = end
			continue
		}
		i += t.anyWord(s, text[i:])
	}
	s.emit = nil
	t.scratch.Put(s)
}

// asciiWord handles a word of ASCII without control characters.
func (t *Tokenizer) asciiWord(s *scratch, word string) {
	if word[0] == '[' && neverSplit(word) {
		s.emit(append(s.bytes[:0], word...))
		return
	}
	b := s.bytes[:0]
	for i := 0; i < len(word); i++ {
		c := word[i]
		if t.class[c]&punct != 0 {
			s.flush(b)
			b = append(b[:0], c)
			s.emit(b)
			b = b[:0]
			continue
		}
		if t.options.LowerCase && 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	s.flush(b)
	s.bytes = b
}

func (s *scratch) flush(b []byte) {
	if len(b) > 0 {
		s.emit(b)
	}
}

// anyWord handles the first word of text, whatever its characters, and returns the bytes it took.
func (t *Tokenizer) anyWord(s *scratch, text string) int {
	s.runes = s.runes[:0]
	for i, r := range text {
		switch c := t.class[r]; {
		case c&ideograph != 0 && c&drop == 0:
			if len(s.runes) > 0 {
				t.runeWord(s)
				return i
			}
			s.runes = append(s.runes, r)
			t.runeWord(s)
			return i + utf8.RuneLen(r)
		case c&drop != 0:
		case c&space != 0:
			t.runeWord(s)
			return i + utf8.RuneLen(r)
		default:
			s.runes = append(s.runes, r)
		}
	}
	t.runeWord(s)
	return len(text)
}

// runeWord lower-cases the cleaned word in s.runes, strips its accents, and splits it at punctuation.
func (t *Tokenizer) runeWord(s *scratch) {
	b := s.bytes[:0]
	for _, r := range s.runes {
		b = utf8.AppendRune(b, r)
	}
	if len(b) > 0 && b[0] == '[' && neverSplit(string(b)) {
		s.bytes = b
		s.emit(b)
		return
	}
	if t.options.LowerCase {
		s.folded = t.appendLower(s.folded[:0], s.runes)
		b = norm.NFD.Append(b[:0], s.folded...)
	}
	s.bytes = b
	s.folded = s.folded[:0]
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch c := t.class[r]; {
		case c&punct != 0:
			s.flush(s.folded)
			s.emit(b[i : i+n])
			s.folded = s.folded[:0]
		case c&mark != 0 && t.options.LowerCase:
		default:
			s.folded = append(s.folded, b[i:i+n]...)
		}
		i += n
	}
	s.flush(s.folded)
}

// appendLower appends the lower case of word; a capital sigma at the end of a word becomes the final one.
func (t *Tokenizer) appendLower(b []byte, word []rune) []byte {
	for i, r := range word {
		if r == 'Σ' && t.finalSigma(word, i) {
			b = append(b, "ς"...)
			continue
		}
		b = utf8.AppendRune(b, unicode.ToLower(r)) // U+0130 becomes i plus a dot above, which goes with the accents
	}
	return b
}

// finalSigma is Unicode's Final_Sigma: a cased letter before it and none behind, case-ignorable characters skipped.
func (t *Tokenizer) finalSigma(word []rune, i int) bool {
	before := i - 1
	for before >= 0 && t.class[word[before]]&ignorable != 0 {
		before--
	}
	if before < 0 || t.class[word[before]]&cased == 0 {
		return false
	}
	behind := i + 1
	for behind < len(word) && t.class[word[behind]]&ignorable != 0 {
		behind++
	}
	return behind == len(word) || t.class[word[behind]]&cased == 0
}

func neverSplit(word string) bool {
	switch word {
	case "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]":
		return true
	}
	return false
}
