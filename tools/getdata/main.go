/*
Getdata fetches public data sets and weights.

	getdata list
	getdata [OPTION...] NAME...

It downloads each set into its folder below the output folder, checks it and unpacks it. getdata list prints the names, with tabs between:
name, bytes to download (- when not known), licence, what it is. A set that is whole is kept. A download that was interrupted goes on where
it ended: run the same command again. Every file appears whole or not at all; getdata-NAME.json beside the files is written last and tells
their sizes, hashes and licence.

A file is checked against the sha256, sha1 or md5 that is published for it. Where none is known, a warning says so, and its size, format
and number of records are checked. An empty file, a web page in the place of the file, a file of another size: all are errors.

# Options

	--lang LANGUAGE --date YYYYMMDD

choose the dump for getdata wiki: en, de, simple, zh-min-nan, and a date or latest, the newest whole one. Large dumps come in several files,
which wikiextract takes in one go.

	--from DIR|URL

takes the files from a folder or another address instead of their own: DIR/FOLDER/FILE, as an earlier getdata --keep left them, or
DIR/FILE. For wiki it is a mirror of dumps.wikimedia.org, or a folder that holds enwiki/20261101/dumpstatus.json and the files named there.

	--keep

keeps archives beside what was unpacked of them, for a later --from.

	--check

fetches nothing and compares the files with getdata-NAME.json.

	--catalogue FILE

adds the sets of a JSON file of the form of lib/dataset/catalogue.json; a set of the same name replaces the built-in one.

# Examples

	getdata list
	getdata squad mrpc sst2 bert-base-uncased
	getdata wiki --lang simple -o data
	getdata squad --from /media/stick/data

# Files

	data/wiki/enwiki-DATE-pages-articles-multistream.xml.bz2    data/squad/v1.1/train-v1.1.json, dev-v1.1.json
	data/glue/MRPC, SST-2, CoLA: train.tsv, dev.tsv, test.tsv   data/weights/bert-base-uncased/model.safetensors, config.json, vocab.txt

Unfinished downloads are in hidden folders .getdata-NAME of the output folder.

# Environment

HTTPS_PROXY, HTTP_PROXY and NO_PROXY, also in small letters; SSL_CERT_FILE; TMPDIR.

# Exit status

0 all sets are here; 1 one failed; 2 wrong usage; 3 --check found a difference.

# Memory

20 MiB; SQuAD's check without a checksum (other catalogues) holds the file.

# Reproducibility

The built-in sets are the same bytes for ever, but for wiki --date latest.

# Bugs

A server that neither tells a size nor marks the end of its reply can cut off a text for which the catalogue has no checksum, size or number
of lines, unseen. BookCorpus cannot be fetched.
*/
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/dataset"
	"hpcbert/lib/fault"
)

