/*
Mkpretrain makes BERT's pre-training examples: HDF5 shards from shards of sentences.

	mkpretrain [OPTION...] --vocab VOCAB -o FOLDER SHARD...

It reads text shards (one sentence a line, a blank line after each document; gzip, bzip2 and zstd are unpacked), as shard writes them
(a folder means its .txt files), and writes into FOLDER one HDF5 file a shard, with the same name and .hdf5 at the end, the vocabulary as vocab.txt, and manifest.json
with the options, counts and hashes. The HDF5 files hold the six arrays of NVIDIA's BERT for PyTorch and are equal to its own, number
for number; its trainer reads them. Training reads files with "training" in their names, evaluation those with "test".

Each sequence is a pair of text pieces, the second one the true next or a random one; 15 % of the tokens are chosen for prediction, of
which 80 % become [MASK], 10 % a random piece, 10 % stay. Everything is made --dupe times with other draws.

A shard that is whole already, made with the same options from the same text, is skipped: the same command run again continues an
interrupted run. Other options or another vocabulary in FOLDER are an error unless --force is given.

# Options

	--seed N --seed-per-shard

The reference gives every shard the same seed, so that shards share their random decisions; this is kept by default. With
--seed-per-shard the number at the end of a shard's name is added.

	--cased

keeps case and accents, for a cased vocabulary.

The reference's names --vocab_file, --max_seq_length, --max_predictions_per_seq, --dupe_factor, --random_seed and --do_lower_case 0|1
mean --vocab, --seq, --max-pred, --dupe, --seed and --cased.

# Examples

	mkpretrain --vocab vocab.txt --seq 128 --max-pred 20 -o phase1 shards
	mkpretrain --vocab vocab.txt --seq 512 --max-pred 80 -o phase2 shards/*.txt

# Exit status

0 every shard is whole; 1 it failed, and the shards made before are kept; 2 wrong usage.

# Memory

About 25 times a shard's text a thread (-j shards are made at a time) at --dupe 5: 400 MiB for 17 MiB.

# Reproducibility

The same shard, vocabulary and options give the same bytes with any -j.

# Bugs

A shard of one document pairs the document with itself; a warning says so.
*/
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/stream"
	"hpcbert/lib/wordpiece"
)

var program = cli.Program{
	Name:    "mkpretrain",
	Args:    "SHARD...",
	Summary: "make HDF5 pre-training shards from shards of sentences",
	Help: `Reads text shards (one sentence a line, a blank line after each document) and writes into the output folder one HDF5 file each, in the
layout of NVIDIA's BERT for PyTorch, with vocab.txt and manifest.json. A folder as SHARD means its .txt files. Shards already whole are skipped, so that the same command continues
an interrupted run. The reference's names (--max_seq_length, --max_predictions_per_seq, --dupe_factor, --random_seed, --vocab_file,
--do_lower_case 0|1) are accepted.`,
	Examples: `
  mkpretrain --vocab vocab.txt --seq 128 --max-pred 20 -o phase1 shards
  mkpretrain --vocab vocab.txt --seq 512 --max-pred 80 -o phase2 shards/*.txt`,
}

type options struct {
	cli.Common
	Vocab    string  `long:"vocab" value-name:"FILE" description:"vocabulary, a word piece a line (required)"`
	Output   string  `short:"o" long:"output" value-name:"FOLDER" description:"folder to write to, made if missing (required)"`
	Seq      int     `long:"seq" value-name:"N" description:"tokens of a sequence, 512 at most"`
	MaxPred  int     `long:"max-pred" value-name:"N" description:"most tokens of a sequence to predict"`
	Dupe     int     `long:"dupe" value-name:"N" description:"times to go through the text, with other draws each"`
	Masked   float64 `long:"masked-lm-prob" value-name:"P" description:"part of the tokens to predict"`
	Short    float64 `long:"short-seq-prob" value-name:"P" description:"part of the documents cut into shorter sequences"`
	Seed     int64   `long:"seed" value-name:"N" description:"seed of the random draws"`
	VarySeed bool    `long:"seed-per-shard" description:"add the number in the shard's name to the seed (default: one seed for all, as the reference)"`
	Cased    bool    `long:"cased" description:"keep case and accents"`
	Force    bool    `long:"force" description:"make shards anew, whatever the folder holds"`
	DryRun   bool    `long:"dry-run" description:"print the names of the shards to make, and make nothing"`

	VocabFile   func(string)    `long:"vocab-file" hidden:"true"`
	MaxSeq      func(int)       `long:"max-seq-length" hidden:"true"`
	MaxPerSeq   func(int)       `long:"max-predictions-per-seq" hidden:"true"`
	DupeFactor  func(int)       `long:"dupe-factor" hidden:"true"`
	RandomSeed  func(int64)     `long:"random-seed" hidden:"true"`
	DoLowerCase func(int) error `long:"do-lower-case" hidden:"true"`
}

