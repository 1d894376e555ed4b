package ckpt

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"hpcbert/lib/stream"
)

// The files of a checkpoint of ours.
const (
	modelFile     = "model.safetensors"
	ConfigFile    = "config.json"
	VocabFile     = "vocab.txt"
	TokenizerFile = "tokenizer_config.json"
	momentsFile   = "optimizer-00000-of-00001.safetensors"
	StateFile     = "trainer.json"
)

// Content is what a checkpoint of ours holds. Files that are nil are left out.
type Content struct {
	Model      []Entry
	Moments    []Entry // nil = none
	Config     []byte
	Vocabulary []byte
	Tokenizer  []byte
	State      []byte
}

// Write writes the files of the checkpoint.
func (d *Draft) Write(c Content) error {
	if err := Write(d.Path(modelFile), c.Model, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	if c.Moments != nil {
		if err := Write(d.Path(momentsFile), c.Moments, nil); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{ConfigFile, c.Config}, {VocabFile, c.Vocabulary}, {TokenizerFile, c.Tokenizer}, {StateFile, c.State}} {
		if f.text == nil {
			continue
		}
		if err := stream.WriteFile(d.Path(f.name), f.text); err != nil {
			return err
		}
	}
	return nil
}

// CheckReplaceable refuses a folder with anything that is in no checkpoint.
func CheckReplaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		ofCheckpoint := func(pattern string) bool { match, _ := filepath.Match(pattern, e.Name()); return match }
		if e.IsDir() || !slices.ContainsFunc([]string{"model*.safetensors", momentParts, ConfigFile, "tokenizer*.json", StateFile, VocabFile, doneName}, ofCheckpoint) {
			return fmt.Errorf("%s holds %s, which is no part of a checkpoint: it is not replaced", dir, e.Name())
		}
	}
	return nil
}
