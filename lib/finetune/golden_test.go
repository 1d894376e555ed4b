package finetune

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/comm"
	"hpcbert/lib/glue"
	"hpcbert/lib/optim"
	"hpcbert/lib/wordpiece"
)

// The goldens are torch's, on the weights of a real BERT of six layers; HPCBERT_DATA/checkpoints/minilm_l6 says how they were made.
func goldens(t *testing.T) (data, minilm string) {
	t.Helper()
	data, minilm = os.Getenv("HPCBERT_DATA"), os.Getenv("HPCBERT_MINILM")
	switch {
	case data == "":
		t.Skip("skipped: HPCBERT_DATA is not set")
	case minilm == "":
		t.Skip("skipped: HPCBERT_MINILM is not set")
	}
	return data, minilm
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// withHead is a checkpoint of the encoder of one file and the head of another.
func withHead(t *testing.T, encoder, head string) string {
	t.Helper()
	var entries []ckpt.Entry
	for _, path := range []string{encoder, head} {
		f, err := ckpt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, name := range f.Names() {
			if !ckpt.IsCopy(name) {
				entries = append(entries, ckpt.Entry{Name: name, Shape: f.Tensor(name).Shape, Read: func(values []float32) error { return f.ReadFloat32(name, values) }})
			}
		}
	}
	dir := t.TempDir()
	if err := ckpt.Write(filepath.Join(dir, "model.safetensors"), entries, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// goldenOptions are those of the trajectories.
func goldenOptions(t *testing.T, init string) Options {
	o := options(t.TempDir())
	o.Init, o.FileOrder, o.SaveNothing = init, true, true
	o.Optimizer.Name = "adamw"
	o.Schedule = optim.Schedule{Name: "constant", Base: 5e-5}
	return o
}

func minilmConfig(t *testing.T, minilm string, dropout float64) *bert.Config {
	t.Helper()
	cfg, err := bert.FindConfig(minilm)
	if err != nil {
		t.Fatal(err)
	}
	cfg.HiddenDropoutProb, cfg.AttentionProbsDropoutProb = dropout, dropout
	return cfg
}

// follow trains along a trajectory and predicts.
func follow(t *testing.T, o Options, cfg *bert.Config, head Head, examples, dev []Example, steps, norms []float64) [][]float32 {
	t.Helper()
	tuner, err := New(o, cfg, head, open(t, 2), comm.Single("here"))
	if err != nil {
		t.Fatal(err)
	}
	defer tuner.Close()
	if _, err := tuner.Train(t.Context(), examples, never); err != nil {
		t.Fatal(err)
	}
	got := losses(t, o.Out)
	if len(got) != 2*len(steps) {
		t.Fatalf("%d losses and norms of %d steps", len(got), len(steps))
	}
	var worst [2]float64
	for i := range steps {
		for j, want := range []float64{steps[i], norms[i]} {
			e := math.Abs(got[2*i+j]-want) / want
			if worst[j] = max(worst[j], e); !(e <= 1e-4) {
				t.Errorf("step %d: %s %.7g, expected %.7g: off by %.1e of it", i+1, []string{"loss", "gradient norm"}[j], got[2*i+j], want, e)
			}
		}
	}
	t.Logf("largest relative errors: loss %.1e, gradient norm %.1e", worst[0], worst[1])
	logits, err := tuner.Predict(t.Context(), dev)
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

func compareLogits(t *testing.T, got [][]float32, want [][]float64) {
	t.Helper()
	worst, bad := 0.0, 0
	for i := range want {
		if len(got[i]) != len(want[i]) {
			t.Fatalf("example %d: %d logits, expected %d", i, len(got[i]), len(want[i]))
		}
		for j := range want[i] {
			e := math.Abs(float64(got[i][j]) - want[i][j])
			if worst = max(worst, e); !(e <= 1e-3) {
				bad++
			}
		}
	}
	t.Logf("logits differ by at most %.1e", worst)
	if bad > 0 {
		t.Errorf("%d logits differ by more than 1e-3", bad)
	}
}

// trajectories returns the folders of the data, the model and its trajectories, which take minutes to follow.
func trajectories(t *testing.T) (data, minilm, golden string) {
	t.Helper()
	data, minilm = goldens(t)
	if os.Getenv("HPCBERT_SLOW") == "" {
		t.Skip("skipped: HPCBERT_SLOW is not set")
	}
	return data, minilm, filepath.Join(data, "checkpoints/minilm_l6")
}

func TestMRPCTrajectory(t *testing.T) {
	data, minilm, golden := trajectories(t)
	var want struct {
		Loss   []float64   `json:"step_loss"`
		Norm   []float64   `json:"step_gradient_norm_before_clip"`
		Logits [][]float64 `json:"dev_logits"`
	}
	readJSON(t, filepath.Join(golden, "mrpc_trajectory.json"), &want)
	task, err := glue.Find("mrpc")
	if err != nil {
		t.Fatal(err)
	}
	vocabulary, err := os.Open(filepath.Join(minilm, "vocab.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer vocabulary.Close()
	v, err := wordpiece.Load(vocabulary, vocabulary.Name())
	if err != nil {
		t.Fatal(err)
	}
	read := func(split glue.Split) (all []Example) {
		set, err := task.Read(t.Context(), filepath.Join(data, "glue/MRPC", split.File), split)
		if err != nil {
			t.Fatal(err)
		}
		features, _ := glue.Features(wordpiece.New(v, wordpiece.Options{LowerCase: true}), set.Examples, 128)
		for i, f := range features {
			all = append(all, Example{IDs: f.IDs, Second: f.Second, Class: set.Examples[i].Class})
		}
		return all
	}
	o := goldenOptions(t, withHead(t, minilm, filepath.Join(golden, "mrpc_classifier_start.safetensors")))
	o.GlobalBatch, o.MicroBatch, o.MaxSteps = 32, 16, 30
	logits := follow(t, o, minilmConfig(t, minilm, 0), Head{Kind: Classifier, Outputs: 2}, read(task.Train), read(task.Dev[0]), want.Loss, want.Norm)
	compareLogits(t, logits, want.Logits)
}

func TestSQuADTrajectory(t *testing.T) {
	data, minilm, golden := trajectories(t)
	var want struct {
		Loss []float64 `json:"step_loss"`
		Norm []float64 `json:"step_gradient_norm_before_clip"`
		Eval []struct {
			Start []float64 `json:"start_logits"`
			End   []float64 `json:"end_logits"`
		}
	}
	readJSON(t, filepath.Join(golden, "squad_trajectory.json"), &want)
	in, err := os.Open(filepath.Join(data, "squad/features/en_uncased_384_128.features.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sets := map[string][]Example{}
	for d := json.NewDecoder(bufio.NewReader(in)); d.More(); {
		var f struct {
			Mode     string
			IDs      []int32 `json:"input_ids"`
			Segments []int32 `json:"segment_ids"`
			Start    int32   `json:"start_position"`
			End      int32   `json:"end_position"`
		}
		if err := d.Decode(&f); err != nil {
			t.Fatal(err)
		}
		second := 0
		for second < len(f.Segments) && f.Segments[second] == 0 {
			second++
		}
		sets[f.Mode] = append(sets[f.Mode], Example{IDs: f.IDs, Second: second, Start: f.Start, End: f.End})
	}
	o := goldenOptions(t, withHead(t, minilm, filepath.Join(golden, "squad_head_start.safetensors")))
	o.GlobalBatch, o.MicroBatch, o.MaxSteps, o.PredictBatch, o.Pad = 8, 4, 7, 4, 384
	logits := follow(t, o, minilmConfig(t, minilm, 0), Head{Kind: Span, Outputs: 2}, sets["train"][:56], sets["eval"][:len(want.Eval)], want.Loss, want.Norm)
	var both [][]float64
	for _, e := range want.Eval {
		both = append(both, append(e.Start, e.End...))
	}
	compareLogits(t, logits, both)
}

// record is a text of encoder_float64.json.
type record struct {
	IDs      []int32   `json:"input_ids"`
	Segments []int32   `json:"token_type_ids"`
	First    []float64 `json:"hidden_cls"`
	Last     []float64 `json:"hidden_last"`
	Norms    []float64 `json:"hidden_row_norms"`
	Pooled   []float64 `json:"pooled"`
}

// encoded returns of each text the first and the last row, the rows' norms and the pooled vector.
func encoded(t *testing.T, minilm string, mode bert.Mode, texts []record) (out []record) {
	t.Helper()
	dev := open(t, 2)
	s, err := dev.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m, err := bert.New(dev, s, minilmConfig(t, minilm, 0.1), bert.Limits{Tokens: 512, Sequences: 1}, bert.ForwardOnly|mode)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f, err := ckpt.Open(minilm)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := m.LoadFile(f); err != nil {
		t.Fatal(err)
	}
	wide := func(x []float32) (y []float64) {
		for _, v := range x {
			y = append(y, float64(v))
		}
		return y
	}
	for _, text := range texts {
		b := &bert.Batch{IDs: text.IDs, Segments: text.Segments, CuSeqlens: []int32{0, int32(len(text.IDs))}, Samples: []int32{0}}
		for i := range text.IDs {
			b.Positions = append(b.Positions, int32(i))
		}
		hidden, pooled, err := m.Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		h := len(pooled)
		r := record{First: wide(hidden[:h]), Last: wide(hidden[len(hidden)-h:]), Pooled: wide(pooled)}
		for i := 0; i < len(hidden); i += h {
			r.Norms = append(r.Norms, norm(wide(hidden[i:i+h])))
		}
		out = append(out, r)
	}
	return out
}

func norm(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}

// errorsOf returns the errors of the rows and of the pooled vector, relative to their norms, and the largest of the rows' norms.
func errorsOf(got, want record) (errors map[string]float64) {
	row := func(a, b []float64) float64 {
		d := make([]float64, len(b))
		for i := range b {
			d[i] = a[i] - b[i]
		}
		return norm(d) / norm(b)
	}
	errors = map[string]float64{"first row": row(got.First, want.First), "last row": row(got.Last, want.Last), "pooled vector": row(got.Pooled, want.Pooled)}
	for i, n := range want.Norms {
		errors["norms"] = max(errors["norms"], math.Abs(got.Norms[i]-n)/n)
	}
	return errors
}

func TestEncoderOfRealWeights(t *testing.T) {
	data, minilm := goldens(t)
	var want struct{ Records []record }
	readJSON(t, filepath.Join(data, "checkpoints/minilm_l6/encoder_float64.json"), &want)
	for i, got := range encoded(t, minilm, 0, want.Records) {
		for what, e := range errorsOf(got, want.Records[i]) {
			t.Logf("text %d, %s: error %.1e", i+1, what, e)
			if !(e <= 2e-5) {
				t.Errorf("text %d, %s: error %.1e of its norm", i+1, what, e)
			}
		}
	}
}

// torchEncoder is the same computation by PyTorch in bfloat16.
const torchEncoder = `
import json, sys, torch
from transformers import BertModel
model = BertModel.from_pretrained(sys.argv[1], dtype=torch.bfloat16, attn_implementation="eager").eval()
out = []
with torch.no_grad():
    for r in json.load(open(sys.argv[2]))["records"]:
        o = model(input_ids=torch.tensor([r["input_ids"]]), token_type_ids=torch.tensor([r["token_type_ids"]]))
        h = o.last_hidden_state[0].double()
        out.append(dict(hidden_cls=h[0].tolist(), hidden_last=h[-1].tolist(), hidden_row_norms=h.norm(dim=1).tolist(), pooled=o.pooler_output[0].double().tolist()))
json.dump(out, open(sys.argv[3], "w"))
`

// python runs a program where HPCBERT_PYTHON has PyTorch and transformers.
func python(t *testing.T, program string, args ...string) {
	t.Helper()
	interpreter := os.Getenv("HPCBERT_PYTHON")
	if interpreter == "" || exec.Command(interpreter, "-c", "import torch, transformers").Run() != nil {
		t.Skip("skipped: HPCBERT_PYTHON names no Python with torch and transformers")
	}
	cmd := exec.Command(interpreter, append([]string{"-c", program}, args...)...)
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestEncoderOfRealWeightsInBFloat16(t *testing.T) {
	data, minilm := goldens(t)
	golden, result := filepath.Join(data, "checkpoints/minilm_l6/encoder_float64.json"), filepath.Join(t.TempDir(), "torch.json")
	python(t, torchEncoder, minilm, golden, result)
	var want struct{ Records []record }
	readJSON(t, golden, &want)
	var torch []record
	readJSON(t, result, &torch)
	for i, got := range encoded(t, minilm, bert.BFloat16, want.Records) {
		plain := errorsOf(torch[i], want.Records[i])
		for what, e := range errorsOf(got, want.Records[i]) {
			t.Logf("text %d, %s: error %.1e, PyTorch's %.1e", i+1, what, e, plain[what])
			if !(e <= 2*plain[what]) {
				t.Errorf("text %d, %s: error %.1e of its norm, PyTorch's is %.1e", i+1, what, e, plain[what])
			}
		}
	}
}

const torchModel = `
import json, sys, torch, transformers
folder, kind, examples = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))
model, info = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
assert not info["missing_keys"] and not info["mismatched_keys"], info
assert json.load(open(folder + "/config.json"))["architectures"] == [kind]
assert set(k.split(".")[1] for k in info["unexpected_keys"]) <= {"pooler"}, info
out = []
with torch.no_grad():
    for e in examples:
        o = model.eval()(input_ids=torch.tensor([e["IDs"]]), token_type_ids=torch.tensor([[int(i >= e["Second"]) for i in range(len(e["IDs"]))]]))
        out.append(torch.cat([o.start_logits[0], o.end_logits[0]]).tolist() if "Question" in kind else o.logits[0].tolist())
json.dump(dict(logits=out, labels=model.config.id2label, outputs=model.config.num_labels), open(sys.argv[4], "w"))
`

// A checkpoint opens as Hugging Face's model for the task and gives the same logits there.
func TestHuggingFaceOpensCheckpoints(t *testing.T) {
	for _, c := range []struct {
		head   Head
		labels []string
		class  string
	}{
		{Head{Kind: Classifier, Outputs: 3}, []string{"contradiction", "entailment", "neutral"}, "BertForSequenceClassification"},
		{Head{Kind: Regression, Outputs: 1}, nil, "BertForSequenceClassification"},
		{Head{Kind: Span, Outputs: 2}, nil, "BertForQuestionAnswering"},
	} {
		t.Run(c.class+fmt.Sprint(c.head.Outputs), func(t *testing.T) {
			o := options(t.TempDir())
			o.Labels = c.labels
			dev := toys(9, 2, 3)
			s, logits := tuned(t, o, c.head, toys(200, 1, 3), dev)
			text, err := json.Marshal(dev)
			if err != nil {
				t.Fatal(err)
			}
			examples, result := filepath.Join(t.TempDir(), "examples.json"), filepath.Join(t.TempDir(), "torch.json")
			if err := os.WriteFile(examples, text, 0o666); err != nil {
				t.Fatal(err)
			}
			python(t, torchModel, ckpt.AtStep(o.Out, s.LastStep), c.class, examples, result)
			var got struct {
				Logits  [][]float64
				Labels  map[string]string
				Outputs int
			}
			readJSON(t, result, &got)
			if got.Outputs != c.head.Outputs || c.labels != nil && got.Labels["2"] != "neutral" {
				t.Errorf("%d outputs, labels %v", got.Outputs, got.Labels)
			}
			for i := range logits {
				for j, want := range got.Logits[i] {
					if e := math.Abs(float64(logits[i][j]) - want); !(e <= 1e-5) {
						t.Errorf("example %d, logit %d: %v, Hugging Face's is %v", i, j, logits[i][j], want)
					}
				}
			}
		})
	}
}
