package train

import (
	"math/bits"

	"hpcbert/lib/bert"
)

// The gradient of the word embeddings is a large part of what ranks sum, and its last terms, those of the tokens that are read, are known when
// the backward pass ends: nothing would hide their sum. But of the last micro-batch they are in few rows. So these are summed apart, as rows that
// any rank has, and what is in the arena, of the decoder and of earlier micro-batches, is summed as soon as the heads are ready. Ranks agree
// on the rows before the update.

// mostLate is the most rows that ranks sum apart: with more than half of the vocabulary, which makes the sums half as much longer, more is lost than
// gained where the link is slow.
func mostLate(vocabulary, tokens, ranks int) int {
	if ranks == 1 {
		return 0
	}
	return min(vocabulary/2, ranks*tokens)
}

// limits are those of micro-batches of so many sequences.
func (t *Trainer) limits(cfg *bert.Config, micro int) bert.Limits {
	lim := t.task.Limits(micro)
	lim.Late = mostLate(cfg.VocabSize, lim.Tokens, t.comm.Size())
	return lim
}

// words tells the ranks which words this one reads last; there are none where no rank waits for another.
func (t *Trainer) words(micros []*bert.Batch) census {
	if t.model.Limits().Late == 0 {
		return census{}
	}
	c := newCensus(t.model.Config.VocabSize, t.comm.Size())
	c.put(micros[len(micros)-1].IDs)
	return c
}

// census counts for each id of a vocabulary the ranks that have it, many counts in a number, so that numbers are summed over the ranks.
type census struct {
	counts     []int64
	width, per int // bits of a count, and counts of a number
}

func newCensus(vocabulary, ranks int) census {
	width := bits.Len(uint(ranks))
	per := 63 / width
	return census{make([]int64, (vocabulary+per-1)/per), width, per}
}

func (c census) put(ids []int32) {
	for _, id := range ids {
		c.counts[int(id)/c.per] |= 1 << (int(id) % c.per * c.width)
	}
}

// ids returns those that any rank has, in ascending order.
func (c census) ids() (ids []int32) {
	mask := int64(1)<<c.width - 1
	for i, counts := range c.counts {
		for j := range c.per {
			if counts>>(j*c.width)&mask != 0 {
				ids = append(ids, int32(i*c.per+j))
			}
		}
	}
	return ids
}