var program = cli.Program{
	Name:    "getdata",
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
  getdata squad --from /media/stick/data`,
}

type options struct {
	cli.Common
	Output    string  `short:"o" long:"output" value-name:"FOLDER" default:"data" description:"folder to write below"`
	Language  string  `long:"lang" value-name:"LANGUAGE" default:"en" description:"language of wiki"`
	Date      string  `long:"date" value-name:"YYYYMMDD" default:"latest" description:"date of wiki"`
	From      string  `long:"from" value-name:"DIR|URL" description:"fetch from there instead of the sets' own addresses"`
	Catalogue string  `long:"catalogue" value-name:"FILE" description:"add the sets of this file"`
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
	wiki := dataset.Wiki{Language: o.Language, Date: o.Date}
	switch {
	case len(names) == 0:
		return fault.WithHint(fault.Usagef("no set named"), "getdata list prints the names")
	case o.Tries < 1:
		return fault.Usagef("option --tries: %d, want 1 or more", o.Tries)
	case !(o.Stall > 0 && o.Stall < 1e6):
		return fault.Usagef("option --stall: %v seconds", o.Stall)
	}
	if err := wiki.Check(); err != nil {
		return err
	}
	catalogue, err := o.catalogue()
	if err != nil {
		return err
	}
	if len(names) == 1 && names[0] == "list" {
		return list(env, catalogue)
	}
	var sets []dataset.Set
	for _, name := range names {
		set, err := catalogue.Find(name)
		if err != nil {
			return err
		}
		sets = append(sets, set)
	}
	store, err := o.store(env)
	if err != nil {
		return err
	}
	return o.all(ctx, env, store, sets, wiki)
}

func (o *options) catalogue() (*dataset.Catalogue, error) {
	c, err := dataset.BuiltIn()
	if err != nil || o.Catalogue == "" {
		return c, err
	}
	text, err := os.ReadFile(o.Catalogue)
	if err != nil {
		return nil, err
	}
	own, err := dataset.Parse(text, o.Catalogue)
	if err != nil {
		return nil, err
	}
	own.Sets = append(own.Sets, c.Sets...) // the first of a name is found
	return own, nil
}

func (o *options) store(env *cli.Env) (*dataset.Store, error) {
	s := &dataset.Store{Dir: o.Output, Temp: either(env, "TMPDIR", "/tmp"), Keep: o.Keep, Force: o.Force}
	if o.From != "" {
		if !strings.Contains(o.From, "://") {
			if _, err := os.ReadDir(o.From); err != nil {
				return nil, fault.Usagef("option --from: %w", err)
			}
		}
		base, err := dataset.Base(o.From)
		if err != nil {
			return nil, fault.Usagef("option --from: %w", err)
		}
		s.From = base
	}
	stall := time.Duration(o.Stall * float64(time.Second))
	proxy := dataset.Proxy{HTTP: either(env, "HTTP_PROXY", env.Getenv("http_proxy")), HTTPS: either(env, "HTTPS_PROXY", env.Getenv("https_proxy")),
		No: either(env, "NO_PROXY", env.Getenv("no_proxy"))}
	s.Fetcher = &dataset.Fetcher{Client: dataset.NewClient(proxy, stall), Agent: "hpcbert-getdata/" + cli.Version, Tries: o.Tries, Stall: stall, Least: 1024,
		Wait: dataset.Sleep, Jitter: rand.Float64, Now: time.Now, Warn: env.Warnf}
	return s, nil
}

// either returns an environment variable, or what stands in for an empty one.
func either(env *cli.Env, name, other string) string {
	if value := env.Getenv(name); value != "" {
		return value
	}
	return other
}

func list(env *cli.Env, c *dataset.Catalogue) error {
	for _, s := range c.Sets {
		size := "-"
		if n := s.Size(); n > 0 {
			size = fmt.Sprint(n)
		}
		if _, err := fmt.Fprintf(env.Stdout, "%s\t%s\t%s\t%s\n", s.Name, size, s.Licence, s.What); err != nil {
			return fmt.Errorf("write standard output: %w", err)
		}
	}
	return nil
}

// all does what is asked with each set. Those behind one that fails are fetched all the same.
func (o *options) all(ctx context.Context, env *cli.Env, store *dataset.Store, sets []dataset.Set, wiki dataset.Wiki) error {
	var failure error
	var files, kept int
	var bytes int64
	for _, set := range sets {
		m, whole, err := o.one(ctx, env, store, set, wiki)
		if ctx.Err() != nil {
			return fault.WithHint(ctx.Err(), "the same command again goes on from here")
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

func (o *options) one(ctx context.Context, env *cli.Env, store *dataset.Store, set dataset.Set, wiki dataset.Wiki) (m *dataset.Manifest, kept bool, err error) {
	if len(set.Mirrors) > 0 {
		if set, err = store.ResolveWiki(ctx, set, wiki); err != nil {
			return nil, false, err
		}
	}
	switch {
	case o.Check:
		m, err = store.Check(ctx, set)
		return m, true, err
	case o.DryRun:
		return &dataset.Manifest{}, false, plan(env, store, set)
	}
	progress := env.Progress("fetching "+set.Name, "kB", set.Size()/1000)
	defer progress.Finish()
	store.Progress = func(name string, done int64) { progress.Set(done/1000, name) }
	if m, kept, err = store.Get(ctx, set); err != nil {
		return nil, false, err
	}
	for _, e := range m.Files {
		if !e.Known {
			env.Warnf("%s: no checksum is published for %s, only its size and form are checked: its sha256 is %s", set.Name, e.Name, e.SHA256)
		}
	}
	env.Infof("%s: %d files of %d bytes in %s, licence: %s", set.Name, len(m.Files), m.Bytes(), store.Folder(set), m.Licence)
	return m, kept, nil
}

// plan prints what Get would fetch: set, file, bytes and addresses.
func plan(env *cli.Env, store *dataset.Store, set dataset.Set) error {
	m, err := store.Manifest(set)
	if err != nil || m != nil && !store.Force {
		return err
	}
	if set.Unavailable != "" {
		return set.Refusal()
	}
	for _, f := range set.Files {
		if _, err := fmt.Fprintf(env.Stdout, "%s\t%s\t%d\t%s\n", set.Name, f.Name, f.Size, strings.Join(store.Sources(set, f).URLs, " ")); err != nil {
			return fmt.Errorf("write standard output: %w", err)
		}
	}
	return nil
}
