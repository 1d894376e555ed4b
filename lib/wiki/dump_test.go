package wiki

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"hpcbert/lib/fault"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/unicode"
)

const siteinfo = `<siteinfo><sitename>Vikipedeja</sitename><base>https://ltg.wikipedia.org/wiki/X</base><namespaces>
<namespace key="0" case="first-letter" /><namespace key="6" case="first-letter">Fails</namespace><namespace key="4">Vikipedeja</namespace></namespaces></siteinfo>`

func page(id, title, ns, text string) string {
	return fmt.Sprintf("<page>\n<title>%s</title>\n<ns>%s</ns>\n<id>%s</id>\n<revision><id>9</id><contributor><id>8</id></contributor><text xml:space=\"preserve\">%s</text></revision>\n</page>\n", title, ns, id, text)
}

func mediawiki(body string) string {
	return `<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" xml:lang="ltg">` + body + `</mediawiki>`
}

func utf16(t *testing.T, order unicode.Endianness, bom unicode.BOMPolicy, text string) string {
	out, err := unicode.UTF16(order, bom).NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// describe lists pages as "id title namespace text".
func describe(d *Dump) ([]string, error) {
	var all []string
	for {
		p, err := d.Next()
		if err != nil {
			return all, err
		}
		line := fmt.Sprintf("%s %s %d %s", p.ID, p.Title, p.Namespace, p.wikitext())
		if p.Redirect {
			line += " redirect"
		}
		all = append(all, line)
	}
}

func TestPages(t *testing.T) {
	two := page("1", "A", "0", "a &lt;b&gt; &amp;amp;") + page("2", "B &amp; C", "10", "d")
	want := []string{"1 A 0 a <b> &amp;", "2 B & C 10 d"}
	for _, c := range []struct {
		name, xml string
		want      []string
	}{
		{"whole dump", mediawiki(siteinfo + two), want},
		{"without siteinfo", mediawiki(two), want},
		{"declaration, comment and byte order mark", "\xef\xbb\xbf<?xml version='1.0'?>\n<!-- <page> > -->\n" + mediawiki(two) + "\n", want},
		{"block of a multistream dump", two, want},
		{"last block of a multistream dump", two + "</mediawiki>\n", want},
		{"two dumps", mediawiki(page("1", "A", "0", "x")) + "\n<?xml version='1.0'?>" + mediawiki(page("2", "B", "0", "y")), []string{"1 A 0 x", "2 B 0 y"}},
		{"little-endian UTF-16", utf16(t, unicode.LittleEndian, unicode.UseBOM, mediawiki(two)), want},
		{"big-endian UTF-16", utf16(t, unicode.BigEndian, unicode.UseBOM, mediawiki(two)), want},
		{"UTF-16 without a byte order mark", utf16(t, unicode.LittleEndian, unicode.IgnoreBOM, mediawiki(two)), want},
		{"CDATA", mediawiki(page("1", "A", "0", "<![CDATA[a <b> </page> &amp;]]> &lt;")), []string{"1 A 0 a <b> </page> &amp; <"}},
		{"empty text", mediawiki("<page><title>A</title><ns>0</ns><id>1</id><revision><text bytes=\"0\" /></revision></page>"), []string{"1 A 0 "}},
		{"redirect", mediawiki("<page><title>A</title><ns>0</ns><id>1</id><redirect title=\"B > C\" /><revision><text>x</text></revision></page>"), []string{"1 A 0 x redirect"}},
		{"last revision counts", mediawiki("<page><title>A</title><id>1</id><revision><text>old and long</text></revision><revision><text>new</text></revision></page>"), []string{"1 A 0 new"}},
		{"secondary slot", mediawiki("<page><title>A</title><id>1</id><revision><text>x</text><content><role>m</role><text>y</text></content></revision></page>"), []string{"1 A 0 x"}},
		{"namespace by title", mediawiki(siteinfo + "<page><title>Fails:A</title><id>1</id><revision><text>x</text></revision></page>"), []string{"1 Fails:A 6 x"}},
		{"control characters and line ends", mediawiki(page("1", "A", "0", "a\x02b&#3;c\r\nd&#10;e")), []string{"1 A 0 abc\nd\ne"}},
		{"invalid UTF-8", mediawiki(page("1", "A", "0", "a\xff")), []string{"1 A 0 a\ufffd"}},
		{"character references", mediawiki(page("1", "A", "0", "&#x41;&#66;&quot;&apos;&unknown; &")), []string{"1 A 0 AB\"'&unknown; &"}},
		{"no page", mediawiki(siteinfo), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for reader, r := range map[string]io.Reader{"at once": strings.NewReader(c.xml), "byte by byte": iotest.OneByteReader(strings.NewReader(c.xml))} {
				d, err := newDump(r, "x.xml")
				if err != nil {
					t.Fatal(err)
				}
				got, err := describe(d)
				if err != io.EOF {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", reader, diff)
				}
			}
		})
	}
}

