package wiki

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/corpus"

	"github.com/google/go-cmp/cmp"
)

func run(t *testing.T, e Extractor, xml string) ([]corpus.Document, Counts, error) {
	t.Helper()
	var docs []corpus.Document
	counts, err := e.Run(context.Background(), strings.NewReader(xml), "x.xml", func(d corpus.Document) error { docs = append(docs, d); return nil })
	return docs, counts, err
}

func TestExtractorChoosesPages(t *testing.T) {
	xml := mediawiki(siteinfo + page("1", "A", "0", "Short.") + page("2", "B", "0", "{{x}}") + page("3", "Fails:C", "6", "File text.") +
		"<page><title>D</title><ns>0</ns><id>4</id><redirect title=\"A\"/><revision><text>#REDIRECT [[A]]</text></revision></page>" +
		"<page><title>E</title><ns>0</ns><id>5</id><revision><model>json</model><text>{}</text></revision></page>" + page("6", "F", "0", "[[Fails:x|y]]Four."))
	for _, c := range []struct {
		name   string
		e      Extractor
		ids    string
		counts Counts
	}{
		{"articles", Extractor{}, "1 6", Counts{Pages: 6, OtherNamespace: 1, Redirects: 1, OtherModel: 1, Empty: 1, Documents: 2, Characters: 11}},
		{"files", Extractor{Namespaces: []int{6}}, "3", Counts{Pages: 6, OtherNamespace: 5, Documents: 1, Characters: 10}},
		{"both", Extractor{Namespaces: []int{0, 6}}, "1 3 6", Counts{Pages: 6, Redirects: 1, OtherModel: 1, Empty: 1, Documents: 3, Characters: 21}},
		{"long ones", Extractor{MinChars: 6}, "1", Counts{Pages: 6, OtherNamespace: 1, Redirects: 1, OtherModel: 1, Empty: 1, Short: 1, Documents: 1, Characters: 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			docs, counts, err := run(t, c.e, xml)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, d := range docs {
				ids = append(ids, d.ID)
			}
			if got := strings.Join(ids, " "); got != c.ids {
				t.Errorf("documents %s, want %s", got, c.ids)
			}
			if diff := cmp.Diff(c.counts, counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

// A dump read twice and one read once give the same, although templates stand behind the pages that use them.
func TestScan(t *testing.T) {
	xml := mediawiki(siteinfo+page("1", "A", "0", "Say {{hi|&amp;amp;}}.")+page("2", "Template:Hi", "10", "hello {{{1}}}")+page("3", "B", "0", strings.Repeat("{{hi|b}} ", 5000))+
		"<page><title>C</title><ns>0</ns><id>4</id><redirect title=\"A\"/><revision><text>#REDIRECT [[A]]</text></revision></page>") +
		mediawiki("<siteinfo><base>https://other.org/wiki/M</base></siteinfo>"+page("5", "D", "0", "Not {{hi}}."))
	spool, err := NewSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	seen := 0
	e := Extractor{Templates: new(Templates), Workers: 2}
	if err := e.Scan(context.Background(), strings.NewReader(xml), "x.xml", spool, func() { seen++ }); err != nil || seen != 5 {
		t.Fatal(seen, err)
	}
	var spooled []corpus.Document
	counts, err := e.RunSpool(context.Background(), spool, func(d corpus.Document) error { spooled = append(spooled, d); return nil })
	if err != nil {
		t.Fatal(err)
	}
	again, countsAgain, err := run(t, e, xml)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(again, spooled) + cmp.Diff(countsAgain, counts); diff != "" {
		t.Errorf("spooled and read twice differ: %s", diff)
	}
	want := []corpus.Document{{ID: "1", Title: "A", Text: "Say hello &.", URL: "https://ltg.wikipedia.org/wiki?curid=1"},
		{ID: "3", Title: "B", Text: strings.TrimSpace(strings.Repeat("hello b ", 5000)), URL: "https://ltg.wikipedia.org/wiki?curid=3"},
		{ID: "5", Title: "D", Text: "Not .", URL: "https://other.org/wiki?curid=5"}}
	if diff := cmp.Diff(want, spooled); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExtractorErrors(t *testing.T) {
	for _, c := range []struct{ name, xml, want string }{
		{"no pages", mediawiki(siteinfo), "read x.xml: no article with text in namespace 0: 0 pages"},
		{"no articles", mediawiki(page("1", "A", "10", "x")), "read x.xml: no article with text in namespace 0: 1 page, 1 in other namespaces"},
		{"malformed", mediawiki(page("1", "A", "0", "x") + "<b></c>"), `read x.xml: behind page 1, "A": byte 237: malformed XML: </c> where </b> is due`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := run(t, Extractor{Workers: 3}, c.xml); err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func manyPages(n int) string {
	var xml strings.Builder
	for i := range n {
		xml.WriteString(page(fmt.Sprint(i), "T", "0", strings.Repeat(fmt.Sprintf("Word %d [[a|b]]. ", i), 1+i*37%100)))
	}
	return mediawiki(xml.String())
}

func TestOrderDoesNotDependOnWorkers(t *testing.T) {
	xml := manyPages(500)
	want, _, err := run(t, Extractor{Workers: 1}, xml)
	if err != nil || len(want) != 500 {
		t.Fatal(len(want), err)
	}
	for _, workers := range []int{0, 2, 7, 64} {
		got, _, err := run(t, Extractor{Workers: workers}, xml)
		if err != nil || !cmp.Equal(want, got) {
			t.Errorf("%d workers: other documents than one, error %v", workers, err)
		}
	}
}

func TestExtractorStops(t *testing.T) {
	full := errors.New("disk full")
	e := Extractor{Workers: 4}
	if _, err := e.Run(context.Background(), strings.NewReader(manyPages(500)), "x", func(corpus.Document) error { return full }); err != full {
		t.Errorf("failed write: got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	_, err := e.Run(ctx, strings.NewReader(manyPages(5000)), "x", func(corpus.Document) error {
		if n++; n == 10 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || n > 100 {
		t.Errorf("cancelled: got %v after %d documents", err, n)
	}
}

func BenchmarkExtract(b *testing.B) {
	xml := readAll(b, filepath.Join(data(b), "dumps", goldenDumps[2].dump))
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			b.SetBytes(int64(len(xml)))
			for b.Loop() {
				e := Extractor{Workers: workers}
				if _, err := e.Run(context.Background(), strings.NewReader(string(xml)), "x", func(corpus.Document) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
