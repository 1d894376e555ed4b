package main

import (
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/squad"
	"hpcbert/lib/train"
)

// referenceOptions are the flags of the original program that mean something of their own, and are not of all programs that fine-tune.
type referenceOptions struct {
	EvalScript string `long:"eval-script" value-name:"FILE" hidden:"true" description:"never read: answers are marked here"`
	Detail     bool   `long:"verbose-logging" hidden:"true" description:"tell which questions are not trained on"`
	SkipCache  bool   `long:"skip-cache" hidden:"true" description:"there is none"`
	CacheDir   string `long:"cache-dir" value-name:"DIR" hidden:"true" description:"there is none"`
}

// warn tells of flags that do nothing.
func (o *options) warn(env *cli.Env) {
	if o.EvalScript != "" {
		env.Warnf("--eval-script is never read: the answers are marked as the official scripts do")
	}
	if o.CacheDir != "" {
		env.Warnf("--cache-dir is never read: questions become windows within seconds, there is no cache")
	}
}

// log appends what the original logs of a prediction and of its marks; training logs for itself.
func (j *job) log(began time.Time, took time.Duration, result *squad.Result) error {
	if j.DLLogger == "" {
		return nil
	}
	lines := []train.LogLine{{Data: []any{"e2e_inference_time", took.Seconds(), "inference_sequences_per_second", float64(len(j.predicting)) / took.Seconds()}}}
	if result != nil {
		marks := result.Marks()
		lines = append(lines, train.LogLine{Data: []any{"exact_match", marks.Exact, "F1", marks.F1}})
	}
	return train.AppendLog(j.DLLogger, began, lines...)
}
