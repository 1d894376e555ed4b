package wiki

// Keep says what of an article is text beside its paragraphs.
type Keep struct {
	Lists    bool // the items of lists, and indented lines
	Headings bool // of sections with text
}

// Cleaner turns wikitext into text. It keeps its buffers from page to page; each goroutine needs its own.
type Cleaner struct {
	site *Site
	keep Keep

	a, b     []byte
	stripper stripper
	expander expander
	tables   []int // places in the output where a table begins that nothing has closed yet
	links    []link
	opened   []openElement
	quotes   []quote
}

// newCleaner returns a cleaner for pages of site, which transclude templates, none if nil.
func newCleaner(site *Site, templates *Templates, keep Keep) *Cleaner {
	return &Cleaner{site: site, keep: keep, expander: expander{site: site, templates: templates}}
}

// Text returns the paragraphs of an article, one a line, "" when nothing but markup is left. It accepts any bytes.
func (c *Cleaner) Text(title string, wikitext []byte) string {
	c.expander.title = title
	c.a = c.stripper.strip(c.a[:0], wikitext)
	c.b = c.expander.expandPage(c.b[:0], c.a)
	c.a = c.chooseVariants(c.a[:0], c.b)
	c.b = c.dropTables(c.b[:0], c.a)
	c.a, c.b = c.b, c.a
	c.b = c.replaceLinks(c.b[:0], c.a)
	c.a = c.replaceQuotes(c.a[:0], c.b)
	c.b = c.dropElements(c.b[:0], c.a)
	c.a = c.joinLines(c.a[:0], c.b)
	return string(c.a)
}

// Marks: bytes that appendXMLText keeps out of wikitext stand for what later passes must not touch.
const (
	heldStart  = 0x02 // then the kind, 16 digits that stand for the content, heldEnd
	heldEnd    = 0x03
	heldLength = 19
	seam       = 0x04 // a <nowiki>: invisible, but markup does not reach across it
	firstGuard = 0x0e // firstGuard+i stands for guarded[i]
	guarded    = "[]{}'<>|=*#:;_"
)

// appendGuarded appends text that is to be taken literally.
func appendGuarded(dst, src []byte) []byte {
	for _, c := range src {
		if i := guardIndex[c]; i != 0 {
			c = i
		}
		dst = append(dst, c)
	}
	return dst
}

var guardIndex = func() (index [256]byte) {
	for i := range len(guarded) {
		index[guarded[i]] = firstGuard + byte(i)
	}
	return index
}()

func isGuard(c byte) bool { return c >= firstGuard && c < firstGuard+byte(len(guarded)) }

// lastByte returns the byte before what comes next; a text begins like a line.
func lastByte(b []byte) byte {
	if len(b) == 0 {
		return '\n'
	}
	return b[len(b)-1]
}

// skipBlanks returns how many blanks begin s when dst ends at the start of a line: text behind a table, link or tag that was taken
// away there is not indented. Text behind a template is: the template mostly stood for the begin of the sentence ("{{nihongo|...}} is
// a martial art"), and WikiExtractor takes what is left as preformatted, which keeps such stumps out of the corpus.
func skipBlanks(dst, s []byte) int {
	n := 0
	if lastByte(dst) == '\n' {
		for n < len(s) && (s[n] == ' ' || s[n] == '\t') {
			n++
		}
	}
	return n
}
