package pretrain

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/fault"
	"hpcbert/lib/hdf5"

	"github.com/google/go-cmp/cmp"
)

const original = "testdata/original_training_0.hdf5" // by h5py, see testdata/make.py

// originalShard is what testdata/make.py writes.
func originalShard() *Shard {
	const rows, seq, pred = 37, 16, 4
	s := &Shard{Rows: rows, Seq: seq, MaxPred: pred, InputIDs: make([]int32, rows*seq), InputMask: make([]int8, rows*seq), SegmentIDs: make([]int8, rows*seq),
		MaskedPositions: make([]int32, rows*pred), MaskedIDs: make([]int32, rows*pred), NextSentence: make([]int8, rows)}
	for r := range rows {
		length := 6 + r%11
		for c := range length {
			s.InputIDs[r*seq+c] = int32(1 + (31*r+7*c)%1000)
			s.InputMask[r*seq+c] = 1
			if c >= length/2 {
				s.SegmentIDs[r*seq+c] = 1
			}
		}
		for k := range 1 + r%pred {
			s.MaskedPositions[r*pred+k] = int32(k + 1 + r%2)
			s.MaskedIDs[r*pred+k] = int32(1 + (17*r+k)%1000)
		}
		s.NextSentence[r] = int8(r % 2)
	}
	return s
}

// writeShard writes s as mkpretrain would.
func writeShard(path string, s *Shard, threads int) error {
	return writeRows(context.Background(), path, (*shardRows)(s), threads)
}

func TestReadOriginalLayout(t *testing.T) {
	s, err := ReadShard(original)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(originalShard(), s); diff != "" {
		t.Error(diff)
	}
	if s.Masked() != 91 || s.Tokens(3) != 9 {
		t.Errorf("%d masked, %d tokens in row 3", s.Masked(), s.Tokens(3))
	}
}

