package wiki

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ name, wikitext, want string }{
		{"paragraphs lie on lines of their own", "One.\n\nTwo.\nThree.\n\n\n\nFour.", "One.\nTwo.\nThree.\nFour."},
		{"nothing", "", ""},
		{"only markup", "{{stub}}\n[[Category:X]]\n__NOTOC__", ""},

		{"template", "A{{b|c=d}}e.", "Ae."},
		{"nested templates", "A {{b|{{c|{{d}}}}|{{e}}}}f.", "A f."},
		{"template over lines", "{{Infobox\n| a = 1\n| b = {{x\n|y}}\n}}\nText.", "Text."},
		{"parameter with default", "A{{{1|b}}}c{{{d}}}.", "Abc."},
		{"parameter inside template inside parameter", "A{{{b|{{c|{{{d}}}}}}}}e.", "Ae."},
		{"template in braces", "A {{{{b}}}} c.", "A {} c."},
		{"page name", "{{PAGENAME}} is here.", "A [title] is here."},
		{"unclosed template keeps the article", "One {{lost|two.\n\nThree {{four}}five.", "One lost|two.\nThree five."},
		{"closing braces alone", "One}} two. {{x}}", "One two."},
		{"italics round a template", "Greek ''{{lang|grc|x}}'' word.", "Greek word."},
		{"sentence that began in a template", "{{nihongo|Aikido}} is a martial art.\n\nIt is old.", "It is old."},

		{"table", "Before\n{| class=x\n! h\n|-\n| cell\n|}\nAfter", "Before\nAfter"},
		{"nested tables", "A\n{|\n| x\n{|\n| y\n|}\n| z\n|}\nB", "A\nB"},
		{"unclosed table ends with its rows", "A\n{|\n| x\n| y\n\nB is text.\n\nC too.", "A\nB is text.\nC too."},
		{"unclosed table ends before a heading", "A\n{|\n| x\n== H ==\nB.", "A\nB."},
		{"unclosed table before a good one", "{|\n| x\n\nB.\n{|\n|y\n|}\nC.", "B.\nC."},
		{"rows without a table", "A.\n|-\n| x\n|}\nB.", "A.\nB."},
		{"table with templates", "{|\n| {{x|}}\n|}\nA", "A"},

		{"link", "See [[Paris]].", "See Paris."},
		{"link with text", "See [[Paris|the city]].", "See the city."},
		{"link with trail", "Two [[dog]]s and [[cat|kitten]]s.", "Two dogs and kittens."},
		{"link to a section", "[[A#b|c]] d.", "c d."},
		{"pipe without text", "A [[b|]] c.", "A c."},
		{"italics in a link", "[[a|''b'']] c.", `"b" c.`},
		{"title with a colon stays", "''[[Star Trek: Voyager]]'' ran.", `"Star Trek: Voyager" ran.`},
		{"file with nested links", "A [[File:X.jpg|thumb|A [[b|c]] and [[d]] [http://e f].]] g.", "A g."},
		{"image", "[[Image:x.png]]A.", "A."},
		{"file in another language", "[[Fichier:x.png|vignette|b]]A. [[Lêer:b.jpg|c]]", "A."},
		{"localized file of siteinfo", "[[Fails:x|sīktāls|b]]A.", "A."},
		{"category", "A.\n[[Category:B]]\n[[ category : C|D]]\n[[Kategorie:E]]", "A."},
		{"linked category", "A [[:Category:B]] [[:Category:B|c]].", "A ."},
		{"interwiki", "A.\n[[de:Haus]]\n[[zh-min-nan:X]]", "A."},
		{"sister project", "A [[s:Hamlet|text]] [[commons:X]].", "A ."},
		{"dictionary links stay", "A [[wikt:word|word]].", "A word."},
		{"brackets without partner", "A [[b c.\n\nD ]] e [f] g.", "A b c.\nD e [f] g."},
		{"unclosed file link loses its line only", "A.\n[[File:x.jpg|thumb|left\nB [[c]].\n\nD.", "A.\nB c.\nD."},
		{"target over lines is no link", "A [[b\nc]] d.", "A b\nc d."},
		{"triple brackets", "[[[a]]] b", "[a] b"},

		{"external link", "A [http://b.c d e] f.", "A d e f."},
		{"external link without text", "A [https://b.c] d.", "A d."},
		{"external link without protocol", "A [//b.c d] e.", "A d e."},
		{"bare address", "A http://b.c/d d.", "A http://b.c/d d."},
		{"internal link in an external one", "A [http://b [[c]] d] e.", "A c d e."},
		{"unclosed external link", "A [http://b c\nd] e", "A http://b c\nd] e"},
		{"brackets in prose", "He [the king] x[1] said.", "He [the king] x[1] said."},

		{"bold and italics", "'''A''' is ''b''.", `A is "b".`},
		{"bold italics", "'''''A''''' b.", "A b."},
		{"bold in italics", "''a '''b''' c'' d", `"a b c" d`},
		{"five open, three and two close", "'''''a''' b'' c", `"a b" c`},
		{"quotes in italics", `''"A"'' b.`, `"A" b.`},
		{"apostrophe before bold", "L''''amour''' x", "L'amour x"},
		{"apostrophe before italics", "de l'''amour'' x", `de l'"amour" x`},
		{"apostrophes stay", "It's o'clock", "It's o'clock"},
		{"quotes end with the line", "''a\nb'' c", "\"a\nb\" c"},

		{"reference", "A<ref>b {{c}} [[d]]</ref> e.", "A e."},
		{"named references", `A<ref name="b">c</ref><ref name=b /> d.<ref name=e/>`, "A d."},
		{"reference over lines", "A<ref>b\n\nc</ref> d.", "A d."},
		{"reference without end", "A<ref>b c.\n\nD<ref>e</ref> f.", "Ab c.\nD f."},
		{"reference list", "A.\n<references>\n<ref name=a>b</ref>\n</references>\nC.\n<references/>", "A.\nC."},
		{"comment", "A <!-- b --> c.", "A c."},
		{"comment over lines", "A.\n<!-- b\n\n== c ==\n-->\nD.", "A.\nD."},
		{"comment without end", "A <!-- b\nC.", "A\nC."},
		{"nowiki", "A <nowiki>[[b]] {{c}} ''d'' <ref></nowiki> e.", "A [[b]] {{c}} ''d'' <ref> e."},
		{"empty nowiki", "* a\n<nowiki/>* b", "* b"},
		{"nowiki without end", "A <nowiki> [[b]].", "A b."},
		{"formulas are numbered, equal ones alike", "<math>a</math> <math>b_{c}</math> <math>a</math> <math>d</math>.", "formula_1 formula_2 formula_1 formula_4."},
		{"formulas in references do not count", "<ref><math>a</math></ref>A <math>b}}</math>.", "A formula_1."},
		{"code", "Call <code>{{f}}</code> and <code>g</code>.", "Call codice_1 and codice_2."},
		{"blocks of other languages", "A <gallery>\nFile:x|y\n</gallery><timeline>z</timeline><score>c</score><hiero>P2</hiero><imagemap>i</imagemap><pre>\n p\n</pre><syntaxhighlight lang=c>s</syntaxhighlight><source>t</source>b.", "A b."},
		{"sub, sup and small go", "H<sub>2</sub>O m<sup>2</sup> <small>x</small>y", "HO m y"},
		{"spans stay", `A <span style="x">b</span> <b>c</b> <i>d</i> <FONT size=1>e</FONT>.`, "A b c d e."},
		{"line break parts words", "A<br>b<br/>c<br />d</br>e", "A b c d e"},
		{"div goes with its content", "A <div class=x>b <div>c</div> d</div> e.", "A e."},
		{"unclosed div keeps its content", "A <div>b.\n\nC.", "A b.\nC."},
		{"html table", "A <table><tr><td>b</table> c.", "A c."},
		{"blockquote", "A\n<blockquote>b c</blockquote>\nD", "A\nb c\nD"},
		{"less than", "If a < b and b > c.", "If a < b and b > c."},
		{"unknown tag is text", "A <foo> b.", "A <foo> b."},

		{"headings", "= H =\nA\n== B ==\nC\n=== D ===\n==E== \nF = g", "A\nC\nF = g"},
		{"lists", "A\n* b\n# c\n; d : e\n: f\n*: g\nH", "A\nH"},
		{"preformatted", "A\n  code\nB", "A\nB"},
		{"indented below a heading", "== H ==\n A b.\n c", "A b."},
		{"note in parentheses", "(see b)\nA (b) c", "A (b) c"},
		{"punctuation alone", "A\n----\n...\n« »\nB", "A\nB"},
		{"behaviour switches", "__NOTOC__A __NOEDITSECTION__ b __БЕЗ_ОГЛ__ c __init__ d", "A b c __init__ d"},
		{"entities", "A&nbsp;b &lt;c&gt; &amp;amp; &#65;&#x42; &eacute; &unknown; AT&T &copy x", "A b <c> &amp; AB é &unknown; AT&T &copy x"},
		{"blanks", "A  b\u00a0\u2003c\td\u2028e ", "A b c d e"},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := newSite()
			site.add("Fails", 6)
			got := newCleaner(site, nil, Keep{}).Text("A [title]", []byte(c.wikitext))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.wikitext, diff)
			}
		})
	}
}

