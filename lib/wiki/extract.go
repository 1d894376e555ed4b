package wiki

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Extractor turns the articles of dumps into documents.
type Extractor struct {
	Namespaces []int // wanted; none means 0
	MinChars   int   // articles with fewer characters are left out
	Keep       Keep
	Templates  *Templates // expanded in the pages; nil = all are unknown
	Workers    int        // goroutines that parse, at least 1
}

// Counts says what became of the pages of a dump.
type Counts struct {
	Pages          int
	OtherNamespace int // outside the wanted namespaces
	Redirects      int
	OtherModel     int // wanted pages that are not wikitext
	Empty          int // articles of nothing but markup
	Short          int // articles with fewer than MinChars characters
	Documents      int
	Characters     int64 // in the documents' texts
}

// Add adds the counts of another dump.
func (c *Counts) Add(d Counts) {
	c.Pages += d.Pages
	c.OtherNamespace += d.OtherNamespace
	c.Redirects += d.Redirects
	c.OtherModel += d.OtherModel
	c.Empty += d.Empty
	c.Short += d.Short
	c.Documents += d.Documents
	c.Characters += d.Characters
}

// String lists what is not zero: "206 pages, 100 redirects".
func (c Counts) String() string {
	parts := []string{plural(c.Pages, "page")}
	for _, p := range []struct {
		n    int
		text string
	}{{c.OtherNamespace, "in other namespaces"}, {c.Redirects, "redirects"}, {c.OtherModel, "not wikitext"}, {c.Empty, "without text"}, {c.Short, "too short"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	return strings.Join(parts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// article is what a worker makes of a page.
type article struct {
	page *Page
	text string
	size int // of text, in characters
}

// Scan reads the dump r, called name in errors, ahead of extraction: its templates go to e.Templates and, unless spool is nil, the pages
// to extract to spool. seen is called for each page.
func (e *Extractor) Scan(ctx context.Context, r io.Reader, name string, spool *Spool, seen func()) error {
	dump, err := newDump(r, name)
	if err != nil {
		return err
	}
	dump.needs, dump.hasty = isTemplate, true
	if spool != nil {
		dump.needs, dump.hasty = e.scans, false // there is no second reading
		spool.name = name
	}
	templates := make(chan *Page, 8)
	var adding sync.WaitGroup
	adding.Go(func() {
		for page := range templates {
			e.Templates.Add(page)
			page.release()
		}
	})
	defer adding.Wait()
	defer close(templates)
	for ctx.Err() == nil {
		page, err := dump.Next()
		if err == io.EOF && spool != nil {
			return spool.flush()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		seen()
		if spool != nil && e.takes(page, &spool.passed) {
			if err := spool.write(page); err != nil {
				return err
			}
		}
		if page.Namespace == templateNamespace {
			templates <- page // which gives its text back
		} else {
			page.release()
		}
	}
	return ctx.Err()
}

func isTemplate(namespace int) bool { return namespace == templateNamespace }

// scans tells whether Scan needs the text of pages in a namespace for a spool or the templates.
func (e *Extractor) scans(namespace int) bool { return isTemplate(namespace) || e.wants(namespace) }

func (e *Extractor) wants(namespace int) bool { return slices.Contains(e.wanted(), namespace) }

// takes tells whether a page is to be extracted, and counts it otherwise.
func (e *Extractor) takes(page *Page, passed *Counts) bool {
	switch {
	case !e.wants(page.Namespace):
		passed.OtherNamespace++
	case page.Redirect:
		passed.Redirects++
	case page.Model != "" && page.Model != "wikitext":
		passed.OtherModel++
	default:
		return true
	}
	passed.Pages++
	return false
}

// Run reads the dump r, called name in errors, and hands its documents to emit in the order of the dump, whatever the number of
// workers. At most five pages a worker are in memory. A dump without a document is an error.
func (e *Extractor) Run(ctx context.Context, r io.Reader, name string, emit func(corpus.Document) error) (Counts, error) {
	dump, err := newDump(r, name)
	if err != nil {
		return Counts{}, err
	}
	dump.needs = e.wants
	return e.run(ctx, dump, name, emit)
}

// RunSpool is Run for a dump that Scan has read. It takes the pages out of the spool: a second time there are none.
func (e *Extractor) RunSpool(ctx context.Context, spool *Spool, emit func(corpus.Document) error) (Counts, error) {
	if err := spool.rewind(); err != nil {
		return Counts{}, err
	}
	return e.run(ctx, spool, spool.name, emit)
}

// pages is a dump or a spool.
type pages interface {
	Next() (*Page, error)
}

func (e *Extractor) run(ctx context.Context, from pages, name string, emit func(corpus.Document) error) (Counts, error) {
	var counts, read Counts
	next := func() (*Page, error) { return e.next(from, &read) }
	err := stream.Map(ctx, e.Workers, next, e.worker, func(a article) error { return e.write(a, emit, &counts) })
	counts.Add(read)
	if spool, ok := from.(*Spool); ok {
		counts.Add(spool.passed)
	}
	switch {
	case err != nil:
		return counts, err
	case counts.Documents == 0:
		return counts, fault.WithHint(fmt.Errorf("read %s: no article with text in %s: %v", name, e.namespaceNames(), counts),
			"--namespaces chooses the namespaces, --min-chars the shortest text")
	}
	return counts, nil
}

func (e *Extractor) wanted() []int {
	if len(e.Namespaces) == 0 {
		return []int{0}
	}
	return e.Namespaces
}

func (e *Extractor) namespaceNames() string {
	names := make([]string, len(e.wanted()))
	for i, n := range e.wanted() {
		names[i] = fmt.Sprint(n)
	}
	if len(names) == 1 {
		return "namespace " + names[0]
	}
	return "namespaces " + strings.Join(names, ", ")
}

// next returns the next wanted page, and counts the others.
func (e *Extractor) next(from pages, passed *Counts) (*Page, error) {
	for {
		page, err := from.Next()
		if err != nil || e.takes(page, passed) {
			return page, err
		}
		page.release()
	}
}

// worker returns what makes articles of pages, for one goroutine.
func (e *Extractor) worker() func(*Page) (article, error) {
	var cleaner *Cleaner
	var wikitext []byte
	return func(page *Page) (article, error) {
		if cleaner == nil || cleaner.site != page.site {
			cleaner = newCleaner(page.site, e.Templates, e.Keep)
		}
		wikitext = appendXMLText(wikitext[:0], page.raw)
		page.release()
		text := cleaner.Text(page.Title, wikitext)
		return article{page, text, characters(text)}, nil
	}
}

// write hands an article to emit, unless it is too short, and counts it.
func (e *Extractor) write(a article, emit func(corpus.Document) error, counts *Counts) error {
	counts.Pages++
	switch {
	case a.size == 0:
		counts.Empty++
		return nil
	case a.size < e.MinChars:
		counts.Short++
		return nil
	}
	if err := emit(corpus.Document{ID: a.page.ID, Title: a.page.Title, Text: a.text, URL: a.page.site.url(a.page.ID)}); err != nil {
		return err
	}
	counts.Documents++
	counts.Characters += int64(a.size)
	return nil
}
