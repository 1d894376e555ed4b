package train

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/fault"
	"hpcbert/lib/optim"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/stream"
)

// state is trainer.json: where training stands, and what must not change when it goes on.
type state struct {
	Step        int    `json:"step"`
	Samples     int64  `json:"samples"` // sequences used, those of skipped updates too: the position in the data
	Epoch       int    `json:"epoch"`
	GlobalBatch int    `json:"global_batch"`
	Seed        uint64 `json:"seed"`
	optim.Schedule
	Optimizer optim.Options `json:"optimizer"`
	Scaler    *optim.Scaler `json:"scaler"`
	FileOrder bool          `json:"file_order"`
	Dropout   bool          `json:"dropout"`
	Masking   string        `json:"masking,omitempty"`   // as pretrain.Masking says; none = static
	Precision string        `json:"precision,omitempty"` // "fp32", "bf16" or "fp16"; may change at a resume
	Contents
	Verified int `json:"verified,omitempty"` // the last update that ranks verified
}

func (t *Trainer) state() state {
	contents := t.task.Contents()
	return state{Step: t.step, Samples: t.samples(), Epoch: t.epoch(), GlobalBatch: t.opt.GlobalBatch, Seed: t.opt.Seed,
		Schedule: t.schedule, Optimizer: t.opt.Optimizer, Scaler: t.scaler, FileOrder: t.opt.FileOrder, Masking: contents.Masking, Dropout: t.dropout,
		Precision: t.precision(), Contents: contents, Verified: t.verify.last}
}

// host returns device memory for reading: itself where the host can read it, else a copy. Synchronize the stream first.
func (t *Trainer) host(x kernels.Tensor) []float32 {
	if values := kernels.Host[float32](x); values != nil {
		return values
	}
	out := make([]float32, x.Len())
	kernels.Download(t.stream, out, x)
	return out
}

// readState reads where the training that wrote a checkpoint stood.
func readState(dir string) (was state, err error) {
	name := filepath.Join(dir, ckpt.StateFile)
	text, err := os.ReadFile(name)
	if err != nil {
		return was, err
	}
	if err := json.Unmarshal(text, &was); err != nil {
		return was, fmt.Errorf("read %s: %w", name, err)
	}
	return was, nil
}

// unchanged returns where a checkpoint of this run stands. Today's options must be those that it was made with.
func (t *Trainer) unchanged(dir string, cfg *bert.Config) (was state, err error) {
	if was, err = readState(dir); err != nil {
		return was, err
	}
	shape, err := bert.ReadConfig(filepath.Join(dir, ckpt.ConfigFile))
	if err != nil {
		return was, err
	}
	if change := cmp.Or(t.change(was), shape.Change(cfg)); change != "" {
		return was, fault.WithHint(fmt.Errorf("resume from %s: its %s", dir, change),
			"give the options of the first run, or another output folder (with --init %s to start from its weights)", dir)
	}
	if now := t.precision(); was.Precision != "" && was.Precision != now {
		t.opt.Warn("%s was trained in %s, going on in %s", dir, was.Precision, now)
	}
	return was, nil
}

// resume loads everything from a checkpoint of this run.
func (t *Trainer) resume(dir string) error {
	was, err := t.unchanged(dir, t.model.Config)
	if err != nil {
		return err
	}
	missing, err := t.loadWeights(dir, 0)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("resume from %s: no %s", dir, strings.Join(missing, ", "))
	}
	t.step, t.saved, t.verify.last = was.Step, was.Step, was.Verified
	if was.Scaler != nil {
		t.scaler.Restore(*was.Scaler)
	}
	return t.loadMoments(dir)
}

// unmasked draws no masks: they are the shards'.
var unmasked *pretrain.Masking

// change tells in what today's options would make another run of it: "seed was 1, now it is 2"; "" when in nothing.
func (t *Trainer) change(was state) string {
	now := t.state()
	for _, c := range []struct {
		what     string
		was, now any
	}{
		{"global batch", was.GlobalBatch, now.GlobalBatch}, {"seed", was.Seed, now.Seed}, {"steps", was.Steps, now.Steps},
		{"learning rate", was.Base, now.Base}, {"warm-up", was.Warmup, now.Warmup}, {"schedule", was.Name, now.Name}, {"degree of the schedule", was.Degree, now.Degree},
		{"optimizer", was.Optimizer, now.Optimizer}, {"file order", was.FileOrder, now.FileOrder}, {"masking", cmp.Or(was.Masking, unmasked.String()), cmp.Or(now.Masking, unmasked.String())},
		{"dropout", was.Dropout, now.Dropout}, {"head", was.Head, now.Head}, {"vocabulary", was.Vocabulary, now.Vocabulary}, {"sequence length", was.Seq, now.Seq},
		{"number of training files", len(was.Rows), len(now.Rows)},
	} {
		if c.was != c.now {
			return fmt.Sprintf("%s was %v, now it is %v", c.what, c.was, c.now)
		}
	}
	for i, rows := range now.Rows {
		if was.Rows[i] != rows {
			return fmt.Sprintf("training file %s had %d rows, now it has %d", filepath.Base(now.Files[i]), was.Rows[i], rows)
		}
	}
	return otherData(was.Data, now.Data)
}

