package main

import (
	"context"
	"math"

	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/finetune"
	"hpcbert/lib/launch"
	"hpcbert/lib/squad"
	"hpcbert/lib/train"
)

// model answers questions.
type model struct {
	*options
	base      *launch.Model
	tuner     *finetune.Tuner
	converter *squad.Converter
	guessing  squad.Decoding
	threads   int

	questions, windows int // so far
}

// open loads the model.
func (o *options) open(ctx context.Context, env *cli.Env) (*model, error) {
	c := comm.Single(env.Host())
	t := launch.NewTuning()
	t.Init, t.Config, t.Vocab, t.Cased, t.LowerCase, t.Length, t.Precision, t.Device = o.Init, o.Config, o.Vocab, o.Cased, o.LowerCase, o.Length, o.Precision, o.Device
	m := &model{options: o, threads: env.Threads()}
	var err error
	if m.base, err = t.Open(ctx, env, c); err != nil {
		return nil, err
	}
	m.converter, m.guessing = squad.NewConverter(m.base.Tokenizer, o.windowing()), o.decoding(m.base.LowerCase)
	opt := finetune.Options{MaxLength: o.Length, PredictBatch: o.Batch, Vocabulary: m.base.Vocabulary, LowerCase: m.base.LowerCase}
	opt.Options = train.Options{Init: m.base.Checkpoint, Warn: env.Warnf, Memory: math.MaxInt64, Mode: map[string]bert.Mode{"bf16": bert.BFloat16, "fp16": bert.Float16}[o.Precision]}
	if m.base.Device.OnHost() {
		opt.Memory = cli.AvailableMemory()
	}
	if m.tuner, err = finetune.New(opt, m.base.Config, finetune.Head{Kind: finetune.Span, Outputs: 2}, m.base.Device, c); err != nil {
		return nil, err
	}
	if _, err = m.tuner.Predict(ctx, nil); err != nil { // loads the weights, before anything is read
		m.close()
		return nil, err
	}
	return m, nil
}

// ask returns the answer to a question about a text, and the context that its guesses' words are of. All guesses differ.
func (m *model) ask(ctx context.Context, question, text string) (squad.Answer, *squad.Context, error) {
	asked := []squad.Example{squad.Ask("", question, text)}
	windows, err := m.converter.Windows(ctx, asked, m.threads)
	if err != nil {
		return squad.Answer{}, nil, err
	}
	examples := make([]finetune.Example, len(windows))
	for i, w := range windows {
		examples[i] = finetune.Example{IDs: w.IDs, Second: w.Second}
	}
	m.questions++
	m.windows += len(windows)
	if len(windows) == 0 { // a context without words
		return squad.Answer{}, asked[0].Context, nil
	}
	outputs, err := m.tuner.Predict(ctx, examples)
	if err != nil {
		return squad.Answer{}, nil, err
	}
	answers, err := m.guessing.Answers(ctx, m.base.Tokenizer.Vocabulary(), asked, windows, func(i int) squad.Scores { return squad.SplitScores(outputs[i]) }, 1)
	if err != nil {
		return squad.Answer{}, nil, err
	}
	return distinct(answers[0], m.Squad2), asked[0].Context, nil
}

func (m *model) close() { m.tuner.Close() }