func TestWriteShardReadsBack(t *testing.T) {
	want := originalShard()
	name := filepath.Join(t.TempDir(), "x_training_0.hdf5")
	var first []byte
	for _, threads := range []int{1, 3} {
		if err := writeShard(name, want, threads); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(first, data) {
			t.Errorf("%d threads write other bytes than 1", threads)
		}
	}
	got, err := ReadShard(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestShardChecks(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(*Shard)
		want  string
	}{
		{"negative id", func(s *Shard) { s.InputIDs[2*16+1] = -7 }, "row 2: input_ids is -7 in column 1"},
		{"hole in the mask", func(s *Shard) { s.InputMask[3*16+4] = 0 }, "row 3: input_mask is not a run of ones"},
		{"mask of two", func(s *Shard) { s.InputMask[3*16+2] = 2 }, "row 3: input_mask is not a run of ones: 2 in column 2"},
		{"no token", func(s *Shard) { clear(s.InputMask[:16]) }, "row 0: input_mask has no token"},
		{"segment", func(s *Shard) { s.SegmentIDs[16] = 3 }, "row 1: segment_ids is 3 in column 0"},
		{"position in the padding", func(s *Shard) { s.MaskedPositions[0] = 6 }, "row 0: masked_lm_positions is 6 in column 0 of a sequence of 6 tokens"},
		{"position beyond the row", func(s *Shard) { s.MaskedPositions[1*4+1] = 1 << 30 }, "row 1: masked_lm_positions is 1073741824"},
		{"positions not ascending", func(s *Shard) { s.MaskedPositions[3*4+1] = 1 }, "row 3: masked_lm_positions is 1 in column 1"},
		{"negative label", func(s *Shard) { s.MaskedIDs[0] = -1 }, "row 0: masked_lm_ids is -1"},
		{"next sentence", func(s *Shard) { s.NextSentence[36] = 2 }, "row 36: next_sentence_labels is 2"},
		{"short array", func(s *Shard) { s.NextSentence = s.NextSentence[1:] }, "arrays of different lengths"},
	}
	for _, c := range cases {
		s := originalShard()
		c.spoil(s)
		if err := s.check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
	s := originalShard()
	if err := s.checkIDs(1001); err != nil {
		t.Error(err)
	}
	if err := s.checkIDs(900); err == nil || !strings.Contains(err.Error(), "beyond a vocabulary of 900") {
		t.Errorf("error %v", err)
	}
}

func TestReadShardErrors(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	badRow := originalShard()
	badRow.MaskedPositions[5*4] = 15
	wrongRow := filepath.Join(dir, "row.hdf5")
	if err := writeRows(context.Background(), wrongRow, (*shardRows)(badRow), 1); err != nil {
		t.Fatal(err)
	}
	wide := filepath.Join(dir, "wide.hdf5")
	w, err := hdf5.Create(wide)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	a := arrays{ctx: context.Background(), w: w, rows: 2, threads: 1}
	writeArray(&a, "input_ids", 8, func(int, []int8) {})
	writeArray(&a, "masked_lm_positions", 8, func(int, []int32) {})
	if a.err != nil {
		t.Fatal(a.err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	cases := []struct{ name, path, want string }{
		{"cut off", put("cut.hdf5", whole[:len(whole)-9]), "truncated file"},
		{"text", put("text.hdf5", []byte("a sentence.\n\n")), "not an HDF5 file"},
		{"empty", put("empty.hdf5", nil), "the file is empty"},
		{"missing", filepath.Join(dir, "none.hdf5"), "no such file"},
		{"another HDF5 file", "../hdf5/testdata/foreign.hdf5", `data set "input_ids": no such data set`},
		{"ids of the wrong type", wide, `data set "input_ids": other integers of 1 bytes, want int32`},
		{"position in the padding", wrongRow, "row 5: masked_lm_positions is 15 in column 0 of a sequence of 11 tokens"},
	}
	for _, c := range cases {
		_, err := ReadShard(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
		if c.name != "missing" && fault.HintOf(err) == "" {
			t.Errorf("%s: no hint", c.name)
		}
	}
}

// Shards written by the original program itself, from the same text: all six arrays must be equal, element by element.
func TestReferenceShards(t *testing.T) {
	tok := uncased(t)
	cases := []struct {
		shard, text string
		options     Options
		rows        int
	}{
		{"tiny_seq32_pred5", "tiny_seq32_pred5.input.txt", Options{Seq: 32, MaxPred: 5, Dupe: 2, Seed: 7}, 82},
		{"google_bert_sample_text_seq128_pred20_dupe5_seed12345", "google_bert_sample_text.txt", Options{Seq: 128, MaxPred: 20, Dupe: 5, Seed: 12345}, 60},
		{"wiki_seq128_pred20", "wiki_seq128_pred20+seq512_pred80.input.txt", Options{Seq: 128, MaxPred: 20, Dupe: 1, Seed: 12345}, 1475},
		{"wiki_seq512_pred80", "wiki_seq128_pred20+seq512_pred80.input.txt", Options{Seq: 512, MaxPred: 80, Dupe: 1, Seed: 12345}, 413},
	}
	for _, c := range cases {
		t.Run(c.shard, func(t *testing.T) {
			want, err := ReadShard(dataFile(t, "hdf5/"+c.shard+".hdf5"))
			if err != nil {
				t.Fatal(err)
			}
			in, err := os.Open(dataFile(t, "hdf5/"+c.text))
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			docs, err := readDocuments(in, c.text, tok)
			if err != nil {
				t.Fatal(err)
			}
			o := c.options
			o.MaskedLMProb, o.ShortSeqProb, o.LowerCase = 0.15, 0.1, true
			x, err := makeIn(context.Background(), &Instances{}, docs, tok.Vocabulary(), o)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(t.TempDir(), "ours.hdf5")
			if err := writeInstances(context.Background(), name, x, 2); err != nil {
				t.Fatal(err)
			}
			got, err := ReadShard(name)
			if err != nil {
				t.Fatal(err)
			}
			if want.Rows != c.rows {
				t.Errorf("the reference shard has %d rows, want %d", want.Rows, c.rows)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

const compareScript = `
import sys, h5py, numpy as np
ours, original = (h5py.File(name, "r") for name in sys.argv[1:3])
assert sorted(ours) == sorted(original), (sorted(ours), sorted(original))
for name, dtype in dict(input_ids="<i4", input_mask="i1", segment_ids="i1", masked_lm_positions="<i4", masked_lm_ids="<i4", next_sentence_labels="i1").items():
    a, b = ours[name], original[name]
    assert a.dtype == np.dtype(dtype) == b.dtype, (name, a.dtype)
    assert a.shape == b.shape == a.maxshape, (name, a.shape, b.shape)
    assert a.compression == "gzip" and a.chunks is not None and a.shuffle == (a.dtype.itemsize > 1) and len(a.attrs) == 0, name
    assert (a[:] == b[:]).all(), name
print("equal")
`

func TestH5pyReadsOurShards(t *testing.T) {
	python := ""
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import h5py").Run() == nil {
			python = name
			break
		}
	}
	if python == "" {
		t.Skip("skipped: no python3 with h5py")
	}
	name := filepath.Join(t.TempDir(), "ours.hdf5")
	if err := writeShard(name, originalShard(), 2); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", compareScript, name, original).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "equal" {
		t.Errorf("%v: %s", err, out)
	}
}

// A damaged file is refused, or read where the damage hits nothing that matters, but never brings the process down.
func TestDamagedShards(t *testing.T) {
	ours := filepath.Join(t.TempDir(), "ours.hdf5")
	if err := writeShard(ours, originalShard(), 1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{original, ours} {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		refused, path := 0, filepath.Join(t.TempDir(), "damaged.hdf5")
		for i := range 400 {
			data := bytes.Clone(whole)
			for range 1 + i%3 {
				data[rng.IntN(len(data))] = byte(rng.Uint32())
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadShard(path); err != nil {
				refused++
				if !strings.Contains(err.Error(), path) || fault.HintOf(err) == "" {
					t.Errorf("error %v, hint %q", err, fault.HintOf(err))
				}
			}
		}
		if refused < 40 {
			t.Errorf("%s: only %d of 400 damaged files are refused", name, refused)
		}
	}
}
