package train

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/fault"
	"hpcbert/lib/optim"
	"hpcbert/lib/stream"
)

// The files of a checkpoint.
const (
	modelFile     = "model.safetensors"
	configFile    = "config.json"
	vocabFile     = "vocab.txt"
	tokenizerFile = "tokenizer_config.json"
	momentsFile   = "optimizer-00000-of-00001.safetensors"
	stateFile     = "trainer.json"
)

// state is trainer.json: where training stands, and what must not change when it goes on.
type state struct {
	Step        int    `json:"step"`
	Samples     int64  `json:"samples"` // sequences used, those of skipped updates too: the position in the data
	Epoch       int    `json:"epoch"`
	GlobalBatch int    `json:"global_batch"`
	Seed        uint64 `json:"seed"`
	optim.Schedule
	Optimizer  optim.Options `json:"optimizer"`
	Scaler     *optim.Scaler `json:"scaler"`
	FileOrder  bool          `json:"file_order"`
	Dropout    bool          `json:"dropout"`
	Precision  string        `json:"precision,omitempty"` // "fp32", "bf16" or "fp16"; may change at a resume
	Rows       []int         `json:"rows"`                // of each training file, in name order
	Seq        int           `json:"sequence_length"`
	Vocabulary string        `json:"vocabulary_sha256,omitempty"`
	Data       string        `json:"data_sha256,omitempty"` // of the files' hashes, where the data has a manifest
}

func (t *Trainer) state() state {
	samples := t.batches() * int64(t.opt.GlobalBatch)
	epoch := 0
	if samples > 0 {
		_, _, epoch = t.order.At(samples - 1)
	}
	return state{Step: t.step, Samples: samples, Epoch: epoch, GlobalBatch: t.opt.GlobalBatch, Seed: t.opt.Seed,
		Schedule: t.schedule, Optimizer: t.opt.Optimizer, Scaler: t.scaler, FileOrder: t.opt.FileOrder, Dropout: t.dropout, Precision: t.precision(), Rows: t.set.Rows, Seq: t.set.Seq, Vocabulary: t.set.VocabSHA256, Data: t.set.SHA256()}
}

// save writes the checkpoint of the current update. Rank 0 writes, the others give it their part of the moments, go on and meet it at the
// next collective.
func (t *Trainer) save() error {
	if t.comm.Rank() != 0 {
		t.saved = t.step
		return t.sendMoments()
	}
	if err := t.checkWeights(); err != nil {
		return fmt.Errorf("save step %d: %w", t.step, err)
	}
	if err := t.metrics.file.Sync(); err != nil { // a checkpoint that outlives a power failure must not be ahead of its metrics
		return fmt.Errorf("save step %d: %w", t.step, stream.DiskFull(err))
	}
	draft, err := ckpt.Begin(t.opt.Out, t.step)
	if err != nil {
		return fmt.Errorf("save step %d: %w", t.step, err)
	}
	if err := t.writeParts(draft); err != nil {
		return errors.Join(fmt.Errorf("save step %d: %w", t.step, err), draft.Discard())
	}
	if err := draft.Commit(); err != nil {
		return errors.Join(fmt.Errorf("save step %d: %w", t.step, err), draft.Discard())
	}
	if t.saved = t.step; t.opt.Keep > 0 {
		return ckpt.Prune(t.opt.Out, t.step, t.opt.Keep)
	}
	return nil
}

