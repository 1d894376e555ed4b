package wiki

import (
	"bytes"
	"cmp"
	"fmt"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Templates holds the templates of one or more wikis: what a dump defines, as it is transcluded. Its memory is their text without
// documentation and references, and as much again for those in use. It must not change while pages are cleaned.
type Templates struct {
	Limit    int64 // bytes of text to keep, 0 for no limit; what comes later in the dump is left out
	Count    int   // kept, with redirects
	LeftOut  int
	bytes    int64
	wikis    map[string]map[string]*template
	stripper stripper
	parser   braceParser
}

// template is one of them. A redirect has a target and no text.
type template struct {
	text   []byte
	target string

	once  sync.Once
	nodes []node
}

// markup returns the template's text, parsed at its first use.
func (t *template) markup() *markup {
	t.once.Do(func() {
		var p braceParser
		t.nodes = p.parse(t.text)
	})
	return &markup{t.text, t.nodes}
}

const (
	templateNamespace = 10
	longestTitle      = 255 // bytes, in every MediaWiki
	perTemplate       = 200 // bytes of bookkeeping
)

// Add keeps a page if it is a template.
func (ts *Templates) Add(p *Page) {
	if p.Namespace != templateNamespace || p.Model != "" && p.Model != "wikitext" {
		return
	}
	_, name, found := bytes.Cut([]byte(p.Title), []byte(":"))
	if !found || bytes.HasSuffix(name, []byte("/doc")) { // documentation, which no article transcludes
		return
	}
	text := p.wikitext()
	t := &template{target: cmp.Or(p.Target, redirectTarget(text))}
	if t.target == "" {
		t.text = bytes.Clone(ts.parser.block(ts.stripper.strip(nil, transcluded(nil, text))))
	}
	size := int64(len(t.text) + len(name) + perTemplate)
	if ts.Limit > 0 && ts.bytes+size > ts.Limit {
		ts.LeftOut++
		return
	}
	ts.bytes += size
	ts.Count++
	if ts.wikis == nil {
		ts.wikis = make(map[string]map[string]*template)
	}
	of := ts.wikis[p.site.key()]
	if of == nil {
		of = make(map[string]*template)
		ts.wikis[p.site.key()] = of
	}
	of[string(appendName(nil, name))] = t
}

// redirectTarget returns the title that a text redirects to, "" for other texts: "#REDIRECT [[Title]]" in the wiki's language. Old dumps
// tell in no other way.
func redirectTarget(text []byte) string {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] != '#' {
		return ""
	}
	word, rest, found := bytes.Cut(text[1:], []byte("[["))
	target, _, closed := bytes.Cut(rest, []byte("]]"))
	word = bytes.TrimRight(word, " \t:")
	if !found || !closed || len(word) == 0 || len(target) > longestTitle || bytes.IndexFunc(word, func(r rune) bool { return !unicode.IsLetter(r) }) >= 0 {
		return ""
	}
	return string(target)
}

// find returns the template that a call names, nil when there is none. Pages of other namespaces are not transcluded.
func (ts *Templates) find(site *Site, name []byte) *template {
	if ts == nil || len(name) > 2*longestTitle {
		return nil
	}
	var buffer [2 * longestTitle]byte
	for range 4 { // redirects
		if prefix, rest, found := bytes.Cut(name, []byte(":")); found {
			number, known := site.namespaces[foldTitle(string(prefix))]
			switch {
			case known && number == templateNamespace:
				name = rest
			case known || len(prefix) == 0:
				return nil
			}
		}
		t := ts.wikis[site.key()][string(appendName(buffer[:0], name))]
		if t == nil || t.target == "" {
			return t
		}
		name = []byte(t.target)
	}
	return nil
}

// appendName appends a title as wikis compare them: without section, blanks around it or doubled, underscores, with a capital.
func appendName(dst, name []byte) []byte {
	name, _, _ = bytes.Cut(name, []byte("#"))
	start := len(dst)
	for _, c := range name {
		switch {
		case c != ' ' && c != '_' && c != '\t' && c != '\n':
			dst = append(dst, c)
		case len(dst) > start && dst[len(dst)-1] != ' ':
			dst = append(dst, ' ')
		}
	}
	dst = bytes.TrimRight(dst, " ")
	if len(dst) == start {
		return dst
	}
	switch r, n := utf8.DecodeRune(dst[start:]); {
	case n == 1 && r >= 'a' && r <= 'z':
		dst[start] -= 'a' - 'A'
	case n > 1 && unicode.IsLower(r):
		return append(utf8.AppendRune(dst[:start:start], unicode.ToUpper(r)), dst[start+n:]...)
	}
	return dst
}

// String says how many templates there are.
func (ts *Templates) String() string {
	text := plural(ts.Count, "template")
	if ts.LeftOut > 0 {
		text += fmt.Sprintf(", %d left out", ts.LeftOut)
	}
	return text
}