func TestBadDumps(t *testing.T) {
	good := page("1", "Ada", "0", "x")
	at := func(format string, behind string) string { return fmt.Sprintf(format, len("<mediawiki>"+good+behind)) }
	for _, c := range []struct{ name, xml, want string }{
		{"empty", "", "read x.xml: empty, not a MediaWiki XML dump"},
		{"blank", " \n", "read x.xml: not a MediaWiki XML dump: it holds no element"},
		{"text", "hello", "read x.xml: not a MediaWiki XML dump: it is not XML"},
		{"another XML", "<?xml version='1.0'?><html><body/></html>", "read x.xml: not a MediaWiki XML dump: it begins with <html>"},
		{"cut off in a text", "<mediawiki>" + good + "<page><title>B</title><revision><text>abc", at(`read x.xml: page 2 (behind "Ada"): the XML ends inside <text> at byte %d: unexpected EOF`, "<page><title>B</title><revision><text>abc")},
		{"cut off in a tag", "<mediawiki>" + good + "<page><tit", at(`read x.xml: page 2 (behind "Ada"): the XML ends inside <page> at byte %d: unexpected EOF`, "<page><tit")},
		{"cut off behind a page", "<mediawiki>" + good, at(`read x.xml: behind page 1, "Ada": the XML ends inside <mediawiki> at byte %d: unexpected EOF`, "")},
		{"cut off before the first page", "<mediawiki><siteinfo>", `read x.xml: before the end of page 1: the XML ends inside <siteinfo> at byte 21: unexpected EOF`},
		{"wrong end tag", "<mediawiki>" + good + "<page></title></page></mediawiki>", at(`read x.xml: page 2 (behind "Ada"): byte %d: malformed XML: </title> where </page> is due`, "<page>")},
		{"tag in a tag", "<mediawiki>" + good + "<page <b></page></mediawiki>", at(`read x.xml: behind page 1, "Ada": byte %d: malformed XML: '<' inside a tag`, "")},
		{"bare less-than", "<mediawiki>" + good + "< page></mediawiki>", at(`read x.xml: behind page 1, "Ada": byte %d: malformed XML: '<' begins no tag`, "")},
		{"text behind the dump", mediawiki(good) + "x", `read x.xml: behind page 1, "Ada": byte 248: malformed XML: text outside of all elements`},
		{"end tag alone", mediawiki(good) + "</page>", `read x.xml: behind page 1, "Ada": byte 248: malformed XML: </page> closes nothing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := newDump(strings.NewReader(c.xml), "x.xml")
			if err == nil {
				_, err = describe(d)
			}
			if err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if errors.Is(err, io.ErrUnexpectedEOF) && fault.HintOf(err) == "" {
				t.Error("no hint")
			}
		})
	}
}

// The window grows to the largest page and moves under everything at its edges.
func TestPagesAcrossTheWindow(t *testing.T) {
	var xml strings.Builder
	var want []string
	for i, n := range []int{10, firstWindow - 300, firstWindow, 3*firstWindow + 7, 1, 2 * firstWindow} {
		text := strings.Repeat("abc&amp;", n/8)
		xml.WriteString(page(fmt.Sprint(i), "T", "0", text))
		want = append(want, fmt.Sprintf("%d T 0 %s", i, strings.ReplaceAll(text, "&amp;", "&")))
	}
	d, err := newDump(iotest.HalfReader(strings.NewReader(mediawiki(xml.String()))), "x")
	if err != nil {
		t.Fatal(err)
	}
	got, err := describe(d)
	if err != io.EOF {
		t.Fatal(err)
	}
	if !cmp.Equal(want, got) {
		t.Error("pages differ")
	}
}
