package main

import (
	_ "embed"

	"hpcbert/lib/cli"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "shard",
	Source:  source,
	Args:    "[FILE...]",
	Summary: "spread sentences over training and test shards",
	Help: `Reads one sentence a line with blank lines between articles, as segment writes, and writes whole articles to FOLDER/training_I.txt and FOLDER/test_I.txt, shards of nearly equal numbers of sentences, placed as in the original BERT data preparation, or --balance. Several files are spread as one. Input that ends in the mark of a program that failed (see segment) is refused.

Memory: less than 100 bytes an article, and 16 MiB a thread, 20 MiB to unpack bzip2. Input that is packed or comes through a pipe is copied to FOLDER meanwhile.`,
	Examples: `
  wikiextract enwiki.xml.bz2 | segment | shard --train 256 --test 256 -o shards
  shard --train 4 --test 1 --name wiki -o shards sentences.txt.zst
  shard --train 256 --balance -o both wiki.txt books.txt
  segment a.jsonl | shard --train 4 --test 1 --dry-run
  shard --check shards`,
}

type options struct {
	cli.Common
	Output   string  `short:"o" long:"output" value-name:"FOLDER" required-unless:"check,dry-run" description:"folder for the shards, made if missing"`
	Train    int     `long:"train" value-name:"N" required-unless:"check" description:"training shards"`
	Test     int     `long:"test" value-name:"M" default:"1" description:"test shards"`
	Fraction float64 `long:"fraction" value-name:"F" default:"0.1" description:"part of the sentences for the test shards"`
	Name     string  `long:"name" value-name:"NAME" description:"begin file names with NAME_"`
	Balance  bool    `long:"balance" description:"equal shards, not the reference's placement"`
	Check    string  `long:"check" value-name:"FOLDER" description:"verify the set in FOLDER; exit 3 and say why if it is not whole"`
	Force    bool    `long:"force" description:"replace a set of other options"`
	DryRun   bool    `long:"dry-run" description:"print what each shard would hold, write nothing"`
}
