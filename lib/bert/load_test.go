package bert

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/lib/ckpt"
)

// fileOf is a checkpoint of the parameters of a shape under changed names; element i of parameter p is p + i/1000. Extra tensors have the
// shape of a parameter.
func fileOf(t *testing.T, params []Param, rename func(string) string, extra ...ckpt.Entry) *ckpt.Source {
	t.Helper()
	var entries []ckpt.Entry
	for p, param := range params {
		e := ckpt.Entry{Name: rename(param.Name), Shape: param.Shape}
		for i := range param.Len {
			e.Values = append(e.Values, float32(p)+float32(i)/1000)
		}
		entries = append(entries, e)
	}
	name := filepath.Join(t.TempDir(), "model.safetensors")
	if err := ckpt.Write(name, append(entries, extra...), nil); err != nil {
		t.Fatal(err)
	}
	s, err := ckpt.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// one is a tensor of one element.
func one(name string) ckpt.Entry {
	return ckpt.Entry{Name: name, Shape: []int{1}, Values: []float32{1}}
}

func TestLoadKnowsTheNamesOfOtherPrograms(t *testing.T) {
	c := goldenConfig()
	wide := *c
	wide.VocabSize = 40 // as the reference pads
	same := func(name string) string { return name }
	for _, e := range []struct {
		name             string
		config           *Config
		rename           func(string) string
		extra            []string
		missing, unknown []string
		dropped          int
	}{
		{"Hugging Face", c, same, []string{"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "bert.embeddings.position_ids"}, nil, nil, 0},
		{"NVIDIA", &wide, strings.NewReplacer("intermediate.dense.", "intermediate.dense_act.", "pooler.dense.", "pooler.dense_act.",
			"transform.dense.", "transform.dense_act.").Replace, []string{"cls.predictions.decoder.weight"}, nil, nil, 8},
		{"old names", c, strings.NewReplacer("LayerNorm.weight", "LayerNorm.gamma", "LayerNorm.bias", "LayerNorm.beta").Replace, nil, nil, nil, 0},
		{"encoder only", c, func(name string) string { return strings.TrimPrefix(name, "bert.") }, []string{"qa_outputs.weight"}, nil, []string{"qa_outputs.weight"}, 0},
	} {
		t.Run(e.name, func(t *testing.T) {
			r := newRig(t, "", 1, c, roomy, PreTraining)
			var extra []ckpt.Entry
			for _, name := range e.extra {
				extra = append(extra, one(name))
			}
			loaded, err := r.LoadFile(fileOf(t, e.config.Params(), e.rename, extra...))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(loaded.Missing, e.missing) || !slices.Equal(loaded.Unknown, e.unknown) || loaded.DroppedRows != e.dropped {
				t.Errorf("loaded %+v", loaded)
			}
			for p, param := range r.Params {
				got := download(t, r.s, r.Weight(param.Name))
				if last := float32(p) + float32(param.Len-1)/1000; got[0] != float32(p) || got[param.Len-1] != last {
					t.Errorf("%s: %v … %v, expected %v … %v", param.Name, got[0], got[param.Len-1], float32(p), last)
				}
			}
		})
	}
}

func TestLoadTellsWhatIsMissing(t *testing.T) {
	r := newRig(t, "", 1, goldenConfig(), roomy, PreTraining)
	loaded, err := r.LoadFile(fileOf(t, goldenConfig().EncoderParams(), func(name string) string { return name }))
	if err != nil || len(loaded.Missing) != 7 || loaded.Missing[0] != "cls.predictions.bias" {
		t.Errorf("%+v, %v", loaded, err)
	}
}

func TestLoadErrorsNameTensorsAndShapes(t *testing.T) {
	c := goldenConfig()
	narrow := *c
	narrow.VocabSize = 30
	deep := *c
	deep.IntermediateSize = 48
	params := c.Params()
	for _, e := range []struct {
		name   string
		params []Param
		extra  []ckpt.Entry
		want   string
	}{
		{"fewer words", narrow.Params(), nil, `"bert.embeddings.word_embeddings.weight" has the shape [30 16], the model's bert.embeddings.word_embeddings.weight is [32 16]`},
		{"other inner size", deep.Params(), nil, `"bert.encoder.layer.0.intermediate.dense.weight" has the shape [48 16]`},
		{"encoder not covered", params[2:], nil, "2 tensors of the encoder are missing: bert.embeddings.word_embeddings.weight, bert.embeddings.position_embeddings.weight"},
		{"another model", nil, []ckpt.Entry{one("lstm.weight")}, "tensors of the encoder are missing: bert.embeddings.word_embeddings.weight, "},
		{"not a number", params[1:], []ckpt.Entry{notFinite(params[0])}, `tensor "bert.embeddings.word_embeddings.weight": element 17 is NaN`},
	} {
		r := newRig(t, "", 1, c, roomy, PreTraining)
		f := fileOf(t, e.params, func(name string) string { return name }, e.extra...)
		if _, err := r.LoadFile(f); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: error %v, expected %q", e.name, err, e.want)
		}
	}
}

func notFinite(p Param) ckpt.Entry {
	e := ckpt.Entry{Name: p.Name, Shape: p.Shape, Values: make([]float32, p.Len)}
	e.Values[17] = float32(math.NaN())
	return e
}

// The weights are those of all-MiniLM-L6-v2; what they give was computed in float64 by another program.
func TestRealWeightsEncodeAsInFloat64(t *testing.T) {
	model, data := os.Getenv("HPCBERT_MINILM"), os.Getenv("HPCBERT_DATA")
	if model == "" || data == "" {
		t.Skip("skipped: HPCBERT_MINILM and HPCBERT_DATA are not set")
	}
	var golden struct {
		Records []struct {
			TextA    string    `json:"text_a"`
			IDs      []int32   `json:"input_ids"`
			Segments []int32   `json:"token_type_ids"`
			First    []float64 `json:"hidden_cls"`
			Last     []float64 `json:"hidden_last"`
			Norms    []float64 `json:"hidden_row_norms"`
			Pooled   []float64 `json:"pooled"`
		} `json:"records"`
	}
	text, err := os.ReadFile(filepath.Join(data, "checkpoints/minilm_l6/encoder_float64.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	config, err := ReadConfig(filepath.Join(model, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "", 2, config, Limits{Tokens: 2048, Sequences: 8}, Encoder|ForwardOnly)
	f, err := ckpt.Open(filepath.Join(model, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if loaded, err := r.LoadFile(f); err != nil || len(loaded.Missing) > 0 || len(loaded.Unknown) > 0 {
		t.Fatalf("%+v, %v", loaded, err)
	}
	b := &Batch{CuSeqlens: []int32{0}}
	for i, record := range golden.Records {
		for p := range record.IDs {
			b.Positions = append(b.Positions, int32(p))
		}
		b.IDs, b.Segments = append(b.IDs, record.IDs...), append(b.Segments, record.Segments...)
		b.CuSeqlens = append(b.CuSeqlens, int32(len(b.IDs)))
		b.Samples = append(b.Samples, int32(i))
	}
	hidden, pooled, err := r.Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	h := config.HiddenSize
	if len(golden.Records) == 0 {
		t.Fatal("no records")
	}
	for i, record := range golden.Records {
		first, last := int(b.CuSeqlens[i]), int(b.CuSeqlens[i+1])-1
		closeRow(t, fmt.Sprintf("text %d, first row", i), hidden[first*h:(first+1)*h], record.First)
		closeRow(t, fmt.Sprintf("text %d, last row", i), hidden[last*h:(last+1)*h], record.Last)
		closeRow(t, fmt.Sprintf("text %d, pooled", i), pooled[i*h:(i+1)*h], record.Pooled)
		if len(record.Norms) != last-first+1 {
			t.Errorf("text %d: %d norms for %d rows", i, len(record.Norms), last-first+1)
			continue
		}
		for j, want := range record.Norms {
			near(t, fmt.Sprintf("text %d, norm of row %d", i, j), norm2(hidden[(first+j)*h:(first+j+1)*h]), want, 2e-5)
		}
	}
}

// closeRow fails where an element is further off than 2e-5 of the row's norm.
func closeRow(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, expected %d", what, len(got), len(want))
		return
	}
	var e, size float64
	for i, v := range want {
		e += math.Pow(float64(got[i])-v, 2)
		size += v * v
	}
	if !(math.Sqrt(e) <= 2e-5*math.Sqrt(size)) {
		t.Errorf("%s: error %.2g of %.2g", what, math.Sqrt(e), math.Sqrt(size))
	}
	t.Logf("%s: relative error %.2g", what, math.Sqrt(e/size))
}

func TestLoadTaskHeads(t *testing.T) {
	c := goldenConfig()
	encoder := len(c.EncoderParams())
	for _, e := range []struct {
		name           string
		from, to       Head
		missing, other []string
	}{
		{"the same task", Head{Classifier, 3}, Head{Classifier, 3}, nil, nil},
		{"as many outputs of another kind", Head{Span, 2}, Head{Classifier, 2}, []string{"classifier.weight", "classifier.bias"}, nil},
		{"other classes", Head{Classifier, 2}, Head{Classifier, 3}, []string{"classifier.weight", "classifier.bias"}, []string{"classifier.weight", "classifier.bias"}},
	} {
		r := newRig(t, "", 1, c, roomy, Encoder, e.to)
		r.Init(4)
		name := r.Params[encoder].Name
		random := download(t, r.s, r.Weight(name))
		loaded, err := r.LoadFile(fileOf(t, c.TaskParams(e.from), func(name string) string { return name }))
		if err != nil || !slices.Equal(loaded.Missing, e.missing) || !slices.Equal(loaded.Other, e.other) {
			t.Errorf("%s: %+v, %v", e.name, loaded, err)
		}
		got := download(t, r.s, r.Weight(name))
		if e.missing != nil && !slices.Equal(got, random) || e.missing == nil && got[0] != float32(encoder) {
			t.Errorf("%s: the head's weights are %v…, at random %v…", e.name, got[0], random[0])
		}
		if word := download(t, r.s, r.Weight(r.Params[2].Name)); word[0] != 2 {
			t.Errorf("%s: the encoder was not loaded", e.name)
		}
	}
}
