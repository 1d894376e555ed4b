package sentence

import (
	"context"
	"io"
	"strings"
	"sync"
	"unicode"

	"hpcbert/lib/corpus"
)

// Counts says what Segment did.
type Counts struct {
	Documents int64 // written
	Empty     int64 // dropped, without text
	Sentences int64
}

func (c *Counts) add(d Counts) {
	c.Documents += d.Documents
	c.Empty += d.Empty
	c.Sentences += d.Sentences
}

// batchBytes of text are segmented at a time, so that short documents do not cost a hand-over each.
const batchBytes = 1 << 16

// batch goes from the reader to a worker and, in order of reading, to the writer.
type batch struct {
	texts  []string
	out    []byte
	counts Counts
	done   chan struct{}
}

// Segment reads documents from next until io.EOF and writes them to w as a sentence stream, using threads goroutines beside the
// reader. The output does not depend on threads. After each batch report, unless nil, gets the counts so far.
func (p *Punkt) Segment(ctx context.Context, next func() (corpus.Document, error), w io.Writer, threads int, report func(Counts)) (Counts, error) {
	ctx, cancel := context.WithCancel(ctx)
	work, order := make(chan *batch, threads), make(chan *batch, 4*threads)
	var readError error
	var group sync.WaitGroup
	group.Go(func() {
		defer close(work)
		defer close(order)
		readError = readBatches(ctx, next, work, order)
	})
	for range threads {
		group.Go(func() {
			for b := range work {
				p.segment(b)
				close(b.done)
			}
		})
	}
	counts, err := writeBatches(order, w, report)
	cancel()
	for range order { // the reader may wait to hand over a last batch
	}
	group.Wait()
	if err == nil {
		err = readError
	}
	return counts, err
}

func readBatches(ctx context.Context, next func() (corpus.Document, error), work, order chan<- *batch) error {
	for {
		b, err := readBatch(next)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(b.texts) > 0 {
			order <- b
			work <- b
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func readBatch(next func() (corpus.Document, error)) (*batch, error) {
	b := &batch{done: make(chan struct{})}
	for size := 0; size < batchBytes; {
		d, err := next()
		if err != nil {
			return b, err
		}
		b.texts = append(b.texts, d.Text)
		size += len(d.Text) + 1
	}
	return b, nil
}

func writeBatches(order <-chan *batch, w io.Writer, report func(Counts)) (Counts, error) {
	var counts Counts
	for b := range order {
		<-b.done
		if _, err := w.Write(b.out); err != nil {
			return counts, err
		}
		counts.add(b.counts)
		if report != nil {
			report(counts)
		}
	}
	return counts, nil
}

func (p *Punkt) segment(b *batch) {
	for _, text := range b.texts {
		sentences := p.Split(Join(text))
		if len(sentences) == 0 {
			b.counts.Empty++
			continue
		}
		b.counts.Documents++
		b.counts.Sentences += int64(len(sentences))
		b.out = corpus.AppendSentences(b.out, sentences)
	}
	b.texts = nil
}

// Join makes one line of a document's text as the reference's formatting does: its lines that are not empty, without white space at
// their ends, parted by blanks.
func Join(text string) string {
	var joined strings.Builder
	joined.Grow(len(text))
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			joined.WriteString(strings.TrimRightFunc(line, unicode.IsSpace))
			joined.WriteByte(' ')
		}
	}
	return strings.TrimRightFunc(joined.String(), unicode.IsSpace)
}
