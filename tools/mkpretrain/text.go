package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/wordpiece"
)

// print writes the first sequences of shards to standard output.
func (o *options) print(ctx context.Context, env *cli.Env, args []string) error {
	out := bufio.NewWriter(env.Stdout)
	for _, name := range args {
		var err error
		if strings.HasSuffix(name, ".hdf5") || strings.HasSuffix(name, ".h5") {
			err = o.printHDF5(out, name)
		} else {
			err = o.printText(ctx, env, out, name)
		}
		if err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write standard output: %w", err)
	}
	return nil
}

func (o *options) printText(ctx context.Context, env *cli.Env, out *bufio.Writer, name string) error {
	if o.Vocab == "" {
		return fault.WithHint(fault.Usagef("no vocabulary for %s: --vocab FILE is needed", name), "%s --help lists the options", env.Name)
	}
	build, err := o.build(ctx, env)
	if err != nil {
		return err
	}
	x, _, err := build.Instances(ctx, name)
	if err != nil {
		return err
	}
	return x.WriteText(out, name, build.Tokenizer.Vocabulary(), o.Text)
}

func (o *options) printHDF5(out *bufio.Writer, name string) error {
	vocabulary := o.Vocab
	if vocabulary == "" {
		vocabulary = filepath.Join(filepath.Dir(name), pretrain.VocabularyName)
	}
	in, err := os.Open(vocabulary)
	if err != nil {
		return fault.WithHint(err, "--vocab names the vocabulary that the shard was made with")
	}
	defer in.Close()
	vocab, err := wordpiece.Load(in, vocabulary)
	if err != nil {
		return err
	}
	s, err := pretrain.ReadShard(name)
	if err != nil {
		return err
	}
	return s.WriteText(out, name, vocab, o.Text)
}
