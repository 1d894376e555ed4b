package bert

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
)

// Config is a model's shape, with the names of Hugging Face's config.json.
type Config struct {
	VocabSize                 int // 0: not said, it comes from the data
	HiddenSize                int
	NumHiddenLayers           int
	NumAttentionHeads         int
	IntermediateSize          int
	HiddenAct                 string // "gelu", in its exact (erf) form
	HiddenDropoutProb         float64
	AttentionProbsDropoutProb float64
	MaxPositionEmbeddings     int
	TypeVocabSize             int
	InitializerRange          float64
	LayerNormEps              float64

	Other map[string]json.RawMessage // keys that this package does not know; kept when written
}

// DefaultConfig is what keys that a file leaves out stand for: BERT base.
func DefaultConfig() *Config {
	return &Config{
		HiddenSize: 768, NumHiddenLayers: 12, NumAttentionHeads: 12, IntermediateSize: 3072, HiddenAct: "gelu",
		HiddenDropoutProb: 0.1, AttentionProbsDropoutProb: 0.1, MaxPositionEmbeddings: 512, TypeVocabSize: 2,
		InitializerRange: 0.02, LayerNormEps: 1e-12,
	}
}

type field struct {
	key   string
	value any // pointer to the field
}

func (c *Config) fields() []field {
	return []field{
		{"vocab_size", &c.VocabSize},
		{"hidden_size", &c.HiddenSize},
		{"num_hidden_layers", &c.NumHiddenLayers},
		{"num_attention_heads", &c.NumAttentionHeads},
		{"intermediate_size", &c.IntermediateSize},
		{"hidden_act", &c.HiddenAct},
		{"hidden_dropout_prob", &c.HiddenDropoutProb},
		{"attention_probs_dropout_prob", &c.AttentionProbsDropoutProb},
		{"max_position_embeddings", &c.MaxPositionEmbeddings},
		{"type_vocab_size", &c.TypeVocabSize},
		{"initializer_range", &c.InitializerRange},
		{"layer_norm_eps", &c.LayerNormEps},
	}
}

// ReadConfig reads and checks a config.json. Errors name the file and the key.
func ReadConfig(name string) (*Config, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read model shape: %w", err)
	}
	c, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("read model shape %s: %w", name, err)
	}
	return c, nil
}

// parseConfig reads and checks the contents of a config.json.
func parseConfig(data []byte) (*Config, error) {
	c := DefaultConfig()
	if err := json.Unmarshal(data, &c.Other); err != nil {
		return nil, err
	}
	if c.Other == nil {
		return nil, errors.New("not a JSON object")
	}
	for _, f := range c.fields() {
		raw, ok := c.Other[f.key]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, f.value); err != nil {
			return nil, fmt.Errorf("%s: %w", f.key, err)
		}
		delete(c.Other, f.key)
	}
	if err := errors.Join(c.Check(), c.only("model_type", "bert"), c.only("position_embedding_type", "absolute")); err != nil {
		return nil, err
	}
	return c, nil
}

// only refuses a key of other models that would change the arithmetic.
func (c *Config) only(key, value string) error {
	var got string
	if raw, ok := c.Other[key]; ok && (json.Unmarshal(raw, &got) != nil || got != value) {
		return fmt.Errorf("%s: %s is not supported, only %q", key, raw, value)
	}
	return nil
}

// maxLayers keeps a layer's dropout sites below that of the embeddings.
const maxLayers = (embeddingSite - 2) / 4

// Check tells what is wrong with a shape. A vocabulary size of 0 is right: it is not known yet.
func (c *Config) Check() error {
	sizes := []struct {
		key             string
		value, min, max int
	}{
		{"vocab_size", c.VocabSize, 0, 1 << 30},
		{"hidden_size", c.HiddenSize, 1, 1 << 20},
		{"num_hidden_layers", c.NumHiddenLayers, 1, maxLayers},
		{"num_attention_heads", c.NumAttentionHeads, 1, 1 << 15},
		{"intermediate_size", c.IntermediateSize, 1, 1 << 24},
		{"max_position_embeddings", c.MaxPositionEmbeddings, 1, 1 << 16},
		{"type_vocab_size", c.TypeVocabSize, 1, 1 << 20},
	}
	for _, s := range sizes {
		if s.value < s.min || s.value > s.max {
			return fmt.Errorf("%s: %d is not between %d and %d", s.key, s.value, s.min, s.max)
		}
	}
	if c.HiddenSize%c.NumAttentionHeads != 0 {
		return fmt.Errorf("num_attention_heads: The hidden size (%d) is not a multiple of the number of attention heads (%d)", c.HiddenSize, c.NumAttentionHeads)
	}
	if c.HiddenAct != "gelu" {
		return fmt.Errorf("hidden_act: %q is not supported, only \"gelu\" (the exact form)", c.HiddenAct)
	}
	for _, p := range []struct {
		key   string
		value float64
	}{{"hidden_dropout_prob", c.HiddenDropoutProb}, {"attention_probs_dropout_prob", c.AttentionProbsDropoutProb}} {
		if !(p.value >= 0 && p.value < 1) {
			return fmt.Errorf("%s: %v is not a probability below 1", p.key, p.value)
		}
	}
	if !(c.InitializerRange >= 0) {
		return fmt.Errorf("initializer_range: %v is negative", c.InitializerRange)
	}
	if !(c.LayerNormEps > 0) {
		return fmt.Errorf("layer_norm_eps: %v is not above 0", c.LayerNormEps)
	}
	return nil
}

// Change tells the first key that has another value in now: "hidden_size was 768, now it is 512"; "" when none has. Keys that this package
// does not know are not compared.
func (c *Config) Change(now *Config) string {
	fields := now.fields()
	for i, f := range c.fields() {
		a, b := reflect.ValueOf(f.value).Elem(), reflect.ValueOf(fields[i].value).Elem()
		if !a.Equal(b) {
			return fmt.Sprintf("%s was %v, now it is %v", f.key, a, b)
		}
	}
	return ""
}

// JSON returns the shape as Hugging Face's config.json, unknown keys as they were read; vocab_size is left out while it is unknown.
func (c *Config) JSON() []byte {
	keys := map[string]any{
		"architectures": []string{"BertForPreTraining"},
		"model_type":    "bert",
		"pad_token_id":  0,
	}
	for key, raw := range c.Other {
		keys[key] = raw
	}
	for _, f := range c.fields() {
		if f.key != "vocab_size" || c.VocabSize > 0 {
			keys[f.key] = f.value
		}
	}
	data, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		panic(err) // numbers, strings and what was valid JSON when it was read
	}
	return append(data, '\n')
}

// Clone returns an independent copy.
func (c *Config) Clone() *Config {
	d := *c
	d.Other = make(map[string]json.RawMessage, len(c.Other))
	for key, raw := range c.Other {
		d.Other[key] = slices.Clone(raw)
	}
	return &d
}

// FLOPs returns the floating-point operations of a training step, three times those of the forward pass; recomputation is not counted, and
// the last layer counts whole, though it computes nothing for the rows that no head reads.
// sumLengthSquared is the sum over the sequences of their squared lengths.
func (c *Config) FLOPs(tokens int, sumLengthSquared int64, masked, sequences int) float64 {
	h, i, v := float64(c.HiddenSize), float64(c.IntermediateSize), float64(c.VocabSize)
	layer := (8*h*h+4*h*i)*float64(tokens) + 4*h*float64(sumLengthSquared)
	forward := float64(c.NumHiddenLayers)*layer + 2*float64(masked)*(h*h+h*v) + 2*float64(sequences)*(h*h+2*h)
	return 3 * forward
}
