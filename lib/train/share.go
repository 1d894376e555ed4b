package train

import (
	"context"
	"math"

	"hpcbert/lib/bert"
	"hpcbert/lib/pretrain"
)

// feed reads global batches and divides them over the ranks. Every rank holds the shards in use, knows what each sequence costs and so finds the
// same division as the others.
type feed struct {
	config *bert.Config
	set    *pretrain.Set
	order  pretrain.Order
	mask   *pretrain.Masking // nil = as in the shards
	global int               // sequences of a global batch
	micro  int               // sequences of a micro-batch, at most
	end    int64             // sequences in all
	rank   int
	ranks  int
}

// share is a rank's part of a global batch, without padding.
type share struct {
	micros []*bert.Batch
	err    error
}

// endless is the end of a feed that goes round and round.
const endless = math.MaxInt64

// start reads the shares of the coming global batches, from the given one on, while another is computed. The channel is closed after the
// last one, and when ctx ends.
func (f *feed) start(ctx context.Context, batch int64) <-chan share {
	out := make(chan share, 1)
	loader := pretrain.NewLoader(ctx, f.set, f.order, f.mask)
	go func() {
		defer close(out)
		defer loader.Close()
		for first := batch * int64(f.global); first < f.end; first += int64(f.global) {
			rows, err := loader.Fetch(first, int(min(int64(f.global), f.end-first)))
			s := share{f.share(rows, f.rank), err}
			select {
			case out <- s:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

// share packs the micro-batches of a rank's part of a global batch.
func (f *feed) share(rows []pretrain.Row, rank int) (micros []*bert.Batch) {
	costs := make([]int64, len(rows))
	for i, row := range rows {
		tokens, masked := row.Size()
		costs[i] = int64(f.config.FLOPs(tokens, int64(tokens)*int64(tokens), masked, 1))
	}
	mine := divide(costs, f.ranks)[rank]
	if len(mine) == 0 {
		return nil // the last batch of a set that is read once
	}
	own := make([]int64, len(mine))
	for i, sample := range mine {
		own[i] = costs[sample]
	}
	for _, group := range divide(own, (len(mine)+f.micro-1)/f.micro) {
		samples, numbers := make([]pretrain.Sample, len(group)), make([]int32, len(group))
		for i, at := range group {
			samples[i], numbers[i] = rows[mine[at]].Sample(), int32(mine[at])
		}
		micros = append(micros, Pack(samples, numbers))
	}
	return micros
}

// largestShare is the most sequences of a global batch that a rank gets, smallestShare the fewest.
func largestShare(batch, ranks int) int { return (batch + ranks - 1) / ranks }

func smallestShare(batch, ranks int) int { return batch / ranks }

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
