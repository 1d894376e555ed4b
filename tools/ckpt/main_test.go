package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli/clitest"
)

const testdata = "../../lib/ckpt/testdata/"

// nvidiaConfig is the shape of the files there, without the rows that pad the vocabulary.
const nvidiaConfig = `{"vocab_size": 11, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 5}`

const vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne\nf\n"

func run(args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, "", args...)
}

func succeed(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	status, stdout, stderr := run(args...)
	if status != 0 {
		t.Fatalf("ckpt %s: exit %d: %s", strings.Join(args, " "), status, stderr)
	}
	return stdout, stderr
}

func TestList(t *testing.T) {
	stdout, stderr := succeed(t, "ls", testdata+"nvidia.pt")
	if !strings.HasPrefix(stdout, "bert.embeddings.word_embeddings.weight\tF32\t[16,4]\n") || strings.Count(stdout, "\n") != 31 {
		t.Errorf("prints\n%s", stdout)
	}
	if want := "PyTorch zip, step 7038, epoch 5, learning rate 0.004, optimizer with exp_avg, exp_avg_sq\n"; !strings.Contains(stderr, want) {
		t.Errorf("says %q, expected %q", stderr, want)
	}
	stdout, _ = succeed(t, "ls", "-v", testdata+"kinds.pt")
	for _, want := range []string{"scalar\tF32\t[]\t2.5\tscalar\n", "int64\tI64\t[6]\t-\tint64\n", "empty\tF32\t[0,7]\t0\tempty\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("prints no %q:\n%s", want, stdout)
		}
	}
}

// convertNVIDIA makes a folder of NVIDIA's file.
func convertNVIDIA(t *testing.T, file string, options ...string) (folder, stderr string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "out")
	args := append([]string{"convert", testdata + file, "-o", folder, "--config", clitest.WriteFile(t, "config.json", nvidiaConfig),
		"--vocab", clitest.WriteFile(t, "vocab.txt", vocabulary)}, options...)
	_, stderr = succeed(t, args...)
	return folder, stderr
}

