package wiki

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"hpcbert/lib/fault"

	"golang.org/x/text/encoding/unicode"
)

// Page is one page of a dump with the text of its last revision.
type Page struct {
	Number    int // in the dump, from 1
	ID        string
	Title     string
	Namespace int
	Redirect  bool
	Target    string // of a redirect, where the dump says it
	Model     string // content model; "" in old dumps means wikitext

	raw  []byte // the text as it stands in the XML
	site *Site
	from *texts // where raw is given back
}

// wikitext returns the page's text.
func (p *Page) wikitext() []byte { return appendXMLText(make([]byte, 0, len(p.raw)), p.raw) }

// release gives the page's text back, for another page.
func (p *Page) release() {
	if raw := p.raw; raw != nil {
		p.from.Put(&raw)
		p.raw = nil
	}
}

// texts are those of pages that are done with: room for later ones.
type texts struct{ sync.Pool }

func (t *texts) take() []byte {
	if text, ok := t.Get().(*[]byte); ok {
		return (*text)[:0]
	}
	return nil
}

// Dump reads the pages of a MediaWiki XML dump one after the other. Besides whole dumps it accepts parts without <siteinfo> or
// without the <mediawiki> element (a block of a multistream dump) and dumps put behind each other. Its memory is the largest page.
type Dump struct {
	name  string
	xml   *tokenizer
	site  *Site
	path  []string // open elements
	names map[string]string
	text  []byte // character data of the innermost element of interest
	plain []byte // the text it stands for

	needs func(namespace int) bool // whether the text of such pages is asked for; nil = of all
	hasty bool                     // other pages are not looked at: what is wrong with them a second reading finds
	texts texts

	pages  int
	title  string // of the last whole page
	page   *Page  // under construction
	hasNS  bool
	needed bool // the text of page is
}

// newDump reads a dump from r; name is what errors call it. UTF-8 and UTF-16 are recognised.
func newDump(r io.Reader, name string) (*Dump, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	d := &Dump{name: name, site: newSite(), names: make(map[string]string)}
	head, err := in.Peek(64)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(head) == 0 {
		return nil, fmt.Errorf("read %s: empty, not a MediaWiki XML dump", name)
	}
	src, head := decodeUnicode(in, head)
	if trimmed := bytes.TrimLeft(head, " \t\r\n"); len(trimmed) > 0 && trimmed[0] != '<' {
		return nil, notDump(name, "it is not XML")
	}
	d.xml = newTokenizer(src)
	return d, nil
}

func notDump(name, why string) error {
	return fault.WithHint(fmt.Errorf("read %s: not a MediaWiki XML dump: %s", name, why),
		"give a pages-articles dump, plain or compressed with bzip2, gzip or zstd")
}

// decodeUnicode takes away a byte order mark and turns UTF-16 into UTF-8; it also returns the begin of the text for a look.
func decodeUnicode(in *bufio.Reader, head []byte) (io.Reader, []byte) {
	order, bom := unicode.LittleEndian, unicode.UseBOM
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		in.Discard(3)
		return in, head[3:]
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
	case bytes.HasPrefix(head, []byte("<\x00")):
		bom = unicode.IgnoreBOM
	case bytes.HasPrefix(head, []byte("\x00<")):
		order, bom = unicode.BigEndian, unicode.IgnoreBOM
	default:
		return in, head
	}
	return unicode.UTF16(order, bom).NewDecoder().Reader(in), nil
}

// Next returns the next page, io.EOF after the last one. The page holds its own memory.
func (d *Dump) Next() (*Page, error) {
	for {
		tok, err := d.xml.next()
		switch {
		case err == nil:
		case err == io.EOF && len(d.path) == 0:
			if d.pages == 0 && d.names["mediawiki"] == "" {
				return nil, notDump(d.name, "it holds no element")
			}
			return nil, io.EOF
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) && fault.HintOf(err) == "":
			return nil, d.cutOff()
		case err != nil:
			return nil, d.located(err)
		}
		page, err := d.take(tok)
		if err != nil || page != nil {
			return page, err
		}
	}
}

func (d *Dump) take(tok *token) (*Page, error) {
	switch tok.kind {
	case charData, cdata:
		return nil, d.characters(tok)
	case startTag:
		return nil, d.open(tok)
	case emptyTag:
		if err := d.open(tok); err != nil {
			return nil, err
		}
	}
	return d.close(tok)
}

// open enters an element.
func (d *Dump) open(tok *token) error {
	name := d.intern(tok.name)
	if len(d.path) == 0 && name != "mediawiki" && name != "page" {
		if d.pages == 0 {
			return notDump(d.name, fmt.Sprintf("it begins with <%s>", name))
		}
		return d.located(malformed{tok.offset, fmt.Sprintf("<%s> between the pages", name)})
	}
	d.path = append(d.path, name)
	d.text = d.text[:0]
	switch name {
	case "mediawiki":
		d.site = newSite() // pages of a dump before this one keep theirs
		d.site.Language = string(attribute(tok.attrs, "xml:lang"))
	case "page":
		d.page, d.hasNS, d.needed = &Page{Number: d.pages + 1, site: d.site, from: &d.texts}, false, true
	case "redirect":
		if d.page != nil {
			d.page.Redirect = true
			d.page.Target = string(appendXMLText(nil, attribute(tok.attrs, "title")))
		}
	case "namespace":
		d.text = append(d.text, attribute(tok.attrs, "key")...)
		d.text = append(d.text, ' ')
	case "revision":
		if d.page != nil {
			d.page.raw, d.page.Model = d.page.raw[:0], ""
		}
	}
	return nil
}

