package wiki

import (
	"bytes"
	"slices"
	"strings"
)

// element says what happens to an HTML element or extension tag.
type element struct {
	name   string
	action action
	single bool // an opener inside it means that its end tag was forgotten
	list   bool // a list or an item of one
}

type action int

const (
	dropTag     action = iota // the tags go, the content stays
	breakWords                // as dropTag, and the words beside it are apart
	dropContent               // all goes; the content is wikitext and may nest
	rawDropTag                // as dropTag, even inside other tags
	rawDrop                   // all goes; the content is no wikitext
	rawLiteral                // the content stays as it is written
	rawFormula                // becomes formula_N
	rawCode                   // becomes codice_N
)

var elements = func() map[string]*element {
	m := make(map[string]*element)
	for a, names := range map[action]string{
		dropTag: `a abbr acronym b bdi bdo big center cite data del dfn em font i ins kbd label mark nobr p poem q rb rbc rp rt rtc ruby
			s samp section sic span strike strong time tt tvar u var wbr translate languages langconvert link meta body html blink plaintext noindex`,
		breakWords: `br hr blockquote h1 h2 h3 h4 h5 h6 details summary article aside main header footer nav figure figcaption address`,
		dropContent: `div table tbody thead tfoot tr td th caption col colgroup ul ol li dl dt dd menu dir form input select option textarea button
			small sub sup img`,
		rawDropTag: `noinclude onlyinclude`,
		rawDrop: `ref references gallery timeline score hiero imagemap graph chart mapframe maplink templatedata templatestyles inputbox
			categorytree source syntaxhighlight pre includeonly indicator charinsert rss quiz dynamicpagelist title script style iframe object embed
			video audio canvas svg`,
		rawLiteral: `nowiki`,
		rawFormula: `math chem ce`,
		rawCode:    `code`,
	} {
		for _, name := range strings.Fields(names) {
			m[name] = &element{name: name, action: a, single: slices.Contains([]string{"ref", "math", "gallery"}, name),
				list: slices.Contains([]string{"ul", "ol", "li", "dl", "dt", "dd"}, name)}
		}
	}
	return m
}()

const longestElement = 20

// tag is one HTML-like tag in wikitext.
type tag struct {
	*element
	closing bool
	empty   bool // <name/>
	end     int  // behind its '>'
}

// parseTag reads the tag of a known element at s[i] == '<'; ok is false when there is none. It looks no further than the next '<'.
func parseTag(s []byte, i int) (t tag, ok bool) {
	j := i + 1
	if j < len(s) && s[j] == '/' {
		t.closing = true
		j++
	}
	var buffer [longestElement]byte
	name := buffer[:0]
	for ; j < len(s) && isNameByte(s[j]); j++ {
		if len(name) == longestElement {
			return tag{}, false
		}
		name = append(name, s[j]|0x20) // lower case; digits have the bit set already
	}
	t.element = elements[string(name)]
	if t.element == nil {
		return tag{}, false
	}
	length := bytes.IndexAny(s[j:], "<>")
	if length < 0 || s[j+length] == '<' {
		return tag{}, false
	}
	t.end = j + length + 1
	t.empty = !t.closing && s[t.end-2] == '/'
	return t, true
}

func isNameByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

// findEnd returns the end tag of e at or after from: where it starts and where the text goes on.
func findEnd(s []byte, from int, e *element) (start, end int, ok bool) {
	for {
		i := bytes.IndexByte(s[from:], '<')
		if i < 0 {
			return 0, 0, false
		}
		from += i
		if e.mayBeAt(s[from+1:]) {
			t, ok := parseTag(s, from)
			switch {
			case !ok || t.element != e || t.empty:
			case t.closing:
				return from, t.end, true
			case e.single:
				return 0, 0, false
			}
		}
		from++
	}
}

// mayBeAt is a quick look before parseTag: does the tag that starts before s begin with the element's first letter?
func (e *element) mayBeAt(s []byte) bool {
	s = bytes.TrimPrefix(s, []byte("/"))
	return len(s) > 0 && s[0]|0x20 == e.name[0]
}

// openElement is a dropContent element whose end tag has not come yet.
type openElement struct {
	*element
	at int // in the output
}

const deepest = 64 // open elements remembered: bounds the work that unbalanced markup makes

// dropElements takes away HTML tags, some with their content.
func (c *Cleaner) dropElements(dst, s []byte) []byte {
	c.opened = c.opened[:0]
	for {
		i := bytes.IndexByte(s, '<')
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		t, ok := parseTag(s, i)
		if !ok {
			dst = append(dst, '<')
			s = s[i+1:]
			continue
		}
		s = s[t.end:]
		switch {
		case t.action == breakWords:
			if lastByte(dst) != '\n' {
				dst = append(dst, ' ')
			}
		case c.keep.Lists && t.list:
			dst = append(dst, '\n')
		case t.action != dropContent || t.empty:
		case t.closing:
			dst = c.closeElement(dst, t.element)
		default:
			if len(c.opened) == deepest {
				c.opened = append(c.opened[:0], c.opened[1:]...)
			}
			c.opened = append(c.opened, openElement{t.element, len(dst)})
		}
		s = s[skipBlanks(dst, s):]
	}
}

// closeElement cuts dst at the innermost open e; openers inside it had no end tag of their own.
func (c *Cleaner) closeElement(dst []byte, e *element) []byte {
	for i := len(c.opened) - 1; i >= 0; i-- {
		if c.opened[i].element == e {
			dst = dst[:c.opened[i].at]
			c.opened = c.opened[:i]
			break
		}
	}
	return dst
}