func values(t *testing.T, path, name string) []float32 {
	t.Helper()
	s, err := ckpt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := s.Float32(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestConvertedFolderIsWhole(t *testing.T) {
	const word, inner = "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.intermediate.dense.weight"
	for _, file := range []string{"nvidia.pt", "nvidia_legacy.pt", "module.pt"} {
		folder, stderr := convertNVIDIA(t, file)
		if !strings.Contains(stderr, "5 rows beyond the vocabulary of 11 dropped") {
			t.Errorf("%s: says %s", file, stderr)
		}
		if got, want := values(t, folder, word), values(t, testdata+file, word)[:11*4]; !slices.Equal(got, want) {
			t.Errorf("%s: %s: %v, expected %v", file, word, got, want)
		}
		if got, want := values(t, folder, inner), values(t, testdata+file, inner); !slices.Equal(got, want) {
			t.Errorf("%s: %s: %v, expected %v", file, inner, got, want)
		}
		config, err := bert.ReadConfig(filepath.Join(folder, "config.json"))
		if err != nil || config.VocabSize != 11 || string(config.Other["architectures"]) == "" {
			t.Errorf("%s: %+v, %v", file, config, err)
		}
		if files := clitest.ReadFolder(t, folder); files["vocab.txt"] != vocabulary || !strings.Contains(files["tokenizer_config.json"], `"do_lower_case": true`) {
			t.Errorf("%s: vocabulary %q, tokenizer %q", file, files["vocab.txt"], files["tokenizer_config.json"])
		}
		if _, stderr := succeed(t, "check", folder); strings.Contains(stderr, "warning") {
			t.Errorf("%s: %s", file, stderr)
		}
	}
}

func TestMomentsAndMastersAreTakenAlong(t *testing.T) {
	folder, stderr := convertNVIDIA(t, "nvidia.pt", "--with-optimizer")
	if !strings.Contains(stderr, "masters take the place") || !strings.Contains(stderr, "with moments of step 7038") {
		t.Errorf("says %s", stderr)
	}
	m, err := ckpt.OpenMoments(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want, err := ckpt.OpenMoments(testdata + "nvidia.pt")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	if len(m.Names()) != 60 {
		t.Errorf("%d moments: %v", len(m.Names()), m.Names())
	}
	for _, name := range m.Names() {
		a, err := m.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := want.Float32(name)
		if err != nil || !slices.Equal(a, b[:len(a)]) {
			t.Errorf("%s: %v, expected %v, %v", name, a, b, err)
		}
	}
	s, err := ckpt.Open(testdata + "nvidia.pt")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.UseMasters(); err != nil {
		t.Fatal(err)
	}
	const pooler = "bert.pooler.dense.weight"
	master, err := s.Float32(pooler)
	if got := values(t, folder, pooler); err != nil || !slices.Equal(got, master) || slices.Equal(got, values(t, testdata+"nvidia.pt", pooler)) {
		t.Errorf("%s: %v, expected the masters %v", pooler, got, master)
	}
	succeed(t, "check", folder)
}

// damaged is a folder as bertrain writes it, with a change.
func damaged(t *testing.T, name string, change func(data []byte) []byte) string {
	t.Helper()
	folder, _ := convertNVIDIA(t, "nvidia.pt", "--with-optimizer")
	file := filepath.Join(folder, name)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, change(data), 0o666); err != nil {
		t.Fatal(err)
	}
	return folder
}

func flip(data []byte) []byte { data[len(data)-1] ^= 1; return data }
func cut(data []byte) []byte  { return data[:len(data)-1] }
func nan(data []byte) []byte  { return append(data[:len(data)-4], 0, 0, 0xc0, 0x7f) }

func without(folder string, names ...string) string {
	for _, name := range names {
		os.Remove(filepath.Join(folder, name))
	}
	return folder
}

func TestCheckNamesThePlace(t *testing.T) {
	half := filepath.Join(t.TempDir(), "nested.pt")
	data, err := os.ReadFile(testdata + "nested.pt")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(half, data[:len(data)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(nvidiaConfig, `"hidden_size": 4`, `"hidden_size": 6`, 1)
	for what, c := range map[string]struct {
		path string
		args []string
		says []string
	}{
		"flipped weight":  {damaged(t, "model.safetensors", flip), nil, []string{"model.safetensors has", "SHA-256"}},
		"flipped moment":  {damaged(t, "optimizer-00000-of-00001.safetensors", flip), nil, []string{"optimizer-00000-of-00001.safetensors has", "SHA-256"}},
		"cut":             {damaged(t, "model.safetensors", cut), nil, []string{"model.safetensors has", "bytes"}},
		"cut, no sums":    {without(damaged(t, "model.safetensors", cut), "DONE"), nil, []string{"model.safetensors", "cls.seq_relationship.bias", "ends at byte"}},
		"no number":       {without(damaged(t, "model.safetensors", nan), "DONE"), nil, []string{"model.safetensors, byte ", `"cls.seq_relationship.bias": element 1 is NaN`}},
		"no number in it": {without(damaged(t, "optimizer-00000-of-00001.safetensors", nan), "DONE"), nil, []string{"optimizer-00000-of-00001.safetensors, byte ", "element 1 is NaN"}},
		"no DONE":         {damaged(t, "DONE", func([]byte) []byte { return nil }), nil, []string{"DONE is damaged"}},
		"other shape":     {without(damaged(t, "config.json", func([]byte) []byte { return []byte(other) }), "DONE"), nil, []string{"has the shape"}},
		"infinity":        {testdata + "kinds.pt", nil, []string{"kinds.pt: kinds/data/", ", byte ", `tensor "half": element 3 is +Inf`}},
		"half a zip file": {half, nil, []string{"nested.pt", "zip archive"}},
		"no BERT":         {testdata + "nested.pt", []string{"--config", clitest.WriteFile(t, "config.json", nvidiaConfig)}, []string{"tensors of the encoder are missing: bert.embeddings.word_embeddings.weight"}},
	} {
		status, stdout, stderr := run(append([]string{"check", c.path}, c.args...)...)
		if status != 3 || stdout != "" || strings.Count(stderr, ": error: ") != 1 {
			t.Errorf("%s: exit %d, output %q: %s", what, status, stdout, stderr)
		}
		for _, want := range c.says {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: says %q, expected %q", what, stderr, want)
			}
		}
	}
}

func TestCheckGoesThroughAFolderOfRuns(t *testing.T) {
	out := filepath.Join(t.TempDir(), "runs [3]") // no pattern
	whole, _ := convertNVIDIA(t, "nvidia.pt")
	bad := damaged(t, "model.safetensors", flip)
	for i, folder := range []string{bad, whole, bad} {
		if err := os.CopyFS(filepath.Join(out, fmt.Sprintf("step-%08d", i)), os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
	}
	status, _, stderr := run("check", out)
	if status != 3 || strings.Count(stderr, ": error: ") != 2 || !strings.Contains(stderr, "step-00000000") || !strings.Contains(stderr, "step-00000002") {
		t.Errorf("exit %d: %s", status, stderr)
	}
	if _, stderr := succeed(t, "ls", out); !strings.Contains(stderr, "step-00000001") {
		t.Errorf("ls takes the newest whole one, says %s", stderr)
	}
}

func TestRefused(t *testing.T) {
	config := clitest.WriteFile(t, "config.json", nvidiaConfig)
	vocab := clitest.WriteFile(t, "vocab.txt", strings.Repeat("x\n", 3)+"y\n")
	for what, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"unknown word":    {[]string{"list", "x"}, 2, `unknown word "list"`},
		"no path":         {[]string{"ls"}, 2, "no path given"},
		"two paths":       {[]string{"convert", "a", "b"}, 2, "one path wanted"},
		"missing file":    {[]string{"convert", "none.pt"}, 1, "none.pt: no such file"},
		"no shape":        {[]string{"convert", testdata + "nvidia.pt"}, 2, "no config.json"},
		"no optimizer":    {[]string{"convert", testdata + "module.pt", "--config", config, "--with-optimizer"}, 1, "no optimizer state"},
		"not BERT":        {[]string{"convert", testdata + "nested.pt", "--config", config}, 1, "tensors of the encoder are missing"},
		"bad vocabulary":  {[]string{"convert", testdata + "nvidia.pt", "--config", config, "--vocab", vocab}, 1, "vocab.txt"},
		"not a torch one": {[]string{"convert", testdata + "whole_module.pt", "--config", config}, 1, "not a dictionary of tensors"},
	} {
		t.Run(what, func(t *testing.T) {
			args := c.args
			clitest.Refused(t, func(_ string, args ...string) (int, string, string) {
				if args[0] != "convert" {
					args = args[:len(args)-2]
				}
				return run(args...)
			}, "", args, c.status, c.says)
		})
	}
}

func TestADecoderOfItsOwnIsRefused(t *testing.T) {
	folder, _ := convertNVIDIA(t, "nvidia.pt")
	s, err := ckpt.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var tensors []ckpt.Entry
	for _, x := range s.Tensors() {
		tensors = append(tensors, ckpt.Entry{Name: x.Name, Shape: x.Shape, Values: values(t, folder, x.Name)})
	}
	decoder := ckpt.Entry{Name: "cls.predictions.decoder.weight", Shape: []int{11, 4}, Values: values(t, folder, "bert.embeddings.word_embeddings.weight")}
	for status, name := range []string{"tied", "own"} {
		in := filepath.Join(t.TempDir(), "in.safetensors")
		if err := ckpt.Write(in, append(slices.Clip(tensors), decoder), nil); err != nil {
			t.Fatal(err)
		}
		got, _, stderr := run("convert", in, "--config", filepath.Join(folder, "config.json"), "-o", filepath.Join(t.TempDir(), "out"))
		if got != status || (status == 1) != strings.Contains(stderr, "cls.predictions.decoder.weight differs") {
			t.Errorf("%s: exit %d: %s", name, got, stderr)
		}
		decoder.Values[0]++
	}
}

func TestForceReplacesCheckpointsOnly(t *testing.T) {
	folder, _ := convertNVIDIA(t, "nvidia.pt")
	args := []string{"convert", testdata + "module.pt", "--config", filepath.Join(folder, "config.json"), "-o", folder}
	if status, _, stderr := run(args...); status != 2 || !strings.Contains(stderr, "--force") {
		t.Errorf("exit %d: %s", status, stderr)
	}
	args[3] = clitest.WriteFile(t, "config.json", nvidiaConfig)
	succeed(t, append(args, "--force")...)
	precious := filepath.Join(folder, "thesis.tex")
	if err := os.WriteFile(precious, []byte("text"), 0o666); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := run(append(args, "--force")...); status != 2 || !strings.Contains(stderr, "thesis.tex") {
		t.Errorf("exit %d: %s", status, stderr)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	inside := filepath.Join(folder, "in")
	if err := os.CopyFS(inside, os.DirFS(testdata)); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := run("convert", filepath.Join(inside, "nvidia.pt"), "--config", args[3], "-o", folder, "--force"); status != 2 || !strings.Contains(stderr, "holds the input") {
		t.Errorf("exit %d: %s", status, stderr)
	}
}

func TestRealWeights(t *testing.T) {
	minilm := os.Getenv("HPCBERT_MINILM")
	if minilm == "" {
		t.Skip("skipped: HPCBERT_MINILM is not set")
	}
	// 5 of the embeddings and a count of positions, 16 of each of 6 layers, 2 of the pooler
	if _, stderr := succeed(t, "check", minilm); !strings.Contains(stderr, "whole, 104 tensors") {
		t.Errorf("says %s", stderr)
	}
	folder := filepath.Join(t.TempDir(), "out")
	succeed(t, "convert", minilm, "-o", folder)
	for _, name := range []string{"bert.embeddings.word_embeddings.weight", "bert.encoder.layer.5.output.dense.weight"} {
		if !slices.Equal(values(t, folder, name), values(t, minilm, name)) {
			t.Errorf("%s changed", name)
		}
	}
}

func TestGoogleCheckpointIsConverted(t *testing.T) {
	data := os.Getenv("HPCBERT_DATA")
	if data == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	in, folder := filepath.Join(data, "checkpoints/tf_tiny_bert"), filepath.Join(t.TempDir(), "out")
	_, stderr := succeed(t, "convert", in, "-o", folder)
	if strings.Contains(stderr, "not in the checkpoint") {
		t.Errorf("says %s", stderr)
	}
	succeed(t, "check", folder)
}

// The logits of a model in files of several programs, and of the folder made of each, both by PyTorch and transformers.
func TestConvertedFoldersGiveTheSameLogits(t *testing.T) {
	python := os.Getenv("HPCBERT_PYTHON")
	if python == "" {
		t.Skip("skipped: HPCBERT_PYTHON is not set")
	}
	if err := exec.Command(python, "-c", "import torch, transformers").Run(); err != nil {
		t.Skipf("skipped: %s has no torch and transformers", python)
	}
	dir := t.TempDir()
	script := func(args ...string) string {
		out, err := exec.Command(python, append([]string{"testdata/logits.py"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("logits.py %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	script("make", dir)
	var pairs []string
	for _, in := range []string{"bin", "safetensors", "nvidia.pt", "nvidia_legacy.pt", "question"} {
		out := filepath.Join(dir, in+".out")
		succeed(t, "convert", filepath.Join(dir, in), "--config", filepath.Join(dir, "config.json"), "--vocab", filepath.Join(dir, "vocab.txt"), "-o", out)
		pairs = append(pairs, out)
	}
	var differences map[string]float64
	out := script(append([]string{"compare", dir}, pairs...)...)
	if err := json.Unmarshal([]byte(out[strings.LastIndex(out, "{"):]), &differences); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(differences) != len(pairs) {
		t.Errorf("compared %v", differences)
	}
	for name, d := range differences {
		if d != 0 {
			t.Errorf("%s: logits differ by %g", name, d)
		}
	}
}
