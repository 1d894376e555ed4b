package bert

import (
	"fmt"
	"slices"
	"strings"

	"hpcbert/kernels"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/fault"
)

// Loaded tells what a file gave.
type Loaded struct {
	Missing     []string // parameters of the model that the file has not; they keep their values
	Unknown     []string // tensors of the file that are no parameters
	DroppedRows int      // rows of the vocabulary beyond the model's
}

// Get returns a tensor of a file: its values in C order and its shape.
type Get func(name string) (values []float32, shape []int, err error)

// LoadFile loads the weights from an open safetensors file.
func (m *Model) LoadFile(f *ckpt.File) (Loaded, error) {
	loaded, err := m.Load(f.Names(), func(name string) ([]float32, []int, error) {
		values, err := f.Float32(name)
		return values, f.Tensor(name).Shape, err
	})
	if err != nil {
		return loaded, fmt.Errorf("load %s: %w", f.Name, err)
	}
	return loaded, nil
}

// Load sets the weights from a file with tensors of the given names. Names may be Hugging Face's, with or without "bert." before those of
// the encoder, NVIDIA's (dense_act) and the older gamma and beta. Rows beyond the vocabulary are dropped. On an error the weights are a
// mixture.
func (m *Model) Load(names []string, get Get) (Loaded, error) {
	var loaded Loaded
	source := map[string]string{}
	for _, name := range names {
		p := m.canonical(name)
		if _, ok := m.index[p]; !ok {
			if !isCopy(p) {
				loaded.Unknown = append(loaded.Unknown, name)
			}
			continue
		}
		if other, twice := source[p]; twice {
			return loaded, fmt.Errorf("tensors %q and %q are both the parameter %s", other, name, p)
		}
		source[p] = name
	}
	for _, p := range m.Params {
		name, ok := source[p.Name]
		if !ok {
			loaded.Missing = append(loaded.Missing, p.Name)
			continue
		}
		values, shape, err := get(name)
		if err != nil {
			return loaded, err
		}
		if values, err = fit(values, shape, p, name, &loaded.DroppedRows); err != nil {
			return loaded, err
		}
		kernels.Upload(m.s, m.Weight(p.Name), values)
	}
	m.Refresh()
	return loaded, m.s.Synchronize()
}

var renamed = strings.NewReplacer("dense_act.", "dense.", "LayerNorm.gamma", "LayerNorm.weight", "LayerNorm.beta", "LayerNorm.bias")

// canonical returns the model's name for a tensor's.
func (m *Model) canonical(name string) string {
	name = renamed.Replace(strings.TrimPrefix(name, "module."))
	for _, part := range []string{"embeddings.", "encoder.", "pooler."} {
		if strings.HasPrefix(name, part) {
			return "bert." + name
		}
	}
	return name
}

// isCopy tells of tensors that files hold beside the parameter that they are a copy of, or that count positions.
func isCopy(name string) bool {
	return slices.Contains([]string{"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "bert.embeddings.position_ids"}, name)
}

// fit checks a tensor's shape and drops the vocabulary's rows beyond the model's.
func fit(values []float32, shape []int, p Param, name string, dropped *int) ([]float32, error) {
	if slices.Equal(shape, p.Shape) && len(values) == p.Len {
		return values, nil
	}
	if ofVocabulary(p.Name) && len(shape) == len(p.Shape) && shape[0] > p.Shape[0] && slices.Equal(shape[1:], p.Shape[1:]) && len(values) > p.Len {
		*dropped = max(*dropped, shape[0]-p.Shape[0])
		return values[:p.Len], nil
	}
	err := fmt.Errorf("tensor %q has the shape %v, the model's %s is %v", name, shape, p.Name, p.Shape)
	return nil, fault.WithHint(err, "the model's shape must be that of the file: compare its config.json")
}

func ofVocabulary(name string) bool {
	return name == "bert.embeddings.word_embeddings.weight" || name == "cls.predictions.bias"
}
