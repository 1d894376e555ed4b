package main

import (
	"encoding/json"
	"math"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/stream"
	"hpcbert/lib/train"
)

// result is the JSON object.
type result struct {
	Checkpoint   string   `json:"checkpoint"`
	Sequences    int64    `json:"sequences"`
	Tokens       int64    `json:"tokens"`
	Masked       int64    `json:"masked_tokens"`
	Loss         *float64 `json:"loss,omitempty"`
	MLMLoss      *float64 `json:"mlm_loss,omitempty"`
	NSPLoss      *float64 `json:"nsp_loss,omitempty"`
	MLMAccuracy  *float64 `json:"mlm_accuracy,omitempty"`
	NSPAccuracy  *float64 `json:"nsp_accuracy,omitempty"`
	MLMCorrect   *int64   `json:"mlm_correct,omitempty"`
	NSPCorrect   *int64   `json:"nsp_correct,omitempty"`
	Perplexity   *float64 `json:"perplexity,omitempty"`
	Seconds      float64  `json:"seconds"`
	SequencesPer float64  `json:"sequences_per_s"`
}

// report prints the result, and tells it in words.
func (o *options) report(env *cli.Env, s *train.Score, began time.Time) error {
	r := result{Checkpoint: o.Checkpoint, Sequences: s.Sequences, Tokens: s.Tokens, Masked: s.Masked, Seconds: s.Seconds, SequencesPer: float64(s.Sequences) / s.Seconds}
	if !o.Prediction {
		mlm, nsp := s.MLMLoss(), s.NSPLoss()
		r.Loss, r.MLMLoss, r.NSPLoss, r.Perplexity = new(mlm+nsp), &mlm, &nsp, new(math.Exp(mlm))
		r.MLMAccuracy, r.NSPAccuracy = new(float64(s.MLMCorrect)/math.Max(1, float64(s.Masked))), new(float64(s.NSPCorrect)/float64(s.Sequences))
		r.MLMCorrect, r.NSPCorrect = &s.MLMCorrect, &s.NSPCorrect
		env.Infof("masked-token loss %.4f, accuracy %.2f %%, perplexity %.2f; next-sentence loss %.4f, accuracy %.2f %%", mlm, 100**r.MLMAccuracy, *r.Perplexity, nsp, 100**r.NSPAccuracy)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := out.Write(append(text, '\n')); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	if o.Log != "" {
		if err := train.LogScore(o.Log, began, s, !o.Prediction); err != nil {
			return err
		}
	}
	env.Summaryf("%d sequences, %d tokens, %d masked, %.1f sequences/s", s.Sequences, s.Tokens, s.Masked, r.SequencesPer)
	return nil
}
