package wordpiece

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hpcbert/lib/fault"

	"github.com/google/go-cmp/cmp"
)

// dataFile returns a file of the folder of real data, which the tests can do without.
func dataFile(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("HPCBERT_DATA")
	if dir == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	return filepath.Join(dir, name)
}

func loadFile(t testing.TB, name string) *Vocabulary {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := Load(f, name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLoad(t *testing.T) {
	const specials = "[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
	cases := []struct{ name, text, err string }{
		{"empty file", "", "vocabulary v: no word pieces"},
		{"only a newline", "\n", "vocabulary v: no word pieces"},
		{"duplicate piece", specials + "a\nb\na\n", `vocabulary v: line 7: "a" is already in line 5`},
		{"no mask", "[UNK]\n[CLS]\n[SEP]\n", "vocabulary v: no [MASK]"},
		{"empty line", specials + "\na\n", "vocabulary v: line 5 is empty"},
		{"not UTF-8", specials + "\xff\n", "vocabulary v: line 5 is not UTF-8"},
		{"CR LF", strings.ReplaceAll(specials+"a\n", "\n", "\r\n"), ""},
		{"byte order mark, no newline at the end", "\ufeff" + specials + "a", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v, err := Load(strings.NewReader(c.text), "v")
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("error %v, want %s", err, c.err)
				}
				if fault.HintOf(err) == "" {
					t.Error("no hint")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"}, v.Tokens); diff != "" {
				t.Error(diff)
			}
			if v.ID("a") != 4 || v.ID("b") != -1 || v.Mask != 3 || v.Size() != 5 {
				t.Errorf("ids a %d b %d mask %d size %d", v.ID("a"), v.ID("b"), v.Mask, v.Size())
			}
		})
	}
}

// The words need no vocabulary: the basic step alone, uncased and cased.
func TestBasic(t *testing.T) {
	v, err := Load(strings.NewReader("[UNK]\n[CLS]\n[SEP]\n[MASK]\n"), "v")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct{ name, text, uncased, cased string }{
		{"punctuation", "Hello, World!", "hello , world !", "Hello , World !"},
		{"accents go, no recomposition", "Café naïve Ångström", "cafe naive angstrom", "Café naïve Ångström"},
		{"no-break space splits, zero width does not", "brown\u00a0fox\u200b jumps.", "brown fox jumps .", "brown fox jumps ."},
		{"ideographs", "中文abc", "中 文 abc", "中 文 abc"},
		{"ASCII symbols are punctuation, others are not", "$5.00 (50%) €3", "$ 5 . 00 ( 50 % ) €3", "$ 5 . 00 ( 50 % ) €3"},
		{"special tokens stand alone only", "[MASK] [CLS]x [SEP]", "[MASK] [ cls ] x [SEP]", "[MASK] [ CLS ] x [SEP]"},
		{"special token hidden by a zero-width space", "[MA\u200bSK] [mask]", "[MASK] [ mask ]", "[MASK] [ mask ]"},
		{"dotted capital I", "İstanbul", "istanbul", "İstanbul"},
		{"final sigma looks past an apostrophe", "ΟΔΟΣ ΣΣ ΑΣ. Σ 'Σ ΑΣ'Α ΑΣ'", "οδος σς ας . σ ' σ ασ ' α ας '", "ΟΔΟΣ ΣΣ ΑΣ . Σ ' Σ ΑΣ ' Α ΑΣ '"},
		{"controls vanish without a split", "x\ufffdy\x00z a\u00adb c\x0bd e\u0085f", "xyz ab cd ef", "xyz ab cd ef"},
		{"separators split", "e\u2028f\u2029g\th\ni\rj", "e f g h i j", "e f g h i j"},
		{"decomposition makes punctuation", "a\u037eb ≠", "a ; b =", "a \u037e b ≠"},
		{"Hangul becomes jamo", "한", "\u1112\u1161\u11ab", "한"},
		{"invalid UTF-8 vanishes", "a\xffb \xe4\xb8", "ab", "ab"},
		{"nothing", " \t\u00ad\u0301 ", "", "\u0301"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for lower, want := range map[bool]string{true: c.uncased, false: c.cased} {
				got := strings.Join(New(v, Options{LowerCase: lower}).basic(c.text), " ")
				if got != want {
					t.Errorf("lower-casing %t: %q, want %q", lower, got, want)
				}
			}
		})
	}
}

