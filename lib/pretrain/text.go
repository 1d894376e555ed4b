package pretrain

import (
	"fmt"
	"io"
	"strings"

	"hpcbert/lib/wordpiece"
)

// WriteText writes the first n instances for people to read, in the form in which BERT's original program logs its own.
func (x *Instances) WriteText(w io.Writer, name string, vocab *wordpiece.Vocabulary, n int) error {
	return writeText(w, name, x, vocab, n)
}

// WriteText writes the first n rows for people to read. Ids beyond vocab are an error.
func (s *Shard) WriteText(w io.Writer, name string, vocab *wordpiece.Vocabulary, n int) error {
	if err := s.checkIDs(vocab.Size()); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return writeText(w, name, (*shardRows)(s), vocab, n)
}

func writeText(w io.Writer, name string, x rowsOf, vocab *wordpiece.Vocabulary, n int) error {
	rows, seq, maxPred := x.shape()
	for row := range min(n, rows) {
		ids, mask, segments := make([]int32, seq), make([]int8, seq), make([]int8, seq)
		positions, labels, next := make([]int32, maxPred), make([]int32, maxPred), make([]int8, 1)
		x.ids(row, ids)
		x.inputMask(row, mask)
		x.segments(row, segments)
		x.maskedPositions(row, positions)
		x.maskedIDs(row, labels)
		x.nextSentence(row, next)
		tokens, masked := 0, 0
		for tokens < seq && mask[tokens] == 1 {
			tokens++
		}
		for masked < maxPred && positions[masked] != 0 {
			masked++
		}
		var b strings.Builder
		fmt.Fprintf(&b, "*** %s: sequence %d of %d ***\n", name, row, rows)
		fmt.Fprintf(&b, "tokens: %s\n", pieces(vocab, ids[:tokens]))
		fmt.Fprintf(&b, "segment_ids: %s\n", strings.Trim(fmt.Sprint(segments[:tokens]), "[]"))
		fmt.Fprintf(&b, "is_random_next: %t\n", next[0] == 1)
		fmt.Fprintf(&b, "masked_lm_positions: %s\n", strings.Trim(fmt.Sprint(positions[:masked]), "[]"))
		fmt.Fprintf(&b, "masked_lm_labels: %s\n\n", pieces(vocab, labels[:masked]))
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	return nil
}

func pieces(vocab *wordpiece.Vocabulary, ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = vocab.Tokens[id]
	}
	return strings.Join(words, " ")
}
