package wiki

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var fragments = []string{"{{", "}}", "{{{", "}}}", "{|", "|}", "|", "||", "|-", "!", "[[", "]]", "[", "]", "[[File:", "[[Category:", ":", "[http://x ", "http://y",
	"''", "'''", "'''''", "'", "\"", "<ref>", "<ref name=a/>", "<ref name=b>", "</ref>", "<references>", "<!--", "-->", "<nowiki>", "</nowiki>", "<nowiki/>", "<math>", "</math>",
	"<code>", "</code>", "<pre>", "</pre>", "<div>", "</div>", "<small>", "</small>", "<br>", "<", ">", "</", "<gallery>", "</gallery>", "\n", "\n\n", " ", "\t",
	"= h =", "==", "*", "#", ";", "&amp;", "&#10;", "&#x1F600;", "&", "&;", "__NOTOC__", "__", "_", "~~~~", "-{", "}-", "PAGENAME", "word", "é", "ж", "漢", "\u00a0", "\x02m0\x03", "\x02", "\x0e", "\xff"}

// splice makes a text of random fragments.
func splice(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for range n {
		b.WriteString(fragments[r.IntN(len(fragments))])
	}
	return b.Bytes()
}

func checkText(t *testing.T, wikitext []byte) {
	t.Helper()
	clean := appendXMLText(nil, bytes.ReplaceAll(bytes.ReplaceAll(wikitext, []byte("&"), []byte("&amp;")), []byte("<"), []byte("&lt;")))
	text := NewCleaner(newSite()).Text("T", clean)
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
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 0))
		checkText(t, splice(r, 1+r.IntN(60)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzText(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(splice(rand.New(rand.NewPCG(seed, 1)), 40))
	}
	f.Fuzz(func(t *testing.T, wikitext []byte) { checkText(t, wikitext) })
}

// Every pass is linear: eight times the text must not take sixty-four times the time.
func TestUnbalancedMarkupTakesLinearTime(t *testing.T) {
	const n = 50_000
	patterns := append([]string{"[[a|", "[[a[[", "]]]", "{{a|{{{", "''a'''b", "<ref>a<ref/>", "<div><small>", "</small></div>", "<!-- <ref>", "<ref name=\"", "[http://a [[b|",
		"{|\n|", "{|\n\n", "[[File:a|\n", "[[File:a|b ", "<div\n", "&amp", "__A", "[[a|[[b]]", "{{{{{", "}}}}} {{", "<code><math>", "== a\n"}, fragments...)
	for _, p := range patterns {
		for _, pattern := range []string{p, p + "\n", p + "x "} {
			c := NewCleaner(newSite())
			clock := func(count int) time.Duration {
				text := []byte(strings.Repeat(pattern, count))
				start := time.Now()
				c.Text("", text)
				return time.Since(start)
			}
			clock(n / 8)
			short, long := clock(n/8), clock(n)
			if long > 200*time.Millisecond && long > 40*short {
				t.Errorf("%q: %d times %v, %d times %v", pattern, n/8, short, n, long)
			}
		}
	}
}

var parserTest = regexp.MustCompile(`(?ms)^!! ?wikitext(?:/edited)?\n(.*?)^!!`)

// remains is what a reader of plain text must not meet.
var remains = regexp.MustCompile(`\[\[|\]\]|\{\{|\}\}|\{\||\|\}|'''|</?(?:ref|div|span|small|sub|sup|b|i|br|p|nowiki|math|gallery|table|tr|td|code|pre)\b[^<>\n]*>|__(?:NOTOC|TOC|NOEDITSECTION)__`)

// MediaWiki's own parser tests: none crashes, and markup is left over in few. Some of those few show markup literally in MediaWiki too.
func TestParserTests(t *testing.T) {
	file := string(readAll(t, filepath.Join(data(t), "parserTests", "parserTests.txt")))
	c := NewCleaner(newSite())
	total, clean := 0, 0
	for _, m := range parserTest.FindAllStringSubmatch(file, -1) {
		text := c.Text("Parser test", appendXMLText(nil, []byte(strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(m[1]))))
		total++
		if left := remains.FindString(text); left != "" {
			t.Logf("%q left of %.200q", left, m[1])
		} else {
			clean++
		}
	}
	share := float64(clean) / float64(max(total, 1))
	t.Logf("%d of %d clean: %.2f %%", clean, total, 100*share)
	if total < 1700 || share < 0.95 {
		t.Errorf("%d of %d clean, want at least 95 %% of at least 1700", clean, total)
	}
}
