package pretrain

import (
	"fmt"
	"math/bits"
	"os"

	"hpcbert/lib/fault"
	"hpcbert/lib/philox"
	"hpcbert/lib/wordpiece"
)

// Masking draws masks anew for each epoch, in the way of the shards' own (spec: pretraining 1.6). A mask is a pure function of the seed, the
// epoch and the row's number in the set.
type Masking struct {
	seed uint64
	masker
}

// defaultProb is the share of tokens to predict where no manifest tells that of the shards.
const defaultProb = 0.15

// NewMasking returns masks for the rows of a set, as many a row as its shards have. Whole words are masked where that is asked for or where the
// shards were made so.
func NewMasking(set *Set, seed uint64, wholeWords bool) (*Masking, error) {
	if set.VocabPath == "" {
		return nil, fault.WithHint(fmt.Errorf("%s has no %s: masks cannot be drawn without [CLS], [SEP] and [MASK]", set.Dir, vocabularyName),
			"give --vocab FILE, the vocabulary that the shards were made with")
	}
	if set.Seq > maxInstanceIDs {
		return nil, fmt.Errorf("%s: sequences of %d tokens: masks are drawn for %d at most", set.Dir, set.Seq, maxInstanceIDs)
	}
	f, err := os.Open(set.VocabPath)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	vocab, err := wordpiece.Load(f, set.VocabPath)
	if err != nil {
		return nil, err
	}
	m := &Masking{seed: seed, masker: masker{vocab: vocab, prob: defaultProb, most: set.MaxPred}}
	if set.Manifest != nil {
		m.prob = set.Manifest.Options.MaskedLMProb
		wholeWords = wholeWords || set.Manifest.Options.WholeWords
	}
	if wholeWords {
		m.continues = continuations(vocab)
	}
	return m, nil
}

// String says how masks come about; m may be nil.
func (m *Masking) String() string {
	switch {
	case m == nil:
		return "static"
	case m.continues != nil:
		return "dynamic, whole words"
	}
	return "dynamic"
}

// draw puts a sample's labels back into it, which is the row before it was masked, and masks it anew.
func (m *Masking) draw(x *Sample, epoch, row uint64) {
	for i, p := range x.MaskedPositions {
		x.InputIDs[p] = x.MaskedIDs[i]
	}
	one := m.masker // with memory of its own: samples are drawn by several goroutines
	one.words = nil
	one.draws = &philoxDraws{key: m.seed, row: row, epoch: epoch}
	x.MaskedPositions, x.MaskedIDs = one.mask(x.InputIDs, nil, nil)
}

// philoxDraws are the random numbers of one row in one epoch.
type philoxDraws struct {
	key, row, epoch uint64
	block           uint32
	words           [4]uint32
	left            int
}

// maskDomain is the last word of the counters of masks. As a dropout counter it would be a site in step 2^20-1 that no model has.
const maskDomain = 1<<32 - 2

func (d *philoxDraws) next() uint32 {
	if d.left == 0 {
		d.words, d.left = philox.Block([4]uint32{d.block | uint32(d.row>>32)<<16, uint32(d.row), uint32(d.epoch), maskDomain}, d.key), len(d.words)
		d.block++
	}
	d.left--
	return d.words[d.left]
}

func (d *philoxDraws) random() float64 {
	return float64(uint64(d.next())<<21^uint64(d.next())>>11) / (1 << 53)
}

// below is Lemire's: the upper half of a product, and again in the rare case that would favour some numbers.
func (d *philoxDraws) below(n int) int {
	unfair := -uint32(n) % uint32(n)
	for {
		if high, low := bits.Mul32(d.next(), uint32(n)); low >= unfair {
			return int(high)
		}
	}
}

func (d *philoxDraws) shuffleSmall(x []int32) {
	for i := len(x) - 1; i >= 1; i-- {
		j := d.below(i + 1)
		x[i], x[j] = x[j], x[i]
	}
}