func (t *Trainer) writeParts(d *ckpt.Draft) error {
	weights := t.host(t.model.Weights)
	if err := t.stream.Err(); err != nil {
		return err
	}
	var model []ckpt.Entry
	for _, p := range t.model.Params {
		model = append(model, ckpt.Entry{Name: p.Name, Shape: p.Shape, Values: weights[p.Offset : p.Offset+p.Len]})
	}
	if err := ckpt.Write(d.Path(modelFile), model, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	if err := ckpt.Write(d.Path(momentsFile), t.moments(), nil); err != nil {
		return err
	}
	if err := stream.WriteFile(d.Path(configFile), t.model.Config.JSON()); err != nil {
		return err
	}
	if t.set.VocabPath != "" {
		vocab, err := os.ReadFile(t.set.VocabPath)
		if err != nil {
			return err
		}
		if err := stream.WriteFile(d.Path(vocabFile), vocab); err != nil {
			return err
		}
	}
	if t.set.Manifest != nil { // Hugging Face's tokenizer lower-cases where nobody says otherwise
		text := fmt.Appendf(nil, "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": %t}\n", t.set.Manifest.Options.LowerCase)
		if err := stream.WriteFile(d.Path(tokenizerFile), text); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(t.state(), "", " ")
	if err != nil {
		return err
	}
	return stream.WriteFile(d.Path(stateFile), append(text, '\n'))
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

// resume loads everything from a checkpoint of this run.
func (t *Trainer) resume(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return err
	}
	var was state
	if err := json.Unmarshal(text, &was); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(dir, stateFile), err)
	}
	shape, err := bert.ReadConfig(filepath.Join(dir, configFile))
	if err != nil {
		return err
	}
	if change := cmp.Or(t.change(was), shape.Change(t.model.Config)); change != "" {
		return fault.WithHint(fmt.Errorf("resume from %s: its %s", dir, change),
			"give the options of the first run, or another output folder (with --init %s to start from its weights)", dir)
	}
	if now := t.precision(); was.Precision != "" && was.Precision != now {
		t.opt.Warn("%s was trained in %s, going on in %s", dir, was.Precision, now)
	}
	missing, err := t.loadWeights(dir)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("resume from %s: no %s", dir, strings.Join(missing, ", "))
	}
	t.step, t.saved = was.Step, was.Step
	if was.Scaler != nil {
		t.scaler.Restore(*was.Scaler)
	}
	return t.loadMoments(dir)
}

// change tells in what today's options would make another run of it: "seed was 1, now it is 2"; "" when in nothing.
func (t *Trainer) change(was state) string {
	now := t.state()
	for _, c := range []struct {
		what     string
		was, now any
	}{
		{"global batch", was.GlobalBatch, now.GlobalBatch}, {"seed", was.Seed, now.Seed}, {"steps", was.Steps, now.Steps},
		{"learning rate", was.Base, now.Base}, {"warm-up", was.Warmup, now.Warmup}, {"schedule", was.Name, now.Name}, {"degree of the schedule", was.Degree, now.Degree},
		{"optimizer", was.Optimizer, now.Optimizer}, {"file order", was.FileOrder, now.FileOrder},
		{"dropout", was.Dropout, now.Dropout}, {"vocabulary", was.Vocabulary, now.Vocabulary}, {"sequence length", was.Seq, now.Seq},
		{"number of training files", len(was.Rows), len(now.Rows)},
	} {
		if c.was != c.now {
			return fmt.Sprintf("%s was %v, now it is %v", c.what, c.was, c.now)
		}
	}
	for i, rows := range now.Rows {
		if was.Rows[i] != rows {
			return fmt.Sprintf("training file %s had %d rows, now it has %d", filepath.Base(t.set.Files[i]), was.Rows[i], rows)
		}
	}
	if was.Data != now.Data {
		return "training data was other than now: same sizes, other contents"
	}
	return ""
}

// initFrom starts a new run from a checkpoint of any kind that ckpt.Open knows: its weights, and its moments where it has them; the update count is 0.
func (t *Trainer) initFrom(path string) error {
	if err := t.sameVocabulary(ckpt.Folder(path)); err != nil {
		return err
	}
	missing, err := t.loadWeights(path)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		t.opt.Warn("%s: no %s: they start from random values", path, strings.Join(missing, ", "))
	}
	if t.opt.ResetMoments {
		return nil
	}
	if err := t.loadMoments(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fault.WithHint(err, "--reset-optimizer starts from the weights alone")
	}
	return nil
}

// sameVocabulary refuses weights whose tokens mean something else. Folders and data without a vocabulary cannot be compared.
func (t *Trainer) sameVocabulary(dir string) error {
	hash, _, err := stream.SHA256(context.Background(), filepath.Join(dir, vocabFile))
	if errors.Is(err, os.ErrNotExist) || t.set.VocabSHA256 == "" {
		return nil
	}
	if err == nil && hash != t.set.VocabSHA256 {
		err = fault.WithHint(fmt.Errorf("start from %s: its %s is another vocabulary than the data's (SHA-256 %.12s, not %.12s)", dir, vocabFile, hash, t.set.VocabSHA256),
			"make the shards with mkpretrain --vocab %s", filepath.Join(dir, vocabFile))
	}
	return err
}

// loadWeights returns the parameters that the file has not.
func (t *Trainer) loadWeights(path string) (missing []string, err error) {
	f, err := ckpt.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
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
