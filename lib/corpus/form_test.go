package corpus

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/stream"

	"github.com/google/go-cmp/cmp"
)

func TestForms(t *testing.T) {
	docs := []Document{{ID: "12", Title: `Say "hi" & go`, Text: "One.\nTwo <b>.", URL: "https://x.org/wiki?curid=12"}, {ID: "13", Title: "T", Text: "a </doc> b"}}
	for form, want := range map[Form]string{
		JSON: `{"id":"12","title":"Say \"hi\" & go","text":"One.\nTwo <b>."}` + "\n" + `{"id":"13","title":"T","text":"a </doc> b"}` + "\n",
		Doc: `<doc id="12" url="https://x.org/wiki?curid=12" title="Say &#34;hi&#34; &amp; go">` + "\nSay \"hi\" & go\n\nOne.\nTwo <b>.\n\n</doc>\n" +
			`<doc id="13" url="" title="T">` + "\nT\n\na &lt;/doc> b\n\n</doc>\n",
		Line: "One. Two <b>. \n\na </doc> b \n\n",
	} {
		var out bytes.Buffer
		w := NewFormWriter(&out, form)
		for _, d := range docs {
			if err := w.Write(d); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", form, diff)
		}
		r := NewFormReader(&out, "x", form)
		d, err := r.Next()
		if err != nil || form != Line && (d.Title != docs[0].Title || d.Text != docs[0].Text || d.ID != "12") {
			t.Errorf("form %v reads back as %+v, %v", form, d, err)
		}
		failed := NewFormReader(bytes.NewReader(form.Mark(context.Background(), "p")(io.ErrUnexpectedEOF)), "x", form)
		if _, err := failed.Next(); err == nil || !strings.Contains(err.Error(), "the program before failed: p: unexpected EOF") {
			t.Errorf("form %v: mark gives %v", form, err)
		}
	}
}

// The original pipeline's own output for WikiExtractor's frames.
func TestLineFormIsTheReferences(t *testing.T) {
	root := os.Getenv("HPCBERT_DATA")
	if root == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	golden := filepath.Join(root, "wiki", "golden", "enwiki-shortened.")
	frames, err := stream.Open(context.Background(), golden+"wikiextractor.txt.gz", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer frames.Close()
	lines, err := stream.Open(context.Background(), golden+"one_article_per_line.txt.gz", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	want, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	w := NewFormWriter(&got, Line)
	for r := NewFormReader(frames, "frames", Doc); err == nil; {
		var d Document
		if d, err = r.Next(); err == nil {
			err = w.Write(d)
		}
	}
	if err != io.EOF || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes, want %d, the same; %v", got.Len(), len(want), err)
	}
}
