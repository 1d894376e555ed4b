package train

import (
	"context"

	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
)

// Task is what a model is trained for: its heads and their targets, the data and their order. Methods have no collective in them, but for
// ConstantLoss, and are a function of what all ranks have in common.
type Task interface {
	Name() string                            // as metrics.jsonl has it
	Heads() (mode bert.Mode, of []bert.Head) // what the model has beside its encoder
	Params(cfg *bert.Config) []bert.Param    // of a model with these heads
	Limits(micro int) bert.Limits            // the most that a micro-batch of so many sequences holds
	Bytes(global, own int) int64             // memory of the data, where a rank has so many sequences of a global batch
	Sequences() int                          // of an epoch
	Epoch(sample int64) int                  // that the sample with this number is of, counted from 0 through all epochs
	Read(ctx context.Context) Reader         // the samples
	Contents() Contents
	Vocabulary() Vocabulary
	Keys() map[string]any                      // what the first line of metrics.jsonl says of the data
	Count(b *bert.Batch)                       // told of each micro-batch that this rank computes
	ConstantLoss(c comm.Comm) (float64, error) // of the best constant prediction on what was counted; all ranks call it
}

// Reader reads samples in the order of training, for one goroutine.
type Reader interface {
	Fetch(first int64, n int) (Rows, error) // Rows hold until the next call
	Close()
}

// Rows are the sequences of a global batch.
type Rows interface {
	Len() int
	Size(i int) (tokens, masked int)
	Pack(which []int) *bert.Batch // these sequences one behind the other, numbered by their places in the global batch
}

// Contents are what tells data apart in trainer.json: a run goes on with the same alone.
type Contents struct {
	Files      []string `json:"-"`              // names for Rows
	Masking    string   `json:"-"`              // as pretrain.Masking says; "" = there is none
	Head       string   `json:"head,omitempty"` // of a task
	Rows       []int    `json:"rows,omitempty"` // of each training file, in name order
	Seq        int      `json:"sequence_length"`
	Vocabulary string   `json:"vocabulary_sha256,omitempty"`
	Data       string   `json:"data_sha256,omitempty"` // of the files' hashes, where the data has a manifest; of a task's examples
}

// Vocabulary is what the data were made with, as far as it is known; it goes into the checkpoints.
type Vocabulary struct {
	Path, SHA256 string
	LowerCase    *bool  // nil = not known
	Make         string // how to make data with another one, for a hint: ends before its path
}
