/*
Getdata fetches public data sets and weights.

	getdata list [--files] [NAME...]
	getdata [OPTION...] NAME...

It downloads each set into its folder below the output folder, checks it and unpacks it. getdata list prints the sets, with tabs between:
name, bytes to download (- when not known), licence, what it is. A set that is whole is kept. A download that was interrupted goes on where
it ended: run the same command again. Every file appears whole or not at all; getdata-NAME.json beside the files is written last and tells
their sizes, hashes and licence.

A file is checked against the sha256, sha1 or md5 that is published for it. Where none is known, a warning says so, and its size, format
and number of records are checked. An empty file, a web page in the place of the file, a file of another size: all are errors.

# Options

--lang and --date choose the dump for getdata wiki: en, de, simple, zh-min-nan, and a date or latest, the newest whole one. Large dumps come
in several files, which wikiextract takes in one go.

--from takes the files from a folder or another address instead of their own: DIR/FOLDER/FILE, as an earlier getdata --keep left them, or
DIR/FILE. For wiki it is a mirror of dumps.wikimedia.org, or a folder like one. getdata list --files prints set, file, bytes and address of
what it is to hold.

--catalogue adds the sets of a JSON file of the form of lib/dataset/catalogue.json; a set of the same name replaces the built-in one.

# Examples

	getdata squad mrpc sst2 bert-base-uncased
	getdata wiki --lang simple -o data
	getdata list --files squad      # what a folder for --from holds
	getdata squad --from /media/stick/data

# Files

	data/wiki/enwiki-DATE-pages-articles-multistream.xml.bz2    data/squad/v1.1/train-v1.1.json, dev-v1.1.json
	data/glue/MRPC, SST-2, CoLA: train.tsv, dev.tsv, test.tsv   data/weights/bert-base-uncased/model.safetensors, config.json, vocab.txt

Unfinished downloads are in hidden folders .getdata-NAME of the output folder. Environment: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, also in
small letters; SSL_CERT_FILE; TMPDIR.

# Exit status

0 all sets are here; 1 one failed; 2 wrong usage; 3 --check found a difference.

# Memory and reproducibility

20 MiB; SQuAD's check without a checksum (other catalogues) holds the file. The built-in sets are the same bytes for ever, but for wiki
--date latest.

# Bugs

A server that neither tells a size nor marks the end of its reply can cut off a text for which the catalogue has no checksum, size or number
of lines, unseen. BookCorpus cannot be fetched.
*/
package main

import (
	"cmp"
	"context"
	_ "embed"
	"math/rand/v2"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/dataset"
	"hpcbert/lib/fault"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "getdata",
	Source:  source,
	Args:    "list|NAME...",
	Summary: "fetch public data sets and weights",
	Help: `Downloads sets by name (getdata list prints them) into folders below the
output folder, checks them against published checksums and unpacks them. The
same command again goes on where it ended, and keeps what is whole. HTTPS_PROXY,
HTTP_PROXY and NO_PROXY are obeyed. Memory: 20 MiB.`,
	Examples: `
  getdata list
  getdata squad mrpc sst2 bert-base-uncased
  getdata wiki --lang simple -o data
  getdata list --files squad      # what a folder for --from holds
  getdata squad --from /media/stick/data`,
}

