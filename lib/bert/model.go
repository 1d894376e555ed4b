// Package bert is BERT (Devlin et al. 2018) as a list of kernel calls: forward, explicit backward, initial values, loading.
//
// A Model works on micro-batches of packed sequences (Batch). Its weights and gradients are two flat arenas in the order of Params; all
// memory is planned by New and nothing is allocated inside a step but what the results hold. A Model and its stream belong to one goroutine
// at a time. Shapes in comments: T tokens, B sequences, M masked rows, H hidden, I intermediate, V vocabulary, P the vocabulary padded.
package bert

import (
	"errors"
	"fmt"

	"hpcbert/kernels"
)

// Mode says what a model has beside its encoder and pooler, whether it learns, and how it computes.
type Mode int

// What can be joined with |.
const (
	Encoder               Mode = 0
	PreTraining           Mode = 1 << 0 // the MLM and NSP heads
	ForwardOnly           Mode = 1 << 1 // no gradients: no memory for the backward pass
	CheckpointActivations Mode = 1 << 2 // keep the layers' inputs alone and compute the rest again in the backward pass (Chen et al. 2016): the same bits
	BFloat16              Mode = 1 << 3 // activations, their gradients and the products' weights in bfloat16; everything else stays float32
	Float16               Mode = 1 << 4 // the same in IEEE half precision, whose range is small: see Objective.LossScale
)

// DType returns the type of activations.
func (m Mode) DType() kernels.DType {
	switch {
	case m&BFloat16 != 0:
		return kernels.BFloat16
	case m&Float16 != 0:
		return kernels.Float16
	}
	return kernels.Float32
}

// vocabularyAlign is what the decoder's columns are padded to; only buffers see the padding.
const vocabularyAlign = 64

// Model is a BERT on a device.
type Model struct {
	Config    *Config
	Params    []Param
	Weights   kernels.Tensor // arena, see Params; call Refresh after changing it
	Gradients kernels.Tensor // arena of the same layout; none with ForwardOnly

	dev    *kernels.Device
	s      *kernels.Stream
	limits Limits
	mode   Mode
	dtype  kernels.DType  // of activations, their gradients and packed weights
	index  map[string]int // of Params, by name
	owned  []kernels.Tensor

	word, position, segment table
	embeddingNorm           norm
	layers                  []layer
	pooler                  dense
	mlm                     *mlmHead // nil without pre-training heads
	nsp                     *nspHead
	task                    *taskHead // nil without the head of a task

	run     run
	scratch scratch
}

// New makes a model for micro-batches within the limits, on one stream of the device. Its weights are 0: call Init or Load. For a task it has
// a head beside the encoder.
func New(dev *kernels.Device, s *kernels.Stream, cfg *Config, lim Limits, mode Mode, task ...Head) (*Model, error) {
	m, err := outline(dev, cfg, lim, mode, task)
	if err != nil {
		return nil, err
	}
	m.s = s
	if err := m.allocate(); err != nil {
		m.Close()
		return nil, fmt.Errorf("model of %d parameters: %w", m.Parameters(), err)
	}
	return m, nil
}

// outline is a model without memory.
func outline(dev *kernels.Device, cfg *Config, lim Limits, mode Mode, task []Head) (*Model, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("model shape: %w", err)
	}
	if cfg.VocabSize == 0 {
		return nil, errors.New("model shape: vocab_size is not known: give a vocabulary or data that has one")
	}
	if lim.Tokens < 1 || lim.Sequences < 1 || lim.Masked < 0 {
		return nil, fmt.Errorf("model: limits of %d tokens, %d sequences, %d masked rows", lim.Tokens, lim.Sequences, lim.Masked)
	}
	if mode&BFloat16 != 0 && mode&Float16 != 0 {
		return nil, errors.New("model: activations in two types")
	}
	m := &Model{Config: cfg.Clone(), dev: dev, limits: lim, mode: mode, dtype: mode.DType(), index: map[string]int{}}
	if m.dtype != kernels.Float32 && cfg.HiddenSize%2 == 1 { // queries, keys and values are packed side by side
		return nil, fmt.Errorf("model shape: hidden_size: %d is odd: in %s it must be even", cfg.HiddenSize, m.dtype)
	}
	if dev.PackedLen(1, 1, m.dtype) == 0 {
		return nil, fmt.Errorf("model: device %s, type %s: %w", dev.Name(), m.dtype, kernels.ErrUnsupported)
	}
	return m, m.listParams(task)
}

func (m *Model) listParams(task []Head) error {
	switch {
	case len(task) > 1 || len(task) == 1 && m.mode&PreTraining != 0:
		return errors.New("model: heads of two tasks")
	case len(task) == 1:
		if err := task[0].Check(); err != nil {
			return fmt.Errorf("model: %w", err)
		}
		m.Params, m.task = m.Config.TaskParams(task[0]), &taskHead{Head: task[0]}
	case m.mode&PreTraining != 0:
		m.Params = m.Config.Params()
	default:
		m.Params = m.Config.EncoderParams()
	}
	for i, p := range m.Params {
		m.index[p.Name] = i
	}
	return nil
}

// Close releases the model's memory.
func (m *Model) Close() {
	for _, t := range m.owned {
		m.dev.Free(t)
	}
	m.owned = nil
}

// Limits are those of the model's micro-batches.
func (m *Model) Limits() Limits { return m.limits }

// Parameters returns the number of trained values, without the gaps of the arena.
func (m *Model) Parameters() int {
	n := 0
	for _, p := range m.Params {
		n += p.Len
	}
	return n
}

// Offsets returns where each parameter starts in the arenas and, last, their length: what the optimiser's operations read. A gap after a
// parameter counts as its own; it is zero and stays so.
func (m *Model) Offsets() []int64 {
	offsets := make([]int64, 0, len(m.Params)+1)
	for _, p := range m.Params {
		offsets = append(offsets, int64(p.Offset))
	}
	return append(offsets, int64(ArenaLen(m.Params)))
}

// Decays tells for each parameter whether weight decay and trust ratio apply.
func (m *Model) Decays() []bool {
	decays := make([]bool, len(m.Params))
	for i, p := range m.Params {
		decays[i] = p.Decay
	}
	return decays
}

// Weight returns the weights of the parameter of that name; none when there is no such parameter.
func (m *Model) Weight(name string) kernels.Tensor { return m.slice(m.Weights, name) }

// gradient returns the gradient of the parameter of that name.
func (m *Model) gradient(name string) kernels.Tensor { return m.slice(m.Gradients, name) }

func (m *Model) slice(arena kernels.Tensor, name string) kernels.Tensor {
	i, ok := m.index[name]
	if !ok || arena.IsZero() {
		return kernels.Tensor{}
	}
	p := m.Params[i]
	return arena.Slice(p.Offset, p.Offset+p.Len)
}

// ZeroGradients clears the gradients before the first micro-batch of a step.
func (m *Model) ZeroGradients() { m.s.Zero(m.Gradients) }

func (m *Model) trains() bool { return m.mode&ForwardOnly == 0 }

func (m *Model) recomputes() bool { return m.trains() && m.mode&CheckpointActivations != 0 }
