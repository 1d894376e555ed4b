package bert

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParameterCountsOfTheReference(t *testing.T) {
	base := DefaultConfig()
	large := DefaultConfig()
	large.HiddenSize, large.NumHiddenLayers, large.NumAttentionHeads, large.IntermediateSize = 1024, 24, 16, 4096
	for _, c := range []struct {
		name                               string
		config                             *Config
		tensors, total, decayed, undecayed int
	}{
		{"base", base, 206, 110111042, 0, 0},
		{"large", large, 398, 336232258, 335876096, 356162},
	} {
		c.config.VocabSize = 30528 // as the reference pads it
		params := c.config.Params()
		sums := map[bool]int{}
		end := 0
		for _, p := range params {
			sums[p.Decay] += p.Len
			if p.Offset%Align != 0 || p.Offset < end {
				t.Errorf("%s: %s starts at %d, the one before ends at %d", c.name, p.Name, p.Offset, end)
			}
			end = p.Offset + p.Len
		}
		if len(params) != c.tensors || sums[true]+sums[false] != c.total {
			t.Errorf("%s: %d tensors of %d values, expected %d of %d", c.name, len(params), sums[true]+sums[false], c.tensors, c.total)
		}
		if c.decayed > 0 && (sums[true] != c.decayed || sums[false] != c.undecayed) {
			t.Errorf("%s: %d values decay, %d do not, expected %d, %d", c.name, sums[true], sums[false], c.decayed, c.undecayed)
		}
		if c.config.ArenaLen() < end || c.config.ArenaLen()%Align != 0 {
			t.Errorf("%s: arena of %d for %d", c.name, c.config.ArenaLen(), end)
		}
	}
}

func TestConfigDefaultsAndUnknownKeys(t *testing.T) {
	c, err := parseConfig([]byte(`{"hidden_size": 1024, "num_attention_heads": 16, "output_all_encoded_layers": false, "x": {"b": [1, 2]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.HiddenSize != 1024 || c.NumHiddenLayers != 12 || c.IntermediateSize != 3072 || c.VocabSize != 0 || c.LayerNormEps != 1e-12 {
		t.Errorf("got %+v", c)
	}
	var back map[string]any
	if err := json.Unmarshal(c.JSON(), &back); err != nil {
		t.Fatal(err)
	}
	if _, ok := back["vocab_size"]; ok {
		t.Error("vocab_size is written though it is unknown")
	}
	for key, want := range map[string]any{"output_all_encoded_layers": false, "hidden_size": 1024.0, "model_type": "bert", "num_hidden_layers": 12.0} {
		if back[key] != want {
			t.Errorf("%s: %v, expected %v", key, back[key], want)
		}
	}
	if back["x"].(map[string]any)["b"].([]any)[1] != 2.0 {
		t.Errorf("unknown key x came back as %v", back["x"])
	}
	again, err := parseConfig(c.JSON())
	if err != nil || string(again.JSON()) != string(c.JSON()) {
		t.Errorf("written, read and written again it differs: %v", err)
	}
}

func TestConfigErrorsNameFileAndKey(t *testing.T) {
	for _, c := range []struct{ name, json, want string }{
		{"heads do not divide", `{"hidden_size": 100, "num_attention_heads": 12}`, "The hidden size (100) is not a multiple of the number of attention heads (12)"},
		{"other activation", `{"hidden_act": "relu"}`, "hidden_act"},
		{"text for a number", `{"hidden_size": "big"}`, "hidden_size"},
		{"fraction for a count", `{"num_hidden_layers": 1.5}`, "num_hidden_layers"},
		{"no layers", `{"num_hidden_layers": 0}`, "num_hidden_layers"},
		{"negative vocabulary", `{"vocab_size": -1}`, "vocab_size"},
		{"certain dropout", `{"hidden_dropout_prob": 1}`, "hidden_dropout_prob"},
		{"another model", `{"model_type": "roberta"}`, "model_type"},
		{"relative positions", `{"position_embedding_type": "relative_key"}`, "position_embedding_type"},
		{"truncated", `{"hidden_size": `, "unexpected end"},
		{"not an object", `null`, "object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(name, []byte(c.json), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := ReadConfig(name)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v, expected the file's name and %q", err, c.want)
			}
		})
	}
	if _, err := ReadConfig(filepath.Join(t.TempDir(), "absent.json")); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestFLOPsOfBaseByHand(t *testing.T) {
	c := DefaultConfig()
	c.VocabSize = 30522
	const tokens, masked, sequences = 2 * 128, 40, 2
	forward := 12.0*(24*768*768*tokens+4*768*2*128*128) + 2*masked*(768*768+768*30522) + 2*sequences*(768*768+2*768)
	if got := c.FLOPs(tokens, 2*128*128, masked, sequences); got != 3*forward {
		t.Errorf("%g, expected %g", got, 3*forward)
	}
}

func TestShippedShapesAreRead(t *testing.T) {
	names, err := filepath.Glob("../../configs/model/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d shapes: %v", len(names), err)
	}
	for _, name := range names {
		if _, err := ReadConfig(name); err != nil {
			t.Error(err)
		}
	}
}
