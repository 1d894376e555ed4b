/*
Mkpretrain makes BERT's pre-training examples: HDF5 shards from shards of sentences.

	mkpretrain [OPTION...] --vocab VOCAB -o FOLDER SHARD...
	mkpretrain --text N [--vocab VOCAB] SHARD...

It reads text shards (one sentence a line, a blank line after each document; gzip, bzip2 and zstd are unpacked) and writes into FOLDER one
HDF5 file a shard, with the same name and .hdf5 at the end, the vocabulary as vocab.txt, and manifest.json with options, counts and hashes.
The HDF5 files hold the six arrays of NVIDIA's BERT for PyTorch and are equal to its own, number for number; its trainer reads them.
Training reads files with "training" in their names, evaluation those with "test".

A folder as SHARD means the shards that its shards.json lists, as shard writes it: one that is missing, or a .txt file that is in no list,
is an error. Without shards.json it means its .txt files but vocab.txt, with a warning. A shard that ends in the mark of a program that
failed (see segment) is an error.

Each sequence is a pair of text pieces, the second one the true next or a random one; 15 % of the tokens are chosen for prediction, of
which 80 % become [MASK], 10 % a random piece, 10 % stay. Everything is made --dupe times with other draws.

A shard that is whole already, made with the same options from the same text, is kept: the same command run again continues an
interrupted run. Other options, another vocabulary or another text than those of FOLDER are an error unless --force is given, which makes
all shards anew and removes those of FOLDER's manifest.json that are not made again; files that it does not list stay.

# Options

	--seed N --seed-per-shard

The reference gives every shard the same seed, so that shards share their random decisions; this is kept by default. With
--seed-per-shard the number at the end of a shard's name is added.

	--whole-word-masking

masks all pieces of a word or none, draw for draw as Google's BERT does with --do_whole_word_mask. A word with more pieces than are
still to be predicted is passed over, so that a short sequence may have fewer masked tokens, or none.

	--text N

prints the first N sequences of each SHARD for people to read, and writes nothing. SHARD may be an HDF5 file too, then the vocabulary is
the vocab.txt beside it if --vocab does not name one.

	--part K/N

makes every N-th shard only, from the K-th on, so that N machines can fill one folder at the same time. The set is not complete until the
same command has run once more without --part (nor --force, which makes everything anew): it makes what is missing, and writes manifest.json.

The reference's names --vocab_file, --max_seq_length, --max_predictions_per_seq, --dupe_factor, --random_seed, --do_lower_case 0|1 and
--do_whole_word_mask mean --vocab, --seq, --max-pred, --dupe, --seed, --cased and --whole-word-masking.

# Examples

	mkpretrain --vocab vocab.txt --seq 128 --max-pred 20 -o phase1 shards
	mkpretrain --vocab vocab.txt --seq 512 --max-pred 80 -o phase2 shards/*.txt
	mkpretrain --text 3 phase1/training_0.hdf5

# Exit status

0 every shard is whole; 1 it failed, and the shards made before are kept; 2 wrong usage.

# Memory

At most 35 MiB, and for each thread (-j shards are made at a time) 25 MiB and, at --dupe 5, 30 times the largest shard's text, whatever the
number of shards: 155 MiB for 20 shards of 7 MiB with -j 1, 300 MiB for one of 27 MiB.

# Reproducibility

The same shard, vocabulary and options give the same bytes with any -j.

# Bugs

A shard of one document pairs the document with itself; a warning says so.
*/
package main

import (
	"bufio"
	"context"
	"fmt"
	"path/filepath"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/shard"
)

func main() {
	o := newOptions()
	cli.Main(program, o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	build, err := o.check(env, args)
	if err != nil {
		return err
	}
	if o.Vocab != "" {
		if err := build.ReadVocabulary(ctx, o.Vocab, env.Stdin); err != nil {
			return err
		}
	}
	if o.Text != 0 {
		return o.print(ctx, env, build, args)
	}
	if args, err = shard.Files(args, build.Warn); err != nil {
		return err
	}
	if o.DryRun {
		return dryRun(ctx, env, build, args)
	}
	progress := env.Progress("making", "shards", int64(len(args)))
	defer progress.Finish()
	build.Done = func(e pretrain.ShardEntry, _ bool) {
		env.Debugf("%s: %d sequences of %d documents", e.File, e.Rows, e.Documents)
		progress.Add(1)
	}
	n, err := build.Run(ctx, args)
	if err != nil {
		return err
	}
	env.Summaryf("made %d shards with %d sequences and %d masked tokens, kept %d whole ones", n.Made, n.Sequences, n.Masked, n.Kept)
	return nil
}

// print writes the first sequences of shards to standard output.
func (o *options) print(ctx context.Context, env *cli.Env, build *pretrain.Build, args []string) error {
	out := bufio.NewWriter(env.Stdout)
	for _, name := range args {
		if err := build.WriteText(ctx, out, name, o.Text); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write standard output: %w", err)
	}
	return nil
}

func dryRun(ctx context.Context, env *cli.Env, build *pretrain.Build, args []string) error {
	missing, err := build.Plan(ctx, args)
	if err != nil {
		return err
	}
	for _, name := range missing {
		if _, err := fmt.Fprintf(env.Stdout, "%s\t%s\n", name, filepath.Join(build.Dir, pretrain.OutputName(name))); err != nil {
			return fmt.Errorf("write standard output: %w", err)
		}
	}
	env.Summaryf("would make %d shards, keep %d whole ones", len(missing), len(args)-len(missing))
	return nil
}

// check refuses options that cannot be meant, and returns what makes shards with them.
func (o *options) check(env *cli.Env, args []string) (*pretrain.Build, error) {
	how := pretrain.Options{Seq: o.Seq, MaxPred: o.MaxPred, Dupe: o.Dupe, MaskedLMProb: o.Masked, ShortSeqProb: o.Short, Seed: o.Seed,
		LowerCase: !o.Cased, WholeWords: o.Words}
	switch {
	case o.Text < 0:
		return nil, fault.Usagef("option --text: %d sequences", o.Text)
	case o.Text != 0 && (o.Output != "" || o.DryRun || o.Force):
		return nil, fault.Usagef("--text writes no files: leave out --output, --dry-run and --force")
	case len(args) == 0:
		return nil, fault.WithHint(fault.Usagef("no shards to read"), "name the files, or the folder, that shard has written")
	}
	return &pretrain.Build{Part: o.Part.number, Parts: o.Part.of, Dir: o.Output, Options: how, VarySeed: o.VarySeed, Threads: env.Threads(), Force: o.Force,
		Version: cli.Version, Warn: func(text string) { env.Warnf("%s", text) }}, how.Check()
}
