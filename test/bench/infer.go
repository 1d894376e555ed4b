package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"hpcbert/lib/bert"
	"hpcbert/lib/fault"
	"hpcbert/lib/wordpiece"
)

// inferences measures in every precision how long a model takes for batches of the records of --text.
func (b *bench) inferences(ctx context.Context, s shape) error {
	records, err := b.records(s)
	if err != nil {
		return err
	}
	for _, precision := range b.Precision {
		for _, size := range b.Batch {
			b.env.Infof("inference of %s, %s, batches of %d", s.name, precision, size)
			r, err := b.infer(ctx, s, precision, batches(records, size))
			if err != nil {
				return fmt.Errorf("inference of %s, %s, batches of %d: %w", s.name, precision, size, err)
			}
			if err := b.keep(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// record is what is read of one line: its tokens, and where the second segment begins.
type record struct {
	ids    []int32
	second int
}

// records reads --text.
func (b *bench) records(s shape) ([]record, error) {
	vocab, err := os.Open(b.Vocab)
	if err != nil {
		return nil, err
	}
	v, err := wordpiece.Load(vocab, b.Vocab)
	vocab.Close()
	if err != nil {
		return nil, err
	}
	text, err := os.Open(b.Text)
	if err != nil {
		return nil, err
	}
	defer text.Close()
	e := wordpiece.New(v, wordpiece.Options{LowerCase: v.Capitals() < 0.05}).Acquire()
	var all []record
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && len(all) < b.Records {
		if strings.TrimSpace(lines.Text()) != "" {
			all = append(all, newRecord(e, v, lines.Text(), min(b.Seq[0], s.MaxPositionEmbeddings)))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", b.Text, err)
	}
	if len(all) < slices.Max(b.Batch) {
		return nil, fault.Usagef("--text %s: %d records are less than one batch of %d", b.Text, len(all), slices.Max(b.Batch))
	}
	return all, nil
}

// newRecord makes [CLS] a [SEP], or [CLS] a [SEP] b [SEP] of a line "a TAB b", of at most so many tokens: the ends are cut off.
func newRecord(e *wordpiece.Encoder, v *wordpiece.Vocabulary, line string, most int) record {
	r := record{ids: []int32{v.Cls}}
	first, second, pair := strings.Cut(line, "\t")
	if !pair {
		r.add(e.IDs(first), most, v.Sep)
		r.second = len(r.ids)
		return r
	}
	r.add(e.IDs(first), most-1, v.Sep) // the second [SEP] has its place
	r.second = len(r.ids)
	r.add(e.IDs(second), most, v.Sep)
	return r
}

func (r *record) add(ids []int32, most int, sep int32) {
	r.ids = append(r.ids, ids[:max(0, min(len(ids), most-1-len(r.ids)))]...)
	r.ids = append(r.ids, sep)
}

// batches packs the records in their order, so many at a time; a rest is left out.
func batches(records []record, size int) []*bert.Batch {
	var all []*bert.Batch
	for chunk := range slices.Chunk(records, size) {
		if len(chunk) < size {
			break
		}
		batch := &bert.Batch{CuSeqlens: []int32{0}}
		for i, r := range chunk {
			for position := range r.ids {
				segment := int32(0)
				if position >= r.second {
					segment = 1
				}
				batch.Positions, batch.Segments = append(batch.Positions, int32(position)), append(batch.Segments, segment)
			}
			batch.IDs = append(batch.IDs, r.ids...)
			batch.CuSeqlens, batch.Samples = append(batch.CuSeqlens, int32(len(batch.IDs))), append(batch.Samples, int32(i))
		}
		all = append(all, batch)
	}
	return all
}

// infer runs all batches in one model made for them.
func (b *bench) infer(ctx context.Context, s shape, precision string, all []*bert.Batch) (r row, err error) {
	size, tokens := len(all[0].Samples), 0
	limits := bert.Limits{Sequences: size}
	for _, batch := range all {
		tokens += len(batch.IDs)
		limits.Tokens = max(limits.Tokens, len(batch.IDs))
	}
	r = row{kind: "infer", name: fmt.Sprintf("batch %d", size), model: s.name, precision: precision, state: "ok",
		shape: fmt.Sprintf("%d x %.1f tokens", size, float64(tokens)/float64(size*len(all)))}
	seconds, others, err := b.encode(ctx, s, limits, modes[precision], all)
	if r, err = unsupported(r, err); err != nil || r.state != "ok" {
		return r, err
	}
	cold, warm := seconds[:len(all)], seconds[len(all):]
	r.runs, r.seconds, r.p95, r.p99, r.others = len(warm), median(warm), percentile(warm, 95), percentile(warm, 99), others
	r.sequences = float64(size*len(warm)) / sum(warm)
	r.tokens = float64(tokens*b.Updates) / sum(warm)
	r.reference = float64(size*len(cold)) / sum(cold)
	r.memory = peakMemory()
	return r, nil
}

// encode returns the seconds of each batch: of a first round in a new model, and of --updates more.
func (b *bench) encode(ctx context.Context, s shape, limits bert.Limits, mode bert.Mode, all []*bert.Batch) (seconds []float64, others float64, err error) {
	stream, err := b.dev.NewStream()
	if err != nil {
		return nil, 0, err
	}
	defer stream.Close()
	model, err := bert.New(b.dev, stream, s.Config, limits, bert.ForwardOnly|mode)
	if err != nil {
		return nil, 0, err
	}
	defer model.Close()
	model.Init(1)
	model.Refresh()
	watch := watchOthers()
	for range 1 + b.Updates {
		for _, batch := range all {
			begin := time.Now()
			_, _, err := model.EncodeForward(batch, bert.Objective{})
			if err := errors.Join(err, stream.Synchronize(), ctx.Err()); err != nil {
				return nil, 0, err
			}
			seconds = append(seconds, time.Since(begin).Seconds())
		}
	}
	return seconds, watch.cores(), nil
}
