/*
Segment cuts documents into sentences.

	segment [OPTION...] [FILE...]

It reads documents from the files, or standard input, and writes one sentence a line and a blank line after each document. Sentences
are those of NLTK's Punkt tokenizer with its English model, as in the original BERT data preparation. Line breaks inside a document
become blanks first, so that no sentence holds one. Titles are not part of the text. Documents without text are dropped.

# Options

	--input-format auto|json|text|doc|line|file

json is a JSON object {"id","title","text"} a line, as wikiextract writes; text is plain text with blank lines between documents; doc
is WikiExtractor's <doc id=...> and </doc> lines with the title behind the first; line is one document a line; file takes each input
as one document, a book. auto tells json, doc and text by the first bytes of each input and never picks line or file.

	--model FILE

reads another language's Punkt model: a JSON file such as data/german.json of github.com/neurosnap/sentences.

# Examples

	wikiextract enwiki.xml.bz2 | segment | shard --train 256 --test 256 -o shards
	segment --input-format file -o books.txt.zst books/*.txt
	printf 'Dr. Smith left. She stayed.\n' | segment

# Exit status

0 all input was segmented; 1 it failed, and there is no output file; 2 wrong usage. On a failure or signal standard output ends with a line
of a NUL character and the reason, which shard and mkpretrain refuse.

# Memory

About 64 KiB of text a thread, more where single documents are longer: each is held whole.

# Reproducibility

The same input gives the same bytes with any -j.

# Bugs

Punkt knows no paragraphs: a heading without a period joins the sentence after it.
*/
package main

import (
	"context"
	"fmt"

	"hpcbert/lib/cli"
	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/sentence"
	"hpcbert/lib/stream"
)

var program = cli.Program{
	Name:    "segment",
	Args:    "[FILE...]",
	Summary: "cut documents into sentences",
	Help:    `Reads documents (JSON lines, plain text with blank lines between documents, or WikiExtractor's <doc> frames; gzip, bzip2 and zstd are unpacked) and writes one sentence a line, a blank line after each document. Sentences are those of NLTK's Punkt tokenizer.`,
	Examples: `
  wikiextract enwiki.xml.bz2 | segment | shard --train 256 --test 256 -o shards
  segment --input-format file -o books.txt.zst books/*.txt
  printf 'Dr. Smith left. She stayed.\n' | segment`,
}

type options struct {
	cli.Common
	Output string `short:"o" long:"output" value-name:"FILE" description:"write to FILE instead of standard output; compressed if it ends in .gz or .zst"`
	Form   string `long:"input-format" value-name:"FORM" default:"auto" description:"auto, json, text, doc, line (a document a line) or file (a document each input)"`
	Model  string `long:"model" value-name:"FILE" description:"Punkt model in JSON form for another language (default: English)"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) (err error) {
	form, err := corpus.ParseForm(o.Form)
	if err != nil {
		return err
	}
	if err := stream.CheckOutput(o.Output, args...); err != nil {
		return err
	}
	in, err := corpus.OpenDocuments(ctx, args, env.Stdin, form)
	if err != nil {
		return err
	}
	defer in.Close()
	punkt, err := o.model(ctx, env)
	if err != nil {
		return err
	}
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.Close()
	defer func() {
		if err != nil {
			out.Spoil(corpus.SentenceMark(ctx, env.Name, err))
		}
	}()
	progress := env.Progress("segmenting", "documents", 0)
	defer progress.Finish()
	counts, err := punkt.Segment(ctx, in.Next, out, env.Threads(), func(c sentence.Counts) {
		progress.Set(c.Documents, fmt.Sprintf("%d sentences", c.Sentences))
	})
	if err != nil {
		return err
	}
	if counts.Documents == 0 && in.Lines() > 0 {
		return fault.WithHint(fmt.Errorf("no sentence in %d lines of input", in.Lines()), "is --input-format right?")
	}
	if err := out.Commit(); err != nil {
		return err
	}
	env.Summaryf("segmented %d documents into %d sentences, %d documents without text dropped", counts.Documents, counts.Sentences, counts.Empty)
	return nil
}

func (o *options) model(ctx context.Context, env *cli.Env) (*sentence.Punkt, error) {
	if o.Model == "" {
		return sentence.English()
	}
	f, err := stream.Open(ctx, o.Model, env.Stdin)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	punkt, err := sentence.Load(f)
	if err != nil {
		return nil, fmt.Errorf("option --model %q: %w", o.Model, err)
	}
	return punkt, nil
}