type options struct {
	cli.Common
	Output    string  `short:"o" long:"output" value-name:"FOLDER" default:"data" description:"folder to write below"`
	Language  string  `long:"lang" value-name:"LANGUAGE" default:"en" description:"language of wiki"`
	Date      string  `long:"date" value-name:"YYYYMMDD" default:"latest" description:"date of wiki"`
	From      string  `long:"from" value-name:"DIR|URL" description:"fetch from there instead of the sets' own addresses"`
	Catalogue string  `long:"catalogue" value-name:"FILE" description:"add the sets of this file"`
	Files     bool    `long:"files" description:"with list: print the sets' files"`
	Keep      bool    `long:"keep" description:"keep archives after unpacking them"`
	Check     bool    `long:"check" description:"compare what is here with its checksums, fetch nothing"`
	Force     bool    `long:"force" description:"fetch anew and replace what is there"`
	DryRun    bool    `long:"dry-run" description:"print the addresses of what would be fetched"`
	Tries     int     `long:"tries" value-name:"N" default:"6" description:"tries in a row that bring nothing, before another address is taken"`
	Stall     float64 `long:"stall" value-name:"S" default:"60" description:"seconds after which silence, or less than 1 KiB, ends a try"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, names []string) error {
	store, err := o.store(env)
	if err != nil {
		return err
	}
	catalogue, err := dataset.Load(o.Catalogue)
	switch {
	case err != nil:
		return err
	case len(names) == 0:
		return fault.WithHint(fault.Usagef("no set named"), "getdata list prints the names")
	case names[0] == "list" && o.Files:
		return catalogue.WriteFiles(env.Stdout, names[1:], store.Wiki)
	case names[0] == "list":
		return catalogue.Write(env.Stdout, names[1:])
	case o.Files:
		return fault.Usagef("option --files: goes with getdata list")
	}
	sets, err := catalogue.Pick(names)
	if err != nil {
		return err
	}
	return o.all(ctx, env, store, sets)
}

func (o *options) store(env *cli.Env) (*dataset.Store, error) {
	wiki, proxy, stall := dataset.Wiki{Language: o.Language, Date: o.Date}, dataset.ProxyOf(env.Getenv), time.Duration(o.Stall*float64(time.Second))
	switch {
	case o.Tries < 1:
		return nil, fault.Usagef("option --tries: %d, want 1 or more", o.Tries)
	case !(o.Stall > 0 && o.Stall < 1e6):
		return nil, fault.Usagef("option --stall: %v seconds", o.Stall)
	}
	if err := cmp.Or(wiki.Check(), proxy.Check()); err != nil {
		return nil, err
	}
	s := &dataset.Store{Dir: o.Output, Temp: cmp.Or(env.Getenv("TMPDIR"), "/tmp"), Wiki: wiki, Keep: o.Keep, Force: o.Force}
	if err := s.SetFrom(o.From); err != nil {
		return nil, fault.Usagef("option --from: %w", err)
	}
	s.Fetcher = &dataset.Fetcher{Client: dataset.NewClient(proxy, stall), Agent: "hpcbert-getdata/" + cli.Version, Tries: o.Tries, Stall: stall, Least: 1024,
		Wait: dataset.Sleep, Jitter: rand.Float64, Now: time.Now, Warn: env.Warnf}
	s.Begin = func(set dataset.Set) dataset.Progress {
		return env.Progress("fetching "+set.Name, "kB", set.Size()/1000)
	}
	return s, nil
}

// all does what is asked with each set. Those behind one that fails are fetched all the same.
func (o *options) all(ctx context.Context, env *cli.Env, store *dataset.Store, sets []dataset.Set) error {
	var failure error
	var files, kept int
	var bytes int64
	for _, set := range sets {
		m, whole, err := o.one(ctx, env, store, set)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if failure != nil {
				env.Fail(failure)
			}
			failure = err
			continue
		}
		files, bytes = files+len(m.Files), bytes+m.Bytes()
		if whole {
			kept++
		}
	}
	if failure != nil || o.DryRun {
		return failure
	}
	env.Summaryf("have %d set(s), %d of them from before, of %d files and %d bytes, in %s", len(sets), kept, files, bytes, o.Output)
	return nil
}

func (o *options) one(ctx context.Context, env *cli.Env, store *dataset.Store, set dataset.Set) (m *dataset.Manifest, kept bool, err error) {
	switch {
	case o.Check:
		m, err = store.Check(ctx, set)
		return m, true, err
	case o.DryRun:
		return &dataset.Manifest{}, false, store.WritePlan(ctx, env.Stdout, set)
	}
	if m, kept, err = store.Get(ctx, set); err == nil {
		env.Infof("%s: %d files of %d bytes in %s, licence: %s", m.Set, len(m.Files), m.Bytes(), store.Folder(set), m.Licence)
	}
	return m, kept, err
}
