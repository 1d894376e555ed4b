package wiki

import (
	"bytes"
	"slices"
	"strconv"
)

// held is a formula or piece of code that a mark in the text stands for.
type held struct {
	kind    byte // 'm' formula, 'c' code
	content []byte
}

// stripRaw takes away comments and the extension tags whose content is no wikitext, before anything else looks at brackets and
// braces. An element without end tag loses its tag only.
func (c *Cleaner) stripRaw(dst, s []byte) []byte {
	c.held, c.missing = c.held[:0], c.missing[:0]
	openComment := false // a comment without end was seen: there is no end behind it either
	for {
		i := bytes.IndexByte(s, '<')
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		s = s[i:]
		if bytes.HasPrefix(s, []byte("<!--")) {
			end := -1
			if !openComment {
				end = bytes.Index(s[4:], []byte("-->"))
				openComment = end < 0
			}
			s = afterComment(dst, s, end)
			continue
		}
		t, ok := parseTag(s, 0)
		if !ok || t.action < rawDrop {
			dst = append(dst, '<')
			s = s[1:]
			continue
		}
		dst, s = c.stripElement(dst, s, t)
	}
}

// afterComment returns what follows the comment at the start of s, whose end is at s[4+end]. A comment alone on its line takes the
// line with it; one that never ends takes the rest of its line.
func afterComment(dst, s []byte, end int) []byte {
	if end < 0 {
		if line := bytes.IndexByte(s, '\n'); line >= 0 {
			return s[line:]
		}
		return nil
	}
	s = s[4+end+3:]
	s = s[skipBlanks(dst, s):]
	if lastByte(dst) == '\n' && len(s) > 0 && s[0] == '\n' {
		return s[1:]
	}
	return s
}

// stripElement treats the raw element whose tag t starts s.
func (c *Cleaner) stripElement(dst, s []byte, t tag) (out, rest []byte) {
	if t.action == rawLiteral {
		dst = append(dst, seam)
	}
	if t.closing || t.empty || slices.Contains(c.missing, t.element) {
		return dst, s[t.end:]
	}
	start, end, ok := findEnd(s, t.end, t.element)
	if !ok {
		if !t.single { // an inner opener, not the end of the text, may have stopped the search
			c.missing = append(c.missing, t.element)
		}
		return dst, s[t.end:]
	}
	content := s[t.end:start]
	switch t.action {
	case rawLiteral:
		dst = appendGuarded(dst, content)
	case rawFormula:
		dst = c.hold(dst, 'm', content)
	case rawCode:
		dst = c.hold(dst, 'c', content)
	}
	return dst, s[end:]
}

func (c *Cleaner) hold(dst []byte, kind byte, content []byte) []byte {
	dst = append(dst, heldStart, kind)
	dst = strconv.AppendInt(dst, int64(len(c.held)), 10)
	c.held = append(c.held, held{kind, content})
	return append(dst, heldEnd)
}
