package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
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
	env.Summaryf("%d tensors to %s, %s", len(entries(ctx, c.weights)), o.Output, with)
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
	return onlyCheckpoint(o.Output)
}

// onlyCheckpoint refuses a folder with anything that is in no checkpoint.
func onlyCheckpoint(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		known := false
		for _, pattern := range []string{"model*.safetensors", "optimizer-*.safetensors", "config.json", "tokenizer*.json", "trainer.json", "vocab.txt", "DONE"} {
			match, _ := filepath.Match(pattern, e.Name())
			known = known || match && !e.IsDir()
		}
		if !known {
			return fault.Usagef("option -o: %s holds %s, which is no part of a checkpoint: it is not replaced", dir, e.Name())
		}
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
	if err := c.checkTied(); err != nil {
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
	masters, err := c.weights.UseMasters() // after checkTied: copies have none
	if masters {
		c.env.Infof("%s: the float32 masters take the place of the weights", c.weights.Name)
	}
	return err
}

func (c *conversion) readVocabulary(name, folder string) error {
	if name == "" {
		if name = filepath.Join(folder, "vocab.txt"); !exists(name) {
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

// padding is the most rows that a program adds to a vocabulary.
const padding = 64

// fit makes tensors, shape and vocabulary agree.
func (c *conversion) fit() error {
	if err := c.config.CompleteVocabulary(c.weights); err != nil {
		return err
	}
	if c.vocab != nil {
		switch n := c.vocab.Size(); {
		case n > c.config.VocabSize:
			return fmt.Errorf("%s: %d tokens, the model has %d", c.vocab.Name, n, c.config.VocabSize)
		case c.config.VocabSize-n < padding:
			c.config.VocabSize = n
		default:
			return fmt.Errorf("%s: %d tokens, the model has %d: it is another's vocabulary", c.vocab.Name, n, c.config.VocabSize)
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
		return sameShapes(c.moments, c.weights)
	}
	return nil
}

// checkTied refuses a decoder that is not the word embeddings: BERT has none of its own, and only one of the two is written.
func (c *conversion) checkTied() error {
	for copied, of := range map[string]string{"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.bias": "cls.predictions.bias"} {
		if c.weights.Tensor(copied) == nil || c.weights.Tensor(of) == nil {
			continue
		}
		a, err := c.weights.Float32(copied)
		if err != nil {
			return err
		}
		b, err := c.weights.Float32(of)
		if err != nil {
			return err
		}
		if !slices.Equal(a, b) {
			return fmt.Errorf("%s: %s differs from %s, which BERT's decoder is", c.weights.Name, copied, of)
		}
	}
	return nil
}

func (c *conversion) write(ctx context.Context, d *ckpt.Draft) error {
	if err := ckpt.Write(d.Path("model.safetensors"), entries(ctx, c.weights), map[string]string{"format": "pt"}); err != nil {
		return err
	}
	if c.moments != nil {
		if err := ckpt.Write(d.Path("optimizer-00000-of-00001.safetensors"), entries(ctx, c.moments), nil); err != nil {
			return err
		}
	}
	if err := stream.WriteFile(d.Path("config.json"), withHead(c.config, c.weights).JSON()); err != nil || c.vocab == nil {
		return err
	}
	if err := stream.WriteFile(d.Path("vocab.txt"), c.lines); err != nil {
		return err
	}
	return stream.WriteFile(d.Path("tokenizer_config.json"), c.tokenizer())
}

// entries lists what is written: all that can be read as float32, without copies. Values are read when their turn comes.
func entries(ctx context.Context, s *ckpt.Source) []ckpt.Entry {
	var all []ckpt.Entry
	for _, t := range s.Tensors() {
		if !t.Floating() || ckpt.IsCopy(t.Name) {
			continue
		}
		all = append(all, ckpt.Entry{Name: t.Name, Shape: t.Shape, Read: func(values []float32) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.ReadFloat32(t.Name, values); err != nil {
				return err
			}
			return t.CheckFinite(values)
		}})
	}
	return all
}

// heads are Hugging Face's classes by the tensor that only they have.
var heads = []struct{ tensor, class string }{
	{"qa_outputs.weight", "BertForQuestionAnswering"},
	{"classifier.weight", "BertForSequenceClassification"},
	{"cls.seq_relationship.weight", "BertForPreTraining"},
	{"cls.predictions.bias", "BertForMaskedLM"},
}

// withHead says in the shape which class the tensors are of, and of how many labels, where it does not say so.
func withHead(config *bert.Config, s *ckpt.Source) *bert.Config {
	config = config.Clone()
	class := "BertModel"
	for _, h := range slices.Backward(heads) {
		if s.Tensor(h.tensor) != nil {
			class = h.class
		}
	}
	config.Other["architectures"] = fmt.Appendf(nil, "[%q]", class)
	t := s.Tensor("classifier.weight")
	if t == nil || len(t.Shape) != 2 || config.Other["id2label"] != nil {
		return config
	}
	labels, ids := map[string]string{}, map[string]int{}
	for i := range t.Shape[0] {
		label := fmt.Sprintf("LABEL_%d", i)
		labels[fmt.Sprint(i)], ids[label] = label, i
	}
	config.Other["id2label"], _ = json.Marshal(labels)
	config.Other["label2id"], _ = json.Marshal(ids)
	return config
}

// tokenizer is tokenizer_config.json: that of the source, else one that says whether the vocabulary is of lower case, which Hugging Face
// takes for granted where nobody says.
func (c *conversion) tokenizer() []byte {
	if text, err := os.ReadFile(filepath.Join(ckpt.Folder(c.path), "tokenizer_config.json")); err == nil {
		return text
	}
	return fmt.Appendf(nil, "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": %t}\n", c.vocab.Capitals() < 0.05)
}
