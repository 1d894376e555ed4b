package pretrain

import (
	"bytes"
	"context"
	"io"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
	"hpcbert/lib/wordpiece"
)

// ReadVocabulary reads the vocabulary from a file ("-" is stdin) and makes the tokenizer.
func (b *Build) ReadVocabulary(ctx context.Context, name string, stdin io.Reader) error {
	in, err := stream.Open(ctx, name, stdin)
	if err != nil {
		return fault.WithHint(err, "--vocab names a vocabulary file, such as BERT's vocab.txt")
	}
	defer in.Close()
	if b.Vocabulary, err = io.ReadAll(in); err != nil {
		return err
	}
	vocab, err := wordpiece.Load(bytes.NewReader(b.Vocabulary), name)
	if err != nil {
		return err
	}
	b.Tokenizer = wordpiece.New(vocab, wordpiece.Options{LowerCase: b.Options.LowerCase})
	return nil
}

// warnOfCase tells when text and vocabulary are of different case: the shards would look right.
func (b *Build) warnOfCase() {
	switch upper := b.Tokenizer.Vocabulary().Capitals(); {
	case !b.Options.LowerCase && upper < 0.001:
		b.warnf("the vocabulary has hardly a piece with capitals, but --cased keeps them in the text: such words become [UNK]")
	case b.Options.LowerCase && upper > 0.125:
		b.warnf("%.0f %% of the vocabulary's pieces have capitals, but the text is put in lower case: is --cased missing?", 100*upper)
	}
}