func TestKeptListsAndHeadings(t *testing.T) {
	const text = "Intro.\n== A ==\n=== Empty ===\n== B ==\n=== [[C]] ''d'' ===\n* one\n** two [[x|y]]\n# {{z}}\n: in\n;term: def\nText.<ul><li>e</li><li>f</ul>\n==D== <!-- x -->\n pre\n=E=\n"
	for _, c := range []struct {
		keep Keep
		want string
	}{
		{Keep{}, "Intro.\nText.\npre"},
		{Keep{Lists: true}, "Intro.\none\ntwo y\nin\nterm: def\nText.\ne\nf\npre"},
		{Keep{Headings: true}, "Intro.\nB\nC \"d\"\nText.\nD\npre"},
		{Keep{Lists: true, Headings: true}, "Intro.\nB\nC \"d\"\none\ntwo y\nin\nterm: def\nText.\ne\nf\nD\npre"},
	} {
		got := newCleaner(newSite(), nil, c.keep).Text("", []byte(text))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.keep, diff)
		}
	}
}

func TestVariants(t *testing.T) {
	for _, c := range []struct{ language, wikitext, want string }{
		{"zh", "A-{zh-hans:计算机; zh-hant:電腦}-B", "A计算机B"},
		{"zh", "A-{zh-tw:電腦; zh-cn:计算机}-B", "A计算机B"},
		{"zh", "A-{zh-tw:a; zh-cn:b; zh-hans:c}-B", "AcB"},
		{"zh", "A-{as it is}-B", "Aas it isB"},
		{"zh", "A-{H|zh-cn:a;zh-tw:b}-B-{T|x}-C", "ABC"},
		{"zh", "A-{A|zh-cn:a;zh-tw:b}-B", "AaB"},
		{"zh", "A-{zh;zh-hans|x}-B", "AxB"},
		{"zh", "A-{zh-cn:[[a|-{zh-hans:b;zh-hant:c}-]];}-B", "AbB"},
		{"zh", "A-{x=>zh-cn:y}-B", "AyB"},
		{"sr", "-{sr-ec: а; sr-el: a}- b-{c", "а b-{c"},
		{"en", "x-{y}-z and -{zh-cn:a;zh-tw:b}-", "x-{y}-z and a"},
		{"en", "a -} b }- c -{ d", "a -} b }- c -{ d"},
	} {
		site := newSite()
		site.Language = c.language
		if got := newCleaner(site, nil, Keep{}).Text("", []byte(c.wikitext)); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.language, c.wikitext, got, c.want)
		}
	}
}