func newOptions() *options {
	o := &options{Seq: 128, MaxPred: 20, Dupe: 5, Masked: 0.15, Short: 0.1, Seed: 12345}
	o.VocabFile = func(s string) { o.Vocab = s }
	o.MaxSeq = func(n int) { o.Seq = n }
	o.MaxPerSeq = func(n int) { o.MaxPred = n }
	o.DupeFactor = func(n int) { o.Dupe = n }
	o.RandomSeed = func(n int64) { o.Seed = n }
	o.DoLowerCase = func(n int) error {
		if n != 0 && n != 1 {
			return fmt.Errorf("want 0 or 1, not %d", n)
		}
		o.Cased = n == 0
		return nil
	}
	return o
}

func main() {
	o := newOptions()
	cli.Main(program, o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	how := pretrain.Options{Seq: o.Seq, MaxPred: o.MaxPred, Dupe: o.Dupe, MaskedLMProb: o.Masked, ShortSeqProb: o.Short, Seed: o.Seed, LowerCase: !o.Cased}
	switch {
	case o.Vocab == "":
		return fault.WithHint(fault.Usagef("no vocabulary: --vocab FILE is needed"), "%s --help lists the options", env.Name)
	case o.Output == "":
		return fault.WithHint(fault.Usagef("no output folder: -o FOLDER is needed"), "%s --help lists the options", env.Name)
	case len(args) == 0:
		return fault.WithHint(fault.Usagef("no shards to read"), "name the files that shard has written")
	}
	if err := how.Check(); err != nil {
		return err
	}
	text, vocab, err := o.vocabulary(ctx, env)
	if err != nil {
		return err
	}
	if args, err = pretrain.Inputs(args); err != nil {
		return err
	}
	for _, name := range args {
		if out := pretrain.OutputName(name); !strings.Contains(out, "training") && !strings.Contains(out, "test") {
			env.Warnf(`%s has neither "training" nor "test" in its name: no program will read it by itself`, out)
		}
	}
	build := &pretrain.Build{Dir: o.Output, Options: how, VarySeed: o.VarySeed, Vocabulary: text, Threads: env.Threads(), Force: o.Force, Version: cli.Version,
		Tokenizer: wordpiece.New(vocab, wordpiece.Options{LowerCase: how.LowerCase})}
	if o.DryRun {
		return dryRun(ctx, env, build, args)
	}
	var made, skipped, rows, masked int
	progress := env.Progress("making", "shards", int64(len(args)))
	defer progress.Finish()
	build.Done = func(e pretrain.ShardEntry, whole bool) {
		if whole {
			skipped++
		} else {
			made, rows, masked = made+1, rows+e.Rows, masked+e.Masked
		}
		if e.Documents == 1 && !whole {
			env.Warnf("%s: its only document pairs with itself, so no sequence has a random next one: use fewer, larger shards", e.Input)
		}
		env.Debugf("%s: %d sequences of %d documents", e.File, e.Rows, e.Documents)
		progress.Add(1)
	}
	if _, err := build.Run(ctx, args); err != nil {
		return err
	}
	env.Summaryf("made %d shards with %d sequences and %d masked tokens, kept %d whole ones", made, rows, masked, skipped)
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

// vocabulary returns the vocabulary file as it is and as it was understood.
func (o *options) vocabulary(ctx context.Context, env *cli.Env) ([]byte, *wordpiece.Vocabulary, error) {
	in, err := stream.Open(ctx, o.Vocab, env.Stdin)
	if err != nil {
		return nil, nil, fault.WithHint(err, "--vocab names a vocabulary file, such as BERT's vocab.txt")
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, nil, err
	}
	vocab, err := wordpiece.Load(bytes.NewReader(text), o.Vocab)
	return text, vocab, err
}
