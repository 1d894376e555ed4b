package shard

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/lib/fault"
)

// TestFilesOfFolder: a folder stands for what was written to it, whole; without a list for its texts, and that is said.
func TestFilesOfFolder(t *testing.T) {
	const two = `{"files":[{"file":"training_0.txt"},{"file":"test_0.txt"}]}`
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string // nil = refused
		says  []string // error or warning
	}{
		{"whole", map[string]string{"training_0.txt": "", "test_0.txt": "", "shards.json": two, ".hidden.txt": ""}, []string{"test_0.txt", "training_0.txt"}, nil},
		{"two sets", map[string]string{"training_0.txt": "", "test_0.txt": "", "shards.json": two, "b_training_0.txt": "", "b_shards.json": `{"files":[{"file":"b_training_0.txt"}]}`},
			[]string{"b_training_0.txt", "test_0.txt", "training_0.txt"}, nil},
		{"beside HDF5", map[string]string{"training_0.txt": "", "test_0.txt": "", "shards.json": two, "vocab.txt": "", "training_0.hdf5": ""}, []string{"test_0.txt", "training_0.txt"}, nil},
		{"one lost", map[string]string{"training_0.txt": "", "shards.json": two}, nil, []string{"\ntest_0.txt is missing, of which shards.json tells"}},
		{"all lost", map[string]string{"shards.json": two}, nil, []string{"\ntraining_0.txt is missing", "\ntest_0.txt is missing"}},
		{"one left over", map[string]string{"training_0.txt": "", "training_1.txt": "", "test_0.txt": "", "shards.json": two}, nil, []string{"\ntraining_1.txt is in no shards.json"}},
		{"a set without its list", map[string]string{"training_0.txt": "", "test_0.txt": "", "shards.json": two, "b_training_0.txt": ""}, nil, []string{"\nb_training_0.txt is in no shards.json"}},
		{"damaged list", map[string]string{"training_0.txt": "", "shards.json": "{"}, nil, []string{"shards.json: unexpected end of JSON"}},
		{"no list", map[string]string{"training_0.txt": "", "test_0.txt": ""}, []string{"test_0.txt", "training_0.txt"}, []string{"has no shards.json, which shard writes last: its 2 .txt files"}},
		{"HDF5 shards", map[string]string{"training_0.hdf5": "", "vocab.txt": "", "manifest.json": ""}, nil, []string{"no .txt file in the folder"}},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		said := ""
		got, err := Files([]string{dir}, func(text string) { said = text })
		if err != nil {
			got, said = nil, err.Error()
		}
		for i := range got {
			got[i] = filepath.Base(got[i])
		}
		if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) || (said == "") != (c.says == nil) || err != nil && fault.HintOf(err) == "" {
			t.Errorf("%s: %q, %q, want %q, %q", c.name, got, said, c.want, c.says)
		}
		for _, want := range c.says {
			if !strings.Contains(said, want) {
				t.Errorf("%s: says %q, not %q", c.name, said, want)
			}
		}
	}
}
