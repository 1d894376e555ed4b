package pretrain

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A folder of HDF5 shards, given in place of the text shards or used for both, has a vocabulary in it: no sentences.
func TestInputsOfFolder(t *testing.T) {
	for _, c := range []struct {
		name        string
		files, want []string
	}{
		{"text shards", []string{"training_0.txt", "test_0.txt", "shards.json", ".hidden.txt"}, []string{"test_0.txt", "training_0.txt"}},
		{"both kinds of shards", []string{"training_0.txt", "training_0.hdf5", "vocab.txt"}, []string{"training_0.txt"}},
		{"HDF5 shards", []string{"training_0.hdf5", "vocab.txt", "manifest.json"}, nil},
	} {
		dir := t.TempDir()
		for _, name := range c.files {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Inputs([]string{dir})
		for i := range got {
			got[i] = filepath.Base(got[i])
		}
		if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}
