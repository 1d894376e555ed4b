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

// job is a page on its way through a worker.
type job struct {
	page *Page
	text string
	size int           // of text, in characters
	done chan struct{} // closed when text is there
}

// Scan reads the dump r, called name in errors, ahead of extraction: its templates go to e.Templates and, unless spool is nil, the pages
// to extract to spool. seen is called for each page.
func (e *Extractor) Scan(ctx context.Context, r io.Reader, name string, spool *Spool, seen func()) error {
	dump, err := NewDump(r, name)
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
	dump, err := NewDump(r, name)
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
	ctx, cancel := context.WithCancel(ctx)
	workers := max(e.Workers, 1)
	work, queue := make(chan *job, workers), make(chan *job, 3*workers)

	var running sync.WaitGroup
	var read Counts
	var readErr error
	running.Go(func() {
		defer close(work)
		defer close(queue)
		read, readErr = e.read(ctx, from, work, queue)
	})
	for range workers {
		running.Go(func() { e.parse(work) })
	}
	counts, err := e.write(queue, emit)
	cancel()
	for range queue { // after a failed write: let the reader end
	}
	running.Wait()
	counts.Add(read)
	if spool, ok := from.(*Spool); ok {
		counts.Add(spool.passed)
	}
	switch {
	case err != nil:
		return counts, err
	case readErr != nil:
		return counts, readErr
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

// read queues the wanted pages, for the workers and for the writer, until they or ctx end.
func (e *Extractor) read(ctx context.Context, from pages, work, queue chan<- *job) (Counts, error) {
	var n Counts
	for {
		page, err := from.Next()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if !e.takes(page, &n) {
			page.release()
			continue
		}
		n.Pages++
		j := &job{page: page, done: make(chan struct{})}
		select {
		case queue <- j:
		case <-ctx.Done():
			return n, ctx.Err()
		}
		work <- j // workers take all, so this never blocks for long
	}
}

// parse is a worker.
func (e *Extractor) parse(work <-chan *job) {
	var cleaner *Cleaner
	var wikitext []byte
	for j := range work {
		if cleaner == nil || cleaner.site != j.page.site {
			cleaner = NewCleaner(j.page.site, e.Templates, e.Keep)
		}
		wikitext = appendXMLText(wikitext[:0], j.page.raw)
		j.text = cleaner.Text(j.page.Title, wikitext)
		j.size = characters(j.text)
		j.page.release()
		close(j.done)
	}
}

func (e *Extractor) write(queue <-chan *job, emit func(corpus.Document) error) (Counts, error) {
	var n Counts
	for j := range queue {
		<-j.done
		switch {
		case j.size == 0:
			n.Empty++
			continue
		case j.size < e.MinChars:
			n.Short++
			continue
		}
		if err := emit(corpus.Document{ID: j.page.ID, Title: j.page.Title, Text: j.text, URL: j.page.site.url(j.page.ID)}); err != nil {
			return n, err
		}
		n.Documents++
		n.Characters += int64(j.size)
	}
	return n, nil
}
