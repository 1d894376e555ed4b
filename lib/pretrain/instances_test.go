package pretrain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hpcbert/lib/fault"
	"hpcbert/lib/wordpiece"

	"github.com/google/go-cmp/cmp"
)

// Values drawn by CPython's random module.
func TestTwister(t *testing.T) {
	draw := func(seed int64, n int, f func(*twister) any) []any {
		rng, out := newTwister(seed), []any(nil)
		for range n {
			out = append(out, f(rng))
		}
		return out
	}
	random := func(r *twister) any { return r.random() }
	output := func(r *twister) any { return r.uint32() }
	between := func(a, b int) func(*twister) any { return func(r *twister) any { return r.between(a, b) } }
	cases := []struct {
		name string
		got  []any
		want []any
	}{
		{"random", draw(12345, 3, random), []any{0.41661987254534116, 0.010169169457068361, 0.8252065092537432}},
		{"32-bit outputs", draw(12345, 4, output), []any{uint32(1789368711), uint32(3146859322), uint32(43676229), uint32(3522623596)}},
		{"randint to 10", draw(12345, 10, between(1, 10)), []any{7, 1, 5, 6, 4, 5, 10, 7, 3, 6}},
		{"randint to 30521", draw(12345, 6, between(0, 30521)), []any{13651, 24008, 333, 26875, 27040, 26307}},
		{"seed of two words", draw(1<<40+7, 1, random), []any{0.6137037779936511}},
		{"seed 5", draw(5, 1, random), []any{0.6229016948897019}},
		{"seed -5", draw(-5, 1, random), []any{0.6229016948897019}},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestShuffle(t *testing.T) {
	for seed, want := range map[int64]string{12345: "8 7 3 5 1 2 9 4 0 6", 42: "3 4 6 7 2 5 0 1", 43: "6 7 4 3 1 5 2 0", 12439: "4 3 7 2 5 6 0 1"} {
		for name, f := range map[string]func(*twister, []int32){"shuffle": shuffle[int32], "shuffleSmall": (*twister).shuffleSmall} {
			x := make([]int32, len(strings.Fields(want)))
			for i := range x {
				x[i] = int32(i)
			}
			f(newTwister(seed), x)
			if got := strings.Trim(fmt.Sprint(x), "[]"); got != want {
				t.Errorf("%s with seed %d: %s, want %s", name, seed, got, want)
			}
		}
	}
}

// letters returns the ids 1, 2, ... of a run of letters, and back.
func letters(s string) []int32 {
	var ids []int32
	for _, r := range s {
		ids = append(ids, r-'a'+1)
	}
	return ids
}

func TestTruncate(t *testing.T) {
	a, b := truncate(newTwister(3), span{0, 8}, span{0, 6}, 7) // of abcdefgh, in sentences of its own, and uvwxyz
	first := appendSpan(nil, [][]int32{letters("a"), letters("bcd"), letters("efgh")}, a)
	second := appendSpan(nil, [][]int32{letters("uvwxyz")}, b)
	if diff := cmp.Diff([][]int32{letters("cdef"), letters("wxy")}, [][]int32{first, second}); diff != "" {
		t.Error(diff)
	}
}

// lineVocabulary is a vocabulary of the special tokens and some words.
func lineVocabulary(t *testing.T, words ...string) *wordpiece.Vocabulary {
	t.Helper()
	v, err := wordpiece.Load(strings.NewReader("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"+strings.Join(words, "\n")), "v")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMask(t *testing.T) {
	var words []string
	for c := 'a'; c <= 'z'; c++ {
		words = append(words, string(c))
	}
	v := lineVocabulary(t, words...)
	m := &masker{draws: newTwister(1), vocab: v, prob: 0.15, most: 5}
	id := v.ID
	ids := []int32{v.Cls, id("a"), id("b"), id("c"), id("d"), v.Sep, id("e"), id("f"), id("g"), v.Sep}
	positions, labels := m.mask(ids, nil, nil)
	want := []int32{v.Cls, id("a"), id("b"), id("c"), v.Mask, v.Sep, id("e"), id("f"), v.Mask, v.Sep}
	if diff := cmp.Diff([][]int32{want, {4, 8}, {id("d"), id("g")}}, [][]int32{ids, positions, labels}); diff != "" {
		t.Error(diff)
	}
}

// Python rounds halves to even: the number of masked tokens by the length of a sequence.
func TestMaskedCount(t *testing.T) {
	v := lineVocabulary(t, "a")
	for length, want := range map[int]int{5: 1, 10: 2, 30: 4, 50: 8, 70: 10, 110: 16, 128: 19, 512: 77} {
		m := &masker{draws: newTwister(1), vocab: v, prob: 0.15, most: 1000}
		if _, labels := m.mask(make([]int32, length), nil, nil); len(labels) != want {
			t.Errorf("%d tokens: %d masked, want %d", length, len(labels), want)
		}
	}
}

func TestReadDocuments(t *testing.T) {
	tok := wordpiece.New(lineVocabulary(t, "a", "b", "c"), wordpiece.Options{LowerCase: true})
	cases := []struct {
		name, text string
		want       [][][]int32
	}{
		{"two documents", "a b\nc\n\nb\n\n", [][][]int32{{{5, 6}, {7}}, {{6}}}},
		{"a line without tokens is dropped, and parts nothing", "a\n\u00ad\nb\n", [][][]int32{{{5}, {6}}}},
		{"a document without tokens is dropped", "\u00ad\n\na\n", [][][]int32{{{5}}}},
		{"CR and CR LF end lines", "a\r\nb\rc\r\r\na\r\n\r\nb", [][][]int32{{{5}, {6}, {7}}, {{5}}, {{6}}}},
		{"a line of separators is blank", "a\n\x1c \x1f\nb", [][][]int32{{{5}}, {{6}}}},
	}
	for _, c := range cases {
		d, err := readDocuments(strings.NewReader(c.text), "x", tok)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, d.list); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	for _, text := range []string{"", "\n\n", "\u00ad\n"} {
		if _, err := readDocuments(strings.NewReader(text), "x", tok); err == nil || !strings.Contains(err.Error(), "read x: no sentences") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func dataFile(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("HPCBERT_DATA")
	if dir == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	return filepath.Join(dir, name)
}

func uncased(t testing.TB) *wordpiece.Tokenizer {
	t.Helper()
	f, err := os.Open(dataFile(t, "wordpiece/vocab/bert-base-uncased-vocab.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := wordpiece.Load(f, "vocab.txt")
	if err != nil {
		t.Fatal(err)
	}
	return wordpiece.New(v, wordpiece.Options{LowerCase: true})
}

// goldenCorpus is the made-up corpus of the specification.
func goldenCorpus(t *testing.T, v *wordpiece.Vocabulary) string {
	t.Helper()
	var words []string
	isWord := regexp.MustCompile(`^[a-z]+$`)
	for _, token := range v.Tokens[1996:2996] {
		if isWord.MatchString(token) {
			words = append(words, token)
		}
	}
	var b strings.Builder
	for d := range 6 {
		for s := range 3 + 2*d {
			var line []string
			for k := range 4 + (7*d+3*s)%9 {
				line = append(line, words[(131*d+17*s+5*k)%len(words)])
			}
			text := strings.Join(line, " ")
			fmt.Fprintf(&b, "%s%s .\n", strings.ToUpper(text[:1]), text[1:])
		}
		b.WriteString("\n")
	}
	if sum := digest([]byte(b.String())); len(words) != 866 || sum != "d22aaf55da22d41bd215a9d46283ebe743bc18c3097f33337674c7207c270934" {
		t.Fatalf("%d words, corpus digest %s", len(words), sum)
	}
	return b.String()
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestGoldenInstances(t *testing.T) {
	tok := uncased(t)
	text := goldenCorpus(t, tok.Vocabulary())
	cases := []struct {
		seq, pred, dupe, instances, masked, random int
		digest                                     string
	}{
		{32, 5, 2, 41, 196, 23, "5da5669a3a5028a9110c4f8d638d9065b3f50d616da426bc399d4dbe3b28e680"},
		{128, 20, 5, 64, 545, 36, "b2d8d8b372869af427121b95c407d91f7b219c2e75946f899dfc1da8481b92ba"},
		{512, 80, 1, 9, 107, 4, "98adbaf56b3c4fd0ca6425888417a329a0daa16f55347f159e40cce6e9a994ee"},
	}
	for _, c := range cases {
		docs, err := readDocuments(strings.NewReader(text), "corpus", tok)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Seq: c.seq, MaxPred: c.pred, Dupe: c.dupe, MaskedLMProb: 0.15, ShortSeqProb: 0.1, Seed: 12345, LowerCase: true}
		x, err := makeIn(context.Background(), &Instances{}, docs, tok.Vocabulary(), o)
		if err != nil {
			t.Fatal(err)
		}
		if x.Len() != c.instances || x.Masked() != c.masked || x.RandomNext() != c.random {
			t.Errorf("seq %d: %d instances, %d masked, %d random", c.seq, x.Len(), x.Masked(), x.RandomNext())
		}
		if got := instanceDigest(t, x); got != c.digest {
			t.Errorf("seq %d: digest %s, want %s", c.seq, got, c.digest)
		}
	}
}

// Against a slow plain version with CPython's own generator, testdata/wholewords.py.
func TestWholeWords(t *testing.T) {
	text, err := os.ReadFile("testdata/wholewords.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Whole             bool
		Seq, Pred, Dupe   int
		Prob              float64
		Seed              int64
		Instances, Masked int
		SHA256            string
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open("testdata/wholewords.vocab.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	v, err := wordpiece.Load(in, "vocab")
	if err != nil {
		t.Fatal(err)
	}
	sentences, err := os.ReadFile("testdata/wholewords.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 10 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		docs, err := readDocuments(bytes.NewReader(sentences), "x", wordpiece.New(v, wordpiece.Options{LowerCase: true}))
		if err != nil {
			t.Fatal(err)
		}
		x, err := makeIn(context.Background(), &Instances{}, docs, v, Options{Seq: c.Seq, MaxPred: c.Pred, Dupe: c.Dupe, MaskedLMProb: c.Prob, ShortSeqProb: 0.1, Seed: c.Seed, WholeWords: c.Whole})
		if err != nil {
			t.Fatal(err)
		}
		if got := instanceDigest(t, x); x.Len() != c.Instances || x.Masked() != c.Masked || got != c.SHA256 {
			t.Errorf("%+v: %d instances, %d masked, digest %s", c, x.Len(), x.Masked(), got)
		}
	}
}

// instanceDigest hashes the compact JSON of [ids, segments, positions, labels, next] of every instance.
func instanceDigest(t *testing.T, x *Instances) string {
	t.Helper()
	var list [][]any
	for i := range x.rows {
		r := x.rows[i]
		segments := make([]int, r.tokens)
		for k := r.first; k < r.tokens; k++ {
			segments[k] = 1
		}
		next := 0
		if r.randomNext {
			next = 1
		}
		list = append(list, []any{x.tokens[r.ids : r.ids+r.tokens], segments, x.positions[r.mask : r.mask+r.masked], x.labels[r.mask : r.mask+r.masked], next})
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return digest(text)
}

// A lone document pairs with itself, never with a random one; an instance beyond 512 ids is refused.
func TestLoneDocument(t *testing.T) {
	v := lineVocabulary(t, "a", "b", "c")
	tok := wordpiece.New(v, wordpiece.Options{LowerCase: true})
	o := Options{Seq: 16, MaxPred: 3, Dupe: 20, MaskedLMProb: 0.15, ShortSeqProb: 0.1, Seed: 1}
	docs, err := readDocuments(strings.NewReader("a b c\nb c\nc a b a\nb\n"), "x", tok)
	if err != nil {
		t.Fatal(err)
	}
	x, err := makeIn(context.Background(), &Instances{}, docs, v, o)
	if err != nil {
		t.Fatal(err)
	}
	if x.Len() < 20 || x.RandomNext() != 0 {
		t.Errorf("%d instances, %d of them random: a lone document has no other to draw from", x.Len(), x.RandomNext())
	}
	o.Seq = maxInstanceIDs + 1
	if _, err := makeIn(context.Background(), &Instances{}, docs, v, o); fault.KindOf(err) != fault.Usage {
		t.Errorf("longer than BERT's positions: %v", err)
	}
}

func TestOptions(t *testing.T) {
	good := Options{Seq: 128, MaxPred: 20, Dupe: 5, MaskedLMProb: 0.15, ShortSeqProb: 0.1}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Options){
		"seq": func(o *Options) { o.Seq = 4 }, "max pred": func(o *Options) { o.MaxPred = 0 }, "dupe": func(o *Options) { o.Dupe = 0 },
		"masked": func(o *Options) { o.MaskedLMProb = 1.5 }, "short": func(o *Options) { o.ShortSeqProb = -0.1 },
	} {
		o := good
		spoil(&o)
		if err := o.Check(); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
