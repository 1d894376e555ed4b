package wiki

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// library returns templates whose titles and texts alternate.
func library(site *Site, titlesAndTexts ...string) *Templates {
	ts := new(Templates)
	for i := 0; i < len(titlesAndTexts); i += 2 {
		ts.Add(&Page{Title: titlesAndTexts[i], Namespace: templateNamespace, site: site, raw: escapeXML(titlesAndTexts[i+1])})
	}
	return ts
}

// Wanted is what the manuals of MediaWiki and of its ParserFunctions say, then without markup.
func TestTemplates(t *testing.T) {
	site := newSite()
	site.add("Taiss", templateNamespace)
	templates := library(site,
		"Template:Hi", "hello",
		"Template:Echo", "{{{1}}}",
		"Template:Named", "{{{a|no a}}}, {{{b|no b}}}",
		"Template:Spaces", "({{{1}}})({{{a}}})",
		"Template:Twice", "{{{1}}}{{{1}}}",
		"Template:Loop", "x{{Loop}}y",
		"Template:Ping", "a{{Pong}}",
		"Template:Pong", "b{{Ping}}",
		"Template:Doc", "<noinclude>never {{Hi}}</noinclude>kept<includeonly> too</includeonly><!-- no --><ref>n</ref>",
		"Template:Only", "out<onlyinclude>in {{{1}}}</onlyinclude>out<onlyinclude>, more</onlyinclude>",
		"Template:Unended", "kept<noinclude>never",
		"Template:Literal", "<nowiki>{{{1}}}<noinclude></nowiki> {{{1}}}",
		"Template:Short", "#REDIRECT [[Template:Echo]]",
		"Taiss:Local", "#weiterleitung: [[Taiss:hi]]",
		"Template:Chain", "#REDIRECT [[Template:Chain]]",
		"Template:Échelle", "échelons",
		"Template:Table", "{| class=x\n| a\n|}",
		"Template:Block", ":indented",
		"Template:Link", "[[{{{1}}}|{{{2|{{{1}}}}}}]]",
		"Template:Either", "{{#if:{{{1|}}}|yes {{{1}}}|no}}",
		"Template:Safe", "{{{{{|safesubst:}}}#if:{{{1|}}}|yes|no}}",
		"Template:Switch", "{{#switch:{{{1}}}|a=A|b|c=B or C|1.0=one|#default=other}}",
		"Template:Last", "{{#switch:{{{1}}}|a=A|rest {{{1}}}}}",
		"Template:Computed", "{{{x{{{1}}}|none}}}",
		"Template:Math", "<math>{{{1}}}</math>",
		"Template:Ref", "{{#tag:ref|{{{1}}}}}text")
	for _, c := range []struct{ name, wikitext, want string }{
		{"plain", "A {{hi}}, {{Hi}}, {{ hi }}, {{Template:Hi}}, {{template: hi}}, {{Taiss:Hi}}.", "A hello, hello, hello, hello, hello, hello."},
		{"unknown ones vanish", "A{{lo|hi={{hi}}}}.", "A."},
		{"other namespaces vanish", "A{{:Hi}}{{User:Hi}}{{/Hi}}.", "A."},
		{"underscores and a section", "{{_hi_}} {{hi#x}} {{hi_x}}.", "hello hello ."},
		{"capital outside ASCII", "{{échelle}}", "échelons"},
		{"positions", "{{echo|a}} {{echo|1=b}} {{echo|a|1=c}} {{echo|x=y}}.", "a b c ."},
		{"names", "{{named|a=1|b=2}}; {{named| b = x y }}; {{named|b=}}.", "1, 2; no a, x y; no a, ."},
		{"blanks of names go, of positions stay", "A{{spaces| x | a = y }}", "A( x )(y)"},
		{"last of a name counts", "{{named|a=1|a=2}}", "2, no b"},
		{"value with equals signs", "{{named|a=b=c}}", "b=c, no b"},
		{"equals sign in a link", "{{echo|[[a=b|c]]}}", "c"},
		{"bar in a link", "{{echo|[[a|b]]}} {{echo|[[a|[[b|c]]]]}}.", "b c."},
		{"bar in a template", "{{echo|{{named|a={{hi}}}}}}", "hello, no b"},
		{"unclosed link in a call", "{{echo|[[a}} b.", "a b."},
		{"template in a name", "{{e{{echo|ch}}o|x}} {{named|{{echo|a}}=5}}", "x 5, no b"},
		{"parameter in a name", "{{computed|1|x1=found}} {{computed|2}}", "found none"},
		{"loops end", "{{loop}} {{ping}} {{chain}}", "xy ab"},
		{"an argument may use the template again", "{{echo|{{echo|{{echo|x}}}}}}", "x"},
		{"documentation and references", "{{doc}}!", "kept too!"},
		{"onlyinclude", "{{only|x}}.", "in x, more."},
		{"noinclude without end", "{{unended}}.", "kept."},
		{"nowiki in a template", "{{literal|x}}", "{{{1}}}<noinclude> x"},
		{"redirects", "{{short|x}} {{local}}", "x hello"},
		{"table", "A\n{{table}}\nB {{table}}", "A\nB"},
		{"block inside a line gets a line of its own", "A {{block}}\nB", "A\nB"},
		{"link", "{{link|a}} {{link|a|b}}s", "a bs"},
		{"defaults inside defaults", "{{{1|{{{2|{{{3|x}}}}}}}}}", "x"},
		{"if", "{{either}} {{either|}} {{either| a }}.", "no no yes a."},
		{"if without branches", "A{{#if:x}}{{#if:|b}}.", "A."},
		{"if trims", "A{{#if: x | b }}c", "Abc"},
		{"safesubst", "{{safe|x}} {{safe}} {{subst:hi}} {{safesubst:#if:|a|b}}", "yes no hello b"},
		{"ifeq", "{{#ifeq:a|a|y|n}}{{#ifeq:a|A|y|n}}{{#ifeq:1.0|01|y|n}}{{#ifeq:|0|y|n}}{{#ifeq: {{hi}} |hello|y}}", "ynyny"},
		{"switch", "{{switch|a}} {{switch|b}} {{switch|c}} {{switch|1}} {{switch|z}}", "A B or C B or C one other"},
		{"switch with a last value", "{{last|a}} {{last|b}}", "A rest b"},
		{"expressions", "{{#expr: 1 + 2 * 3 }} {{#expr: 7 / 2 round 0 }} {{#ifexpr: 2 > 1 and not 0 | y | n }} {{#ifexpr: | y | n}}", "7 4 y n"},
		{"errors of expressions", "A{{#expr: 1 / 0}} {{#iferror: {{#expr: x}} | bad | good }} {{#iferror: {{#expr: 3 }} | bad }} {{#iferror:{{#ifexpr:(}}|bad|good}}", "A bad 3 bad"},
		{"ifexist", "{{#ifexist:Template:Hi|y|n}} {{#ifexist:Hi|y|n}}", "y n"},
		{"cases", "{{lc:ABC}} {{uc:éa}} {{ucfirst:état}} {{lcfirst:ABC}} {{LC: X }}", "abc ÉA État aBC x"},
		{"padding", "{{padleft:7|3}} {{padright:7|3|xy}} {{padleft:abcd|2}}", "007 7xy abcd"},
		{"plural", "{{plural:1|dog|dogs}} {{plural:3|dog|dogs}}", "dog dogs"},
		{"titleparts", "{{#titleparts:a/b/c|1}} {{#titleparts:a/b/c|1|2}} {{#titleparts:a/b/c|-1}}", "a b a/b"},
		{"page name and its like", "{{FULLPAGENAME}} {{PAGENAMEE}} {{NAMESPACENUMBER}} a{{!}}b {{=}}", "A page A page 0 a|b ="},
		{"tags", "A{{ref|x}}{{#tag:nowiki|[[b]]}}{{#tag:small|c}}.", "Atext[[b]]."},
		{"formulas", "{{math|a}} {{math|a}} <math>b</math>.", "formula_1 formula_1 formula_3."},
		{"modules and functions of the machinery", "A{{#invoke:x|y|{{hi}}}}{{DEFAULTSORT:b}}{{#time:Y}}{{CURRENTYEAR}}.", "A."},
		{"comment in a call", "{{ec<!-- a -->ho|<!-- | -->b}}", "b"},
		{"unclosed call", "x {{echo|a {{hi}} b", "x echo|a hello b"},
		{"braces side by side", "x {{{{echo|hi}}}} {{{{{1|hi}}}}}", "x {hi} hello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := newCleaner(site, templates, Keep{}).Text("A page", []byte(c.wikitext))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.wikitext, diff)
			}
		})
	}
}