// intern returns an element's name without making a string of it each time.
func (d *Dump) intern(name []byte) string {
	switch string(name) { // what every page has, without the search in the map
	case "page":
		return "page"
	case "title":
		return "title"
	case "ns":
		return "ns"
	case "id":
		return "id"
	case "revision":
		return "revision"
	case "text":
		return "text"
	}
	s, ok := d.names[string(name)]
	if !ok {
		s = string(name)
		if len(d.names) < 1000 {
			d.names[s] = s
		}
	}
	return s
}

func (d *Dump) parent() string {
	if len(d.path) < 2 {
		return ""
	}
	return d.path[len(d.path)-2]
}

// characters collects text inside the elements that matter.
func (d *Dump) characters(tok *token) error {
	if len(d.path) == 0 {
		if len(bytes.TrimSpace(tok.data)) == 0 {
			return nil
		}
		if d.pages == 0 {
			return notDump(d.name, "it is not XML")
		}
		return d.located(malformed{tok.offset, "text outside of all elements"})
	}
	data := tok.data
	if tok.kind == cdata {
		data = bytes.ReplaceAll(data, []byte("&"), []byte("&amp;"))
	}
	switch d.path[len(d.path)-1] {
	case "text":
		if d.page != nil && d.needed && d.parent() == "revision" { // other parents hold secondary slots
			if d.page.raw == nil {
				d.page.raw = d.texts.take()
			}
			d.page.raw = append(d.page.raw, data...)
		}
	case "title", "ns", "id", "model", "namespace", "sitename", "base":
		d.text = append(d.text, data...)
	}
	return nil
}

// close leaves an element; it returns the page when that is it.
func (d *Dump) close(tok *token) (*Page, error) {
	if len(d.path) == 0 {
		if string(tok.name) == "mediawiki" { // the last block of a multistream dump
			return nil, nil
		}
		return nil, d.located(malformed{tok.offset, fmt.Sprintf("</%s> closes nothing", tok.name)})
	}
	name := d.path[len(d.path)-1]
	if name != string(tok.name) {
		return nil, d.located(malformed{tok.offset, fmt.Sprintf("</%s> where </%s> is due", tok.name, name)})
	}
	parent := d.parent()
	d.path = d.path[:len(d.path)-1]
	switch parent {
	case "siteinfo", "namespaces":
		d.siteinfo(name)
	case "page":
		if err := d.field(name); err != nil {
			return nil, err
		}
	case "revision":
		if name == "model" && d.page != nil {
			d.page.Model = d.value()
		}
	}
	if name != "page" {
		return nil, nil
	}
	return d.finish(), nil
}

func (d *Dump) value() string {
	d.plain = appendXMLText(d.plain[:0], d.text)
	return string(bytes.TrimSpace(d.plain))
}

func (d *Dump) siteinfo(name string) {
	switch name {
	case "sitename":
		d.site.Name = d.value()
		d.site.add(d.site.Name, 4)
	case "base":
		d.site.Base = d.value()
	case "namespace":
		key, title, _ := strings.Cut(d.value(), " ")
		if number, err := strconv.Atoi(key); err == nil {
			d.site.add(title, number)
		}
	}
}

func (d *Dump) field(name string) error {
	if d.page == nil {
		return nil
	}
	switch name {
	case "title":
		d.page.Title = d.value()
	case "id":
		d.page.ID = d.value()
	case "ns":
		number, err := strconv.Atoi(d.value())
		d.page.Namespace, d.hasNS = number, err == nil
		d.needed = d.needs == nil || !d.hasNS || d.needs(number)
		if d.hasty && !d.needed {
			return d.xml.skipTo("</page>")
		}
	}
	return nil
}

// finish hands out the page; dumps older than schema 0.6 do not say the namespace, there the title tells.
func (d *Dump) finish() *Page {
	page := d.page
	d.page = nil
	d.pages++
	d.title = page.Title
	if !d.hasNS {
		page.Namespace, _ = d.site.namespace(page.Title)
	}
	return page
}

// place says which page an error concerns.
func (d *Dump) place() string {
	switch {
	case d.pages == 0:
		return "before the end of page 1"
	case d.page == nil:
		return fmt.Sprintf("behind page %d, %q", d.pages, d.title)
	}
	return fmt.Sprintf("page %d (behind %q)", d.pages+1, d.title)
}

func (d *Dump) located(err error) error {
	var bad malformed
	if errors.As(err, &bad) {
		return fmt.Errorf("read %s: %s: %w", d.name, d.place(), err)
	}
	return fmt.Errorf("%s: %w", d.place(), err)
}

func (d *Dump) cutOff() error {
	where := "inside a tag"
	if len(d.path) > 0 {
		where = "inside <" + d.path[len(d.path)-1] + ">"
	}
	return fault.WithHint(fmt.Errorf("read %s: %s: the XML ends %s at byte %d: %w", d.name, d.place(), where, d.xml.base+int64(d.xml.end), io.ErrUnexpectedEOF),
		"the dump is cut off: fetch it again")
}
