package ckpt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// torchNames are PyTorch's names of the types.
var torchNames = map[string]string{"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16",
	"I8": "int8", "U8": "uint8", "BOOL": "bool"}

func open(t *testing.T, name string) *Source {
	t.Helper()
	s, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// told is a tensor as testdata/torch_files.py describes it.
func told(t *testing.T, s *Source, name string) string {
	t.Helper()
	x := s.Tensor(name)
	var shape []string
	for _, d := range x.Shape {
		shape = append(shape, fmt.Sprint(d))
	}
	hash := "-"
	if x.Floating() {
		values, err := s.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		binary.Write(h, binary.LittleEndian, values)
		hash = fmt.Sprintf("%.32x", h.Sum(nil)[:16])
	}
	return fmt.Sprintf("%s %s %s", torchNames[x.DType], strings.Join(shape, "x"), hash)
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

// same fails where the tensors of a source are not the expected ones.
func same(t *testing.T, s *Source, want map[string]string) {
	t.Helper()
	if got := s.Names(); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Fatalf("%s: tensors %q, expected %q", s.Name, got, slices.Sorted(maps.Keys(want)))
	}
	for name, w := range want {
		if got := told(t, s, name); got != w {
			t.Errorf("%s: %s: %s, expected %s", s.Name, name, got, w)
		}
	}
}

// The files and what is expected of them were written by PyTorch: testdata/torch_files.py.
func TestFilesOfPyTorch(t *testing.T) {
	var expected map[string]map[string]string
	readJSON(t, "testdata/expected.json", &expected)
	hugging := strings.NewReplacer("dense_act.", "dense.")
	for file, want := range expected {
		t.Run(file, func(t *testing.T) {
			s := open(t, filepath.Join("testdata", file))
			weights, moments, masters := map[string]string{}, map[string]string{}, map[string]string{}
			for name, w := range want {
				name = hugging.Replace(name)
				switch master, isMaster := strings.CutPrefix(name, "master "); {
				case isMaster:
					masters[master] = w
				case strings.HasPrefix(name, "exp_avg"):
					moments[name] = w
				default:
					weights[name] = w
				}
			}
			same(t, s, weights)
			if err := s.CheckSums(); err != nil {
				t.Error(err)
			}
			m, err := OpenMoments(s.Name)
			if len(moments) == 0 {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("moments: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			same(t, m, moments)
			if found, err := s.UseMasters(); !found || err != nil {
				t.Fatalf("masters: %v, %v", found, err)
			}
			masters["cls.predictions.decoder.weight"] = weights["cls.predictions.decoder.weight"]
			same(t, s, masters)
			if got := s.State; got != (State{Known: true, Step: 7038, Epoch: 5, LearningRate: 4e-3, Optimizer: "exp_avg, exp_avg_sq"}) {
				t.Errorf("state %+v", got)
			}
		})
	}
}

func TestRowsBeyondTheVocabularyAreDropped(t *testing.T) {
	for name, opened := range map[string]func(string) (*Source, error){"": Open, FirstMoment: OpenMoments, SecondMoment: OpenMoments} {
		s, err := opened("testdata/nvidia.pt")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		name += "bert.embeddings.word_embeddings.weight"
		all, err := s.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.DropRows(11); n != 5 {
			t.Errorf("%s: dropped %d rows, expected 5", name, n)
		}
		got, err := s.Float32(name)
		if err != nil || !slices.Equal(got, all[:11*4]) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestFoldersOfHuggingFace(t *testing.T) {
	torch, err := os.ReadFile("testdata/kinds.pt")
	if err != nil {
		t.Fatal(err)
	}
	tensors := rawFile(t, `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, []byte{0, 0, 0x80, 0x3f})
	part, err := os.ReadFile(tensors)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Replace(part, []byte(`"a"`), []byte(`"b"`), 1)
	index := `{"metadata":{},"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors"}}`
	for _, c := range []struct {
		what, want string
		files      map[string][]byte
	}{
		{"one file", "a", map[string][]byte{"model.safetensors": part, "pytorch_model.bin": torch}},
		{"PyTorch", "bfloat16", map[string][]byte{"pytorch_model.bin": torch}},
		{"NVIDIA", "bfloat16", map[string][]byte{"ckpt_7038.pt": torch}},
		{"shards", "a b", map[string][]byte{"model.safetensors.index.json": []byte(index), "x-1.safetensors": part, "x-2.safetensors": other}},
		{"shard missing", "error: x-2.safetensors", map[string][]byte{"model.safetensors.index.json": []byte(index), "x-1.safetensors": part}},
		{"tensor missing", `error: both the parameter a`, map[string][]byte{"model.safetensors.index.json": []byte(index), "x-1.safetensors": part, "x-2.safetensors": part}},
		{"path", "error: is no file name", map[string][]byte{"model.safetensors.index.json": []byte(strings.Replace(index, "x-1", "../x-1", 1)), "x-1.safetensors": part, "x-2.safetensors": part}},
		{"nothing", "error: no checkpoint in this folder", nil},
		{"several", "error: no checkpoint in this folder", map[string][]byte{"ckpt_1.pt": torch, "ckpt_2.pt": torch}},
	} {
		dir := t.TempDir()
		for name, data := range c.files {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(dir)
		if says, fails := strings.CutPrefix(c.want, "error: "); fails {
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: error %v, expected %q", c.what, err, says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if got := strings.Join(s.Names(), " "); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, expected %s", c.what, got, c.want)
		}
		s.Close()
	}
}

// A folder's name may hold what is special in patterns.
func TestFoldersWithSpecialNames(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run[1]*")
	ours, foreign := filepath.Join(folder, "ours"), filepath.Join(folder, "foreign")
	for _, dir := range []string{ours, foreign} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	const weight = "bert.pooler.dense.bias"
	nvidia, err := os.ReadFile("testdata/nvidia.pt")
	if err := errors.Join(err,
		Write(filepath.Join(ours, "model.safetensors"), []Entry{{Name: weight, Shape: []int{1}, Values: []float32{1}}}, nil),
		Write(filepath.Join(ours, "optimizer-00000-of-00001.safetensors"), []Entry{{Name: FirstMoment + weight, Shape: []int{1}, Values: []float32{2}}}, nil),
		os.WriteFile(filepath.Join(ours, "trainer.json"), []byte(`{"step": 3}`), 0o666),
		os.WriteFile(filepath.Join(foreign, "ckpt_1.pt"), nvidia, 0o666)); err != nil {
		t.Fatal(err)
	}
	if s := open(t, ours); s.State.Optimizer == "" {
		t.Errorf("no moments: %+v", s.State)
	}
	moments, err := OpenMoments(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer moments.Close()
	if got, err := moments.Float32(FirstMoment + weight); err != nil || got[0] != 2 {
		t.Errorf("moments: %v, %v", got, err)
	}
	if s := open(t, foreign); len(s.Names()) == 0 {
		t.Errorf("no tensors in %s", s.Name)
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	for content, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\n": "Git LFS",
		"<!DOCTYPE html>":                      "a web page",
		"\x89HDF\r\n\x1a\n0000":                "an HDF5 file",
		"hello, world":                         "not a checkpoint",
		"\x80\x02}q\x00.":                      "not one of torch.save",
		"\x80\x02c__builtin__\neval\nX":        "byte 20, opcode 0x58: unexpected EOF",
		"\x80\x02cos\nsystem\nU\x04true\x85R.": "not one of torch.save",
		"PK\x03\x04":                           "zip archive",
		"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j":     "unexpected EOF",
	} {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: error %v, expected %q", content, err, want)
		}
	}
	if _, err := Open("testdata/whole_module.pt"); err == nil || !strings.Contains(err.Error(), "torch.nn.modules.linear.Linear") {
		t.Errorf("a pickled module: %v", err)
	}
}

// readAll opens a file and reads all that it holds, as the programs would.
func readAll(name string) error {
	s, err := Open(name)
	if err != nil {
		return err
	}
	defer s.Close()
	errs := []error{s.CheckSums()}
	for _, t := range s.Tensors() {
		if t.Floating() {
			_, err := s.Float32(t.Name)
			errs = append(errs, err)
		}
	}
	if s.State.Optimizer != "" {
		m, err := OpenMoments(name)
		if err == nil {
			m.Close()
		}
		_, masters := s.UseMasters()
		errs = append(errs, err, masters)
	}
	return errors.Join(errs...)
}

// damage writes a file of a checkpoint with every byte changed, and cut before every byte: it is read, or refused by name, and no cut passes. It
// returns how many changes are not seen, the file as it was.
func damage(t *testing.T, path, file string, whole []byte) (unseen int) {
	t.Helper()
	for i := range whole {
		changed := slices.Clone(whole)
		changed[i] ^= 1 << (i % 8)
		for _, data := range [][]byte{changed, whole[:i]} {
			if err := os.WriteFile(file, data, 0o666); err != nil {
				t.Fatal(err)
			}
			err := readAll(path)
			switch {
			case err == nil && len(data) < len(whole):
				t.Errorf("%s: cut at byte %d and read without an error", file, i)
			case err == nil:
				unseen++
			case !strings.Contains(err.Error(), strings.TrimSuffix(path, ".index")):
				t.Errorf("byte %d: error without the file: %v", i, err)
			}
		}
	}
	if err := os.WriteFile(file, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d of %d changes are not seen", file, unseen, len(whole))
	return unseen
}

func TestDamageAtEveryByte(t *testing.T) {
	files := []string{"kinds_legacy.pt", "nested.pt"}
	if os.Getenv("HPCBERT_SLOW") != "" {
		files = append(files, "kinds.pt", "kinds_protocol4.pt", "nvidia_legacy.pt")
	}
	for _, name := range files {
		whole, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		damage(t, file, file, whole)
	}
}

// The sums in a zip file tell of every change to what a tensor is made of.
func TestSumsSeeEveryChangedByteOfARecord(t *testing.T) {
	s := open(t, "testdata/nested.pt")
	whole, err := os.ReadFile(s.Name)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.pt")
	for _, x := range s.Tensors() {
		for i := range x.storage.bytes {
			damaged := slices.Clone(whole)
			damaged[x.storage.first+i] ^= 1
			if err := os.WriteFile(file, damaged, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := open(t, file).CheckSums(); err == nil || !strings.Contains(err.Error(), "CRC-32") {
				t.Errorf("%s: byte %d: %v", x.Name, i, err)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, pattern := range []string{"testdata/k*.pt", "testdata/nested.pt", "testdata/nvidia_legacy.pt", "testdata/whole*.pt"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	name := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
		readAll(name)
	})
}

func goldenFolder(t *testing.T) string {
	t.Helper()
	data := os.Getenv("HPCBERT_DATA")
	if data == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	return filepath.Join(data, "checkpoints")
}

// hash is the SHA-256 of a tensor's bytes in C order.
func hash(t *testing.T, x *Tensor) string {
	t.Helper()
	in, err := x.raw()
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestFilesOfPyTorchPrograms(t *testing.T) {
	dir := filepath.Join(goldenFolder(t), "torch")
	var expected map[string]struct {
		Format  string
		Tensors map[string]struct {
			Shape []int
			Hash  string `json:"sha256_c_order"`
		}
	}
	readJSON(t, filepath.Join(dir, "expected_tensors.json"), &expected)
	if len(expected) < 8 {
		t.Errorf("%d files only", len(expected))
	}
	for file, e := range expected {
		s := open(t, filepath.Join(dir, file))
		if s.Kind != "PyTorch "+e.Format || len(s.Tensors()) != len(e.Tensors) {
			t.Errorf("%s: %s with %d tensors, expected %s with %d", file, s.Kind, len(s.Tensors()), e.Format, len(e.Tensors))
		}
		for _, x := range s.Tensors() {
			want := e.Tensors[x.Stored]
			if want.Hash == "" {
				want = e.Tensors["model_state_dict."+x.Stored]
			}
			if !slices.Equal(x.Shape, want.Shape) || hash(t, x) != want.Hash {
				t.Errorf("%s: %s: shape %v, SHA-256 %s, expected %v, %s", file, x.Stored, x.Shape, hash(t, x), want.Shape, want.Hash)
			}
		}
		if err := s.CheckSums(); err != nil {
			t.Error(err)
		}
	}
}

// googleNames are some of Google's names and what Hugging Face calls them.
var googleNames = map[string]string{
	"bert/embeddings/word_embeddings":                         "bert.embeddings.word_embeddings.weight",
	"bert/embeddings/LayerNorm/gamma":                         "bert.embeddings.LayerNorm.weight",
	"bert/encoder/layer_1/attention/self/query/kernel":        "bert.encoder.layer.1.attention.self.query.weight",
	"bert/encoder/layer_1/output/dense/bias":                  "bert.encoder.layer.1.output.dense.bias",
	"bert/pooler/dense/kernel":                                "bert.pooler.dense.weight",
	"cls/predictions/output_bias":                             "cls.predictions.bias",
	"cls/predictions/transform/LayerNorm/beta":                "cls.predictions.transform.LayerNorm.bias",
	"cls/seq_relationship/output_weights":                     "cls.seq_relationship.weight",
	"cls/squad/output_bias":                                   "qa_outputs.bias",
	"module.bert.encoder.layer.0.intermediate.dense_act.bias": "bert.encoder.layer.0.intermediate.dense.bias",
	"bert.encoder.layer.0.output.LayerNorm.gamma":             "bert.encoder.layer.0.output.LayerNorm.weight",
	"encoder.layer.0.output.dense.weight":                     "bert.encoder.layer.0.output.dense.weight",
	"exp_avg_sq.bert.encoder.layer.0.output.dense.weight":     "exp_avg_sq.bert.encoder.layer.0.output.dense.weight",
	"classifier.weight":                                       "classifier.weight",
	"bert.encoder.layer.0.attention.output.dense.weight":      "bert.encoder.layer.0.attention.output.dense.weight",
	"bert.embeddings.position_embeddings.weight":              "bert.embeddings.position_embeddings.weight",
}

func TestNames(t *testing.T) {
	for name, want := range googleNames {
		if got := canonical(name); got != want {
			t.Errorf("%s: %s, expected %s", name, got, want)
		}
	}
}

func TestGoogleCheckpoint(t *testing.T) {
	dir := filepath.Join(goldenFolder(t), "tf_tiny_bert")
	var expected struct {
		Tensors map[string]struct {
			Shape  []int
			Offset int64
			Hash   string `json:"sha256"`
		}
	}
	readJSON(t, filepath.Join(dir, "expected_tensors.json"), &expected)
	for _, path := range []string{dir, filepath.Join(dir, "bert_model.ckpt"), filepath.Join(dir, "bert_model.ckpt.index")} {
		s := open(t, path)
		if err := s.CheckSums(); err != nil {
			t.Error(err)
		}
		stored := map[string]*Tensor{}
		for _, x := range s.Tensors() {
			stored[x.Stored] = x
		}
		for name, want := range expected.Tensors {
			x := stored[name]
			if strings.Contains(name, "/adam_") || name == "global_step" {
				continue
			}
			if x == nil {
				t.Errorf("no tensor %s", name)
				continue
			}
			if x.strides != nil { // as it is stored
				slices.Reverse(x.Shape)
				x.strides = nil
			}
			if !slices.Equal(x.Shape, want.Shape) || hash(t, x) != want.Hash {
				t.Errorf("%s: shape %v, expected %v, or other bytes", name, x.Shape, want.Shape)
			}
		}
	}
	s := open(t, dir)
	values, err := s.Float32("bert.encoder.layer.0.intermediate.dense.weight")
	if err != nil {
		t.Fatal(err)
	}
	x := s.Tensor("bert.encoder.layer.0.intermediate.dense.weight")
	plain := &Tensor{DType: "F32", Shape: []int{x.Shape[1], x.Shape[0]}, storage: x.storage}
	in := make([]float32, len(values))
	if err := plain.read(in); err != nil {
		t.Fatal(err)
	}
	for i := range x.Shape[0] {
		for j := range x.Shape[1] {
			if values[i*x.Shape[1]+j] != in[j*x.Shape[0]+i] {
				t.Fatalf("element %d, %d is not transposed", i, j)
			}
		}
	}
}

func TestDamagedGoogleCheckpoint(t *testing.T) {
	golden := filepath.Join(goldenFolder(t), "tf_tiny_bert")
	dir := t.TempDir()
	for _, name := range []string{"bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"} {
		whole, err := os.ReadFile(filepath.Join(golden, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), whole, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "bert_model.ckpt.index")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if unseen := damage(t, name, name, whole); unseen > footerBytes+24 { // the footer's padding and the empty meta index, which nothing is read from
		t.Errorf("%d of %d changes are not seen", unseen, len(whole))
	}
	// the index alone
	if _, err := Open(filepath.Join(golden, "../google_chinese_L-12_H-768_A-12")); err == nil || !strings.Contains(err.Error(), "data-00000-of-00001") {
		t.Errorf("an index without data: %v", err)
	}
}
