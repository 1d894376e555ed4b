package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/train"
)

// referenceOptions are the flags of the original program that are no other names of ours.
type referenceOptions struct {
	Eval      bool   `long:"eval" hidden:"true" description:"what is done without --prediction anyway"`
	FP16      bool   `long:"fp16" hidden:"true" description:"--precision fp16"`
	BertModel string `long:"bert-model" value-name:"NAME" hidden:"true" description:"never read"`
	SeqLength *int   `long:"max-seq-length" value-name:"N" hidden:"true" description:"never read"`
	MaxPred   *int   `long:"max-predictions-per-seq" value-name:"N" hidden:"true" description:"never read"`
	Seed      *int   `long:"seed" value-name:"N" hidden:"true" description:"never read: nothing is drawn"`
	NoCUDA    bool   `long:"no-cuda" hidden:"true" description:"never read"`
	LocalRank *int   `long:"local-rank" value-name:"N" hidden:"true" description:"never read: the launcher tells it"`
}

// translate sets the options that flags of the original stand for.
func (o *options) translate(env *cli.Env) error {
	switch {
	case o.Eval && o.Prediction:
		return fault.Usagef("--eval and --prediction: one of them")
	case o.FP16 && env.Given("precision") != "" && o.Precision != "fp16":
		return fault.Usagef("--fp16, but --precision %s", o.Precision)
	case o.FP16:
		o.Precision = "fp16"
	}
	for _, name := range []string{"bert-model", "max-seq-length", "max-predictions-per-seq", "seed", "no-cuda", "local-rank"} {
		if env.Given(name) != "" {
			env.Warnf("--%s changes nothing, there or here", name)
		}
	}
	return nil
}

var nvidiaName = regexp.MustCompile(`^ckpt_(\d+)\.pt$`)

// find returns the checkpoint: of NVIDIA's files ckpt_N.pt in a folder that of the step or the newest, else as for training to start from.
func (o *options) find(env *cli.Env) (string, error) {
	entries, _ := os.ReadDir(o.Checkpoint) // no folder has none
	newest := -1
	for _, e := range entries {
		m := nvidiaName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		if n, err := strconv.Atoi(m[1]); err == nil && (n == o.Step || o.Step < 0 && n > newest) {
			newest = n
		}
	}
	if newest >= 0 {
		return filepath.Join(o.Checkpoint, fmt.Sprintf("ckpt_%d.pt", newest)), nil
	}
	return train.StartingPoint(o.Checkpoint, max(0, o.Step), env.Warnf)
}
