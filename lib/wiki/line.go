package wiki

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// joinLines keeps the lines that are paragraphs and finishes their text: entities, marks, magic words, blanks. A line that begins
// with a blank is preformatted, code mostly; directly below a heading WikiExtractor takes it as prose all the same.
func (c *Cleaner) joinLines(dst, s []byte) []byte {
	var numbers numbering
	var section headings
	afterHeading := false
	for len(s) > 0 {
		line := s
		if i := bytes.IndexByte(s, '\n'); i >= 0 {
			line, s = s[:i], s[i+1:]
		} else {
			s = nil
		}
		if level, text := heading(line); level > 0 {
			afterHeading = true
			if c.keep.Headings {
				section.open(level, text)
			}
			continue
		}
		if afterHeading {
			line = bytes.TrimLeft(line, " ")
		}
		line, ok := c.paragraph(line)
		if !ok {
			continue
		}
		afterHeading = false
		start := len(dst)
		for _, h := range section {
			dst = c.appendLine(dst, h.text, &numbers)
		}
		before := len(dst)
		dst = c.appendLine(dst, line, &numbers)
		if len(dst) == before {
			dst = dst[:start]
		} else {
			section = section[:0]
		}
	}
	return dst
}

// appendLine appends a line and what parts it from the one before, nothing when it holds no word.
func (c *Cleaner) appendLine(dst, line []byte, numbers *numbering) []byte {
	start := len(dst)
	if start > 0 {
		dst = append(dst, '\n')
	}
	text := len(dst)
	dst = bytes.TrimRight(c.finishLine(dst, line, numbers), " ")
	if !hasWord(dst[text:]) {
		return dst[:start]
	}
	return dst
}

// heading returns the level and text of a line that is a heading, level 0 for others.
func heading(line []byte) (level int, text []byte) {
	line = bytes.TrimRight(line, " \t")
	if len(line) < 3 || line[0] != '=' {
		return 0, nil
	}
	if end := bytes.LastIndex(line, []byte("==")); line[len(line)-1] != '=' && end > 1 {
		line = line[:end+2] // something follows the heading in its line
	} else if line[len(line)-1] != '=' {
		return 0, nil
	}
	level = min(runLength(line), len(line)-len(bytes.TrimRight(line, "=")), (len(line)-1)/2, 6)
	return level, line[level : len(line)-level]
}

// headings are those of the section and the sections around it that no text has followed yet.
type headings []struct {
	level int
	text  []byte
}

// open begins a section, which ends those of its level and below.
func (h *headings) open(level int, text []byte) {
	open := *h
	for len(open) > 0 && open[len(open)-1].level >= level {
		open = open[:len(open)-1]
	}
	*h = append(open, struct {
		level int
		text  []byte
	}{level, text})
}

// paragraph tells prose from list items, indented and preformatted lines, and remains of tables and templates. A line
// within parentheses is a note to the reader in most wikis; WikiExtractor drops it too. Of list items to keep it returns the text.
func (c *Cleaner) paragraph(line []byte) (text []byte, ok bool) {
	if len(line) == 0 {
		return nil, false
	}
	switch line[0] {
	case ' ':
		return nil, false
	case ':', ';', '*', '#':
		if !c.keep.Lists {
			return nil, false
		}
		line = bytes.TrimLeft(line, ":;*# \t")
	}
	edges := bytes.TrimSpace(line)
	if len(edges) == 0 {
		return nil, false
	}
	first, last := edges[0], edges[len(edges)-1]
	return line, first != '{' && first != '|' && last != '}' && (first != '(' || last != ')')
}

// finishLine appends what a reader sees of the line.
func (c *Cleaner) finishLine(dst, line []byte, numbers *numbering) []byte {
	start := len(dst)
	for {
		n := plainWords(line)
		dst = append(dst, line[:n]...)
		if n == len(line) {
			return dst
		}
		line = line[n:]
		dst, n = c.finishByte(dst, line, len(dst) == start, numbers)
		line = line[n:]
	}
}

