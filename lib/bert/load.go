package bert

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"hpcbert/kernels"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/fault"
	"hpcbert/lib/wordpiece"
)

// FindConfig reads the model shape in the folder of a checkpoint, config.json or bert_config.json; nil if there is none.
func FindConfig(folder string) (*Config, error) {
	for _, name := range []string{ckpt.ConfigFile, "bert_config.json"} {
		config, err := ReadConfig(filepath.Join(folder, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return config, err
		}
	}
	return nil, nil
}

// CompleteVocabulary takes the number of tokens from a checkpoint's embeddings where the shape leaves it out.
func (c *Config) CompleteVocabulary(s *ckpt.Source) error {
	const name = "bert.embeddings.word_embeddings.weight"
	if c.VocabSize > 0 {
		return nil
	}
	t := s.Tensor(name)
	if t == nil || len(t.Shape) != 2 || t.Shape[0] < 1 {
		return fmt.Errorf("%s: no %s", s.Name, name)
	}
	c.VocabSize = t.Shape[0]
	return nil
}

// maxPadding is the most rows that a program adds to a vocabulary.
const maxPadding = 64

// TakeVocabulary takes the number of tokens from a vocabulary, where the shape's is that with padding.
func (c *Config) TakeVocabulary(v *wordpiece.Vocabulary) error {
	switch n := v.Size(); {
	case n > c.VocabSize:
		return fmt.Errorf("%s: %d tokens, the model has %d", v.Name, n, c.VocabSize)
	case c.VocabSize-n >= maxPadding:
		return fmt.Errorf("%s: %d tokens, the model has %d: it is another's vocabulary", v.Name, n, c.VocabSize)
	}
	c.VocabSize = v.Size()
	return nil
}

// Loaded tells what a checkpoint gave.
type Loaded struct {
	Missing     []string // parameters of the model that the checkpoint has not; they keep their values
	Unknown     []string // tensors of the checkpoint that are no parameters
	Other       []string // of Missing, those of a task's head that the checkpoint has for another number of outputs
	DroppedRows int      // rows of the vocabulary beyond the model's
}

// Cover compares a checkpoint with the parameters of a model of this shape. Rows of the vocabulary beyond the model's are dropped from the
// checkpoint. One that lacks a part of the embeddings or layers, or has another shape, is refused; heads and pooler may be missing, and a task's head be that of another task.
func (c *Config) Cover(params []Param, s *ckpt.Source) (Loaded, error) {
	loaded := Loaded{DroppedRows: s.DropRows(c.VocabSize)}
	known := map[string]bool{}
	var needed []string
	for _, p := range params {
		known[p.Name] = true
		t := s.Tensor(p.Name)
		if t == nil {
			loaded.Missing = append(loaded.Missing, p.Name)
			if strings.HasPrefix(p.Name, "bert.") && !strings.HasPrefix(p.Name, "bert.pooler.") {
				needed = append(needed, p.Name)
			}
			continue
		}
		if sameShape := slices.Equal(t.Shape, p.Shape); !sameShape && ofTask(p.Name) {
			loaded.Missing, loaded.Other = append(loaded.Missing, p.Name), append(loaded.Other, p.Name)
		} else if !sameShape {
			err := fmt.Errorf("%s: tensor %q has the shape %v, the model's %s is %v", s.Name, t.Stored, t.Shape, p.Name, p.Shape)
			return loaded, fault.WithHint(err, "the model's shape must be that of the file: compare its config.json")
		}
	}
	for _, name := range s.Names() {
		if !known[name] && !ckpt.IsCopy(name) {
			loaded.Unknown = append(loaded.Unknown, name)
		}
	}
	if len(needed) > 0 {
		err := fmt.Errorf("%s: %d tensors of the encoder are missing: %s", s.Name, len(needed), few(needed))
		return loaded, fault.WithHint(err, "a checkpoint of BERT is wanted; this one has %d other tensors: %s", len(loaded.Unknown), few(loaded.Unknown))
	}
	return loaded, nil
}

// ofTask tells of the parameters of a task's head.
func ofTask(name string) bool {
	return strings.HasPrefix(name, "classifier.") || strings.HasPrefix(name, "qa_outputs.")
}

// few joins names, the first of many.
func few(names []string) string {
	const most = 5
	if len(names) > most {
		names = append(slices.Clip(names[:most]), "…")
	}
	return strings.Join(names, ", ")
}

// LoadFile loads the weights from an open checkpoint, see Cover. Values that are not finite are refused. On an error the weights are a mixture.
func (m *Model) LoadFile(s *ckpt.Source) (Loaded, error) {
	loaded, err := m.Config.Cover(m.Params, s)
	if err != nil {
		return loaded, err
	}
	for _, p := range m.Params {
		if slices.Contains(loaded.Missing, p.Name) {
			continue
		}
		values, err := s.Float32(p.Name)
		if err != nil {
			return loaded, err
		}
		if err := s.Tensor(p.Name).CheckFinite(values); err != nil {
			return loaded, fmt.Errorf("read %s: %w", s.Name, err)
		}
		kernels.Upload(m.s, m.Weight(p.Name), values)
	}
	m.Refresh()
	return loaded, m.s.Synchronize()
}
