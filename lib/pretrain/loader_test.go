package pretrain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"hpcbert/lib/fault"

	"github.com/google/go-cmp/cmp"
)

// numberedShard has rows whose second id says which row of which file it is.
func numberedShard(file, rows int) *Shard {
	s := &Shard{Rows: rows, Seq: 8, MaxPred: 2, InputIDs: make([]int32, rows*8), InputMask: make([]int8, rows*8), SegmentIDs: make([]int8, rows*8),
		MaskedPositions: make([]int32, rows*2), MaskedIDs: make([]int32, rows*2), NextSentence: make([]int8, rows)}
	for r := range rows {
		for c := range 5 + r%4 {
			s.InputIDs[r*8+c], s.InputMask[r*8+c] = int32(c), 1
		}
		s.InputIDs[r*8+1] = int32(100*file + r)
		s.SegmentIDs[r*8+3] = 1
		s.MaskedPositions[r*2], s.MaskedIDs[r*2] = 2, int32(r)
		if r%2 == 1 {
			s.MaskedPositions[r*2+1], s.MaskedIDs[r*2+1] = 3, 7
		}
		s.NextSentence[r] = int8(r % 2)
	}
	return s
}

// setOf writes shards of these many rows and opens them.
func setOf(t *testing.T, rows ...int) *Set {
	t.Helper()
	dir := t.TempDir()
	for i, n := range rows {
		if err := writeShard(filepath.Join(dir, fmt.Sprintf("x_training_%d.hdf5", i)), numberedShard(i, n), 1); err != nil {
			t.Fatal(err)
		}
	}
	set, err := OpenSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestShuffledOrderTakesEveryRowOnceAnEpoch(t *testing.T) {
	for _, rows := range [][]int{{1}, {13}, {5, 1, 7, 30}, {2, 2}} {
		set := &Set{Rows: rows}
		total := set.TotalRows()
		o := NewShuffledOrder(set.Rows, 42)
		var orders []string
		for e := range 3 {
			seen, order := map[[2]int]bool{}, ""
			changes, last := 0, -1
			for k := range total {
				file, row, epoch := o.At(int64(e*total + k))
				if epoch != e || row < 0 || row >= rows[file] || seen[[2]int{file, row}] {
					t.Fatalf("rows %v: epoch %d, sample %d: file %d row %d epoch %d, seen %t", rows, e, k, file, row, epoch, seen[[2]int{file, row}])
				}
				if file != last {
					changes, last = changes+1, file
				}
				seen[[2]int{file, row}] = true
				order += fmt.Sprint(file, row, ";")
			}
			if changes != len(rows) {
				t.Errorf("rows %v: epoch %d goes to a file %d times", rows, e, changes)
			}
			orders = append(orders, order)
		}
		if total > 8 && (orders[0] == orders[1] || orders[1] == orders[2]) {
			t.Errorf("rows %v: epochs in the same order", rows)
		}
	}
}

func TestShuffledOrderIsAFunctionOfSeedAndNumber(t *testing.T) {
	set := &Set{Rows: []int{40, 30, 20, 10}}
	forward, backward, other := NewShuffledOrder(set.Rows, 1), NewShuffledOrder(set.Rows, 1), NewShuffledOrder(set.Rows, 2)
	differ := 0
	at := func(o Order, g int64) [3]int {
		file, row, epoch := o.At(g)
		return [3]int{file, row, epoch}
	}
	want := make([][3]int, 500)
	for g := range want {
		want[g] = at(forward, int64(g))
		if want[g] != at(other, int64(g)) {
			differ++
		}
	}
	for g := len(want) - 1; g >= 0; g-- {
		if got := at(backward, int64(g)); got != want[g] {
			t.Fatalf("sample %d: %v, want %v", g, got, want[g])
		}
	}
	if differ < 400 {
		t.Errorf("another seed changes only %d of 500 samples", differ)
	}
}

// Each position of a small permutation must hold each value about equally often.
func TestPermutationIsUniform(t *testing.T) {
	const n, draws = 4, 24000
	counts := map[string]int{}
	for seed := range uint64(draws) {
		counts[fmt.Sprint(permutation(n, seed, 0, 1))]++
	}
	chi := 0.0
	for _, c := range counts {
		d := float64(c) - draws/24
		chi += d * d / (draws / 24)
	}
	if len(counts) != 24 || chi > 49.7 { // 99.9 % quantile at 23 degrees of freedom
		t.Errorf("%d orders, chi-square %.1f: %v", len(counts), chi, counts)
	}
}

func TestFileOrderWraps(t *testing.T) {
	o := NewFileOrder([]int{2, 1})
	var got []string
	for g := range int64(5) {
		got = append(got, fmt.Sprint(o.At(g)))
	}
	if diff := cmp.Diff([]string{"0 0 0", "0 1 0", "1 0 0", "0 0 1", "0 1 1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoader(t *testing.T) {
	for _, rows := range [][]int{{11}, {3, 9, 1, 5}, {1, 1}} {
		set := setOf(t, rows...)
		for name, order := range map[string]Order{"file order": NewFileOrder(set.Rows), "shuffled": NewShuffledOrder(set.Rows, 3)} {
			for _, batch := range []int{1, 4, 7} {
				l := NewLoader(context.Background(), set, order, nil)
				for g := int64(0); g < int64(3*set.TotalRows()); g += int64(batch) {
					fetched, err := l.Fetch(g, batch)
					if err != nil {
						t.Fatal(err)
					}
					for i, row := range fetched {
						file, at, _ := order.At(g + int64(i))
						want := wantSample(file, at)
						if diff := cmp.Diff(want, row.Sample()); diff != "" {
							t.Fatalf("%v %s, sample %d: %s", rows, name, g+int64(i), diff)
						}
						if tokens, masked := row.Size(); tokens != len(want.InputIDs) || masked != len(want.MaskedIDs) {
							t.Errorf("%v %s, sample %d: %d tokens, %d masked", rows, name, g+int64(i), tokens, masked)
						}
					}
				}
				l.Close()
			}
		}
	}
}

func wantSample(file, row int) Sample {
	s := Sample{MaskedPositions: []int32{2}, MaskedIDs: []int32{int32(row)}, NextSentence: int32(row % 2)}
	for c := range 5 + row%4 {
		s.InputIDs = append(s.InputIDs, int32(c))
		s.SegmentIDs = append(s.SegmentIDs, 0)
	}
	s.InputIDs[1], s.SegmentIDs[3] = int32(100*file+row), 1
	if row%2 == 1 {
		s.MaskedPositions, s.MaskedIDs = []int32{2, 3}, []int32{int32(row), 7}
	}
	return s
}

func TestLoaderErrors(t *testing.T) {
	set := setOf(t, 4, 4)
	set.VocabSize = 100
	l := NewLoader(context.Background(), set, NewFileOrder(set.Rows), nil)
	defer l.Close()
	if _, err := l.Fetch(0, 4); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the error stays
		_, err := l.Fetch(3, 2)
		if err == nil || !strings.Contains(err.Error(), "x_training_1.hdf5: row 0: input_ids is 100 in column 1, beyond a vocabulary of 100") || fault.HintOf(err) == "" {
			t.Errorf("error %v", err)
		}
	}

	set = setOf(t, 4, 4)
	data, err := os.ReadFile(set.Files[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(set.Files[1], data[:len(data)-1], 0o644); err != nil {
		t.Fatal(err)
	}
	l = NewLoader(context.Background(), set, NewFileOrder(set.Rows), nil)
	defer l.Close()
	if _, err := l.Fetch(6, 1); err == nil || !strings.Contains(err.Error(), set.Files[1]+": truncated file") {
		t.Errorf("truncated shard: error %v", err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	set = setOf(t, 4, 4)
	l = NewLoader(ctx, set, NewFileOrder(set.Rows), nil)
	defer l.Close()
	if _, err := l.Fetch(0, 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := l.Fetch(5, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: error %v", err)
	}
}

func TestOpenSet(t *testing.T) {
	shard := func(t *testing.T, dir, name string, s *Shard) {
		t.Helper()
		if err := writeShard(filepath.Join(dir, name), s, 1); err != nil {
			t.Fatal(err)
		}
	}
	put := func(t *testing.T, dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
	good := func(t *testing.T, dir string) *Manifest {
		shard(t, dir, "b_training_0.hdf5", numberedShard(0, 3))
		put(t, dir, "vocab.txt", vocabulary)
		info, err := os.Stat(filepath.Join(dir, "b_training_0.hdf5"))
		if err != nil {
			t.Fatal(err)
		}
		return &Manifest{Complete: true, Vocabulary: VocabularyEntry{5, digest([]byte(vocabulary))}, Shards: []ShardEntry{{File: "b_training_0.hdf5", Rows: 3, Bytes: info.Size()}}}
	}
	spoiled := func(spoil func(*testing.T, string, *Manifest)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			m := good(t, dir)
			spoil(t, dir, m)
			if err := m.Write(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := []struct {
		name string
		fill func(*testing.T, string)
		want string // of the error, "" for none
	}{
		{"original shards without anything beside them", func(t *testing.T, dir string) { shard(t, dir, "training.h5", numberedShard(0, 3)) }, ""},
		{"others are left alone", func(t *testing.T, dir string) {
			shard(t, dir, "x_training_0.hdf5", numberedShard(0, 3))
			shard(t, dir, "x_test_0.hdf5", originalShard())
			put(t, dir, ".x_training_1.hdf5.12.tmp", "half")
			put(t, dir, "x_training_0.txt", "text")
		}, ""},
		{"manifest", spoiled(func(*testing.T, string, *Manifest) {}), ""},
		{"no shards", func(*testing.T, string) {}, `has no training shards: no file with "training" in its name`},
		{"text shards", func(t *testing.T, dir string) { put(t, dir, "x_training_0.txt", "text") }, "has no training shards ending in .hdf5 or .h5, but 1 other"},
		{"not HDF5", func(t *testing.T, dir string) { put(t, dir, "x_training_0.hdf5", "text") }, "x_training_0.hdf5: not an HDF5 file"},
		{"different lengths", func(t *testing.T, dir string) {
			shard(t, dir, "x_training_0.hdf5", numberedShard(0, 3))
			shard(t, dir, "x_training_1.hdf5", originalShard())
		}, "x_training_1.hdf5 has sequences of 16 tokens and 4 predictions, but "},
		{"interrupted", spoiled(func(_ *testing.T, _ string, m *Manifest) { m.Complete = false }), "the shards are not complete"},
		{"another vocabulary", spoiled(func(t *testing.T, dir string, _ *Manifest) { put(t, dir, "vocab.txt", vocabulary+"a\n") }), "vocab.txt is not the vocabulary"},
		{"no vocabulary", spoiled(func(_ *testing.T, dir string, _ *Manifest) { os.Remove(filepath.Join(dir, "vocab.txt")) }), "vocab.txt is missing"},
		{"other rows", spoiled(func(_ *testing.T, _ string, m *Manifest) { m.Shards[0].Rows = 4 }), "b_training_0.hdf5 has 3 rows in"},
		{"a shard gone", spoiled(func(_ *testing.T, _ string, m *Manifest) { m.Set(ShardEntry{File: "b_training_1.hdf5"}) }), "b_training_1.hdf5 is missing"},
		{"a test shard gone", spoiled(func(_ *testing.T, _ string, m *Manifest) { m.Set(ShardEntry{File: "b_test_1.hdf5"}) }), ""},
		{"a shard too many", spoiled(func(t *testing.T, dir string, _ *Manifest) { shard(t, dir, "training_9.hdf5", numberedShard(0, 1)) }), "training_9.hdf5 is not in the manifest"},
		{"broken manifest", func(t *testing.T, dir string) { good(t, dir); put(t, dir, "manifest.json", "{") }, "manifest.json: unexpected end of JSON"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.fill(t, dir)
			set, err := OpenSet(dir)
			if c.want == "" {
				if err != nil || set.TotalRows() != 3 || set.Seq != 8 || set.MaxPred != 2 || !sort.StringsAreSorted(set.Files) {
					t.Errorf("set %+v, error %v", set, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) || fault.HintOf(err) == "" {
				t.Errorf("error %v, want %s; hint %q", err, c.want, fault.HintOf(err))
			}
		})
	}
	if _, err := OpenSet(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) || fault.HintOf(err) == "" {
		t.Errorf("missing folder: %v", err)
	}
}
