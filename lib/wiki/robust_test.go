package wiki

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

var fragments = []string{"{{", "}}", "{{{", "}}}", "{|", "|}", "|", "||", "|-", "!", "[[", "]]", "[", "]", "[[File:", "[[Category:", ":", "[http://x ", "http://y",
	"''", "'''", "'''''", "'", "\"", "<ref>", "<ref name=a/>", "<ref name=b>", "</ref>", "<references>", "<!--", "-->", "<nowiki>", "</nowiki>", "<nowiki/>", "<math>", "</math>",
	"<code>", "</code>", "<pre>", "</pre>", "<div>", "</div>", "<small>", "</small>", "<br>", "<", ">", "</", "<gallery>", "</gallery>", "\n", "\n\n", " ", "\t",
	"= h =", "==", "*", "#", ";", "&amp;", "&#10;", "&#x1F600;", "&", "&;", "__NOTOC__", "__", "_", "~~~~", "-{", "}-", "PAGENAME", "word", "é", "ж", "漢", "\u00a0", "\x02m0\x03", "\x02", "\x0e", "\xff",
	"{{word", "{{x|", "{{#if:", "{{#switch:", "{{#expr:1+", "{{lc:", "=", "<includeonly>", "</includeonly>", "<noinclude>", "-{zh:", "zh-hans:"}

// splice makes a text of random fragments.
func splice(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for range n {
		b.WriteString(fragments[r.IntN(len(fragments))])
	}
	return b.Bytes()
}

func checkText(t *testing.T, c *Cleaner, wikitext []byte) {
	t.Helper()
	clean := appendXMLText(nil, bytes.ReplaceAll(bytes.ReplaceAll(wikitext, []byte("&"), []byte("&amp;")), []byte("<"), []byte("&lt;")))
	text := c.Text("T", clean)
	if !utf8.ValidString(text) {
		t.Errorf("%q: invalid UTF-8 in %q", wikitext, text)
	}
	for _, line := range strings.Split(text, "\n") {
		if text != "" && (line == "" || line != strings.TrimSpace(line) || strings.ContainsAny(line, "\x02\x03\x04\x0e\r\t")) {
			t.Errorf("%q: bad line %q", wikitext, line)
		}
	}
}

