package squad

import (
	"context"
	"fmt"
	"io"
	"slices"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
	"hpcbert/lib/wordpiece"
)

// Options say how contexts are cut into windows, in tokens.
type Options struct {
	MaxSeq   int // of a window: [CLS] question [SEP] part of the context [SEP]
	Stride   int // between the beginnings of windows
	MaxQuery int // of a question; the rest is cut off
}

// Check tells what is wrong with options.
func (o Options) Check() error {
	switch {
	case o.Stride < 1 || o.MaxQuery < 1:
		return fault.Usagef("--doc-stride %d, --max-query-length %d: must be at least 1", o.Stride, o.MaxQuery)
	case o.MaxSeq < specials+2:
		return fault.Usagef("--max-seq-length %d: must be at least %d", o.MaxSeq, specials+2)
	}
	return nil
}

const specials = 3 // [CLS] and two [SEP]

// Window is a question with a part of its context, as a model reads it.
type Window struct {
	Example    int     // index among the examples
	IDs        []int32 // from [CLS] to the last [SEP], without padding
	Second     int     // where the part of the context begins
	Start, End int32   // tokens of the answer; 0, [CLS], when it is not in this window or there is none

	doc   *document
	spans []span // all windows of the example
	self  int    // among them
}

// document is a context in pieces.
type document struct {
	pieces []int32
	words  []int32 // word that each piece is of
	first  []int32 // first piece of each word, or what would be it
}

// span is a part of a document.
type span struct{ start, length int }

// Converter turns examples into windows.
type Converter struct {
	tokenizer *wordpiece.Tokenizer
	options   Options
}

// NewConverter returns a converter. The options are checked.
func NewConverter(t *wordpiece.Tokenizer, o Options) *Converter {
	return &Converter{tokenizer: t, options: o}
}

// Windows returns the windows of all examples in their order, made in so many threads. A question about an empty context has none.
func (c *Converter) Windows(ctx context.Context, examples []Example, threads int) ([]Window, error) {
	var all []Window
	at := 0
	next := func() ([]Example, error) { // those of one context
		first := at
		for at < len(examples) && examples[at].Context == examples[first].Context {
			at++
		}
		if first == at {
			return nil, io.EOF
		}
		return examples[first:at], nil
	}
	done := 0
	err := stream.Map(ctx, threads, next, func() func([]Example) (converted, error) { return c.convert }, func(part converted) error {
		for _, w := range part.windows {
			w.Example += done
			all = append(all, w)
		}
		done += part.examples
		return nil
	})
	return all, err
}

type converted struct {
	examples int
	windows  []Window
}

// convert makes the windows of examples of one context.
func (c *Converter) convert(examples []Example) (converted, error) {
	e := c.tokenizer.Acquire()
	defer c.tokenizer.Release(e)
	out := converted{examples: len(examples)}
	doc := newDocument(e, examples[0].Context)
	for i, example := range examples {
		query := slices.Clone(e.IDs(example.Text))
		query = query[:min(len(query), c.options.MaxQuery)]
		room := c.options.MaxSeq - len(query) - specials
		if room < 1 && len(doc.pieces) > 0 {
			return out, fault.WithHint(fmt.Errorf("question %s: its %d tokens leave no room for the context in windows of %d", example.ID, len(query), c.options.MaxSeq),
				"give a larger --max-seq-length or a smaller --max-query-length")
		}
		first, last := doc.answer(e, example)
		spans := cover(len(doc.pieces), room, c.options.Stride)
		for n := range spans {
			w := Window{Example: i, doc: doc, spans: spans, self: n}
			w.join(c.tokenizer.Vocabulary(), query)
			w.target(first, last)
			out.windows = append(out.windows, w)
		}
	}
	return out, nil
}

func newDocument(e *wordpiece.Encoder, c *Context) *document {
	d := &document{}
	for i, word := range c.Words {
		d.first = append(d.first, int32(len(d.pieces)))
		d.pieces = e.Encode(d.pieces, word)
		for len(d.words) < len(d.pieces) {
			d.words = append(d.words, int32(i))
		}
	}
	return d
}

// answer returns the first and the last piece of an example's answer, -1 when it has none. Where the pieces of the answer's text stand within those
// of its words, as 1895 within (1895-1943), it is these.
func (d *document) answer(e *wordpiece.Encoder, example Example) (first, last int) {
	if example.Start < 0 {
		return -1, -1
	}
	first, last = int(d.first[example.Start]), len(d.pieces)-1
	if example.End+1 < len(d.first) {
		last = int(d.first[example.End+1]) - 1
	}
	text := e.IDs(example.Answer)
	for start := first; len(text) > 0 && start+len(text) <= last+1; start++ {
		if slices.Equal(d.pieces[start:start+len(text)], text) {
			return start, start + len(text) - 1
		}
	}
	return first, last
}

// cover returns the windows over a document of that many pieces.
func cover(pieces, room, stride int) (spans []span) {
	for start := 0; start < pieces; {
		s := span{start, min(pieces-start, room)}
		spans = append(spans, s)
		if s.start+s.length == pieces {
			break
		}
		start += min(s.length, stride)
	}
	return spans
}

func (w *Window) join(v *wordpiece.Vocabulary, query []int32) {
	s := w.spans[w.self]
	w.Second = len(query) + 2
	w.IDs = make([]int32, 0, len(query)+s.length+specials)
	w.IDs = append(append(append(w.IDs, v.Cls), query...), v.Sep)
	w.IDs = append(append(w.IDs, w.doc.pieces[s.start:s.start+s.length]...), v.Sep)
}

// target sets the tokens of the answer, given its pieces, if all of it is in the window.
func (w *Window) target(first, last int) {
	s := w.spans[w.self]
	if first >= s.start && last < s.start+s.length {
		w.Start, w.End = int32(first-s.start+w.Second), int32(last-s.start+w.Second)
	}
}

// word returns the word of the context that a token is of, and false for a token that is not of the context.
func (w *Window) word(token int) (int, bool) {
	s := w.spans[w.self]
	if token < w.Second || token >= w.Second+s.length {
		return 0, false
	}
	return int(w.doc.words[s.start+token-w.Second]), true
}

// maxContext tells whether this window, of all that hold a token of the context, has most context around it: the smaller of the numbers of pieces on
// its two sides counts, then the window's length, then the earlier window.
func (w *Window) maxContext(token int) bool {
	piece := w.spans[w.self].start + token - w.Second
	best, winner := -1.0, -1
	for i, s := range w.spans {
		if piece < s.start || piece >= s.start+s.length {
			continue
		}
		if score := float64(min(piece-s.start, s.start+s.length-1-piece)) + 0.01*float64(s.length); score > best {
			best, winner = score, i
		}
	}
	return winner == w.self
}
