package main

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"hpcbert/lib/cli"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "mkpretrain",
	Source:  source,
	Args:    "SHARD...",
	Summary: "make HDF5 pre-training shards from shards of sentences",
	Help: `Reads text shards (one sentence a line, a blank line after each document) and
writes into the output folder one HDF5 file each, in the layout of NVIDIA's
BERT for PyTorch, with vocab.txt and manifest.json. A folder as SHARD means the
shards that its shards.json lists, all of them; without one its .txt files but
vocab.txt. Text that ends in the mark of a program that failed (see segment) is
refused. Shards already whole are kept, so that the same command continues
an interrupted run. The reference's names of options, such as --max_seq_length,
are accepted. Memory: at most 35 MiB, and a thread 25 MiB and at --dupe 5 30
times the largest shard's text.`,
	Examples: `
  mkpretrain --vocab vocab.txt --seq 128 --max-pred 20 -o phase1 shards
  mkpretrain --vocab vocab.txt --seq 512 --max-pred 80 -o phase2 shards/*.txt
  mkpretrain --text 3 phase1/training_0.hdf5`,
}

type options struct {
	cli.Common
	Vocab    string  `long:"vocab" also:"vocab-file" value-name:"FILE" required-unless:"text" description:"vocabulary, a word piece a line"`
	Output   string  `short:"o" long:"output" value-name:"FOLDER" required-unless:"text" description:"folder to write to, made if missing"`
	Seq      int     `long:"seq" also:"max-seq-length" value-name:"N" description:"tokens of a sequence, 512 at most"`
	MaxPred  int     `long:"max-pred" also:"max-predictions-per-seq" value-name:"N" description:"most tokens of a sequence to predict"`
	Dupe     int     `long:"dupe" also:"dupe-factor" value-name:"N" description:"times to go through the text, with other draws each"`
	Masked   float64 `long:"masked-lm-prob" value-name:"P" description:"part of the tokens to predict"`
	Short    float64 `long:"short-seq-prob" value-name:"P" description:"part of the documents cut into shorter sequences"`
	Seed     int64   `long:"seed" also:"random-seed" value-name:"N" description:"seed of the random draws"`
	VarySeed bool    `long:"seed-per-shard" description:"add the number in the shard's name to the seed (default: one seed for all, as the reference)"`
	Cased    bool    `long:"cased" description:"keep case and accents, for a cased vocabulary"`
	Words    bool    `long:"whole-word-masking" description:"mask all pieces of a word or none"`
	Text     int     `long:"text" value-name:"N" description:"print the first N sequences of each SHARD (text or HDF5), write nothing"`
	Part     part    `long:"part" value-name:"K/N" description:"make every N-th shard only, from the K-th on: for several machines and one folder"`
	Force    bool    `long:"force" description:"make all shards anew; others of the folder's manifest.json go"`
	DryRun   bool    `long:"dry-run" description:"print the names of the shards to make, and make nothing"`

	reference
}

// part is the value of --part: one of several processes.
type part struct{ number, of int }

// UnmarshalFlag reads "3/8".
func (p *part) UnmarshalFlag(text string) error {
	number, of, _ := strings.Cut(text, "/")
	var err error
	if p.number, err = strconv.Atoi(number); err == nil {
		p.of, err = strconv.Atoi(of)
	}
	if err != nil || p.number < 1 || p.number > p.of {
		return fmt.Errorf("%q is not a part such as 3/8", text)
	}
	return nil
}

// reference holds the options of the original programs that say with other values what ours say.
type reference struct {
	DoLowerCase func(int) error    `long:"do-lower-case" value-name:"0|1" hidden:"true" description:"0 is --cased, by the reference's name"`
	WholeWord   func(string) error `long:"do-whole-word-mask" value-name:"BOOL" hidden:"true" description:"--whole-word-masking, by its name in Google's BERT" optional:"yes" optional-value:"true"`
}

// newOptions returns the options with their defaults.
func newOptions() *options {
	o := &options{Seq: 128, MaxPred: 20, Dupe: 5, Masked: 0.15, Short: 0.1, Seed: 12345}
	o.DoLowerCase = func(n int) error {
		if n != 0 && n != 1 {
			return fmt.Errorf("want 0 or 1, not %d", n)
		}
		o.Cased = n == 0
		return nil
	}
	o.WholeWord = func(s string) (err error) {
		if o.Words, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("want true or false, not %q", s)
		}
		return nil
	}
	return o
}
