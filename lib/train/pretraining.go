package train

import (
	"context"
	"fmt"
	"math"

	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/pretrain"
)

// pretraining is the task of predicting masked tokens and following sentences, on shards.
type pretraining struct {
	set     *pretrain.Set
	order   pretrain.Order
	mask    *pretrain.Masking // nil = as in the shards
	unigram *unigram
}

// newPretraining says why the set does not fit the model or the options, if it does not.
func newPretraining(opt Options, cfg *bert.Config, set *pretrain.Set) (p *pretraining, err error) {
	p = &pretraining{unigram: newUnigram(cfg.VocabSize)}
	if p.set, err = fitting(set, cfg); err != nil {
		return nil, err
	}
	if set.VocabSize > 0 && set.VocabSize < cfg.VocabSize {
		opt.Warn("the model has %d tokens, the data's vocabulary %d: the others are never trained", cfg.VocabSize, set.VocabSize)
	}
	p.order = pretrain.NewShuffledOrder(p.set.Rows, opt.Seed)
	if opt.FileOrder {
		p.order = pretrain.NewFileOrder(p.set.Rows)
	}
	if opt.DynamicMasking {
		p.mask, err = pretrain.NewMasking(p.set, opt.Seed, opt.WholeWords)
	}
	return p, err
}

// fitting returns the set for a model of that shape, or says why it does not fit.
func fitting(set *pretrain.Set, cfg *bert.Config) (*pretrain.Set, error) {
	if set.Seq > cfg.MaxPositionEmbeddings {
		return nil, fault.WithHint(fmt.Errorf("%s: sequences of %d tokens, the model has %d positions", set.Files[0], set.Seq, cfg.MaxPositionEmbeddings),
			"raise max_position_embeddings in the model config, or prepare shorter sequences with mkpretrain --seq")
	}
	if set.VocabSize > cfg.VocabSize {
		return nil, fault.WithHint(fmt.Errorf("%s: the data's vocabulary has %d tokens, the model's %d", set.VocabPath, set.VocabSize, cfg.VocabSize),
			"leave vocab_size out of the model config: it is taken from the data")
	}
	if set.VocabSize == 0 { // the loader checks the ids against the model's vocabulary then
		known := *set
		known.VocabSize = cfg.VocabSize
		return &known, nil
	}
	return set, nil
}

func (p *pretraining) Name() string                         { return "pretraining" }
func (p *pretraining) Heads() (bert.Mode, []bert.Head)      { return bert.PreTraining, nil }
func (p *pretraining) Params(cfg *bert.Config) []bert.Param { return cfg.Params() }
func (p *pretraining) Sequences() int                       { return p.set.TotalRows() }
func (p *pretraining) Bytes(global, own int) int64          { return dataBytes(p.set, global, own) }

func (p *pretraining) Limits(micro int) bert.Limits {
	return bert.Limits{Tokens: micro * p.set.Seq, Sequences: micro, Masked: micro * p.set.MaxPred}
}

// dataBytes counts the shards in memory and a rank's part, own, of four global batches: being packed, waiting twice and at work.
// Go's collector lets memory grow to twice what is in use.
func dataBytes(set *pretrain.Set, global, own int) int64 {
	row, sequence := 6*set.Seq+8*set.MaxPred+1, 12*set.Seq+8*set.MaxPred
	return 2 * (int64(set.HeldRows(global))*int64(row) + 4*int64(own)*int64(sequence))
}

func (p *pretraining) Epoch(sample int64) int {
	_, _, epoch := p.order.At(sample)
	return epoch
}

func (p *pretraining) Contents() Contents {
	return Contents{Files: p.set.Files, Masking: p.mask.String(), Rows: p.set.Rows, Seq: p.set.Seq, Vocabulary: p.set.VocabSHA256, Data: p.set.SHA256()}
}

func (p *pretraining) Vocabulary() Vocabulary { return vocabularyOf(p.set) }

func vocabularyOf(set *pretrain.Set) Vocabulary {
	v := Vocabulary{Path: set.VocabPath, SHA256: set.VocabSHA256, Make: "make the shards with mkpretrain --vocab"}
	if set.Manifest != nil {
		v.LowerCase = &set.Manifest.Options.LowerCase
	}
	return v
}

func (p *pretraining) Keys() map[string]any {
	return map[string]any{"sequence_length": p.set.Seq, "data": p.set.Dir, "masking": p.mask.String()}
}

func (p *pretraining) Count(b *bert.Batch) { p.unigram.count(b) }

func (p *pretraining) ConstantLoss(c comm.Comm) (float64, error) { return p.unigram.loss(c) }

func (p *pretraining) Read(ctx context.Context) Reader {
	return &shardReader{pretrain.NewLoader(ctx, p.set, p.order, p.mask)}
}

// shardReader reads rows of shards.
type shardReader struct{ loader *pretrain.Loader }

func (r *shardReader) Fetch(first int64, n int) (Rows, error) {
	rows, err := r.loader.Fetch(first, n)
	return shardRows(rows), err
}

func (r *shardReader) Close() { r.loader.Close() }

type shardRows []pretrain.Row

func (r shardRows) Len() int                        { return len(r) }
func (r shardRows) Size(i int) (tokens, masked int) { return r[i].Size() }

func (r shardRows) Pack(which []int) *bert.Batch {
	samples, numbers := make([]pretrain.Sample, len(which)), make([]int32, len(which))
	for i, at := range which {
		samples[i], numbers[i] = r[at].Sample(), int32(at)
	}
	return Pack(samples, numbers)
}

// Pack lays sequences one behind the other. Numbers are their places in the step's global batch.
func Pack(samples []pretrain.Sample, numbers []int32) *bert.Batch {
	b := &bert.Batch{CuSeqlens: []int32{0}, Samples: numbers}
	for _, s := range samples {
		start := int32(len(b.IDs))
		b.IDs = append(b.IDs, s.InputIDs...)
		b.Segments = append(b.Segments, s.SegmentIDs...)
		for p := range s.InputIDs {
			b.Positions = append(b.Positions, int32(p))
		}
		for _, p := range s.MaskedPositions {
			b.MaskedRows = append(b.MaskedRows, start+p)
		}
		b.MaskedIDs = append(b.MaskedIDs, s.MaskedIDs...)
		b.CuSeqlens = append(b.CuSeqlens, int32(len(b.IDs)))
		b.NextSentence = append(b.NextSentence, s.NextSentence)
	}
	return b
}

// unigram counts targets: its entropy is the loss of the best prediction that ignores the input.
type unigram struct {
	tokens []int64
	nsp    [2]int64
}

func newUnigram(vocab int) *unigram { return &unigram{tokens: make([]int64, vocab)} }

func (u *unigram) count(b *bert.Batch) {
	for _, id := range b.MaskedIDs {
		u.tokens[id]++
	}
	for _, label := range b.NextSentence {
		u.nsp[label]++
	}
}

func (u *unigram) loss(c comm.Comm) (float64, error) {
	all := append(append([]int64(nil), u.tokens...), u.nsp[:]...)
	if err := c.AllreduceInt64(all); err != nil {
		return 0, err
	}
	return entropy(all[:len(u.tokens)]) + entropy(all[len(u.tokens):]), nil
}

func entropy(counts []int64) float64 {
	var total, h float64
	for _, n := range counts {
		total += float64(n)
	}
	for _, n := range counts {
		if n > 0 {
			h -= float64(n) / total * math.Log(float64(n)/total)
		}
	}
	return h
}
