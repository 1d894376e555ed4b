package train

import (
	"context"
	"math"

	"hpcbert/lib/bert"
)

// feed reads global batches and divides them over the ranks. Every rank holds the shards in use, knows what each sequence costs and so finds the
// same division as the others.
type feed struct {
	config *bert.Config
	read   func(context.Context) Reader
	global int   // sequences of a global batch
	micro  int   // sequences of a micro-batch, at most
	end    int64 // sequences in all
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
	reader := f.read(ctx)
	go func() {
		defer close(out)
		defer reader.Close()
		for first := batch * int64(f.global); first < f.end; first += int64(f.global) {
			rows, err := reader.Fetch(first, int(min(int64(f.global), f.end-first)))
			s := share{err: err}
			if err == nil {
				s.micros = f.share(rows, f.rank)
			}
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
func (f *feed) share(rows Rows, rank int) (micros []*bert.Batch) {
	costs := make([]int64, rows.Len())
	for i := range costs {
		tokens, masked := rows.Size(i)
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
		for i, at := range group {
			group[i] = mine[at]
		}
		micros = append(micros, rows.Pack(group))
	}
	return micros
}

// largestShare is the most sequences of a global batch that a rank gets, smallestShare the fewest.
func largestShare(batch, ranks int) int { return (batch + ranks - 1) / ranks }

func smallestShare(batch, ranks int) int { return batch / ranks }
