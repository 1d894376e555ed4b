package vocabulary

import (
	"context"

	"hpcbert/lib/corpus"
	"hpcbert/lib/wordpiece"
)

// Count returns the words of a text, as the tokenizer's basic step finds them, and how often each occurs, using threads goroutines. After
// each block report, unless nil, gets the number of lines so far.
func Count(ctx context.Context, in *corpus.Blocks, o wordpiece.Options, threads int, report func(lines int)) (map[string]int64, error) {
	words, lines := map[string]int64{}, 0
	work := func(b corpus.Block) (counted, error) {
		c := counted{words: map[string]*int64{}, lines: b.Lines}
		if err := b.CheckSentences(); err != nil {
			return c, err
		}
		wordpiece.NewSplitter(o).Each(b.Text, func(word []byte) {
			if n := c.words[string(word)]; n != nil {
				*n++
				return
			}
			n := int64(1)
			c.words[string(word)] = &n
		})
		return c, nil
	}
	done := func(c counted) error {
		for word, n := range c.words {
			words[word] += *n
		}
		if lines += c.lines; report != nil {
			report(lines)
		}
		return nil
	}
	return words, corpus.MapBlocks(ctx, in, threads, work, done)
}

// counted is what a block holds.
type counted struct {
	words map[string]*int64
	lines int
}
