package wiki

import (
	"bytes"
	"encoding/hex"
	"hash/fnv"
	"slices"
)

// stripper keeps the memory of strip from text to text.
type stripper struct {
	missing []*element // elements without an end tag in the rest of the text
}

// strip takes away comments and the extension tags whose content is no wikitext, before anything else looks at brackets and
// braces. An element without end tag loses its tag only.
func (p *stripper) strip(dst, s []byte) []byte {
	p.missing = p.missing[:0]
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
		if !ok || t.action < rawDropTag {
			dst = append(dst, '<')
			s = s[1:]
			continue
		}
		dst, s = p.stripElement(dst, s, t)
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
func (p *stripper) stripElement(dst, s []byte, t tag) (out, rest []byte) {
	if t.action == rawLiteral {
		dst = append(dst, seam)
	}
	if t.action == rawDropTag || t.closing || t.empty || slices.Contains(p.missing, t.element) {
		return dst, s[t.end:]
	}
	start, end, ok := findEnd(s, t.end, t.element)
	if !ok {
		if !t.single { // an inner opener, not the end of the text, may have stopped the search
			p.missing = append(p.missing, t.element)
		}
		return dst, s[t.end:]
	}
	content := s[t.end:start]
	switch t.action {
	case rawLiteral:
		dst = appendGuarded(dst, content)
	case rawFormula:
		dst = appendHeld(dst, 'm', content)
	case rawCode:
		dst = appendHeld(dst, 'c', content)
	}
	return dst, s[end:]
}

// appendHeld appends the mark of a formula ('m') or piece of code ('c'). Equal contents have equal marks; that two others have is as
// good as impossible, and would only give them the same number.
func appendHeld(dst []byte, kind byte, content []byte) []byte {
	h := fnv.New64a()
	h.Write(content)
	dst = append(dst, heldStart, kind)
	dst = hex.AppendEncode(dst, h.Sum(nil))
	return append(dst, heldEnd)
}
