package main

import (
	_ "embed"

	"hpcbert/lib/cli"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "segment",
	Source:  source,
	Args:    "[FILE|FOLDER...]",
	Summary: "cut documents into sentences",
	Help: `Reads documents (JSON lines, plain text with blank lines between documents, or WikiExtractor's <doc> frames; gzip, bzip2 and zstd are unpacked) and writes one sentence a line, a blank line after each document. Sentences are those of NLTK's Punkt tokenizer. A FOLDER stands for the .txt files in it and below, each a book: UTF-8, or Latin-1, which is detected and said.

On a failure or signal there is no -o FILE, and standard output ends with a mark, a line of NUL, "failed: " and the reason, which the programs that read sentences refuse: segment > FILE leaves a file with at least that line.

Memory: about 25 MiB, 20 MiB a thread more to unpack bzip2, up to 500 MiB where single documents are large; a document of more than 32 MiB is an error.`,
	Examples: `
  wikiextract enwiki.xml.bz2 | segment | shard --train 256 --test 256 -o shards
  segment --rules improved -o books.txt.zst books
  printf 'Dr. Smith left. She stayed.\n' | segment`,
}

type options struct {
	cli.Common
	Output string `short:"o" long:"output" value-name:"FILE" description:"write to FILE instead of standard output; compressed if it ends in .gz or .zst"`
	Form   string `long:"input-format" value-name:"FORM" default:"auto" description:"auto, json, text, doc, line (a document a line) or file (a document each input)"`
	Model  string `long:"model" value-name:"NAME" description:"Punkt model of another language: a JSON file, or a folder of NLTK's punkt_tab (default: English)"`
	Rules  string `long:"rules" default:"nltk" value-name:"RULES" description:"nltk (the reference's sentences) or improved (English quotes, abbreviations, paragraphs)"`
}
