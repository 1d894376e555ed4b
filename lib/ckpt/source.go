// Package ckpt reads and writes checkpoints: tensors of BERT in the files of several programs, and directories that count only when they are
// whole.
package ckpt

import (
	"bytes"
	"cmp"
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

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Moments' names are one of these and the parameter's name.
const (
	FirstMoment  = "exp_avg."
	SecondMoment = "exp_avg_sq."
)

// Source is an open checkpoint: named tensors, read when asked for. Names are Hugging Face's, whatever program wrote it.
type Source struct {
	Name     string            // what was opened: a file, or the file found in a folder
	Kind     string            // "safetensors", "PyTorch zip", "PyTorch legacy", "TensorFlow"
	Metadata map[string]string // of a safetensors file
	Notes    []string          // what the user should know of the tensors: some dropped, others renamed
	State    State

	tensors map[string]*Tensor
	order   []*Tensor // as in the file
	files   []*os.File
	sums    []func() error // checks of the sums that the file holds
	torch   training
}

// State is what a checkpoint tells of the training it is from.
type State struct {
	Known        bool
	Step         int64
	Epoch        int64
	LearningRate float64
	Optimizer    string // "" = no moments
}

// Open opens a checkpoint: a file of safetensors, of PyTorch's (zip or older, NVIDIA's too), the index or the prefix of Google's TensorFlow
// checkpoint, or a folder with one of these; in a folder of several of our own it is the newest whole one. Nothing that a file holds is executed.
func Open(path string) (*Source, error) {
	file, err := Find(path)
	if err != nil {
		return nil, err
	}
	s := &Source{Name: file, tensors: map[string]*Tensor{}}
	if err := s.open(file); err != nil {
		s.Close()
		return nil, fmt.Errorf("read %s: %w", s.Name, err)
	}
	if filepath.Base(file) == contents[0] {
		err = s.readState(filepath.Join(filepath.Dir(file), StateFile))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// contents are the files that make a folder a checkpoint, the first found counts.
var contents = []string{modelFile, "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "bert_model.ckpt.index", "model.ckpt.index"}

// Find returns the file that a path means, see Open.
func Find(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(path + ".index"); err == nil {
			return path + ".index", nil
		}
	}
	if err != nil || !info.IsDir() {
		return path, err
	}
	for _, name := range contents {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return filepath.Join(path, name), nil
		}
	}
	if newest, _, err := Latest(path); err != nil || newest != "" {
		return filepath.Join(newest, contents[0]), err
	}
	if torch, err := stream.InFolder(path, "*.pt"); err != nil || len(torch) == 1 {
		return strings.Join(torch, ""), err
	}
	return "", fault.WithHint(fmt.Errorf("%s: no checkpoint in this folder", path), "wanted is one of %s, or name the file", strings.Join(contents, ", "))
}

// Folder returns the folder where a checkpoint's configuration and vocabulary are: the path itself, or that of the file.
func Folder(path string) string {
	file, err := Find(path)
	if err != nil {
		return path
	}
	return filepath.Dir(file)
}

func (s *Source) open(name string) error {
	if strings.HasSuffix(name, ".index.json") {
		return s.openShards(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, 9)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head = head[:n]
	switch {
	case strings.HasSuffix(name, ".index"):
		return s.openTensorFlow(f, info.Size())
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return s.openZip(f, info.Size())
	case len(head) > 1 && head[0] == protoOp && head[1] <= maxProtocol:
		return s.openLegacy(f, info.Size())
	}
	if err := refuseOthers(head, info.Size()); err != nil {
		return err
	}
	return s.openSafetensors(f, info.Size())
}

// refuseOthers names what is often found in the place of a checkpoint.
func refuseOthers(head []byte, size int64) error {
	if len(head) == 9 && binary.LittleEndian.Uint64(head) <= maxHeader && int64(binary.LittleEndian.Uint64(head)) <= size-8 && head[8] == '{' {
		return nil // safetensors: the length of its header may begin like any of the others
	}
	for _, known := range []struct{ magic, what, hint string }{
		{"version ", "a text, perhaps the pointer of Git LFS", "fetch the file itself: git lfs pull"},
		{"\x89HDF", "an HDF5 file", "Keras models are not read: save the weights as safetensors"},
		{"<", "a web page", "fetch the file again"},
		{"\x1f\x8b", "compressed", "unpack it first"},
	} {
		if bytes.HasPrefix(head, []byte(known.magic)) {
			return fault.WithHint(fmt.Errorf("not a checkpoint, but %s", known.what), "%s", known.hint)
		}
	}
	if size < 9 {
		return fault.WithHint(fmt.Errorf("no safetensors header: file of %d bytes", size), "the file is empty or cut off: write or fetch it again")
	}
	return fault.WithHint(errors.New("not a checkpoint, or its header is cut off"),
		"known are safetensors, PyTorch's files (zip and older) and TensorFlow's with their .index")
}

// openShards opens the files that an index of Hugging Face names.
func (s *Source) openShards(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil || len(index.Files) == 0 {
		return errors.Join(errors.New("no weight_map"), err)
	}
	for _, file := range slices.Compact(slices.Sorted(maps.Values(index.Files))) {
		if file == "" || file != filepath.Base(file) || strings.HasSuffix(file, ".json") {
			return fmt.Errorf("weight_map: %q is no file name", file)
		}
		if err := s.open(filepath.Join(filepath.Dir(name), file)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	for tensor, file := range index.Files {
		if s.tensors[canonical(tensor)] == nil {
			return fmt.Errorf("%s: no tensor %q, which the index names", file, tensor)
		}
	}
	return nil
}

// add gives a tensor its place among the others.
func (s *Source) add(t *Tensor, fileBytes int64) error {
	if err := t.check(fileBytes); err != nil {
		return err
	}
	t.Name = canonical(t.Stored)
	if other := s.tensors[t.Name]; other != nil {
		return fmt.Errorf("tensors %q and %q are both the parameter %s", other.Stored, t.Stored, t.Name)
	}
	s.tensors[t.Name] = t
	s.order = append(s.order, t)
	return nil
}

func (s *Source) readState(name string) error {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var state struct {
		Step  int64
		Epoch int64
		Rate  float64 `json:"base_learning_rate"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	s.State = State{Known: true, Step: state.Step, Epoch: state.Epoch, LearningRate: state.Rate}
	if parts, _ := stream.InFolder(filepath.Dir(name), momentParts); len(parts) > 0 {
		s.State.Optimizer = "exp_avg, exp_avg_sq"
	}
	return nil
}

// Names returns the tensors' names, sorted.
func (s *Source) Names() []string { return slices.Sorted(maps.Keys(s.tensors)) }

// Tensors returns the tensors in the file's order.
func (s *Source) Tensors() []*Tensor { return s.order }

// Tensor returns the description of a tensor, nil when there is none of that name.
func (s *Source) Tensor(name string) *Tensor { return s.tensors[name] }

// Float32 reads a tensor of any floating type as float32, in C order.
func (s *Source) Float32(name string) ([]float32, error) {
	t := s.tensors[name]
	if t == nil {
		return nil, fmt.Errorf("read %s: no tensor %q", s.Name, name)
	}
	values := make([]float32, t.Len())
	if err := s.ReadFloat32(name, values); err != nil {
		return nil, err
	}
	return values, nil
}

// ReadFloat32 reads a tensor of any floating type into values, which has its length.
func (s *Source) ReadFloat32(name string, values []float32) error {
	t := s.tensors[name]
	if t == nil || t.Len() != len(values) {
		return fmt.Errorf("read %s: no tensor %q of %d elements", s.Name, name, len(values))
	}
	if err := t.read(values); err != nil {
		return fmt.Errorf("read %s: %w", s.Name, err)
	}
	return nil
}

// DropRows drops the rows of the vocabulary from the given one on, as programs add that pad it, and returns how many they were.
func (s *Source) DropRows(vocabulary int) int {
	dropped := 0
	for _, t := range s.order {
		if ofVocabulary(t.Name) && len(t.Shape) > 0 && t.Shape[0] > vocabulary {
			dropped = max(dropped, t.Shape[0]-vocabulary)
			t.Shape = append([]int{vocabulary}, t.Shape[1:]...)
		}
	}
	return dropped
}

// CheckSums compares what the file holds with the sums in it: those of a zip file's records and of TensorFlow's tensors. Other kinds have none.
func (s *Source) CheckSums() error {
	for _, check := range s.sums {
		if err := check(); err != nil {
			return fmt.Errorf("read %s: %w", s.Name, err)
		}
	}
	return nil
}

// Close closes the files.
func (s *Source) Close() error {
	var first error
	for _, f := range s.files {
		first = cmp.Or(first, f.Close())
	}
	return first
}