func TestRandomMarkupNeverBreaks(t *testing.T) {
	site := newSite()
	c := newCleaner(site, library(site, "Template:Word", "{{{1|''a''}}}<ref>{{{2}}}</ref>", "Template:X", "{{#if:{{{word|}}}|{{word|{{{1}}}}}"), Keep{})
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 0))
		checkText(t, c, splice(r, 1+r.IntN(60)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// FuzzText cleans a page that uses one template.
func FuzzText(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		f.Add(splice(r, 40), splice(r, 10))
	}
	f.Add([]byte("{{t|a|b=c}} {{#switch:x|y=z|{{t}}}}"), []byte("{{#if:{{{1|}}}|{{{b}}}|{{#expr:1+{{{1}}}}}}}<noinclude>x</noinclude>"))
	f.Fuzz(func(t *testing.T, wikitext, template []byte) {
		site := newSite()
		checkText(t, newCleaner(site, library(site, "Template:T", string(template)), Keep{}), wikitext)
		checkText(t, newCleaner(site, nil, Keep{Lists: true, Headings: true}), wikitext)
	})
}

// checkHaste compares the templates that a hasty reading of a good dump finds with those of a careful one.
func checkHaste(t *testing.T, xml []byte) {
	t.Helper()
	var found [2][]string
	for i := range found {
		d, err := newDump(bytes.NewReader(xml), "x")
		if d != nil {
			d.needs, d.hasty = isTemplate, i == 1
		}
		for err == nil {
			var p *Page
			if p, err = d.Next(); err == nil && isTemplate(p.Namespace) {
				found[i] = append(found[i], fmt.Sprintf("%d %s %q", p.Number, p.Title, p.wikitext()))
			}
		}
		if err != io.EOF {
			t.Errorf("hasty %v: %v", i == 1, err)
		}
	}
	if !slices.Equal(found[0], found[1]) {
		t.Errorf("templates %q, in haste %q", found[0], found[1])
	}
}

// Tags of pages in comments and the like do not mislead it.
func TestHasteFindsTheSameTemplates(t *testing.T) {
	article, template := page("1", "A", "0", "x {{b}}"), page("2", "Template:B", "10", "text")
	hiding := strings.Replace(article, "</page>", "<!-- </page><page> --></page>", 1)
	for _, pages := range []string{"", article, template, article + template + article, hiding + template, strings.NewReplacer("<!-- ", "<o><![CDATA[ ", " -->", " ]]></o>").Replace(hiding) + template,
		strings.NewReplacer("<!-- ", "<?", " -->", "?>").Replace(hiding) + template} {
		checkHaste(t, []byte(mediawiki(siteinfo+pages)))
	}
}

// TestHasteHoldsNoHistory: a page larger than what may be held is read on in pieces.
func TestHasteHoldsNoHistory(t *testing.T) {
	revision := "<revision><text>" + strings.Repeat("word ", 1<<20) + "</text></revision>"
	xml := mediawiki(siteinfo + "<page><title>Talk:A</title><ns>1</ns><id>1</id>" + strings.Repeat(revision, 8) + "</page>" + page("2", "Template:B", "10", "text"))
	d, err := newDump(strings.NewReader(xml), "x")
	if err != nil {
		t.Fatal(err)
	}
	d.needs, d.hasty = isTemplate, true
	var last *Page
	for p, err := d.Next(); err != io.EOF; p, err = d.Next() {
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	if last == nil || last.Title != "Template:B" || string(last.wikitext()) != "text" || len(d.xml.buf) > 2*longestSkip {
		t.Errorf("last page %v, %d bytes held", last, len(d.xml.buf))
	}
}

// FuzzDump reads any bytes as a dump: at once and byte by byte it is the same, and it ends.
func FuzzDump(f *testing.F) {
	for _, xml := range []string{"", "<", mediawiki(siteinfo + page("1", "A", "0", "x &lt;&amp;#10;")), "\xff\xfe<\x00p\x00", "<page><![CDATA[ ]]></page>", "<?xml?><!-- --><mediawiki a='>'/>",
		mediawiki("<page><title>A</title><redirect title=\"B\"/><revision><text>x</text></revision></page>")} {
		f.Add([]byte(xml))
	}
	f.Fuzz(func(t *testing.T, xml []byte) {
		var all [2][]string
		var errs [2]error
		for i, r := range []io.Reader{bytes.NewReader(xml), iotest.OneByteReader(bytes.NewReader(xml))} {
			d, err := newDump(r, "x")
			if err == nil {
				all[i], err = describe(d)
			}
			errs[i] = err
		}
		if !slices.Equal(all[0], all[1]) || fmt.Sprint(errs[0]) != fmt.Sprint(errs[1]) {
			t.Errorf("at once %q, %v; byte by byte %q, %v", all[0], errs[0], all[1], errs[1])
		}
	})
}

// Every pass is linear: eight times the text must not take sixty-four times the time.
// threadTime is the processor time of the calling thread, which does not grow while others have the processor.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestUnbalancedMarkupTakesLinearTime(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const n = 50_000
	patterns := append([]string{"[[a|", "[[a[[", "]]]", "{{a|{{{", "''a'''b", "<ref>a<ref/>", "<div><small>", "</small></div>", "<!-- <ref>", "<ref name=\"", "[http://a [[b|",
		"{|\n|", "{|\n\n", "[[File:a|\n", "[[File:a|b ", "<div\n", "&amp", "__A", "[[a|[[b]]", "{{{{{", "}}}}} {{", "<code><math>", "== a\n", "{{#if:x|", "{{lc:x}}", "{{a|[[", "-{zh:a;", "-{}-", "}-"}, fragments...)
	for _, p := range patterns {
		for _, pattern := range []string{p, p + "\n", p + "x "} {
			c := newCleaner(newSite(), nil, Keep{})
			var short, long time.Duration
			clock := func(count int) time.Duration {
				text := []byte(strings.Repeat(pattern, count))
				start := threadTime(t)
				c.Text("", text)
				return threadTime(t) - start
			}
			slow := true
			for try := 0; slow && try < 3; try++ { // once may be a neighbour's doing, who takes cache and memory
				short, long = clock(n/8), clock(n)
				slow = long > 200*time.Millisecond && long > 40*short
			}
			if slow {
				t.Errorf("%q: %d times %v, %d times %v", pattern, n/8, short, n, long)
			}
		}
	}
}
