package sentence

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func englishModel(t testing.TB) *Punkt {
	t.Helper()
	p, err := English()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func dataFile(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("HPCBERT_DATA")
	if dir == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	return filepath.Join(dir, name)
}

// The examples of the reference's behaviour: what NLTK 3.8 gave, odd as some are.
func TestSplitAsNLTK(t *testing.T) {
	cases := []struct{ text, want string }{
		{"Dr. Smith went to Washington, D.C. on Jan. 5. He arrived at 3 p.m. and left.",
			"Dr. Smith went to Washington, D.C. on Jan. 5.|He arrived at 3 p.m. and left."},
		{`It cost $3.50 (approx.). "Really?" he asked. She said: "Yes!" Then they left...`,
			`It cost $3.50 (approx.).|"Really?"|he asked.|She said: "Yes!"|Then they left...`},
		{"J. S. Bach was born in 1685. The U.S. Senate met. Mr. and Mrs. Jones (both 45 yrs.) came.",
			"J. S. Bach was born in 1685.|The U.S. Senate met.|Mr. and Mrs. Jones (both 45 yrs.)|came."},
		{"See Fig. 3.1 and e.g. the appendix. What?! No way!! ok. the end",
			"See Fig.|3.1 and e.g.|the appendix.|What?!|No way!!|ok. the end"},
		{"Version 2.0. is out. i.e. nothing. U.S. troops left. Visit example.com. Done",
			"Version 2.0. is out.|i.e.|nothing.|U.S. troops left.|Visit example.com.|Done"},
		{"", ""},
		{" \n\t", ""},
		{"no mark at all \n", "no mark at all"},
		{"One.\u00a0Two", "One.|Two"},
		{"Stop.\n\nGo.", "Stop.|Go."},
	}
	p := englishModel(t)
	for _, c := range cases {
		if got := strings.Join(p.Split(c.text), "|"); got != c.want {
			t.Errorf("Split(%q)\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestSplitGoldenDocuments(t *testing.T) {
	p := englishModel(t)
	for _, name := range []string{"sentences/golden_rules.jsonl", "sentences/ud_english_ewt/ewt_dev_docs.jsonl"} {
		f, err := os.Open(dataFile(t, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		dec := json.NewDecoder(f)
		texts, equal := 0, 0
		for {
			var c struct {
				Text string   `json:"text"`
				Want []string `json:"nltk_punkt"`
			}
			if err := dec.Decode(&c); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			texts++
			if diff := cmp.Diff(c.Want, p.Split(c.Text)); diff != "" {
				t.Errorf("%s: text %d %q (-want +got):\n%s", name, texts, c.Text, diff)
				continue
			}
			equal++
		}
		t.Logf("%s: %d of %d texts equal", name, equal, texts)
	}
}

// Texts of words and marks thrown together, which show more corners than real ones, and what NLTK 3.8.1 makes of them.
func TestSplitRandomAsNLTK(t *testing.T) {
	p := englishModel(t)
	lines := strings.Split(strings.TrimSpace(unpack(t, "testdata/random_nltk.jsonl.gz")), "\n")
	for i, line := range lines {
		var c struct {
			Text string
			NLTK []string
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if got := p.Split(c.Text); !slices.Equal(c.NLTK, got) {
			t.Errorf("text %d: Split(%q)\n got %q\nwant %q", i, c.Text, got, c.NLTK)
		}
	}
	if len(lines) != 3000 {
		t.Errorf("%d texts", len(lines))
	}
}

// Whole corpora: one document a line against NLTK's sentences.
func TestSplitGoldenCorpora(t *testing.T) {
	t.Run("books", func(t *testing.T) {
		compareCorpora(t, books(t), dataFile(t, "books/golden/gutenberg.shared.punkt_sentences.txt.gz"))
	})
	t.Run("wiki", func(t *testing.T) {
		articles := strings.Split(unpack(t, dataFile(t, "wiki/golden/enwiki-shortened.one_article_per_line.txt.gz")), "\n")
		articles = slices.DeleteFunc(articles, func(a string) bool { return strings.TrimSpace(a) == "" })
		compareCorpora(t, articles, dataFile(t, "wiki/golden/enwiki-shortened.punkt_sentences.txt.gz"))
	})
}

func compareCorpora(t *testing.T, documents []string, golden string) {
	p := englishModel(t)
	want := strings.Split(strings.TrimSuffix(unpack(t, golden), "\n\n"), "\n\n")
	if len(documents) != len(want) {
		t.Fatalf("%d documents, want %d", len(documents), len(want))
	}
	sentences, differ := 0, 0
	for i, d := range documents {
		got, want := p.Split(strings.TrimRight(d, " \t\r\n")), strings.Split(want[i], "\n")
		sentences += len(want)
		if diff := cmp.Diff(want, got); diff != "" {
			differ++
			t.Errorf("document %d (-want +got):\n%.2000s", i, diff)
		}
	}
	t.Logf("%d of %d documents equal, %d sentences", len(documents)-differ, len(documents), sentences)
}

// books returns each UTF-8 book, in name order, as one line.
func books(t testing.TB) []string {
	names, err := filepath.Glob(dataFile(t, "books/gutenberg/*.txt"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no books: %v", err)
	}
	var all []string
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(b) {
			continue
		}
		var lines []string
		for line := range strings.SplitSeq(strings.TrimPrefix(string(b), "\ufeff"), "\n") {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
		all = append(all, strings.Join(lines, " "))
	}
	return all
}

func unpack(t testing.TB, name string) string {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func BenchmarkSplit(b *testing.B) {
	text := strings.Join(books(b), " ")
	p := englishModel(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		p.Split(text)
	}
}
