package bert

import (
	"fmt"
	"sort"
)

// Batch is one micro-batch: B sequences of T tokens in all, packed one after the other, or padded to one length with KeyLengths.
type Batch struct {
	IDs, Positions, Segments []int32 // [T]; Positions count from 0 in each sequence
	CuSeqlens                []int32 // [B+1]: sequence b owns the rows CuSeqlens[b] .. CuSeqlens[b+1]-1
	KeyLengths               []int32 // [B] real tokens of each sequence; nil when there is no padding
	Samples                  []int32 // [B] index of each sequence in the step's global batch; names its dropout draws
	MaskedRows               []int32 // [M] rows (of the T) whose token is to be predicted, each once
	MaskedIDs                []int32 // [M] the tokens there
	NextSentence             []int32 // [B] class of each sequence, 0 or 1; below 0: none. May be nil where no loss is asked

	// What the head of a task is to predict, for its losses; the others are nil.
	Classes      []int32   // [B] of a Classifier
	Values       []float32 // [B] of a Regression
	Starts, Ends []int32   // [B] of a Span: first and last token of the answer, counted in the sequence

	// Late, where it has any, are ids in ascending order, all of IDs among them: what the tokens add to the gradients of the word embeddings goes
	// to Model.Late and not into the arena.
	Late []int32
}

// Limits are the most that one micro-batch holds; Late is 0 where none has Late ids.
type Limits struct{ Tokens, Sequences, Masked, Late int }

// where names the sequence that owns row t.
func (b *Batch) where(t int) string {
	i := sort.Search(len(b.Samples), func(i int) bool { return int(b.CuSeqlens[i+1]) > t })
	return fmt.Sprintf("sequence %d (sample %d): token %d", i, b.Samples[i], t-int(b.CuSeqlens[i]))
}

// end is the row behind the real tokens of sequence i.
func (b *Batch) end(i int) int32 {
	if b.KeyLengths != nil {
		return b.CuSeqlens[i] + b.KeyLengths[i]
	}
	return b.CuSeqlens[i+1]
}

// check looks at everything that a kernel would trust, but for targets.
func (b *Batch) check(c *Config, lim Limits) error {
	if err := b.checkSizes(lim); err != nil {
		return err
	}
	if err := b.checkSequences(); err != nil {
		return err
	}
	for _, column := range []struct {
		what   string
		values []int32
		end    int
		name   string
	}{
		{"id", b.IDs, c.VocabSize, "vocab_size"},
		{"position", b.Positions, c.MaxPositionEmbeddings, "max_position_embeddings"},
		{"segment", b.Segments, c.TypeVocabSize, "type_vocab_size"},
	} {
		for t, v := range column.values {
			if v < 0 || int(v) >= column.end {
				return fmt.Errorf("batch: %s: %s %d is not below the model's %s %d", b.where(t), column.what, v, column.name, column.end)
			}
		}
	}
	return b.checkLate(c, lim)
}

func (b *Batch) checkLate(c *Config, lim Limits) error {
	if len(b.Late) > lim.Late {
		return fmt.Errorf("batch: %d late ids; the model was made for %d", len(b.Late), lim.Late)
	}
	for i, id := range b.Late {
		if id < 0 || int(id) >= c.VocabSize || i > 0 && id <= b.Late[i-1] {
			return fmt.Errorf("batch: late id %d of a vocabulary of %d is not in ascending order", id, c.VocabSize)
		}
	}
	return nil
}

func (b *Batch) checkSizes(lim Limits) error {
	t, n, m := len(b.IDs), len(b.Samples), len(b.MaskedRows)
	switch {
	case n == 0 || t == 0:
		return fmt.Errorf("batch: %d sequences, %d tokens", n, t)
	case len(b.Positions) != t || len(b.Segments) != t:
		return fmt.Errorf("batch: %d ids, %d positions, %d segments", t, len(b.Positions), len(b.Segments))
	case len(b.CuSeqlens) != n+1:
		return fmt.Errorf("batch: %d sequences, %d cumulative lengths", n, len(b.CuSeqlens))
	case b.KeyLengths != nil && len(b.KeyLengths) != n:
		return fmt.Errorf("batch: %d sequences, %d key lengths", n, len(b.KeyLengths))
	case len(b.MaskedIDs) != m:
		return fmt.Errorf("batch: %d masked rows, %d masked ids", m, len(b.MaskedIDs))
	case t > lim.Tokens || n > lim.Sequences || m > lim.Masked:
		return fmt.Errorf("batch: %d tokens, %d sequences, %d masked rows; the model was made for %d, %d, %d", t, n, m, lim.Tokens, lim.Sequences, lim.Masked)
	}
	return nil
}

func (b *Batch) checkSequences() error {
	if b.CuSeqlens[0] != 0 || int(b.CuSeqlens[len(b.Samples)]) != len(b.IDs) {
		return fmt.Errorf("batch: cumulative lengths run from %d to %d for %d tokens", b.CuSeqlens[0], b.CuSeqlens[len(b.Samples)], len(b.IDs))
	}
	for i := range b.Samples {
		length := b.CuSeqlens[i+1] - b.CuSeqlens[i]
		if length < 1 {
			return fmt.Errorf("batch: sequence %d (sample %d) has %d tokens", i, b.Samples[i], length)
		}
		if b.KeyLengths != nil && (b.KeyLengths[i] < 1 || b.KeyLengths[i] > length) {
			return fmt.Errorf("batch: sequence %d (sample %d): %d real tokens of %d", i, b.Samples[i], b.KeyLengths[i], length)
		}
	}
	return nil
}

// checkTargets looks at those of pre-training, and marks the masked rows in seen.
func (b *Batch) checkTargets(c *Config, seen []bool) error {
	if len(b.NextSentence) != len(b.Samples) {
		return fmt.Errorf("batch: %d sequences, %d next-sentence classes", len(b.Samples), len(b.NextSentence))
	}
	for i, class := range b.NextSentence {
		if class > 1 {
			return fmt.Errorf("batch: sequence %d (sample %d): next-sentence class %d is not 0 or 1", i, b.Samples[i], class)
		}
	}
	clear(seen)
	for i, row := range b.MaskedRows {
		if row < 0 || int(row) >= len(b.IDs) {
			return fmt.Errorf("batch: masked row %d is not among the %d tokens", row, len(b.IDs))
		}
		if seen[row] {
			return fmt.Errorf("batch: %s is masked twice", b.where(int(row)))
		}
		seen[row] = true
		if id := b.MaskedIDs[i]; id < 0 || int(id) >= c.VocabSize {
			return fmt.Errorf("batch: %s: masked id %d is not below the model's vocab_size %d", b.where(int(row)), id, c.VocabSize)
		}
	}
	return nil
}