// otherData tells how the hashes of training data of the same sizes differ; "" when in nothing.
func otherData(was, now string) string {
	const unknown = ": whether the contents are the same is not known"
	switch {
	case was == now:
		return ""
	case now == "":
		return "training data had a " + pretrain.ManifestName + " with the files' hashes, now there is none" + unknown
	case was == "":
		return "training data had no " + pretrain.ManifestName + " with the files' hashes, now there is one" + unknown
	}
	return "training data was other than now: same sizes, other contents"
}

// initFrom starts a new run from a checkpoint of any kind that ckpt.Open knows: its weights, and its moments where it has them; the update count is 0.
func (t *Trainer) initFrom(path string) error {
	path, err := StartingPoint(path, t.opt.InitStep, t.opt.Warn)
	if err != nil {
		return err
	}
	if err := sameVocabulary(ckpt.Folder(path), t.task.Vocabulary()); err != nil {
		return err
	}
	missing, err := t.loadWeights(path, t.opt.InitStep)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		t.opt.Warn("%s: no %s: they start from random values", path, strings.Join(missing, ", "))
	}
	if t.opt.ResetMoments {
		return nil
	}
	err = t.loadMoments(path)
	if errors.Is(err, os.ErrNotExist) {
		t.opt.Warn("%s: no moments of the optimizer: they start at zero", path)
		return nil
	}
	if err != nil {
		return fault.WithHint(err, "--reset-optimizer starts from the weights alone")
	}
	return nil
}

// StartingPoint returns the checkpoint that a path means: that path, or of the folder of a run the checkpoint of that step, or with step 0 the
// newest whole one. One of our own must be whole.
func StartingPoint(path string, step int, warn func(format string, a ...any)) (string, error) {
	if run, _ := ckpt.Steps(path); len(run) > 0 && step > 0 {
		path = ckpt.AtStep(path, step)
		if !slices.Contains(run, step) {
			return "", fault.WithHint(fmt.Errorf("start from %s: there is none", path), "its folder has finished checkpoints of the steps %v", run)
		}
	} else if len(run) > 0 {
		newest, skipped, err := ckpt.Latest(path)
		for _, reason := range skipped {
			warn("%v: skipped", reason)
		}
		if newest == "" && err == nil {
			err = fault.WithHint(fmt.Errorf("start from %s: no checkpoint is whole", path), "start from another one")
		}
		if err != nil {
			return "", err
		}
		if was, err := readState(newest); err == nil && was.Step < was.Steps {
			warn("%s: its training has made %d of its %d steps", newest, was.Step, was.Steps)
		}
		return newest, nil
	}
	if !ckpt.Ours(path) {
		return path, nil
	}
	if err := ckpt.Verify(path); err != nil {
		return "", fault.WithHint(fmt.Errorf("start from %s: %w", path, err), "start from another checkpoint: this one would give a wrong model")
	}
	return path, nil
}

// sameVocabulary refuses weights whose tokens mean something else. Folders and data without a vocabulary cannot be compared.
func sameVocabulary(dir string, data Vocabulary) error {
	hash, _, err := stream.SHA256(context.Background(), filepath.Join(dir, ckpt.VocabFile))
	if errors.Is(err, os.ErrNotExist) || data.SHA256 == "" {
		return nil
	}
	if err == nil && hash != data.SHA256 {
		err = fault.WithHint(fmt.Errorf("start from %s: its %s is another vocabulary than the data's (SHA-256 %.12s, not %.12s)", dir, ckpt.VocabFile, hash, data.SHA256),
			"%s %s", data.Make, filepath.Join(dir, ckpt.VocabFile))
	}
	return err
}

// loadWeights returns the parameters that the file has not. It must be of that step, if it tells; 0 = any.
func (t *Trainer) loadWeights(path string, step int) (missing []string, err error) {
	f, err := ckpt.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if step > 0 && f.State.Known && f.State.Step != int64(step) {
		return nil, fmt.Errorf("start from %s: it is of step %d, not %d", path, f.State.Step, step)
	}
	if !t.opt.ResetMoments { // they belong to the float32 masters
		if _, err := f.UseMasters(); err != nil {
			return nil, err
		}
	}
	loaded, err := t.model.LoadFile(f)
	if loaded.DroppedRows > 0 {
		t.opt.Warn("%s: %d rows beyond the vocabulary dropped", f.Name, loaded.DroppedRows)
	}
	return loaded.Missing, err
}
