package pretrain

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/lib/fault"

	"github.com/google/go-cmp/cmp"
)

// plainRow is a row before it was masked.
type plainRow struct {
	ids  []int32
	next int8
}

// A set of rows of several lengths and what they were before they were masked. Words are a to z, every third one goes on with ##s.
func maskedSet(t *testing.T, seq, maxPred int, rows ...int) (*Set, []plainRow) {
	t.Helper()
	dir := t.TempDir()
	words := []string{"##s"}
	for c := 'a'; c <= 'z'; c++ {
		words = append(words, string(c))
	}
	v := lineVocabulary(t, words...)
	var plain []plainRow
	rng := rand.New(rand.NewPCG(7, 8))
	static := &masker{draws: newTwister(9), vocab: v, prob: 0.15, most: maxPred}
	for i, n := range rows {
		s := &Shard{Rows: n, Seq: seq, MaxPred: maxPred, InputIDs: make([]int32, n*seq), InputMask: make([]int8, n*seq), SegmentIDs: make([]int8, n*seq),
			MaskedPositions: make([]int32, n*maxPred), MaskedIDs: make([]int32, n*maxPred), NextSentence: make([]int8, n)}
		for r := range n {
			length := seq - rng.IntN(2)*rng.IntN(seq-5)
			ids := make([]int32, length)
			for p := range ids {
				ids[p] = int32(6 + rng.IntN(26))
				if p%3 == 2 {
					ids[p] = 5 // ##s
				}
			}
			ids[0], ids[length/2], ids[length-1] = v.Cls, v.Sep, v.Sep
			plain = append(plain, plainRow{slices.Clone(ids), int8(r % 2)})
			positions, labels := static.mask(ids, nil, nil)
			copy(s.InputIDs[r*seq:], ids)
			ones(s.InputMask[r*seq : r*seq+length])
			copy(s.MaskedPositions[r*maxPred:], positions)
			copy(s.MaskedIDs[r*maxPred:], labels)
			s.NextSentence[r] = int8(r % 2)
		}
		if err := writeShard(filepath.Join(dir, fmt.Sprintf("x_training_%d.hdf5", i)), s, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, vocabularyName), []byte(strings.Join(v.Tokens, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	set, err := OpenSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	return set, plain
}

func newMasking(t *testing.T, set *Set, seed uint64, wholeWords bool) *Masking {
	t.Helper()
	m, err := NewMasking(set, seed, wholeWords)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// epochOf fetches an epoch in file order, in pieces of n rows.
func epochOf(t *testing.T, set *Set, m *Masking, epoch, n int) []Sample {
	t.Helper()
	l := NewLoader(context.Background(), set, NewFileOrder(set.Rows), m)
	defer l.Close()
	var all []Sample
	for first := 0; first < set.TotalRows(); first += n {
		rows, err := l.Fetch(int64(epoch*set.TotalRows()+first), min(n, set.TotalRows()-first))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			x := r.Sample()
			if tokens, masked := r.Size(); m.continues == nil && (tokens != len(x.InputIDs) || masked != len(x.MaskedIDs)) {
				t.Errorf("row %d: told %d tokens, %d masked; it has %d, %d", first, tokens, masked, len(x.InputIDs), len(x.MaskedIDs))
			}
			all = append(all, x)
		}
	}
	return all
}

// within fails unless so many of n draws of probability p are within 4.5 standard deviations of the mean: one in 150,000 is not.
func within(t *testing.T, what string, got, n int, p float64) {
	t.Helper()
	mean, deviation := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	if math.Abs(float64(got)-mean) > 4.5*deviation {
		t.Errorf("%s: %d of %d, expected %.0f within %.0f", what, got, n, mean, 4.5*deviation)
	}
}

func TestDynamicMasksAreOfTheDocumentedKind(t *testing.T) {
	set, plain := maskedSet(t, 40, 5, 700, 300, 1)
	m := newMasking(t, set, 42, false)
	const vocab = 32
	var total, masks, kept, random int
	candidates, chosen := make([]int, 40), make([]int, 40)
	for epoch := range 20 {
		for i, x := range epochOf(t, set, m, epoch, 64) {
			ids, n := plain[i].ids, len(plain[i].ids)
			if want := min(5, max(1, int(math.RoundToEven(float64(n)*0.15)))); len(x.MaskedIDs) != want || len(x.MaskedPositions) != want {
				t.Fatalf("row %d of %d tokens: %d masked, expected %d", i, n, len(x.MaskedIDs), want)
			}
			if !slices.IsSorted(x.MaskedPositions) || len(slices.Compact(slices.Clone(x.MaskedPositions))) != len(x.MaskedPositions) {
				t.Fatalf("row %d: positions %v", i, x.MaskedPositions)
			}
			restored := slices.Clone(x.InputIDs)
			for k, p := range x.MaskedPositions {
				restored[p] = x.MaskedIDs[k]
				total++
				if n == 40 {
					chosen[p]++
				}
				switch id := x.InputIDs[p]; {
				case id == ids[p]:
					kept++
				case id == m.vocab.Mask:
					masks++
				default:
					random++
				}
				if ids[p] == m.vocab.Cls || ids[p] == m.vocab.Sep {
					t.Fatalf("row %d: %d at %d is to be predicted", i, ids[p], p)
				}
			}
			if !slices.Equal(restored, ids) || x.NextSentence != int32(plain[i].next) {
				t.Fatalf("row %d: with its labels it is %v, unmasked it was %v", i, restored, ids)
			}
			if n == 40 {
				for p := range candidates {
					candidates[p]++
				}
			}
		}
	}
	within(t, "[MASK]", masks, total, 0.8+0.1/vocab) // the random word is any, [MASK] and the word itself too
	within(t, "kept", kept, total, 0.1+0.1/vocab)
	within(t, "random words", random, total, 0.1*(vocab-2)/vocab)
	for p, n := range chosen {
		if p != 0 && p != 20 && p != 39 {
			within(t, fmt.Sprintf("masked at %d", p), n, candidates[p], 5.0/37)
		}
	}
}

func TestDynamicMasksAreAFunctionOfSeedEpochAndRow(t *testing.T) {
	set, _ := maskedSet(t, 40, 5, 30, 20, 7)
	m := newMasking(t, set, 42, false)
	first := epochOf(t, set, m, 0, 1)
	for _, pieces := range []int{3, 16, 57} { // as other batches would fetch them
		if diff := cmp.Diff(first, epochOf(t, set, newMasking(t, set, 42, false), 0, pieces)); diff != "" {
			t.Errorf("fetched by %d: %s", pieces, diff)
		}
	}
	shuffled, order := map[int64]Sample{}, NewShuffledOrder(set.Rows, 3)
	l := NewLoader(context.Background(), set, order, m)
	defer l.Close()
	rows, err := l.Fetch(0, set.TotalRows())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		shuffled[r.index] = r.Sample()
	}
	for i, x := range first {
		if diff := cmp.Diff(x, shuffled[int64(i)]); diff != "" {
			t.Errorf("row %d in another order: %s", i, diff)
		}
	}
	same := func(a, b []Sample) (n int) {
		for i := range a {
			if slices.Equal(a[i].MaskedPositions, b[i].MaskedPositions) && slices.Equal(a[i].InputIDs, b[i].InputIDs) {
				n++
			}
		}
		return n
	}
	if n := same(first, epochOf(t, set, m, 1, 8)); n > 12 {
		t.Errorf("%d of %d rows are masked in epoch 1 as in epoch 0", n, len(first))
	}
	if n := same(first, epochOf(t, set, newMasking(t, set, 43, false), 0, 8)); n > 12 {
		t.Errorf("%d of %d rows are masked alike with another seed", n, len(first))
	}
	if n := same(first[:7], first[50:]); n > 2 {
		t.Errorf("%d of 7 rows are masked as those of another file", n)
	}
}

func TestDynamicMasksOfWholeWords(t *testing.T) {
	set, plain := maskedSet(t, 40, 7, 200)
	m := newMasking(t, set, 1, true)
	for i, x := range epochOf(t, set, m, 0, 50) {
		masked := map[int32]bool{}
		for _, p := range x.MaskedPositions {
			masked[p] = true
		}
		special := func(p int) bool { return p < 0 || plain[i].ids[p] == m.vocab.Cls || plain[i].ids[p] == m.vocab.Sep }
		for p, id := range plain[i].ids {
			if id == 5 && !special(p-1) && masked[int32(p)] != masked[int32(p-1)] {
				t.Fatalf("row %d: of the word at %d one piece is masked, the other is not: %v", i, p-1, x.MaskedPositions)
			}
		}
	}
}

func TestMaskingErrors(t *testing.T) {
	bare := setOf(t, 3)
	if _, err := NewMasking(bare, 1, false); err == nil || !strings.Contains(err.Error(), "has no vocab.txt") || fault.HintOf(err) == "" {
		t.Errorf("no vocabulary: %v", err)
	}
	set, _ := maskedSet(t, 40, 5, 3)
	set.Seq = 513
	if _, err := NewMasking(set, 1, false); err == nil || !strings.Contains(err.Error(), "sequences of 513 tokens") {
		t.Errorf("long sequences: %v", err)
	}
	set.Seq, set.Manifest = 40, &Manifest{Options: Options{MaskedLMProb: 0.3, WholeWords: true}}
	m := newMasking(t, set, 1, false)
	if m.prob != 0.3 || m.String() != "dynamic, whole words" {
		t.Errorf("shards of whole words with probability 0.3 are masked %v with %v", m, m.prob)
	}
}

func TestHeldRows(t *testing.T) {
	for _, c := range []struct {
		rows    []int
		n, want int
	}{
		{[]int{100}, 10, 100}, {[]int{100, 100}, 10, 200}, {[]int{100, 100, 100, 100}, 10, 300}, {[]int{100, 1, 2, 3}, 10, 105 + 6}, {[]int{5, 5, 5, 5, 5, 5}, 12, 15 + 12},
	} {
		if got := (&Set{Rows: c.rows}).HeldRows(c.n); got != c.want {
			t.Errorf("%v, %d: %d rows, expected %d", c.rows, c.n, got, c.want)
		}
	}
}
