package sentence

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// SplitImproved returns the sentences of an English document whose paragraphs lie on lines. It asks the model what Punkt asks it, but a
// paragraph's end ends a sentence, quotes and brackets of all kinds belong to the mark before them, and what is known of English
// abbreviations and sentence openings decides where Punkt, trained without quotes and headings, only guesses.
func (p *Punkt) SplitImproved(document string) []string {
	c := cutter{punkt: p}
	for paragraph := range strings.FieldsFuncSeq(document, func(r rune) bool { return r == '\n' || r == '\r' }) {
		c.cut(strings.TrimSpace(paragraph))
	}
	return c.sentences
}

// What stands around words.
const (
	openers = `"'([{“‘«‹_*`
	closers = `"')]}”’»›_*`
	dashes  = `-–—`
	bullets = `•⁃·-–`
)

// cutter is the state of one SplitImproved.
type cutter struct {
	punkt     *Punkt
	sentences []string
	key       []byte
}

// ending is a place where a sentence may end: marks, closing quotes and brackets, white space.
type ending struct {
	word     string // before the marks, back to white space
	begins   bool   // the word is the sentence's first
	marks    string
	closed   bool // quotes or brackets follow the marks
	stop     int  // behind them
	next     int  // where the text goes on
	follower string
}

func (c *cutter) cut(text string) {
	start := 0
	for i := 0; i < len(text); {
		if markLen(text[i:]) == 0 {
			i++
			continue
		}
		e := endingAt(text, start, i)
		if e.next > e.stop && e.next < len(text) && c.ends(e) {
			c.sentences = append(c.sentences, text[start:e.stop])
			start = e.next
		}
		i = max(e.stop, i+1)
	}
	if start < len(text) {
		c.sentences = append(c.sentences, text[start:])
	}
}

// markLen returns the length of the mark that s begins with, 0 if none.
func markLen(s string) int {
	if class[s[0]]&isMark != 0 {
		return 1
	}
	if strings.HasPrefix(s, "…") {
		return len("…")
	}
	return 0
}

// endingAt describes the ending whose first mark stands at i, in a sentence that begins at start.
func endingAt(text string, start, i int) ending {
	e := ending{stop: i}
	for e.stop < len(text) && markLen(text[e.stop:]) > 0 {
		e.stop += markLen(text[e.stop:])
	}
	if spaced := i + punctuationRun(text[i:]); spaced > e.stop { // ". . ."
		e.stop = spaced
	}
	e.marks = text[i:e.stop]
	marked := e.stop
	e.stop += len(text[e.stop:]) - len(strings.TrimLeft(text[e.stop:], closers))
	e.closed = e.stop > marked
	e.next = skipSpace(text, e.stop)
	e.follower = text[e.next:skipToken(text, e.next)]
	from := i
	for from > start && spaceAt(text, from-1) == 0 {
		from--
	}
	e.word = text[from:i]
	e.begins = strings.Trim(text[start:from], openers+bullets+" ") == ""
	return e
}

// ends tells whether a sentence ends there.
func (c *cutter) ends(e ending) bool {
	next := strings.TrimLeft(e.follower, openers+dashes)
	first, _ := utf8.DecodeRuneInString(next)
	switch {
	case unicode.IsLower(first) && (e.closed || next != e.follower):
		return false // "This is great." she said. (He ended.) and so on. What? -- and so on.
	case strings.ContainsAny(e.marks, "?!"):
		return strings.Trim(e.follower, dashes) != ""
	case e.marks != ".":
		omission := strings.HasSuffix(e.word, "[") || strings.HasSuffix(e.word, "(")
		return unicode.IsUpper(first) && !omission // else the words were broken off, the sentence goes on
	}
	return c.periodEnds(e, next)
}

func (c *cutter) periodEnds(e ending, next string) bool {
	word := strings.TrimLeft(e.word, openers+bullets)
	first, _ := utf8.DecodeRuneInString(next)
	switch {
	case word == "":
		return true
	case e.begins && isEnumerator(word):
		return false // 1. The first item
	}
	c.key = appendLower(c.key[:0], word)
	lower := string(c.key)
	switch kind := abbreviations[lower]; {
	case kind == beforeName || kind == beforeNumber && (unicode.IsDigit(first) || unicode.IsLower(first)):
		return false
	case isInitial(word + "."):
		return opensSentence(next)
	case kind != 0, isAcronym(word), c.known(lower):
		return unicode.IsUpper(first) && c.starts(next)
	case isNumber(word):
		return !unicode.IsLower(first)
	}
	return true
}

// known tells whether the model takes a word in lower case, or its part behind the last hyphen, for an abbreviation.
func (c *cutter) known(word string) bool {
	return c.punkt.words[word].abbreviation || c.punkt.words[word[strings.LastIndexByte(word, '-')+1:]].abbreviation
}

// starts tells whether a capitalised word begins a sentence rather than being a name.
func (c *cutter) starts(word string) bool {
	if opensSentence(word) {
		return true
	}
	end := strings.IndexFunc(word, func(r rune) bool { return !unicode.IsLetter(r) })
	if end < 0 {
		end = len(word)
	}
	c.key = appendLower(c.key[:0], word[:end])
	known := c.punkt.words[string(c.key)]
	return known.starter || orthographic(word, known.ortho) == yes
}

// isEnumerator tells whether a word is the number of a list's item: one or two digits or a letter, or a small Roman number.
func isEnumerator(word string) bool {
	return len(word) <= 2 && strings.Trim(word, "0123456789") == "" || len(word) == 1 || len(word) <= 4 && strings.Trim(word, "ivx") == ""
}

// isAcronym: letters in groups of one or two between periods, as "U.S" and "Ph.D".
func isAcronym(word string) bool {
	groups := 0
	for group := range strings.SplitSeq(word, ".") {
		if n := utf8.RuneCountInString(group); n < 1 || n > 2 || strings.IndexFunc(group, unicode.IsLetter) < 0 {
			return false
		}
		groups++
	}
	return groups > 1
}
