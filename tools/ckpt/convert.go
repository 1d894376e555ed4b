package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/wordpiece"
)

// conversion is a checkpoint on its way into a folder.
type conversion struct {
	env     *cli.Env
	path    string
	weights *ckpt.Source
	moments *ckpt.Source // nil without
	config  *bert.Config
	vocab   *wordpiece.Vocabulary // nil without
	lines   []byte                // of the vocabulary
}

func (o *options) convert(ctx context.Context, env *cli.Env, paths []string) error {
	if err := o.checkOutput(paths[0]); err != nil {
		return err
	}
	c := &conversion{env: env, path: paths[0]}
	defer c.close()
	if err := c.open(o); err != nil {
		return err
	}
	if err := c.fit(); err != nil {
		return err
	}
	draft, err := ckpt.BeginFolder(o.Output)
	if err != nil {
		return err
	}
	if err := c.write(ctx, draft); err != nil {
		return errors.Join(err, draft.Discard())
	}
	if err := draft.Commit(); err != nil {
		return errors.Join(err, draft.Discard())
	}
	with := "without optimizer"
	if c.moments != nil {
		with = fmt.Sprintf("with moments of step %d", c.weights.State.Step)
	}
	env.Summaryf("%d tensors to %s, %s", len(c.weights.Entries(ctx)), o.Output, with)
	return nil
}

// checkOutput refuses to replace anything but a checkpoint, and that only with --force.
func (o *options) checkOutput(path string) error {
	entries, err := os.ReadDir(o.Output)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fault.Usagef("option -o: %w", err)
	}
	in, err := filepath.Abs(ckpt.Folder(path))
	if err != nil {
		return err
	}
	out, err := filepath.Abs(o.Output)
	if err != nil {
		return err
	}
	switch {
	case in == out || strings.HasPrefix(in, out+string(filepath.Separator)):
		return fault.Usagef("option -o: %s holds the input", o.Output)
	case !o.Force:
		return fault.WithHint(fault.Usagef("option -o: %s is not empty", o.Output), "--force replaces it")
	}
	if err := ckpt.CheckReplaceable(o.Output); err != nil {
		return fault.Usagef("option -o: %w", err)
	}
	return nil
}

func (c *conversion) close() {
	for _, s := range []*ckpt.Source{c.weights, c.moments} {
		if s != nil {
			s.Close()
		}
	}
}

func (c *conversion) open(o *options) (err error) {
	if c.weights, err = ckpt.Open(c.path); err != nil {
		return err
	}
	if err := c.weights.DropCopies(); err != nil {
		return err
	}
	folder := ckpt.Folder(c.path)
	if c.config, err = o.readConfig(folder); err != nil {
		return err
	}
	if c.config == nil {
		return fault.WithHint(fault.Usagef("%s: no config.json or bert_config.json beside it", c.weights.Name), "--config FILE gives the model shape, such as configs/model/large.json")
	}
	if err := c.readVocabulary(o.Vocab, folder); err != nil || !o.WithOptimizer {
		return err
	}
	c.moments, err = ckpt.OpenMoments(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.WithHint(fmt.Errorf("%s: no optimizer state", c.weights.Name), "leave --with-optimizer out")
	}
	if err != nil {
		return err
	}
	masters, err := c.weights.UseMasters()
	if masters {
		c.env.Infof("%s: the float32 masters take the place of the weights", c.weights.Name)
	}
	return err
}

func (c *conversion) readVocabulary(name, folder string) error {
	if name == "" {
		if name = filepath.Join(folder, ckpt.VocabFile); !exists(name) {
			c.env.Warnf("no vocabulary: give --vocab FILE for a folder that tokenizers open")
			return nil
		}
	}
	var err error
	if c.lines, err = os.ReadFile(name); err != nil {
		return err
	}
	c.vocab, err = wordpiece.Load(strings.NewReader(string(c.lines)), name)
	return err
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// fit makes tensors, shape and vocabulary agree.
func (c *conversion) fit() error {
	if err := c.config.CompleteVocabulary(c.weights); err != nil {
		return err
	}
	if c.vocab != nil {
		if err := c.config.TakeVocabulary(c.vocab); err != nil {
			return err
		}
	}
	loaded, err := c.config.Cover(c.config.Params(), c.weights)
	if err != nil {
		return err
	}
	if loaded.DroppedRows > 0 {
		c.env.Infof("%d rows beyond the vocabulary of %d dropped", loaded.DroppedRows, c.config.VocabSize)
	}
	if len(loaded.Missing) > 0 {
		c.env.Infof("not in the checkpoint, so not in the folder: %s", strings.Join(loaded.Missing, ", "))
	}
	if c.moments != nil {
		c.moments.DropRows(c.config.VocabSize)
		return c.weights.CheckMoments(c.moments)
	}
	return nil
}

func (c *conversion) write(ctx context.Context, d *ckpt.Draft) error {
	c.config.Describe(c.weights)
	parts := ckpt.Content{Model: c.weights.Entries(ctx), Config: c.config.JSON(), Vocabulary: c.lines}
	if c.moments != nil {
		parts.Moments = c.moments.Entries(ctx)
	}
	if c.vocab != nil {
		var err error
		parts.Tokenizer, err = os.ReadFile(filepath.Join(ckpt.Folder(c.path), ckpt.TokenizerFile))
		if err != nil { // the source has none
			parts.Tokenizer = wordpiece.TokenizerConfig(!c.vocab.Cased())
		}
	}
	return d.Write(parts)
}
