package shard

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Corpus knows where each article of the input lies and how many sentences it has, 16 bytes an article; the text stays on disk.
type Corpus struct {
	Total int64 // sentences
	Bytes int64 // read, unpacked

	articles table
	sources  []source
}

// Articles returns the number of articles.
func (c *Corpus) Articles() int { return c.articles.n }

// Sentences returns the number of sentences of each article.
func (c *Corpus) Sentences() []int32 {
	all := make([]int32, c.articles.n)
	for i := range all {
		all[i] = c.articles.at(int32(i)).sentences
	}
	return all
}

// article is a range of bytes in the sources, joined in order.
type article struct {
	offset    int64
	length    uint32
	sentences int32
}

// table is a list of articles in blocks: it grows without copies, which for a moment take as much again.
type table struct {
	blocks [][]article
	n      int
}

const blockArticles = 1 << 16

func (t *table) add(a article) {
	if t.n%blockArticles == 0 {
		t.blocks = append(t.blocks, make([]article, 0, blockArticles))
	}
	last := &t.blocks[len(t.blocks)-1]
	*last = append(*last, a)
	t.n++
}

func (t *table) at(i int32) article { return t.blocks[i/blockArticles][i%blockArticles] }

// source is a plain file that holds articles: an input, or the spool of an input that cannot be read again.
type source struct {
	name    string
	base    int64 // offset of its first byte in the joined sources
	size    int64
	changed time.Time
}

// Scan reads sentence streams (see stream.OpenThreads for names, stdin and threads) and keeps the places of their articles. Plain files will be read
// again when the shards are written; what cannot be, as pipes and packed files, is copied to the folder spool ("": not at all, then
// nothing can be written). Report, unless nil, gets the articles and sentences so far after each article.
func Scan(ctx context.Context, names []string, stdin io.Reader, threads int, spool string, report func(articles, sentences int64)) (*Corpus, error) {
	c := &Corpus{}
	for i, name := range names {
		copyTo := ""
		if spool != "" {
			copyTo = filepath.Join(spool, fmt.Sprintf("input%d", i))
		}
		if err := c.scan(ctx, name, stdin, threads, copyTo, report); err != nil {
			return nil, stream.DiskFull(err)
		}
	}
	return c, nil
}

func (c *Corpus) scan(ctx context.Context, name string, stdin io.Reader, threads int, spool string, report func(articles, sentences int64)) error {
	in, err := stream.OpenThreads(ctx, name, stdin, threads)
	if err != nil {
		return err
	}
	defer in.Close()
	if in.Plain() || spool == "" {
		n, err := c.index(in, in.Name, report)
		if err != nil || spool == "" {
			c.Bytes += n
			return err
		}
		return c.addSource(name, n)
	}
	f, err := os.Create(spool)
	if err != nil {
		return err
	}
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<18)
	n, err := c.index(io.TeeReader(in, buffered), in.Name, report)
	if err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return c.addSource(spool, n)
}

// index appends the articles of r and returns its length in bytes.
func (c *Corpus) index(r io.Reader, name string, report func(articles, sentences int64)) (int64, error) {
	counted := &counter{r: r}
	in := corpus.NewSentenceReader(counted, name)
	for {
		e, err := in.NextExtent()
		if err == io.EOF {
			return counted.n, nil
		}
		if err != nil {
			return 0, err
		}
		if e.Length > math.MaxUint32 || c.articles.n == math.MaxInt32 {
			return 0, fault.WithHint(fmt.Errorf("read %s: article %d of %d bytes: more than 4 GiB, or too many articles", name, c.articles.n+1, e.Length),
				"is there a blank line after each article, as segment writes?")
		}
		c.articles.add(article{c.Bytes + e.Offset, uint32(e.Length), int32(e.Sentences)})
		c.Total += int64(e.Sentences)
		if report != nil {
			report(int64(c.articles.n), c.Total)
		}
	}
}

func (c *Corpus) addSource(name string, size int64) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	c.sources = append(c.sources, source{name, c.Bytes, info.Size(), info.ModTime()})
	c.Bytes += size
	return nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// reader fetches articles for one goroutine.
type reader struct {
	corpus *Corpus
	file   *os.File // the open source
	opened *source
	order  []int32
	starts []int64
	buf    []byte
}

// fetch reads articles, in the order of the disk, and returns the text of each. It is valid until the next call.
func (r *reader) fetch(articles []int32) ([][]byte, error) {
	r.order, r.starts = r.order[:0], r.starts[:0]
	var size int64
	for i, a := range articles {
		r.order = append(r.order, int32(i))
		r.starts = append(r.starts, size)
		size += int64(r.corpus.articles.at(a).length)
	}
	r.buf = slices.Grow(r.buf[:0], int(size))[:size]
	slices.SortFunc(r.order, func(i, j int32) int {
		return cmp.Compare(r.corpus.articles.at(articles[i]).offset, r.corpus.articles.at(articles[j]).offset)
	})
	texts := make([][]byte, len(articles))
	for _, i := range r.order {
		a := r.corpus.articles.at(articles[i])
		texts[i] = r.buf[r.starts[i] : r.starts[i]+int64(a.length)]
		if err := r.read(texts[i], a.offset); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func (r *reader) read(text []byte, offset int64) error {
	sources := r.corpus.sources
	s := &sources[sort.Search(len(sources), func(i int) bool { return sources[i].base > offset })-1]
	if r.opened != s {
		if err := r.open(s); err != nil {
			return err
		}
	}
	if _, err := r.file.ReadAt(text, offset-s.base); err != nil {
		return fmt.Errorf("read %s again: %w", s.name, err)
	}
	return nil
}

func (r *reader) open(s *source) error {
	r.close()
	f, err := os.Open(s.name)
	if err != nil {
		return err
	}
	r.file, r.opened = f, s
	info, err := f.Stat()
	if err == nil && (info.Size() != s.size || !info.ModTime().Equal(s.changed)) {
		err = fmt.Errorf("read %s again: it was changed since its articles were counted", s.name)
	}
	return err
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
		r.file, r.opened = nil, nil
	}
}
