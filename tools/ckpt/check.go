package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// checkAll checks every path, those behind one that fails too.
func (o *options) checkAll(ctx context.Context, env *cli.Env, paths []string) error {
	all, err := expand(paths)
	if err != nil {
		return err
	}
	var failure error
	tensors := 0
	for _, path := range all {
		n, err := o.check(ctx, env, path)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		tensors += n
		if err == nil {
			continue
		}
		if failure != nil {
			env.Fail(failure)
		}
		failure = answer(path, err)
	}
	if failure == nil {
		env.Summaryf("%d checkpoint(s) with %d tensors are whole", len(all), tensors)
	}
	return failure
}

// answer makes of an error the answer no, with the path once.
func answer(path string, err error) error {
	no := fault.Answerf("%w", err)
	if !strings.Contains(err.Error(), path) {
		no = fault.Answerf("%s: %w", path, err)
	}
	if hint := fault.HintOf(err); hint != "" {
		return fault.WithHint(no, "%s", hint)
	}
	return no
}

// expand replaces a folder of checkpoints by these. A path that cannot be looked at is an error, not an answer.
func expand(paths []string) ([]string, error) {
	var all []string
	for _, path := range paths {
		steps, err := stream.InFolder(path, "step-*")
		if err != nil {
			return nil, err
		}
		if len(steps) > 0 {
			all = append(all, steps...)
			continue
		}
		if _, err := os.Stat(path); err != nil {
			if _, index := os.Stat(path + ".index"); index != nil {
				return nil, err
			}
		}
		all = append(all, path)
	}
	return all, nil
}

// check returns how many tensors it has read.
func (o *options) check(ctx context.Context, env *cli.Env, path string) (int, error) {
	if ckpt.Ours(path) {
		if err := ckpt.Verify(path); err != nil {
			return 0, err
		}
	}
	s, err := ckpt.Open(path)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := s.CheckSums(); err != nil {
		return 0, err
	}
	if err := s.CheckFinite(ctx); err != nil {
		return 0, err
	}
	n := len(s.Tensors())
	moments, err := ckpt.OpenMoments(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return n, err
	default:
		defer moments.Close()
		n += len(moments.Tensors())
		if err := errors.Join(moments.CheckFinite(ctx), s.CheckMoments(moments)); err != nil {
			return n, err
		}
	}
	if err := o.compareShape(env, path, s); err != nil {
		return n, err
	}
	env.Infof("%s: whole, %d tensors", describe(s), n)
	return n, nil
}

// compareShape compares the tensors with the model shape, where there is one.
func (o *options) compareShape(env *cli.Env, path string, s *ckpt.Source) error {
	config, err := o.readConfig(ckpt.Folder(path))
	if err != nil {
		return err
	}
	if config == nil {
		env.Warnf("%s: no config.json beside it, shapes are not checked", s.Name)
		env.Hintf("--config FILE gives the model shape")
		return nil
	}
	if err := config.CompleteVocabulary(s); err != nil {
		return err
	}
	loaded, err := config.Cover(config.Params(), s)
	if err == nil && loaded.DroppedRows > 0 {
		env.Warnf("%s: %d rows beyond the vocabulary of %d", s.Name, loaded.DroppedRows, config.VocabSize)
	}
	return err
}

// readConfig reads the model shape that was given, or that of the folder; nil if there is none.
func (o *options) readConfig(folder string) (*bert.Config, error) {
	if o.Config != "" {
		return bert.ReadConfig(o.Config)
	}
	return bert.FindConfig(folder)
}