func TestPieces(t *testing.T) {
	v, err := Load(strings.NewReader("[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\naf\n##a\na\nσ\n##ς"), "v")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, text string
		ids        []int32
	}{
		{"longest match", "unaffable", []int32{4, 5, 6}},
		{"the whole word is unknown when a part is", "a unaffablex a", []int32{9, 0, 9}},
		{"continuation at a word's start does not match", "able", []int32{0}},
		{"100 characters", strings.Repeat("a", 100), append([]int32{9}, repeat(8, 99)...)},
		{"101 characters", strings.Repeat("a", 101), []int32{0}},
		{"pieces of several bytes", "ΣΣ", []int32{10, 11}},
		{"appends to what is there", "[MASK]", []int32{3}},
	}
	tok := New(v, Options{LowerCase: true})
	for _, c := range cases {
		got := tok.Encode([]int32{77}, c.text)
		if diff := cmp.Diff(append([]int32{77}, c.ids...), got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestNoContinuations(t *testing.T) {
	v, err := Load(strings.NewReader("[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"), "v")
	if err != nil {
		t.Fatal(err)
	}
	if got := New(v, Options{}).Encode(nil, "a ab a"); !cmp.Equal(got, []int32{4, 0, 4}) {
		t.Errorf("got %v", got)
	}
}

func repeat(id int32, n int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = id
	}
	return s
}

// The table of the specification: uncased, shipped vocabulary.
func TestGoldenTable(t *testing.T) {
	v := loadFile(t, dataFile(t, "wordpiece/vocab/bert-base-uncased-vocab.txt"))
	if v.SHA256 != "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3" || v.Size() != 30522 {
		t.Fatalf("vocabulary of %d pieces, SHA-256 %s", v.Size(), v.SHA256)
	}
	tok := New(v, Options{LowerCase: true})
	cases := []struct {
		text, pieces string
		ids          []int32
	}{
		{"Hello, World!", "hello , world !", []int32{7592, 1010, 2088, 999}},
		{"unaffable", "una ##ffa ##ble", []int32{14477, 20961, 3468}},
		{"Café naïve Ångström", "cafe naive ang ##strom", nil},
		{"brown\u00a0fox\u200b jumps.", "brown fox jumps .", nil},
		{"中文abc", "中 文 abc", []int32{1746, 1861, 5925}},
		{"it's $5.00 (50%)", "it ' s $ 5 . 00 ( 50 % )", nil},
		{"[MASK] [CLS]x [SEP]", "[MASK] [ cl ##s ] x [SEP]", nil},
		{"[mask] [unk]", "[ mask ] [ un ##k ]", nil},
		{strings.Repeat("a", 101), "[UNK]", nil},
		{"\u0130stanbul", "istanbul", nil},
		{"\ufb01n", "ﬁ ##n", []int32{1984, 2078}},
		{"ß ΣΣ", "ß σ ##ς", []int32{1096, 1173, 19579}},
		{"x\ufffdy\x00z", "x ##y ##z", nil},
		{"3.14e-10", "3 . 14 ##e - 10", nil},
		{"こんにちは", "こ ##ん ##に ##ち ##は", []int32{1655, 30217, 30194, 30188, 30198}},
		{"\U0001f600 ok", "[UNK] ok", nil},
		{"soft\u00adhyphen", "soft ##hy ##ph ##en", nil},
		{"e\u2028f", "e f", nil},
		{"don’t—stop…", "don ’ t — stop …", nil},
	}
	for _, c := range cases {
		if got := strings.Join(tok.pieces(c.text), " "); got != c.pieces {
			t.Errorf("%q: %s, want %s", c.text, got, c.pieces)
		}
		if got := tok.Encode(nil, c.text); c.ids != nil && !cmp.Equal(got, c.ids) {
			t.Errorf("%q: %v, want %v", c.text, got, c.ids)
		}
	}
	if got := tok.pieces(strings.Repeat("A", 100)); len(got) != 50 || got[0] != "aaa" || got[1] != "##aa" {
		t.Errorf("100 A: %v", got)
	}
}

func TestReferenceTokenization(t *testing.T) {
	type answer struct {
		Basic, Tokens []string
		IDs           []int32
	}
	type record struct {
		Source, Text string
		Uncased      answer `json:"bert-base-uncased"`
		Cased        answer `json:"bert-base-cased"`
	}
	uncased := New(loadFile(t, dataFile(t, "wordpiece/vocab/bert-base-uncased-vocab.txt")), Options{LowerCase: true})
	cased := New(loadFile(t, dataFile(t, "wordpiece/vocab/bert-base-cased-vocab.txt")), Options{})
	n := 0
	eachLine(t, dataFile(t, "wordpiece/golden/nvidia_reference_tokenization.jsonl"), func(line []byte) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		n++
		for name, c := range map[string]struct {
			tok  *Tokenizer
			want answer
		}{"uncased": {uncased, r.Uncased}, "cased": {cased, r.Cased}} {
			got := answer{c.tok.basic(r.Text), c.tok.pieces(r.Text), c.tok.Encode(nil, r.Text)}
			if len(got.IDs) == 0 && len(c.want.IDs) == 0 && len(got.Basic) == 0 && len(c.want.Basic) == 0 {
				continue
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("line %d (%s) %s: %q\n%s", n, r.Source, name, r.Text, diff)
			}
		}
	})
	if n != 1176 {
		t.Errorf("%d texts, want 1176", n)
	}
}

