package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"hpcbert/lib/bert"
)

// sweepSizes are the micro-batches of a sweep.
var sweepSizes = []int{4, 8, 16, 32, 64}

// sweeps measures in every precision and length how the time of a micro-batch grows with its sequences.
func (b *bench) sweeps(ctx context.Context, s shape) error {
	for _, precision := range b.Precision {
		for _, length := range b.Seq {
			b.env.Infof("sweep of %s, %s, %d tokens a sequence", s.name, precision, length)
			rows, err := b.sweep(ctx, s, precision, length)
			if err != nil {
				return fmt.Errorf("sweep of %s, %s, %d tokens a sequence: %w", s.name, precision, length, err)
			}
			for _, r := range rows {
				if err := b.keep(r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (b *bench) sweep(ctx context.Context, s shape, precision string, length int) ([]row, error) {
	blank := row{kind: "sweep", name: "line", model: s.name, precision: precision, state: "ok", unit: "GFLOP/s"}
	sizes := sweepSizes
	if b.Quick {
		sizes = sizes[:2]
	}
	t, err := b.newTrainee(s, precision, length, slices.Max(sizes))
	if err == nil {
		defer t.close()
		err = t.warmUp()
	}
	if r, err := unsupported(blank, err); err != nil || r.state != "ok" {
		return []row{r}, err
	}
	batches := make([]*bert.Batch, len(sizes))
	for i, n := range sizes {
		batches[i] = randomBatch(s, length, n)
	}
	rows, err := b.timeBatches(ctx, t, batches, blank)
	if err != nil {
		return nil, err
	}
	return withLine(rows, sizes, blank), nil
}

// timeBatches runs the micro-batches in turn, so that whatever disturbs the machine disturbs them all.
func (b *bench) timeBatches(ctx context.Context, t *trainee, batches []*bert.Batch, blank row) ([]row, error) {
	peak := b.peak(modes[blank.precision].DType())
	seconds, peaks, disturbed := make([][]float64, len(batches)), []float64{}, make([]float64, len(batches))
	rounds := 5
	if b.Quick {
		rounds = 1
	}
	for range rounds {
		peaks = append(peaks, peak(t.stream))
		for i, batch := range batches {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			watch, begin := watchOthers(), time.Now()
			if _, err := t.model.ForwardBackward(batch, t.goal); err != nil {
				return nil, err
			}
			seconds[i] = append(seconds[i], time.Since(begin).Seconds())
			disturbed[i] += watch.cores() / float64(rounds)
		}
	}
	var rows []row
	for i, batch := range batches {
		r, n := blank, float64(len(batch.Samples))
		r.name, r.shape = fmt.Sprintf("micro-batch %d", len(batch.Samples)), fmt.Sprintf("%d x %d tokens", len(batch.Samples), batch.CuSeqlens[1])
		t.batch = batch
		r.runs, r.seconds, r.others, r.ceiling = rounds, median(seconds[i]), disturbed[i], median(peaks)
		r.rate, r.sequences, r.tokens = 1e-9*t.flops()/r.seconds, n/r.seconds, float64(len(batch.IDs))/r.seconds
		rows = append(rows, r)
	}
	return rows, nil
}

// withLine fits seconds = fixed + each * sequences so that the relative deviations' squares are least, and adds the line as a last row.
func withLine(rows []row, sizes []int, blank row) []row {
	var s, sx, sxx, sy, sxy float64 // sums weighted by 1/seconds²
	for i, r := range rows {
		x, w := float64(sizes[i]), 1/(r.seconds*r.seconds)
		s, sx, sxx, sy, sxy = s+w, sx+w*x, sxx+w*x*x, sy+w*r.seconds, sxy+w*x*r.seconds
	}
	each := (s*sxy - sx*sy) / (s*sxx - sx*sx)
	fixed := (sy - each*sx) / s
	for i := range rows {
		line := fixed + each*float64(sizes[i])
		rows[i].deviation = 100 * (rows[i].seconds - line) / line
		if math.Abs(rows[i].deviation) > math.Abs(blank.deviation) {
			blank.deviation = rows[i].deviation
		}
	}
	blank.name = "line; the largest deviation"
	blank.shape = fmt.Sprintf("%.4g ms + %.4g ms a sequence", 1e3*fixed, 1e3*each)
	return append(rows, blank)
}