// plainWords returns how many bytes line begins with that stay as they are: words and a blank between two of them. It decides once a byte: a
// branch for each blank cost more than all else.
func plainWords(line []byte) int {
	before := blank
	for i, c := range line {
		is := classes[c]
		if is&special|is&before&blank != 0 {
			return i
		}
		before = is
	}
	return len(line)
}

const (
	blank   byte = 1
	special byte = 2
)

var classes = func() (of [256]byte) {
	for c := range ' ' {
		of[c] = special
	}
	for _, c := range []byte("&_[]{}\xc2\xe2") {
		of[c] = special
	}
	of[' '] = blank
	return of
}()

// finishByte appends what the special byte s[0] and its followers stand for and returns how many bytes that took.
func (c *Cleaner) finishByte(dst, s []byte, first bool, numbers *numbering) ([]byte, int) {
	switch b := s[0]; {
	case b == '&':
		text, n := htmlEntity(s)
		if n == 0 {
			return append(dst, '&'), 1
		}
		return appendVisible(dst, text, first), n
	case b == '_':
		if n := magicWord(s); n > 0 {
			return dst, n
		}
		return append(dst, '_'), 1
	case b == heldStart:
		return numbers.placeholder(dst, s)
	case b == seam:
		return dst, 1
	case isGuard(b):
		return append(dst, guarded[b-firstGuard]), 1
	case b <= ' ':
		return appendBlank(dst, first), 1
	case b == '[', b == ']', b == '{', b == '}':
		if n := runLength(s); n >= 2 {
			return dst, n // brackets that found no partner
		}
		return append(dst, b), 1
	}
	r, n := utf8.DecodeRune(s)
	if n == 1 { // cannot be: the text is valid; but never loop
		return append(dst, s[0]), 1
	}
	if isBlank(r) {
		return appendBlank(dst, first), n
	}
	return append(dst, s[:n]...), n
}

func appendBlank(dst []byte, first bool) []byte {
	if first || lastByte(dst) == ' ' {
		return dst
	}
	return append(dst, ' ')
}

// appendVisible appends decoded text; whatever would break the line or is invisible space becomes a blank.
func appendVisible(dst []byte, text string, first bool) []byte {
	for _, r := range text {
		if isBlank(r) {
			dst = appendBlank(dst, first)
			continue
		}
		dst, first = utf8.AppendRune(dst, r), false
	}
	return dst
}

func isBlank(r rune) bool {
	return r < ' ' || r == 0x7f || unicode.IsSpace(r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
}

// magicWord returns the length of the behaviour switch at the start of s, such as __NOTOC__, in any language; 0 when there is none.
func magicWord(s []byte) int {
	if !bytes.HasPrefix(s, []byte("__")) {
		return 0
	}
	end := bytes.Index(s[2:min(len(s), 80)], []byte("__"))
	if end < 3 {
		return 0
	}
	for _, r := range string(s[2 : 2+end]) {
		if !unicode.IsLetter(r) && r != '_' || unicode.IsLower(r) {
			return 0
		}
	}
	return end + 4
}

func hasWord(text []byte) bool {
	for _, b := range text {
		if b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z' {
			return true
		}
	}
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return true
		}
		text = text[n:]
	}
	return false
}

// numbering gives formulas and pieces of code their numbers: equal ones get the number of the first, and every one counts.
type numbering struct {
	formulas, codes int
	seen            map[string]int
}

// placeholder appends the word for the mark at the start of s and returns the mark's length.
func (n *numbering) placeholder(dst, s []byte) ([]byte, int) {
	end := bytes.IndexByte(s[:min(len(s), heldLength)], heldEnd)
	if end < 2 {
		return dst, 1
	}
	counter, name := &n.formulas, "formula_"
	if s[1] == 'c' {
		counter, name = &n.codes, "codice_"
	}
	*counter++
	key := string(s[1:end])
	number, ok := n.seen[key]
	if !ok {
		number = *counter
		if n.seen == nil {
			n.seen = make(map[string]int)
		}
		n.seen[key] = number
	}
	dst = append(dst, name...)
	return strconv.AppendInt(dst, int64(number), 10), end + 1
}