func TestHuggingFaceCases(t *testing.T) {
	toks := map[string]*Tokenizer{}
	n := 0
	eachLine(t, dataFile(t, "wordpiece/golden/transformersjs_bert_cases.jsonl"), func(line []byte) {
		var r struct {
			Vocab, Case string
			Text        any
			LowerCase   bool     `json:"do_lower_case"`
			Tokens      []string `json:"nvidia_reference_tokens"`
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		n++
		key := r.Vocab + map[bool]string{true: " lower", false: ""}[r.LowerCase]
		if toks[key] == nil {
			toks[key] = New(loadFile(t, dataFile(t, "wordpiece/vocab/"+r.Vocab+"-vocab.txt")), Options{LowerCase: r.LowerCase})
		}
		text, ok := r.Text.(string)
		if pair, isPair := r.Text.([]any); isPair {
			text, ok = pair[0].(string)
		}
		if !ok {
			t.Fatalf("line %d: text %v", n, r.Text)
		}
		if got := toks[key].pieces(text); strings.Join(got, " ") != strings.Join(r.Tokens, " ") {
			t.Errorf("line %d %s %s: %q: %q, want %q", n, key, r.Case, text, got, r.Tokens)
		}
	})
	if n != 60 {
		t.Errorf("%d cases, want 60", n)
	}
}

func eachLine(t *testing.T, name string, f func([]byte)) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		f(in.Bytes())
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestManyGoroutines(t *testing.T) {
	v, err := Load(strings.NewReader("[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\ne\n##b\n"), "v")
	if err != nil {
		t.Fatal(err)
	}
	tok := New(v, Options{LowerCase: true})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				if got := tok.Encode(nil, "aB é, b"); !cmp.Equal(got, []int32{4, 7, 6, 0, 5}) {
					t.Errorf("got %v", got)
					return
				}
			}
		})
	}
	wait.Wait()
}

func BenchmarkEncode(b *testing.B) {
	tok := New(loadFile(b, dataFile(b, "wordpiece/vocab/bert-base-uncased-vocab.txt")), Options{LowerCase: true})
	data, err := os.ReadFile(dataFile(b, "hdf5/wiki_seq128_pred20+seq512_pred80.input.txt"))
	if err != nil {
		b.Fatal(err)
	}
	text, ids := string(data), []int32(nil)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		ids = tok.Encode(ids[:0], text)
	}
}

// pieces returns the word pieces of text.
func (t *Tokenizer) pieces(text string) []string {
	ids := t.Encode(nil, text)
	pieces := make([]string, len(ids))
	for i, id := range ids {
		pieces[i] = t.vocab.Tokens[id]
	}
	return pieces
}

// basic returns the words that the basic step makes of text.
func (t *Tokenizer) basic(text string) []string {
	var words []string
	NewSplitter(t.options).Each(text, func(word []byte) { words = append(words, string(word)) })
	return words
}

// testdata/lower.tsv holds random texts of letters that are lower-cased in odd ways, and what Python 3.11 makes of them.
func TestLowerIsPythons(t *testing.T) {
	text, err := os.ReadFile("testdata/lower.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if given, want, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); Lower(given) != want {
			t.Errorf("Lower(%q) = %q, Python has %q", given, Lower(given), want)
		}
	}
}
