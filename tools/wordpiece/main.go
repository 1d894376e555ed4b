/*
Wordpiece turns text into the ids of a BERT vocabulary, and back.

	wordpiece [OPTION...] --vocab FILE [FILE...]

It reads lines of text from the files, or standard input, and writes for each line the ids of its word pieces, separated by blanks: an empty
line for a line without any. Pieces are those of BERT's first published tokenizer, with which mkpretrain works too. [CLS] and [SEP] are not added.

# Options

	--cased

keeps capitals and accents, for a cased vocabulary; without it the text is lower-cased and stripped of accents.

	--tokens

writes the pieces instead of their ids.

	--decode

reads lines of ids and writes text: blanks between words, none before .?!, and in English contractions, as Hugging Face does it. Capitals and white
space that tokenizing dropped do not come back.

	--count

tokenizes everything and writes counts only, a name, a TAB and a number a line: lines, bytes (MB are 10^6), words of the basic step, pieces,
unknown words, and MB/s from the first byte read to the last piece, without the loading of the vocabulary.

# Examples

	echo 'Hello, World!' | wordpiece --vocab vocab.txt
	wordpiece --vocab vocab.txt shards/wiki_training_0.txt | wordpiece --vocab vocab.txt --decode | head
	wordpiece --vocab vocab.txt --count -j 1 wiki.txt.zst

# Exit status

0 all input was done; 1 it failed, and there is no output file; 2 wrong usage.

# Memory

About 25 MiB (55 with the multilingual vocabulary), and 18 MiB a thread (9 with --count), 20 MiB more where bzip2 is unpacked, more where single lines are longer than 64 KiB; one of more than 32 MiB is an error.

# Reproducibility

The same input gives the same bytes with any -j; MB/s of --count apart.
*/
package main

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
	"hpcbert/lib/wordpiece"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "wordpiece",
	Source:  source,
	Args:    "--vocab FILE [FILE...]",
	Summary: "turn text into the ids of a BERT vocabulary, and back",
	Help: `Reads lines of text (gzip, bzip2 and zstd are unpacked) and writes for each line the ids of its word pieces, separated by blanks. Pieces are those of BERT's first published tokenizer; [CLS] and [SEP] are not added.

Memory: about 25 MiB (55 with the multilingual vocabulary) and 18 MiB a thread, 9 with --count (20 MiB more to unpack bzip2), more where single lines are longer than 64 KiB; one of more than 32 MiB is an error.`,
	Examples: `
  echo 'Hello, World!' | wordpiece --vocab vocab.txt
  wordpiece --vocab vocab.txt shards/wiki_training_0.txt | wordpiece --vocab vocab.txt --decode | head
  wordpiece --vocab vocab.txt --count -j 1 wiki.txt.zst`,
}

type options struct {
	cli.Common
	Vocab  string `long:"vocab" value-name:"FILE" required:"true" description:"vocabulary, one piece a line"`
	Cased  bool   `long:"cased" description:"keep capitals and accents, for a cased vocabulary"`
	Tokens bool   `long:"tokens" description:"write pieces instead of ids"`
	Decode bool   `long:"decode" description:"read ids, write text"`
	Count  bool   `long:"count" description:"write only counts and MB/s"`
	Output string `short:"o" long:"output" value-name:"FILE" description:"write to FILE instead of standard output; compressed if it ends in .gz or .zst"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) check(args []string) error {
	switch {
	case o.Vocab == "-" && (len(args) == 0 || slices.Contains(args, "-")):
		return fault.Usagef("standard input cannot be both the vocabulary and the text")
	case o.Tokens && o.Decode, o.Tokens && o.Count, o.Decode && o.Count:
		return fault.Usagef("of --tokens, --decode and --count only one can be done")
	case o.Decode && o.Cased:
		return fault.Usagef("--cased does nothing with --decode")
	}
	return stream.CheckOutput(o.Output, append([]string{o.Vocab}, args...)...)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) (err error) {
	if err := o.check(args); err != nil {
		return err
	}
	env.EndWithReader(o.Output)
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.CloseMarked(&err, corpus.SentenceMark(ctx, env.Name))
	in, err := corpus.OpenBlocks(ctx, args, env.Stdin, env.Threads())
	if err != nil {
		return err
	}
	defer in.Close()
	vocab, err := o.vocabulary(ctx, env)
	if err != nil {
		return err
	}
	progress := env.Progress("tokenizing", "lines", 0)
	defer progress.Finish()
	f := &filter{tok: wordpiece.New(vocab, wordpiece.Options{LowerCase: !o.Cased}), out: out, progress: progress}
	start := time.Now()
	work := f.encode
	switch {
	case o.Tokens:
		work = f.pieces
	case o.Decode:
		work = f.decode
	case o.Count:
		work = f.count
	}
	if err := corpus.MapBlocks(ctx, in, env.Threads(), work, f.write); err != nil {
		return err
	}
	if f.sum.pieces == 0 && in.Lines() > 0 {
		what := "word"
		if o.Decode {
			what = "id"
		}
		return fmt.Errorf("no %s in %d lines of input", what, in.Lines())
	}
	if o.Count {
		if err := f.report(in.Lines(), time.Since(start)); err != nil {
			return err
		}
	}
	if err := out.Commit(); err != nil {
		return err
	}
	env.Summaryf("%d lines, %d pieces", in.Lines(), f.sum.pieces)
	return nil
}

func (o *options) vocabulary(ctx context.Context, env *cli.Env) (*wordpiece.Vocabulary, error) {
	in, err := stream.Open(ctx, o.Vocab, env.Stdin)
	if err != nil {
		return nil, fault.WithHint(err, "--vocab names a vocabulary file, such as BERT's vocab.txt")
	}
	defer in.Close()
	return wordpiece.Load(in, o.Vocab)
}
