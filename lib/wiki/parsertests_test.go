package wiki

import (
	"html"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// parserTest is one of MediaWiki's: what it is about, and sections by their names, "wikitext", "html/php" and their like.
type parserTest map[string]string

// readParserTests returns the tests of a file and the pages that they need.
func readParserTests(file string) (tests []parserTest, articles map[string]string) {
	articles = make(map[string]string)
	section, current := "", parserTest{}
	end := func() {
		if title := strings.TrimSpace(current["article"]); title != "" {
			articles[title] = strings.TrimSuffix(current["text"], "\n")
		} else if _, ok := current["wikitext"]; ok {
			tests = append(tests, current)
		}
		section, current = "", parserTest{}
	}
	for line := range strings.Lines(file) {
		name, isName := strings.CutPrefix(line, "!!")
		switch name = strings.TrimSpace(name); {
		case !isName:
			current[section] += line
		case name == "end" || name == "endarticle":
			end()
		case name == "test" || name == "article":
			end()
			section = name
		default:
			section = name
			current[section] += ""
		}
	}
	return tests, articles
}

// remains is what a reader of plain text must not meet: links, calls, tables, quotes, tags and comments, entities, headings, cells.
var remains = regexp.MustCompile(`\[\[|\]\]|\{\{|\}\}|\{\||\|\}|''|</?[a-zA-Z][^<>\n]*>|<!--|-->|&(?:[a-zA-Z]+|#[0-9]+|#[xX][0-9a-fA-F]+);|(?m:^=.*=$)|\|\||(?m:^[|!].*)|__[A-Z]+__`)

var htmlTag = regexp.MustCompile(`<(?:!--[\s\S]*?--|[a-zA-Z/!](?:"[^"]*"|'[^']*'|[^>"'])*)>`)

// shown is the text that a reader sees of a test's expected HTML, that of all parsers one behind the other.
func (p parserTest) shown() string {
	var all strings.Builder
	for name, section := range p {
		if strings.HasPrefix(name, "html") {
			all.WriteString(html.UnescapeString(htmlTag.ReplaceAllString(section, "")))
		}
	}
	return all.String()
}

// leftovers lists the markup in text that MediaWiki does not show as well: "<nowiki>[[a]]</nowiki>" is to give "[[a]]".
func (p parserTest) leftovers(text string) (left []string) {
	var shown string
	for _, found := range remains.FindAllString(text, -1) {
		if shown == "" {
			shown = p.shown() + " "
		}
		if !strings.Contains(shown, found) {
			left = append(left, found)
		}
	}
	return left
}

// MediaWiki's own parser tests: none crashes, and markup that MediaWiki itself does not show is left over in few.
func TestParserTests(t *testing.T) {
	file := string(readAll(t, filepath.Join(data(t), "parserTests", "parserTests.txt")))
	tests, articles := readParserTests(file)
	site := newSite()
	templates := new(Templates)
	for title, text := range articles {
		if number, _ := site.namespace(title); number == templateNamespace {
			templates.Add(&Page{Title: title, Namespace: number, site: site, raw: escapeXML(text)})
		}
	}
	c := newCleaner(site, templates, Keep{})
	total, clean := 0, 0
	for _, test := range tests {
		for _, section := range []string{"wikitext", "wikitext/edited"} {
			source, ok := test[section]
			if !ok {
				continue
			}
			total++
			text := c.Text("Parser test", appendXMLText(nil, escapeXML(source)))
			if left := test.leftovers(text); len(left) > 0 {
				t.Logf("%s: %q left in %.300q of %.300q", strings.TrimSpace(test["test"]), left, text, source)
			} else {
				clean++
			}
		}
	}
	share := float64(clean) / float64(max(total, 1))
	t.Logf("%d of %d clean: %.2f %%", clean, total, 100*share)
	if total < 1800 || share < 0.95 {
		t.Errorf("%d of %d clean, want at least 95 %% of at least 1800", clean, total)
	}
}

func escapeXML(text string) []byte {
	return []byte(strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(text))
}
