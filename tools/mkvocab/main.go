/*
Mkvocab trains a WordPiece vocabulary.

	mkvocab [OPTION...] [FILE...]

It reads text, such as the sentences of segment, from the files or standard input, and writes a vocabulary, one piece a line, which mkpretrain,
wordpiece and Hugging Face's BertTokenizer take as it is: [PAD] [UNK] [CLS] [SEP] [MASK], unused pieces if asked for, the characters of the
text, and pieces of several characters, the most useful first. Words are those of the tokenizer's basic step. Pieces are found by joining, again
and again, the two neighbours that stand together most often.

# Options

	--size N

is the number of pieces. There are fewer, with a warning, where the text has no more that occur --min-count times (1 by default: a small text fills
the vocabulary with its own words).

	--alphabet N

keeps the N most frequent characters; a word with another one becomes [UNK]. Chinese and Japanese want 10,000.

	--unused N

writes [unused0], [unused1], ... for words that fine-tuning may add.

	--cased

keeps capitals and accents; mkpretrain and wordpiece are to be told so, too.

# Examples

	segment wiki.jsonl | mkvocab -o vocab.txt
	mkvocab --size 50000 --alphabet 10000 -o vocab.txt shards/*_training_*.txt
	mkvocab --cased --unused 100 -o vocab.txt books.txt.zst

# Exit status

0 the vocabulary is written; 1 it failed, and there is no output file; 2 wrong usage.

# Memory

Proportional to the number of different words: about 0.8 KiB for each, and 20 MiB; to unpack bzip2, 20 MiB a thread more. A line of more than 32 MiB is an error.

# Reproducibility

The same words give the same bytes, whatever their order in the input and with any -j.

# Bugs

Text without blanks between words, such as Thai, should be cut into words before.
*/
package main

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"hpcbert/lib/cli"
	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
	"hpcbert/lib/vocabulary"
	"hpcbert/lib/wordpiece"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "mkvocab",
	Source:  source,
	Args:    "[FILE...]",
	Summary: "train a WordPiece vocabulary",
	Help: `Reads text, such as the sentences of segment (gzip, bzip2 and zstd are unpacked), and writes a vocabulary, one piece a line, which mkpretrain, wordpiece and Hugging Face's BertTokenizer take as it is.

Memory: proportional to the number of different words: about 0.8 KiB for each, and 20 MiB (bzip2: 20 MiB a thread more); a line of more than 32 MiB is an error.`,
	Examples: `
  segment wiki.jsonl | mkvocab -o vocab.txt
  mkvocab --size 50000 --alphabet 10000 -o vocab.txt shards/*_training_*.txt
  mkvocab --cased --unused 100 -o vocab.txt books.txt.zst`,
}

type options struct {
	cli.Common
	Size     int    `long:"size" value-name:"N" default:"30000" description:"number of pieces"`
	MinCount int64  `long:"min-count" value-name:"N" default:"1" description:"a piece of several characters occurs at least N times"`
	Alphabet int    `long:"alphabet" value-name:"N" default:"1000" description:"keep the N most frequent characters"`
	Unused   int    `long:"unused" value-name:"N" default:"0" description:"write N pieces [unused0], [unused1], ..."`
	Cased    bool   `long:"cased" description:"keep capitals and accents"`
	Output   string `short:"o" long:"output" value-name:"FILE" description:"write to FILE instead of standard output"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) check(args []string) error {
	least := len(vocabulary.Specials) + o.Unused + 1
	switch {
	case o.Unused < 0:
		return fault.Usagef("option --unused: %d pieces, want 0 or more", o.Unused)
	case o.Size < least || o.Size > wordpiece.MaxSize:
		return fault.Usagef("option --size: %d pieces, want %d to %d", o.Size, least, wordpiece.MaxSize)
	case o.MinCount < 1:
		return fault.Usagef("option --min-count: %d times, want 1 or more", o.MinCount)
	case o.Alphabet < 1:
		return fault.Usagef("option --alphabet: %d characters, want 1 or more", o.Alphabet)
	}
	return stream.CheckOutput(o.Output, args...)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	in, err := corpus.OpenBlocks(ctx, args, env.Stdin, env.Threads())
	if err != nil {
		return err
	}
	defer in.Close()
	env.EndWithReader(o.Output)
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.Close()
	progress := env.Progress("counting", "lines", 0)
	defer progress.Finish()
	words, err := vocabulary.Count(ctx, in, wordpiece.Options{LowerCase: !o.Cased}, env.Threads(), func(lines int) { progress.Set(int64(lines), "") })
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return fault.WithHint(fmt.Errorf("no word in %d lines of input", in.Lines()), "a vocabulary is made of text, such as segment writes it")
	}
	progress.Finish()
	env.Debugf("%d different words in %d lines", len(words), in.Lines())
	pieces, err := vocabulary.Train(ctx, words, vocabulary.Options{Size: o.Size, MinCount: o.MinCount, Alphabet: o.Alphabet, Unused: o.Unused})
	if err != nil {
		return err
	}
	if len(pieces) < o.Size {
		env.Warnf("the vocabulary has %d pieces only: nothing else occurs %d time(s)", len(pieces), o.MinCount)
		if o.MinCount > 1 {
			env.Hintf("more text, or a smaller --min-count, gives more pieces")
		} else {
			env.Hintf("more text gives more pieces")
		}
	}
	if _, err := out.WriteString(strings.Join(pieces, "\n") + "\n"); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	env.Summaryf("made %d pieces of %d different words", len(pieces), len(words))
	return nil
}