// A cleaner is used for page after page: what one leaves behind must not show in the next.
func TestCleanerForgetsThePageBefore(t *testing.T) {
	c := newCleaner(newSite(), nil, Keep{})
	c.Text("", []byte(strings.Repeat("[[a|{{b <ref> <div> <math>x</math> {| '''", 100)))
	if got := c.Text("", []byte("A <math>y</math> ]] }} |} b</div> c</ref>.")); got != "A formula_1 b c." {
		t.Errorf("got %q", got)
	}
}

// Each kind of byte at each place of a word of eight.
func TestSearchesByWords(t *testing.T) {
	for c := range 256 {
		for n := range 18 {
			for _, around := range []string{"x", "x ", "\n", " ", "!", "é", "\x7f"} {
				s := strings.Repeat(around, n) + string([]byte{byte(c)}) + strings.Repeat(around, 17-n)
				if got, want := characters(strings.ToValidUTF8(s, "?")), utf8.RuneCountInString(strings.ToValidUTF8(s, "?")); got != want {
					t.Errorf("%q: %d characters, want %d", s, got, want)
				}
				want := strings.IndexFunc(s, func(r rune) bool { return r == '&' || r < ' ' && r != '\n' })
				at := nextUnusual([]byte(s), 0)
				for at < len(s) && (s[at] >= ' ' || s[at] == '\n') && s[at] != '&' { // an early stop
					if s[at-1] != '\n' {
						t.Errorf("%q: stops at %d", s, at)
					}
					at = nextUnusual([]byte(s), at+1)
				}
				plain := 0
				for plain < len(s) && s[plain] >= ' ' && strings.IndexByte("&_[]{}\xc2\xe2", s[plain]) < 0 && (s[plain] != ' ' || plain > 0 && s[plain-1] != ' ') {
					plain++
				}
				if got := plainWords([]byte(s)); got != plain {
					t.Errorf("%q: %d bytes of words, want %d", s, got, plain)
				}
				if at != want && (want >= 0 || at != len(s)) {
					t.Errorf("%q: %d, want %d", s, at, want)
				}
			}
		}
	}
}
