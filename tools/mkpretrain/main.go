/*
Mkpretrain makes BERT's pre-training examples: HDF5 shards from shards of sentences.

	mkpretrain [OPTION...] --vocab VOCAB -o FOLDER SHARD...

It reads text shards (one sentence a line, a blank line after each document; gzip, bzip2 and zstd are unpacked), as shard writes them
(a folder means its .txt files), and writes into FOLDER one HDF5 file a shard, with the same name and .hdf5 at the end, the vocabulary as vocab.txt, and manifest.json
with the options, counts and hashes. The HDF5 files hold the six arrays of NVIDIA's BERT for PyTorch and are equal to its own, number
for number; its trainer reads them. Training reads files with "training" in their names, evaluation those with "test".

Each sequence is a pair of text pieces, the second one the true next or a random one; 15 % of the tokens are chosen for prediction, of
which 80 % become [MASK], 10 % a random piece, 10 % stay. Everything is made --dupe times with other draws.

A shard that is whole already, made with the same options from the same text, is kept: the same command run again continues an
interrupted run. Other options, another vocabulary or another text than those of FOLDER are an error unless --force is given.

# Options

	--seed N --seed-per-shard

The reference gives every shard the same seed, so that shards share their random decisions; this is kept by default. With
--seed-per-shard the number at the end of a shard's name is added.

	--cased

keeps case and accents, for a cased vocabulary.

	--whole-word-masking

masks all pieces of a word or none, draw for draw as Google's BERT does with --do_whole_word_mask. A word with more pieces than are
still to be predicted is passed over, so that a short sequence may have fewer masked tokens, or none.

	--text[=N]

prints the first N sequences (20) of each SHARD for people to read, and writes nothing. SHARD may be an HDF5 file too, then the vocabulary
is the vocab.txt beside it if --vocab does not name one.

	--part K/N

makes every N-th shard only, from the K-th on, so that N machines can fill one folder at the same time. The set is not complete until the
same command has run once more without --part (nor --force, which makes everything anew): it makes what is missing, and writes manifest.json.

The reference's names --vocab_file, --max_seq_length, --max_predictions_per_seq, --dupe_factor, --random_seed, --do_lower_case 0|1 and
--do_whole_word_mask mean --vocab, --seq, --max-pred, --dupe, --seed, --cased and --whole-word-masking.

# Examples

	mkpretrain --vocab vocab.txt --seq 128 --max-pred 20 -o phase1 shards
	mkpretrain --vocab vocab.txt --seq 512 --max-pred 80 -o phase2 shards/*.txt
	mkpretrain --text=3 phase1/training_0.hdf5

# Exit status

0 every shard is whole; 1 it failed, and the shards made before are kept; 2 wrong usage.

# Memory

At most 25 times the largest shard's text a thread (-j shards are made at a time) at --dupe 5, whatever the number of shards: 155 MiB for 20
shards of 7 MiB with -j 1, 300 MiB for one of 27 MiB.

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
	Help: `Reads text shards (one sentence a line, a blank line after each document) and
writes into the output folder one HDF5 file each, in the layout of NVIDIA's
BERT for PyTorch, with vocab.txt and manifest.json. A folder as SHARD means its
.txt files but vocab.txt. Shards already whole are kept, so that the same command continues
an interrupted run. The reference's names (--max_seq_length,
--max_predictions_per_seq, --dupe_factor, --random_seed, --vocab_file,
--do_lower_case 0|1, --do_whole_word_mask) are accepted. Memory: at most 25
times the largest shard's text a thread at --dupe 5.`,
	Examples: `
  mkpretrain --vocab vocab.txt --seq 128 --max-pred 20 -o phase1 shards
  mkpretrain --vocab vocab.txt --seq 512 --max-pred 80 -o phase2 shards/*.txt
  mkpretrain --text=3 phase1/training_0.hdf5`,
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
	Words    bool    `long:"whole-word-masking" description:"mask all pieces of a word or none"`
	Text     int     `long:"text" value-name:"N" optional:"yes" optional-value:"20" description:"print the first N (20 without =N) sequences of each SHARD (text or HDF5), write nothing"`
	Part     part    `long:"part" value-name:"K/N" description:"make every N-th shard only, from the K-th on: for several machines and one folder"`
	Force    bool    `long:"force" description:"make shards anew, whatever the folder holds"`
	DryRun   bool    `long:"dry-run" description:"print the names of the shards to make, and make nothing"`

	reference
}

func main() {
	o := newOptions()
	cli.Main(program, o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if err := o.check(env, args); err != nil {
		return err
	}
	if o.Text > 0 {
		return o.print(ctx, env, args)
	}
	build, err := o.build(ctx, env)
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
	if o.DryRun {
		return dryRun(ctx, env, build, args)
	}
	var made, kept, rows, masked int
	progress := env.Progress("making", "shards", int64(len(args)))
	defer progress.Finish()
	build.Done = func(e pretrain.ShardEntry, whole bool) {
		if whole {
			kept++
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
	env.Summaryf("made %d shards with %d sequences and %d masked tokens, kept %d whole ones", made, rows, masked, kept)
	return nil
}

// how returns the options of the work itself.
func (o *options) how() pretrain.Options {
	return pretrain.Options{Seq: o.Seq, MaxPred: o.MaxPred, Dupe: o.Dupe, MaskedLMProb: o.Masked, ShortSeqProb: o.Short, Seed: o.Seed,
		LowerCase: !o.Cased, WholeWords: o.Words}
}

func (o *options) check(env *cli.Env, args []string) error {
	printing := o.Text != 0
	switch {
	case o.Text < 0:
		return fault.Usagef("--text: %d sequences", o.Text)
	case printing && (o.Output != "" || o.DryRun || o.Force):
		return fault.Usagef("--text writes no files: leave out --output, --dry-run and --force")
	case !printing && o.Vocab == "":
		return fault.WithHint(fault.Usagef("no vocabulary: --vocab FILE is needed"), "%s --help lists the options", env.Name)
	case !printing && o.Output == "":
		return fault.WithHint(fault.Usagef("no output folder: -o FOLDER is needed"), "%s --help lists the options", env.Name)
	case len(args) == 0:
		return fault.WithHint(fault.Usagef("no shards to read"), "name the files that shard has written")
	}
	return o.how().Check()
}

// build reads the vocabulary and returns what makes shards with it.
func (o *options) build(ctx context.Context, env *cli.Env) (*pretrain.Build, error) {
	in, err := stream.Open(ctx, o.Vocab, env.Stdin)
	if err != nil {
		return nil, fault.WithHint(err, "--vocab names a vocabulary file, such as BERT's vocab.txt")
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	vocab, err := wordpiece.Load(bytes.NewReader(text), o.Vocab)
	if err != nil {
		return nil, err
	}
	switch upper := vocab.Capitals(); {
	case o.Cased && upper < 0.001:
		env.Warnf("%s has hardly a piece with capitals, but --cased keeps them in the text: such words become [UNK]", o.Vocab)
	case !o.Cased && upper > 0.125:
		env.Warnf("%.0f %% of the pieces of %s have capitals, but the text is put in lower case: is --cased missing?", 100*upper, o.Vocab)
	}
	return &pretrain.Build{Part: o.Part.number, Parts: o.Part.of, Dir: o.Output, Options: o.how(), VarySeed: o.VarySeed, Vocabulary: text, Threads: env.Threads(), Force: o.Force,
		Version: cli.Version, Tokenizer: wordpiece.New(vocab, wordpiece.Options{LowerCase: !o.Cased})}, nil
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
