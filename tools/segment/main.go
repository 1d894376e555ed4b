/*
Segment cuts documents into sentences.

	segment [OPTION...] [FILE|FOLDER...]

It reads documents from the files, or standard input, and writes one sentence a line and a blank line after each document. Sentences
are those of NLTK's Punkt tokenizer with its English model, as in the original BERT data preparation. Line breaks inside a document
become blanks first, so that no sentence holds one. Titles are not part of the text. Documents without text are dropped.

A folder stands for the .txt files in it and below (also .txt.gz, .txt.bz2 and .txt.zst), in the order of their paths: each is a book,
one document, unless it begins as JSON or <doc> lines do. With --input-format json, text, doc or line it stands for all its files but hidden
ones. Books may be UTF-8, with or without byte order mark, or Latin-1 (code page 1252), which is detected and said; other input is UTF-8.

# Options

	--input-format auto|json|text|doc|line|file

json is a JSON object {"id","title","text"} a line, as wikiextract writes; text is plain text with blank lines between documents; doc
is WikiExtractor's <doc id=...> and </doc> lines with the title behind the first; line is one document a line; file takes each input
as one document, a book, with wrapped lines and blank lines between paragraphs. auto tells json, doc and text by the first bytes of each
input, takes the plain text of folders as file, and never picks line.

	--rules nltk|improved

nltk gives the reference's sentences. improved mends what is known to go wrong with them in English: initials (J. S. Bach), "et al.", "Fig. 3",
"no. 5", acronyms before a new sentence, speech that goes on ("Stop!" he said), typographic quotes, spaced periods, numbers of list items; and
a paragraph's end (a line of json and doc, a blank line of a book) ends a sentence, so that headings stand alone. On the dev set of the English
Web Treebank it finds sentences with F1 0.933, NLTK with 0.866, or 0.923 when it is given one paragraph at a time.

	--model NAME

reads another language's Punkt model: a JSON file such as data/german.json of github.com/neurosnap/sentences, or a folder such as
punkt_tab/german of NLTK's data. The lists of --rules improved remain English.

# Examples

	wikiextract enwiki.xml.bz2 | segment | shard --train 256 --test 256 -o shards
	segment --rules improved -o books.txt.zst books
	printf 'Dr. Smith left. She stayed.\n' | segment

# Exit status

0 all input was segmented; 1 it failed, and there is no output file; 2 wrong usage. On a failure or signal standard output ends with a mark:
a line of a NUL character, "failed: " and the reason, which shard, mkpretrain, wordpiece and mkvocab refuse, so that a text that is not whole
is not taken for whole. segment > FILE leaves a file of at least this line; segment -o FILE leaves none.

# Memory

Constant: some 25 MiB, and 1 MiB a thread, 20 MiB where bzip2 is unpacked. A document is held whole, with up to twelve times its size; a line
or document of more than 32 MiB, which no article or book has, is an error that says where. So input of any size, also in one line, keeps within
500 MiB, bzip2 apart.

# Reproducibility

The same input gives the same bytes with any -j.

# Bugs

With --rules nltk a heading without a period joins the sentence after it, as in the reference.
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

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) (err error) {
	form, err := corpus.ParseForm(o.Form)
	if err != nil {
		return err
	}
	if o.Rules != "nltk" && o.Rules != "improved" {
		return fault.Usagef("option --rules: %q, want nltk or improved", o.Rules)
	}
	env.EndWithReader(o.Output)
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.CloseMarked(&err, corpus.SentenceMark(ctx, env.Name))
	in, err := corpus.OpenDocuments(ctx, args, env.Stdin, form, env.Threads())
	if err != nil {
		return err
	}
	defer in.Close()
	in.Warn = func(text string) { env.Warnf("%s", text) }
	if err := stream.CheckOutput(o.Output, in.Names()...); err != nil {
		return err
	}
	split, err := o.splitter(ctx, env)
	if err != nil {
		return err
	}
	progress := env.Progress("segmenting", "documents", 0)
	defer progress.Finish()
	counts, err := sentence.Segment(ctx, split, in.Next, out, env.Threads(), func(c sentence.Counts) {
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

// splitter returns what cuts a document.
func (o *options) splitter(ctx context.Context, env *cli.Env) (func(document string) []string, error) {
	punkt, err := sentence.English()
	if o.Model != "" {
		punkt, err = sentence.LoadFile(ctx, o.Model)
	}
	if err != nil {
		return nil, err
	}
	if o.Rules == "improved" {
		return punkt.SplitImproved, nil
	}
	return punkt.SplitDocument, nil
}
