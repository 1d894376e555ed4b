package corpus

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// A mark passes through any number of programs and still names the first that failed.
func TestMarksAreRefused(t *testing.T) {
	live := context.Background()
	ended, cancel := context.WithCancelCause(live)
	cancel(errors.New("terminated"))
	for _, c := range []struct {
		ctx  context.Context
		want string
	}{
		{live, "the program before failed: wikiextract: read \"a\"\nb: unexpected EOF"},
		{ended, "the program before failed: wikiextract: terminated"},
	} {
		input := `{"text":"a"}` + "\n" + string(documentMark(c.ctx, "wikiextract")(errors.New("read \"a\"\nb: unexpected EOF")))
		_, err := readDocuments(input, Auto)
		if err == nil || err.Error() != "read x: line 2: "+c.want {
			t.Fatalf("error %v, want %q", err, c.want)
		}
		r := NewSentenceReader(strings.NewReader("a.\n\n"+string(SentenceMark(live, "segment")(err))), "x")
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll("read x: line 3: "+c.want, "\n", " ")
		if _, err := r.NextExtent(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
