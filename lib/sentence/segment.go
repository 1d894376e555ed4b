package sentence

import (
	"context"
	"io"
	"strings"
	"sync"
	"unicode"

	"hpcbert/lib/corpus"

	"golang.org/x/sync/semaphore"
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

// heldBytes, and two batches a thread, are how much text may be held at a time. A document beyond that is held alone.
const heldBytes = 4 << 20

// batch goes from the reader to a worker and, in order of reading, to the writer.
type batch struct {
	texts  []string
	size   int64 // of the texts in bytes
	out    []byte
	counts Counts
	done   chan struct{}
}

// Segment reads documents from next until io.EOF, cuts each into sentences with split, and writes them to w as a sentence stream, using
// threads goroutines beside the reader. The output does not depend on threads. After each batch report, unless nil, gets the counts so far.
func Segment(ctx context.Context, split func(document string) []string, next func() (corpus.Document, error), w io.Writer, threads int, report func(Counts)) (Counts, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{next: next, work: make(chan *batch, threads), order: make(chan *batch, 4*threads), room: heldBytes + int64(threads)*2*batchBytes}
	r.held = semaphore.NewWeighted(r.room)
	var group sync.WaitGroup
	group.Go(func() { r.read(ctx) })
	for range threads {
		group.Go(func() {
			for b := range r.work {
				b.segment(split)
				close(b.done)
			}
		})
	}
	counts, err := r.write(w, report)
	cancel()
	for range r.order { // the reader may wait to hand over a last batch
	}
	group.Wait()
	if err == nil {
		err = r.err
	}
	return counts, err
}

// reader hands batches to the workers, and in the same order to the writer.
type reader struct {
	next        func() (corpus.Document, error)
	work, order chan *batch
	room        int64
	held        *semaphore.Weighted
	err         error
}

func (r *reader) read(ctx context.Context) {
	defer close(r.work)
	defer close(r.order)
	for {
		b, err := r.readBatch()
		if ctx.Err() == nil && len(b.texts) > 0 {
			b.size = min(b.size, r.room)
			r.held.Acquire(ctx, b.size) // fails when ctx is done
		}
		if ctx.Err() != nil {
			r.err = ctx.Err()
			return
		}
		if len(b.texts) > 0 {
			r.order <- b
			r.work <- b
		}
		if err != nil {
			if err != io.EOF {
				r.err = err
			}
			return
		}
	}
}

func (r *reader) readBatch() (*batch, error) {
	b := &batch{done: make(chan struct{})}
	for b.size < batchBytes {
		d, err := r.next()
		if err != nil {
			return b, err
		}
		b.texts = append(b.texts, d.Text)
		b.size += int64(len(d.Text)) + 1
	}
	return b, nil
}

func (r *reader) write(w io.Writer, report func(Counts)) (Counts, error) {
	var counts Counts
	for b := range r.order {
		<-b.done
		if _, err := w.Write(b.out); err != nil {
			return counts, err
		}
		r.held.Release(b.size)
		counts.add(b.counts)
		if report != nil {
			report(counts)
		}
	}
	return counts, nil
}

func (b *batch) segment(split func(document string) []string) {
	b.out = make([]byte, 0, b.size+b.size/32)
	for i, text := range b.texts {
		b.texts[i] = ""
		sentences := split(text)
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

// SplitDocument returns the sentences of a document as the reference cuts it, as one line.
func (p *Punkt) SplitDocument(document string) []string { return p.Split(join(document)) }

// join makes one line of a document's text as the reference's formatting does: its lines that are not empty, without white space at
// their ends, parted by blanks. A carriage return ends a line too.
func join(text string) string {
	var joined strings.Builder
	joined.Grow(len(text))
	for len(text) > 0 {
		line := text
		if end := strings.IndexAny(text, "\n\r"); end >= 0 {
			line, text = text[:end], text[end+1:]
		} else {
			text = ""
		}
		if line != "" {
			joined.WriteString(strings.TrimRightFunc(line, unicode.IsSpace))
			joined.WriteByte(' ')
		}
	}
	return strings.TrimRightFunc(joined.String(), unicode.IsSpace)
}
