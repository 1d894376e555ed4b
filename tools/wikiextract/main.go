// Wikiextract turns MediaWiki XML dumps into documents of plain paragraphs.
//
//	wikiextract [OPTION...] [DUMP...]
//
// It reads DUMPs one after the other, standard input without DUMP or for "-": plain or compressed with bzip2, gzip or zstd (told by
// their first bytes), in UTF-8 or UTF-16. It writes one JSON object a line, {"id","title","text"}, for each article that has text, in
// the order of the dump; text holds one paragraph a line. Redirects are left out.
//
// The text follows WikiExtractor's defaults, so that corpora stay comparable: templates, tables, references, galleries, headings, list
// items and indented lines are removed; links are replaced by their text, links to files, categories and other wikis removed; bold
// marks vanish, italics become double quotes; <math> and <code> become formula_N and codice_N. Templates are not expanded.
//
// Options that surprise: --namespaces takes numbers, as in <ns> (0 articles, 14 categories); --min-chars counts characters of the text
// without the title.
//
// Examples:
//
//	wikiextract enwiki-latest-pages-articles.xml.bz2 -o enwiki.jsonl.zst
//	wikiextract dump.xml.bz2 | segment | shard --train 256 --test 256 -o shards
//	lbzip2 -dc dump.xml.bz2 | wikiextract --min-chars 200 > long.jsonl
//
// Exit status: 0 whole input done; 1 a dump is missing, cut off, malformed or without an article; 2 wrong usage. An output file appears
// whole or not at all; standard output ends with a line {"error":"..."} on a failure or signal, which segment refuses.
//
// Memory: the largest page times five times the threads, some 100 MiB for a whole Wikipedia. Reproducibility: the output does not
// depend on -j.
//
// Bugs: where an article puts part of a sentence into a template ({{lang|fr|...}}, {{convert|...}}), the sentence has a gap.
package main

import (
	"context"
	"strconv"
	"strings"

	"hpcbert/lib/cli"
	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
	"hpcbert/lib/wiki"
)

var program = cli.Program{
	Name:    "wikiextract",
	Args:    "[DUMP...]",
	Summary: "turn MediaWiki XML dumps into documents of plain paragraphs",
	Help: "Reads dumps (plain, bzip2, gzip, zstd; UTF-8 or UTF-16), standard input without DUMP. Writes one JSON object " +
		`{"id","title","text"} a line for each article with text, in the order of the dump. Markup goes as WikiExtractor does it: ` +
		"templates, tables, references, headings and lists are removed, links become their text, italics double quotes.",
	Examples: `
  wikiextract enwiki-latest-pages-articles.xml.bz2 -o enwiki.jsonl.zst
  wikiextract dump.xml.bz2 | segment | shard --train 256 --test 256 -o shards
  lbzip2 -dc dump.xml.bz2 | wikiextract --min-chars 200 > long.jsonl`,
}

type options struct {
	cli.Common
	Output     string `short:"o" long:"output" value-name:"FILE" description:"write to FILE, compressed if it ends in .gz or .zst (default: standard output)"`
	Namespaces string `long:"namespaces" value-name:"N,..." default:"0" description:"numbers of the namespaces to extract"`
	MinChars   int    `long:"min-chars" value-name:"N" default:"0" description:"leave out texts of fewer than N characters"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, dumps []string) (err error) {
	namespaces, err := parseNamespaces(o.Namespaces)
	if err != nil {
		return err
	}
	if o.MinChars < 0 {
		return fault.Usagef("option --min-chars: %d characters, want 0 or more", o.MinChars)
	}
	if err := stream.CheckOutput(o.Output, dumps...); err != nil {
		return err
	}
	if len(dumps) == 0 {
		dumps = []string{"-"}
	}
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.Close()
	defer func() {
		if err != nil {
			out.Spoil(corpus.DocumentMark(ctx, env.Name, err))
		}
	}()

	extractor := wiki.Extractor{Namespaces: namespaces, MinChars: o.MinChars, Workers: env.Threads()}
	progress := env.Progress("extracting", "documents", 0)
	documents := corpus.NewDocumentWriter(out)
	var total wiki.Counts
	for _, name := range dumps {
		counts, err := extract(ctx, env, name, extractor, func(d corpus.Document) error {
			progress.Add(1)
			return documents.Write(d)
		})
		if err != nil {
			progress.Finish()
			return err
		}
		total.Add(counts)
	}
	progress.Finish()
	if err := out.Commit(); err != nil {
		return err
	}
	env.Summaryf("wrote %d documents, %d characters, of %v", total.Documents, total.Characters, total)
	return nil
}

func extract(ctx context.Context, env *cli.Env, name string, extractor wiki.Extractor, emit func(corpus.Document) error) (wiki.Counts, error) {
	in, err := stream.Open(ctx, name, env.Stdin)
	if err != nil {
		return wiki.Counts{}, err
	}
	defer in.Close()
	return extractor.Run(ctx, in, in.Name, emit)
}

func parseNamespaces(list string) ([]int, error) {
	var numbers []int
	for _, field := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil {
			return nil, fault.WithHint(fault.Usagef("option --namespaces: %q is not a number", field), "0 is articles, 14 categories, 100 portals")
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}
