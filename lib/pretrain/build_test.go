package pretrain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hpcbert/lib/cli/clitest"
	"hpcbert/lib/fault"
	"hpcbert/lib/wordpiece"

	"github.com/google/go-cmp/cmp"
)

// newBuild returns a build into dir over a small vocabulary.
func newBuild(t *testing.T, dir string) *Build {
	t.Helper()
	text := "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\n##a\n##b\n"
	v, err := wordpiece.Load(strings.NewReader(text), "v")
	if err != nil {
		t.Fatal(err)
	}
	return &Build{Dir: dir, Tokenizer: wordpiece.New(v, wordpiece.Options{LowerCase: true}), Vocabulary: []byte(text), Threads: 2,
		Options: Options{Seq: 16, MaxPred: 3, Dupe: 3, MaskedLMProb: 0.15, ShortSeqProb: 0.1, Seed: 12345, LowerCase: true}}
}

// writeTexts writes n text shards and returns their names.
func writeTexts(t *testing.T, n int) []string {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for i := range n {
		var b strings.Builder
		for d := range 5 {
			for s := range 2 + d + i {
				fmt.Fprintf(&b, "A %s b%s.\n", strings.Repeat("c ", s%4), strings.Repeat("a", d))
			}
			b.WriteString("\n")
		}
		name := filepath.Join(dir, fmt.Sprintf("x_training_%d.txt", i))
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func TestBuildDoesNotDependOnThreads(t *testing.T) {
	inputs := writeTexts(t, 5)
	var first map[string]string
	for _, threads := range []int{1, 2, 9} {
		b := newBuild(t, filepath.Join(t.TempDir(), "out"))
		b.Threads = threads
		if _, err := b.Run(context.Background(), inputs); err != nil {
			t.Fatal(err)
		}
		files := clitest.ReadFolder(t, b.Dir)
		if first == nil {
			first = files
		}
		if diff := cmp.Diff(first, files); diff != "" {
			t.Errorf("%d threads: other files than 1", threads)
		}
		if len(files) != 7 || files["vocab.txt"] != string(b.Vocabulary) {
			t.Errorf("files %v", len(files))
		}
		set, err := OpenSet(b.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if set.VocabSize != 11 || len(set.Files) != 5 || set.Manifest == nil || set.TotalRows() == 0 {
			t.Errorf("set %+v", set)
		}
	}
}

func TestBuildContinues(t *testing.T) {
	inputs := writeTexts(t, 4)
	b := newBuild(t, t.TempDir())
	run := func(b *Build) (made, kept int) {
		t.Helper()
		b.Done = func(_ ShardEntry, skipped bool) {
			if skipped {
				kept++
			} else {
				made++
			}
		}
		if _, err := b.Run(context.Background(), inputs); err != nil {
			t.Fatal(err)
		}
		return made, kept
	}
	if made, kept := run(b); made != 4 || kept != 0 {
		t.Errorf("first run: made %d, kept %d", made, kept)
	}
	want := clitest.ReadFolder(t, b.Dir)

	// A shard lost, one damaged, a temporary left behind by a killed run, and the manifest not complete.
	lost, damaged := filepath.Join(b.Dir, "x_training_0.hdf5"), filepath.Join(b.Dir, "x_training_1.hdf5")
	data, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	m, err := readManifest(b.Dir, ManifestName)
	if err != nil {
		t.Fatal(err)
	}
	m.Complete = false
	left := filepath.Join(b.Dir, ".x_training_0.hdf5.123.tmp")
	for _, err := range []error{os.WriteFile(left, nil, 0o644), os.Remove(lost), os.WriteFile(damaged, data, 0o644), m.Write(b.Dir)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if made, kept := run(newBuild(t, b.Dir)); made != 2 || kept != 2 {
		t.Errorf("second run: made %d, kept %d", made, kept)
	}
	if diff := cmp.Diff(want, clitest.ReadFolder(t, b.Dir)); diff != "" {
		t.Error("the second run leaves other files than the first")
	}

	// A shard of an input that has changed is refused, and the folder is left as it was; without the shard, it is made again.
	text, err := os.ReadFile(inputs[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inputs[2], append(text, "a new one\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = newBuild(t, b.Dir).Run(context.Background(), inputs)
	if err == nil || !strings.Contains(err.Error(), "x_training_2.hdf5 was made from another text than "+inputs[2]+" now holds (SHA-256 ") || fault.HintOf(err) == "" {
		t.Errorf("changed input: %v", err)
	}
	if diff := cmp.Diff(want, clitest.ReadFolder(t, b.Dir)); diff != "" {
		t.Error("a refused run changes the folder")
	}
	if err := os.Remove(filepath.Join(b.Dir, "x_training_2.hdf5")); err != nil {
		t.Fatal(err)
	}
	if made, kept := run(newBuild(t, b.Dir)); made != 1 || kept != 3 {
		t.Errorf("third run: made %d, kept %d", made, kept)
	}
	forced := newBuild(t, b.Dir)
	forced.Force, forced.Options.Seq = true, 20
	if made, kept := run(forced); made != 4 || kept != 0 {
		t.Errorf("forced run: made %d, kept %d", made, kept)
	}
}

func TestBuildErrors(t *testing.T) {
	inputs := writeTexts(t, 3)
	made := newBuild(t, t.TempDir())
	if _, err := made.Run(context.Background(), inputs); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "y_training_0.txt")
	if err := os.WriteFile(empty, []byte("\n\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		spoil  func(*Build)
		inputs []string
		want   string
	}{
		{"other options", func(b *Build) { b.Options.MaxPred = 4 }, inputs, "were made with --max-pred 3, not 4"},
		{"whole words", func(b *Build) { b.Options.WholeWords = true }, inputs, "were made with --whole-word-masking false, not true"},
		{"other seeds", func(b *Build) { b.VarySeed = true }, inputs, "were made with --seed-per-shard false, not true"},
		{"missing input", func(*Build) {}, []string{inputs[0], "none.txt"}, "none.txt: no such file"},
		{"a folder as input", func(*Build) {}, []string{filepath.Dir(inputs[0])}, "is a directory"},
		{"the same name twice", func(*Build) {}, []string{inputs[0], inputs[0] + ".gz", inputs[0]}, "would both become x_training_0.hdf5"},
		{"no number to vary the seed", func(b *Build) { b.VarySeed = true }, []string{"../../LICENSE"}, "no number at the end of its name"},
		{"no sentences", func(*Build) {}, []string{inputs[0], empty}, "read " + empty + ": no sentences"},
	}
	if err := os.WriteFile(inputs[0]+".gz", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		b := newBuild(t, made.Dir)
		c.spoil(b)
		_, err := b.Run(context.Background(), c.inputs)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Usage && fault.HintOf(err) == "" {
			t.Errorf("%s: error %v, want %s; hint %q", c.name, err, c.want, fault.HintOf(err))
		}
	}

	foreign := t.TempDir()
	shard := filepath.Join(foreign, "x_training_0.hdf5")
	if err := os.WriteFile(shard, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := newBuild(t, foreign).Run(context.Background(), inputs); err == nil || !strings.Contains(err.Error(), shard+" exists, and no manifest.json") {
		t.Errorf("foreign shard: error %v", err)
	}
	if diff := cmp.Diff(map[string]string{"x_training_0.hdf5": "precious"}, clitest.ReadFolder(t, foreign)); diff != "" {
		t.Error(diff)
	}

	out := filepath.Join(t.TempDir(), "out")
	if _, err := newBuild(t, out).Run(context.Background(), []string{empty}); err == nil {
		t.Error("made a shard of nothing")
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("a failed first run leaves its folder: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := newBuild(t, out).Run(ctx, inputs); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("a canceled run leaves its folder: %v", err)
	}
}

// TestForcedWithFewerShards: a set made anew leaves no shard of the one before, which would be read with it, and no other file is touched.
func TestForcedWithFewerShards(t *testing.T) {
	inputs := writeTexts(t, 4)
	for _, parts := range []int{0, 2} {
		dir := filepath.Join(t.TempDir(), "set [2]")
		if _, err := newBuild(t, dir).Run(t.Context(), inputs); err != nil {
			t.Fatal(err)
		}
		m, err := readManifest(dir, ManifestName)
		if err != nil {
			t.Fatal(err)
		}
		m.Set(ShardEntry{File: "../outside.hdf5"})
		m.Set(ShardEntry{File: "notes.txt"})
		for _, err := range []error{m.Write(dir), os.WriteFile(filepath.Join(dir, "own_training_0.hdf5"), nil, 0o644), os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644),
			os.WriteFile(filepath.Join(dir, "../outside.hdf5"), nil, 0o644)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := newBuild(t, dir).Plan(t.Context(), inputs[:2]); err != nil || len(clitest.ReadFolder(t, dir)) != 4+4 {
			t.Fatalf("a plan changed the folder, %v", err)
		}
		for part := 1; part <= max(parts, 1); part++ {
			b := newBuild(t, dir)
			b.Force, b.Options.Seed = true, 7
			if parts > 0 {
				b.Part, b.Parts = part, parts
			}
			if _, err := b.Run(t.Context(), inputs[:2]); err != nil {
				t.Fatal(err)
			}
		}
		last := newBuild(t, dir)
		last.Options.Seed = 7
		if n, err := last.Run(t.Context(), inputs[:2]); err != nil || n.Made != 0 || n.Kept != 2 {
			t.Errorf("%d parts: %+v, %v", parts, n, err)
		}
		var names []string
		for name := range clitest.ReadFolder(t, dir) {
			names = append(names, name)
		}
		slices.Sort(names)
		want := []string{"manifest.json", "notes.txt", "own_training_0.hdf5", "vocab.txt", "x_training_0.hdf5", "x_training_1.hdf5"}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%d parts (-want +got):\n%s", parts, diff)
		}
		if _, err := os.Stat(filepath.Join(dir, "../outside.hdf5")); err != nil {
			t.Error(err)
		}
	}
}

func TestSeedPerShard(t *testing.T) {
	inputs := writeTexts(t, 1)
	text, err := os.ReadFile(inputs[0])
	if err != nil {
		t.Fatal(err)
	}
	second := strings.Replace(inputs[0], "_0.txt", "_1.txt", 1)
	if err := os.WriteFile(second, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, vary := range []bool{false, true} {
		b := newBuild(t, t.TempDir())
		b.VarySeed = vary
		if _, err := b.Run(context.Background(), []string{inputs[0], second}); err != nil {
			t.Fatal(err)
		}
		files := clitest.ReadFolder(t, b.Dir)
		if same := bytes.Equal([]byte(files["x_training_0.hdf5"]), []byte(files["x_training_1.hdf5"])); same == vary {
			t.Errorf("seed per shard %t: equal shards %t", vary, same)
		}
	}
}

// Processes that share a folder make, with a last run, what one makes; nothing twice.
func TestBuildInParts(t *testing.T) {
	inputs := writeTexts(t, 5)
	one := newBuild(t, filepath.Join(t.TempDir(), "one"))
	if _, err := one.Run(t.Context(), inputs); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "parts [3]*") // no pattern
	var wait sync.WaitGroup
	for part := range 3 {
		b := newBuild(t, dir)
		b.Part, b.Parts = part+1, 3
		wait.Go(func() {
			if _, err := b.Run(t.Context(), inputs); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if set, err := OpenSet(dir); err == nil {
		t.Errorf("read as whole before the last run: %+v", set)
	}
	// A part that runs again makes nothing, nor does the last run.
	for _, parts := range []int{3, 0} {
		b, made := newBuild(t, dir), 0
		b.Part, b.Parts = min(parts, 2), parts
		b.Done = func(_ ShardEntry, whole bool) {
			if !whole {
				made++
			}
		}
		if _, err := b.Run(t.Context(), inputs); err != nil || made > 0 {
			t.Errorf("%d parts: made %d shards again, %v", parts, made, err)
		}
	}
	if diff := cmp.Diff(clitest.ReadFolder(t, one.Dir), clitest.ReadFolder(t, dir)); diff != "" {
		t.Errorf("other files than those of one process:\n%.2000s", diff)
	}
}

// More processes than shards, and one that dies early: the last run makes the rest.
func TestBuildPartMissing(t *testing.T) {
	inputs := writeTexts(t, 2)
	dir := filepath.Join(t.TempDir(), "parts")
	made := 0
	for _, c := range []struct{ part, parts int }{{1, 3}, {3, 3}, {0, 0}} {
		b := newBuild(t, dir)
		b.Part, b.Parts = c.part, c.parts
		b.Done = func(_ ShardEntry, whole bool) {
			if !whole {
				made++
			}
		}
		if _, err := b.Run(t.Context(), inputs); err != nil {
			t.Fatal(err)
		}
		if m, err := readManifest(dir, ManifestName); m != nil && m.Complete != (c.parts == 0) || err != nil {
			t.Errorf("%v: complete %v, %v", c, m != nil && m.Complete, err)
		}
	}
	if set, err := OpenSet(dir); err != nil || made != 2 || len(set.Files) != 2 {
		t.Errorf("made %d shards, %v", made, err)
	}
}

// Parts that make a set of other options anew: readers learn that it is not whole, and the last run takes the parts' shards.
func TestBuildPartsForced(t *testing.T) {
	inputs := writeTexts(t, 2)
	dir := filepath.Join(t.TempDir(), "parts")
	if _, err := newBuild(t, dir).Run(t.Context(), inputs); err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, c := range []struct{ part, parts int }{{1, 2}, {2, 2}, {0, 0}} {
		b := newBuild(t, dir)
		b.Options.Seed, b.Part, b.Parts, b.Force = 7, c.part, c.parts, c.parts > 0
		b.Done = func(_ ShardEntry, whole bool) {
			if !whole {
				made++
			}
		}
		if _, err := b.Run(t.Context(), inputs); err != nil {
			t.Fatal(err)
		}
		if m, err := readManifest(dir, ManifestName); err != nil || m.Complete != (c.parts == 0) || m.Options.Seed != 7 {
			t.Errorf("part %d of %d: manifest %+v, %v", c.part, c.parts, m, err)
		}
	}
	if made != 2 {
		t.Errorf("made %d shards, want 2", made)
	}
}
