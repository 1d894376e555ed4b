// Package test runs whole pipelines as a user would, with the programs in ../bin.
package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// layers are the rows of the house: a package imports only from rows above its own.
var layers = [][]string{
	{"lib/fault", "lib/bzip2", "lib/philox", "lib/python"},
	{"kernels", "lib/comm", "lib/stream", "lib/cli"},
	{"mpi", "lib/corpus", "lib/wordpiece", "lib/hdf5", "lib/ckpt", "lib/cli/clitest", "lib/comm/commtest"},
	{"lib/wiki", "lib/sentence", "lib/shard", "lib/vocabulary", "lib/pretrain", "lib/squad", "lib/glue", "lib/bert", "lib/optim", "lib/dataset", "lib/plan", "lib/curve"},
	{"lib/train"},
	{"lib/finetune"},
	{"lib/launch"},
	{"tools/"},
	{"test", "test/"},
}

// doors are packages of others that one of ours alone may import.
var doors = map[string]string{
	"github.com/sbromberger/gompi": "mpi",
	"gonum.org/v1/hdf5":            "lib/hdf5",
	"github.com/jessevdk/go-flags": "lib/cli",
}

func layerOf(name string) int {
	for i, row := range layers {
		for _, entry := range row {
			if name == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(name, entry) {
				return i
			}
		}
	}
	return -1
}

func TestImportsGoUpwards(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "hpcbert/...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for in := json.NewDecoder(strings.NewReader(string(out))); ; packages++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		checkImports(t, strings.TrimPrefix(p.ImportPath, "hpcbert/"), p.Imports)
	}
	if packages < 10 {
		t.Errorf("go list told of %d packages only", packages)
	}
}

func checkImports(t *testing.T, name string, imports []string) {
	layer := layerOf(name)
	if layer < 0 {
		t.Errorf("package %s stands in no row of the layer table", name)
	}
	for _, path := range imports {
		if owner := doors[path]; owner != "" && owner != name {
			t.Errorf("%s imports %s; only %s may", name, path, owner)
		}
		ours, found := strings.CutPrefix(path, "hpcbert/")
		if found && layerOf(ours) >= layer {
			t.Errorf("%s (row %d) imports %s (row %d)", name, layer, ours, layerOf(ours))
		}
	}
}
