package launch

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
	"hpcbert/lib/train"
	"hpcbert/lib/wordpiece"
)

// Model is what a task starts from.
type Model struct {
	Checkpoint string // "" = random weights
	Config     *bert.Config
	Vocabulary string // its file
	LowerCase  bool
	Tokenizer  *wordpiece.Tokenizer
	Device     *kernels.Device
}

// Start names what training starts from.
func (m *Model) Start() string { return cmp.Or(m.Checkpoint, "random weights") }

// Open finds checkpoint, shape and vocabulary, and opens the device. All ranks call it; an error of one is an error of all.
func (o *Tuning) Open(ctx context.Context, env *cli.Env, c comm.Comm) (*Model, error) {
	m, err := o.find(ctx, env)
	if err = comm.Together(c, err); err != nil {
		return nil, err
	}
	if m.Device, err = Device(env, c, o.Device); err != nil {
		return nil, err
	}
	if r := o.recipe; r != nil {
		env.Infof("from %s: global batch %d, learning rate %g, warm-up %g, %g epochs, %s, seed %d, but for what is given", filepath.Base(o.Recipe), r.GlobalBatch, r.LearningRate,
			r.Warmup, r.Epochs, r.Precision, r.Seed)
	}
	if o.Precision == "tf32" && m.Device.OnHost() {
		env.Infof("--precision tf32: a CPU has no such type and computes in fp32")
	}
	return m, nil
}

func (o *Tuning) find(ctx context.Context, env *cli.Env) (m *Model, err error) {
	m = &Model{Vocabulary: o.Vocab}
	if o.Init != "" {
		if m.Checkpoint, err = train.StartingPoint(o.Init, 0, env.Warnf); err != nil {
			return nil, err
		}
		if _, err := ckpt.Find(m.Checkpoint); err != nil {
			return nil, err
		}
	} else {
		env.Warnf("no --init: training starts from random weights")
	}
	if m.Vocabulary == "" && m.Checkpoint != "" {
		m.Vocabulary = filepath.Join(ckpt.Folder(m.Checkpoint), ckpt.VocabFile)
	}
	vocab, err := readVocabulary(ctx, m.Vocabulary)
	if err != nil {
		return nil, err
	}
	m.LowerCase = o.LowerCase || !o.Cased && !vocab.Cased()
	m.Tokenizer = wordpiece.New(vocab, wordpiece.Options{LowerCase: m.LowerCase})
	return m, o.shape(m, vocab)
}

func readVocabulary(ctx context.Context, name string) (*wordpiece.Vocabulary, error) {
	const hint = "--vocab names the vocabulary that the model was trained with, such as BERT's vocab.txt"
	if name == "" {
		return nil, fault.WithHint(fault.Usagef("no --vocab, and no checkpoint that has one beside it"), hint)
	}
	in, err := stream.Open(ctx, name, nil)
	if err != nil {
		return nil, fault.WithHint(err, hint)
	}
	defer in.Close()
	return wordpiece.Load(in, name)
}

// shape finds the model's, which must fit the vocabulary and the lengths.
func (o *Tuning) shape(m *Model, vocab *wordpiece.Vocabulary) (err error) {
	if o.Config != "" {
		m.Config, err = bert.ReadConfig(o.Config)
	} else {
		m.Config, err = bert.FindConfig(ckpt.Folder(m.Checkpoint))
	}
	if err != nil {
		return err
	}
	if m.Config == nil {
		return fault.WithHint(fmt.Errorf("%s: no config.json or bert_config.json beside it", m.Checkpoint), "--config FILE gives the model shape, such as configs/model/large.json")
	}
	if err := o.completeVocabulary(m, vocab); err != nil {
		return err
	}
	if o.Dropout != nil {
		m.Config.HiddenDropoutProb, m.Config.AttentionProbsDropoutProb = *o.Dropout, *o.Dropout
	}
	switch cfg := m.Config; {
	case vocab.Size() > cfg.VocabSize:
		return fault.WithHint(fmt.Errorf("%s has %d tokens, the model %d", vocab.Name, vocab.Size(), cfg.VocabSize), "the vocabulary is another one than the model's: see --vocab")
	case o.Length > cfg.MaxPositionEmbeddings:
		return fault.Usagef("--max-length %d: the model has %d positions", o.Length, cfg.MaxPositionEmbeddings)
	}
	return nil
}

// completeVocabulary finds the number of tokens where the shape leaves it out.
func (o *Tuning) completeVocabulary(m *Model, vocab *wordpiece.Vocabulary) error {
	if m.Checkpoint == "" && m.Config.VocabSize == 0 {
		m.Config.VocabSize = vocab.Size()
	}
	if m.Config.VocabSize > 0 {
		return nil
	}
	s, err := ckpt.Open(m.Checkpoint)
	if err != nil {
		return err
	}
	defer s.Close()
	return m.Config.CompleteVocabulary(s)
}
