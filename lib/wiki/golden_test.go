package wiki

import (
	"bufio"
	"bytes"
	"context"
	"html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"hpcbert/lib/corpus"
	"hpcbert/lib/stream"
)

// data returns the folder of real data, or skips the test.
func data(t testing.TB) string {
	root := os.Getenv("HPCBERT_DATA")
	if root == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	return filepath.Join(root, "wiki")
}

func readAll(t testing.TB, name string) []byte {
	t.Helper()
	r, err := stream.Open(context.Background(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var docHeader = regexp.MustCompile(`^<doc id="([^"]*)" url="[^"]*" title="(.*)">$`)

// goldenDocs reads WikiExtractor's output without its titles.
func goldenDocs(t testing.TB, name string) []corpus.Document {
	t.Helper()
	var docs []corpus.Document
	var body []string
	lines := bufio.NewScanner(bytes.NewReader(readAll(t, name)))
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		line := lines.Text()
		if m := docHeader.FindStringSubmatch(line); m != nil {
			docs = append(docs, corpus.Document{ID: m[1], Title: html.UnescapeString(m[2])})
			body = body[:0]
			lines.Scan() // the title
			continue
		}
		if line == "</doc>" && len(docs) > 0 {
			docs[len(docs)-1].Text = strings.Join(body, "\n")
			continue
		}
		body = append(body, line)
	}
	return docs
}

func extractAll(t testing.TB, name string, workers int) []corpus.Document {
	t.Helper()
	r, err := stream.Open(context.Background(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spool, err := NewSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	var docs []corpus.Document
	e := Extractor{Templates: new(Templates), Workers: workers}
	if err := e.Scan(context.Background(), r, name, spool, func() {}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.RunSpool(context.Background(), spool, func(d corpus.Document) error { docs = append(docs, d); return nil }); err != nil {
		t.Fatal(err)
	}
	return docs
}

func words(text string) map[string]int {
	count := make(map[string]int)
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) }) {
		count[w]++
	}
	return count
}

func size(count map[string]int) (n int) {
	for _, k := range count {
		n += k
	}
	return n
}

func overlap(a, b map[string]int) (n int) {
	for w, k := range a {
		n += min(k, b[w])
	}
	return n
}

var goldenDumps = []struct{ dump, golden string }{
	{"bgwiki-latest-pages-articles-shortened.xml.bz2", "bgwiki"},
	{"enwiki-articles-partial.xml", "enwiki-articles-partial"},
	{"enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.xml.bz2", "enwiki-shortened"},
	{"enwiki-table-markup.xml.bz2", "enwiki-table-markup"},
	{"ltgwiki-smallwiki-latest-pages-articles.xml", "ltgwiki"},
	{"nlwiki-20140927-pages-articles-sample.xml", "nlwiki"},
	{"simplewiki-wikidump-test.xml", "simplewiki"},
	{"tinywiki-latest-pages-articles.xml", "tinywiki"},
	{"wikiclean-multilang-pages.shared.xml", "wikiclean-multilang-pages.shared"},
	{"wtf-cache-pages.shared.xml", "wtf-cache-pages.shared"},
}

// Words of the text, article by article and in any order, against those of WikiExtractor: F1 over each dump.
func TestWordsAgreeWithWikiExtractor(t *testing.T) {
	root := data(t)
	for _, c := range goldenDumps {
		t.Run(c.golden, func(t *testing.T) {
			golden := filepath.Join(root, "golden", c.golden+".wikiextractor.txt")
			if _, err := os.Stat(golden); err != nil {
				golden += ".gz"
			}
			want := goldenDocs(t, golden)
			got := extractAll(t, filepath.Join(root, "dumps", c.dump), 2)
			var common, ours, theirs int
			next := 0
			for _, w := range want {
				for next > 0 && next < len(got) && got[next].ID == got[next-1].ID {
					next++ // WikiExtractor takes pages with the id of the one before as copies
				}
				var text string
				if next < len(got) && got[next].ID == w.ID && got[next].Title == w.Title {
					text = got[next].Text
					next++
				}
				a, b := words(text), words(w.Text)
				n := overlap(a, b)
				common, ours, theirs = common+n, ours+size(a), theirs+size(b)
				if f := 2 * float64(n) / float64(max(1, size(a)+size(b))); f < 0.95 && size(a)+size(b) > 0 {
					t.Logf("%q: F1 %.3f, %d words, WikiExtractor %d", w.Title, f, size(a), size(b))
				}
			}
			if next < len(got) && got[next].ID != got[next-1].ID {
				t.Errorf("document %q is not in the golden output, or not in its place", got[next].Title)
			}
			f1 := 2 * float64(common) / float64(ours+theirs)
			t.Logf("F1 %.4f, precision %.4f, recall %.4f, %d documents", f1, float64(common)/float64(ours), float64(common)/float64(theirs), len(got))
			if f1 < 0.97 {
				t.Errorf("F1 %.4f, want at least 0.97", f1)
			}
		})
	}
}
