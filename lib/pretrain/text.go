package pretrain

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"hpcbert/lib/fault"
	"hpcbert/lib/wordpiece"
)

// WriteText writes the first n instances of an HDF5 shard, or those that Run would make of a text shard, for people to read, in the form in
// which BERT's original program logs its own. Without Tokenizer the vocabulary is the one beside the HDF5 shard.
func (b *Build) WriteText(ctx context.Context, w io.Writer, input string, n int) error {
	if strings.HasSuffix(input, ".hdf5") || strings.HasSuffix(input, ".h5") {
		return b.writeShardText(w, input, n)
	}
	if b.Tokenizer == nil {
		return fault.Usagef("%s is text: --vocab FILE is needed", input)
	}
	x, _, err := b.Instances(ctx, input)
	if err != nil {
		return err
	}
	return writeText(w, input, x, b.Tokenizer.Vocabulary(), n)
}

func (b *Build) writeShardText(w io.Writer, name string, n int) error {
	var vocab *wordpiece.Vocabulary
	if b.Tokenizer != nil {
		vocab = b.Tokenizer.Vocabulary()
	} else {
		beside := filepath.Join(filepath.Dir(name), vocabularyName)
		in, err := os.Open(beside)
		if err != nil {
			return fault.WithHint(err, "--vocab names the vocabulary that the shard was made with")
		}
		defer in.Close()
		if vocab, err = wordpiece.Load(in, beside); err != nil {
			return err
		}
	}
	s, err := ReadShard(name)
	if err != nil {
		return err
	}
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
