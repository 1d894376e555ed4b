/*
Shard spreads sentences over training and test shards.

	shard --train N [--test M] -o FOLDER [OPTION...] [FILE...]
	shard --check FOLDER [--name NAME]

It reads sentence streams (one sentence a line, blank lines between articles, as segment writes) from the files, or standard input,
and writes FOLDER/training_0.txt to training_N-1.txt and test_0.txt to test_M-1.txt in the same form. Several files, such as Wikipedia and
books, are spread as one. No article is cut; each goes to the shard to which the original BERT data preparation gives it: all shards of a
kind get nearly the same number of sentences, large articles first. shards.json beside them tells the options, and of each shard how many
articles and sentences it holds, and its SHA-256.

# Options

	--balance

places otherwise than the original: each article, the largest first, goes to the shard that is filled least, and shards keep the order of
the input. So shards of a kind differ by at most one article, and training and test shards get large and small articles alike, where the
original gives a large one to each shard and can leave some shards twice as full as others.

	--check FOLDER

verifies a set: all files there and no others, with the articles, sentences and hashes that shards.json says.

	--fraction F

is the part of all sentences meant for the test shards. An article larger than a shard's share makes all shards of its kind larger.

	--name NAME

puts NAME_ before the files' names, so that several sets fit in one folder.

	--force

replaces a set in the folder that was made with other options or is not whole, with all its shards.

	--dry-run

prints the name, articles and sentences of each shard on standard output, with tabs between, and writes no file.

# Examples

	wikiextract enwiki.xml.bz2 | segment | shard --train 256 --test 256 -o shards
	shard --train 4 --test 1 --name wiki -o shards sentences.txt.zst
	shard --train 256 --balance -o both wiki.txt books.txt
	segment a.jsonl | shard --train 4 --test 1 --dry-run
	shard --check shards

# Exit status

0 all shards are written, or the set is whole; 1 it failed, or a program before it in the pipeline did, and the folder is as it was; 2 wrong
usage; 3 --check found the set not whole, and says why, a fault a line. A program before it that failed has marked the end of its output (see
segment), which is refused here; one that was killed with SIGKILL cannot tell: scripts set -o pipefail.

# Files

While it runs, the folder holds a hidden folder .shard-*.tmp with the shards so far and a copy of input that is packed or comes
through a pipe: room for twice the text is needed. A run that is killed leaves it behind; the next one removes it.

# Memory

Less than 100 bytes an article (28, and what waits to be collected), and 16 MiB a thread (more where a single article is longer), 20 MiB where bzip2 is unpacked.

# Reproducibility

The same input gives the same bytes with any -j, and the placement of the original data preparation.

# Bugs

When the renames at the end are interrupted, the set lacks shards.json, and the next run asks for --force.
*/
package main

import (
	"context"
	"fmt"

	"hpcbert/lib/cli"
	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/shard"
)

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if o.Check != "" {
		return o.check(ctx, env, args)
	}
	want := shard.Options{Train: o.Train, Test: o.Test, Fraction: o.Fraction, Balance: o.Balance}
	if err := want.Check(); err != nil {
		return fault.WithHint(err, "for example: shard --train 256 --test 256 -o shards")
	}
	if err := corpus.CheckFiles(args); err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	if o.DryRun {
		return o.dryRun(ctx, env, args, want)
	}
	set, err := shard.Create(o.Output, o.Name, want, o.Force)
	if err != nil {
		return err
	}
	defer set.Close()
	sentences, placement, err := place(ctx, env, args, set.Spool(), want)
	if err != nil {
		return err
	}
	progress := env.Progress("writing", "shards", int64(o.Train+o.Test))
	defer progress.Finish()
	m, err := set.Write(ctx, sentences, placement, env.Threads(), func(done int64) { progress.Set(done, "") })
	if err != nil {
		return err
	}
	env.Summaryf("spread %d articles of %d sentences over %d training and %d test shards in %s", m.Articles, m.Sentences, o.Train, o.Test, o.Output)
	return nil
}

func (o *options) check(ctx context.Context, env *cli.Env, args []string) error {
	if len(args) > 0 || o.Output != "" || o.Train != 0 || o.DryRun {
		return fault.Usagef("--check reads a set and nothing else: it takes no FILE, -o, --train or --dry-run")
	}
	progress := env.Progress("checking", "shards", 0)
	defer progress.Finish()
	m, err := shard.Check(ctx, o.Check, o.Name, env.Threads(), func(done int) { progress.Set(int64(done), "") })
	if err != nil {
		return err
	}
	env.Summaryf("%s is whole: %d articles of %d sentences, %v", o.Check, m.Articles, m.Sentences, m.Options)
	return nil
}

func (o *options) dryRun(ctx context.Context, env *cli.Env, args []string, want shard.Options) error {
	env.EndWithReader("-")
	sentences, placement, err := place(ctx, env, args, "", want)
	if err != nil {
		return err
	}
	for _, f := range shard.Describe(o.Name, sentences, placement) {
		if _, err := fmt.Fprintf(env.Stdout, "%s\t%d\t%d\n", f.File, f.Articles, f.Sentences); err != nil {
			return fmt.Errorf("write standard output: %w", err)
		}
	}
	env.Summaryf("would spread %d articles of %d sentences over %d training and %d test shards", sentences.Articles(), sentences.Total, o.Train, o.Test)
	return nil
}

// place counts the input's sentences and spreads its articles.
func place(ctx context.Context, env *cli.Env, args []string, spool string, want shard.Options) (*shard.Corpus, *shard.Placement, error) {
	progress := env.Progress("counting", "articles", 0)
	sentences, err := shard.Scan(ctx, args, env.Stdin, env.Threads(), spool, func(articles, sentences int64) {
		progress.Set(articles, fmt.Sprintf("%d sentences", sentences))
	})
	progress.Finish()
	if err != nil {
		return nil, nil, err
	}
	p, err := shard.Place(sentences.Sentences(), want)
	if err != nil {
		return nil, nil, err
	}
	if share := p.Share(); p.Largest > share {
		env.Warnf("the largest article has %d sentences, more than a shard's share of %d: shards will be uneven", p.Largest, share)
	}
	return sentences, p, nil
}