// Only a template that is nothing but one table or <div> may be taken for an empty one.
func TestBlock(t *testing.T) {
	for text, want := range map[string]string{
		"{| a\n| {{b|}}\n|}": "{||}", " {|\n{|\n|}\n{{{1|}}}|}\n": "{||}", "{|\n|} text {|\n|}": "", "{|\n|}\ntext": "", "{| {{{a|}}}": "", "{{{a|}}} |}": "", "{|\n|}}}|}": "",
		"<div class=a>b<div>c</div></div>\n": "<div></div>", "<div>a</div>b<div>c</div>": "", "<div>a</div>b": "", "<div><div>a</div>": "", "<div {{a|</div>}}>b</div>": "", "<div>{{#if:x|</div>}}</div>": "<div></div>", "text": "", "": "",
	} {
		if want == "" {
			want = text
		}
		if got := string(new(braceParser).block([]byte(text))); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestTemplatesOfOtherWikisAreUnknown(t *testing.T) {
	here, there := newSite(), newSite()
	here.Base, there.Base = "https://a.org/wiki/Main", "https://b.org/wiki/Main"
	if got := newCleaner(there, library(here, "Template:X", "x"), Keep{}).Text("", []byte("A{{x}}.")); got != "A." {
		t.Errorf("got %q", got)
	}
}

func TestTemplateLimit(t *testing.T) {
	ts := &Templates{Limit: 3 * perTemplate}
	for i := range 5 {
		ts.Add(&Page{Title: fmt.Sprint("Template:", i), Namespace: templateNamespace, site: newSite(), raw: []byte("some text")})
	}
	if ts.Count != 2 || ts.LeftOut != 3 || ts.String() != "2 templates, 3 left out" {
		t.Errorf("%v", ts)
	}
}

// What a cleaner keeps from page to page never shows: it makes of each page what a new one makes of it.
func TestPagesDoNotInfluenceEachOther(t *testing.T) {
	site := newSite()
	templates := library(site, "Template:Note", "a [[note|remark]]", "Template:Here", "this is {{PAGENAME}} {{NAMESPACENUMBER}}", "Template:Over", "over {{here}}", "Template:Outer", "{{note}} and {{over}}",
		"Template:Large", strings.Repeat("large ", maxKept/6), "Template:Big", strings.Repeat("big ", maxKept/5), "Template:Loop", "l{{loop}}", "Template:Echo", "e{{{1|{{FULLPAGENAME}}}}}")
	calls := []string{"{{note}}", "{{here}}", "{{over}}", "{{outer}}", "{{large}}", "{{big}}", "{{loop}}", "{{echo}}", "{{echo|{{note}}}}", "{{echo|{{here}}}}", " ", "\n", "''", "{{#if:{{note}}|{{over}}}}"}
	kept := newCleaner(site, templates, Keep{})
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		title := fmt.Sprintf("%s%d", []string{"", "Help:"}[i%2], i)
		text := "Begin "
		for range r.IntN(6) {
			text += calls[r.IntN(len(calls))]
		}
		want := newCleaner(site, templates, Keep{}).Text(title, []byte(text))
		if got := kept.Text(title, []byte(text)); got != want {
			t.Fatalf("page %d, %q: %.200q, want %.200q", i, text, got, want)
		}
	}
	if got, want := kept.Text("Last", []byte("Begin {{note}}, {{over}}.")), "Begin a remark, over this is Last 0."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Templates that multiply their work come to an end, with little memory.
func TestExpansionIsBounded(t *testing.T) {
	site := newSite()
	var pages []string
	for i := range 40 {
		pages = append(pages, fmt.Sprintf("Template:Double %d", i), fmt.Sprintf("{{double %d|{{{1}}}{{{1}}}}}{{double %d|{{{1}}}}}", i+1, i+1))
	}
	pages = append(pages, "Template:Double 40", "{{{1}}}", "Template:Many", strings.Repeat("{{#if:{{{1}}}|{{Double 30|{{{1}}}}}}}", 1000))
	c := newCleaner(site, library(site, pages...), Keep{})
	for _, text := range []string{"{{double 0|x}}", strings.Repeat("{{double 0|", 300) + "x" + strings.Repeat("}}", 300), "{{many|x}}", strings.Repeat("{{#if:x|", 100_000) + strings.Repeat("}}", 100_000),
		strings.Repeat("{{{1|", 100_000) + "x" + strings.Repeat("}}}", 100_000), "{{#expr:" + strings.Repeat("(", 1_000_000) + "}}", "{{#switch:x|" + strings.Repeat("a=b|", 500_000) + "}}"} {
		if got := c.Text("", []byte(text)); len(got) > 2*maxWork {
			t.Errorf("%.30q: %d bytes", text, len(got))
		}
	}
}

func TestEvaluate(t *testing.T) {
	for text, want := range map[string]string{
		"1+1": "2", " 2 * (3 - 1) ": "4", "2^3^2": "64", "-2^2": "4", "1/4": "0.25", "10 mod 4": "2", "-7 mod 3": "-1", "7.5 fmod 2": "1.5", "7.9 mod 3.9": "1", "1.005e3": "1005",
		"2 < 3 and 3 <= 3": "1", "1 = 1.0": "1", "1 <> 2 or 0": "1", "1 != 1": "0", "not 3": "0", "3.14159 round 2": "3.14", "1234 round -2": "1200", "2.5 round 0": "3", "trunc -1.7": "-1",
		"floor -1.2": "-2", "ceil 1.2": "2", "abs(−5)": "5", "0.1 + 0.2": "0.3", "1 div 2": "0.5", "sqrt 9": "3", "pi round 3": "3.142", "1e6": "1000000", "2 >= 3": "0", "4 − 1": "3", "NOT 0 AND 1": "1",
	} {
		value, err := evaluate(text)
		if got := fmt.Sprintf("%.14g", value); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1 +", "(1", "1)", "1 2", "x", "1/0", "0/0", "1..2", "ln 0", "sqrt -1", "1 + and", "$"} {
		if value, err := evaluate(text); err == nil {
			t.Errorf("%q: %v, want an error", text, value)
		}
	}
}
