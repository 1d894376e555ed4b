package wordpiece

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// languages is testdata/languages.json: what the reference's tokenizer makes of texts in many scripts (languages.py wrote it).
type languages struct {
	Texts []string
	Cases []struct {
		Name       string
		Lower      bool
		Vocabulary []string
		IDs        [][]int32
	}
	Multilingual string `json:"multilingual_cased_sha256"`
}

func readLanguages(t *testing.T) languages {
	t.Helper()
	text, err := os.ReadFile("testdata/languages.json")
	if err != nil {
		t.Fatal(err)
	}
	var l languages
	if err := json.Unmarshal(text, &l); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOtherLanguages(t *testing.T) {
	l := readLanguages(t)
	for _, c := range l.Cases {
		v, err := Load(strings.NewReader(strings.Join(c.Vocabulary, "\n")), c.Name)
		if err != nil {
			t.Fatal(err)
		}
		tok := New(v, Options{LowerCase: c.Lower})
		for i, text := range l.Texts {
			if diff := cmp.Diff(c.IDs[i], tok.Encode(nil, text)); diff != "" {
				t.Errorf("%s: %q: (-reference +ours)\n%s", c.Name, text, diff)
			}
		}
	}
}

func TestMultilingualVocabulary(t *testing.T) {
	tok := New(loadFile(t, dataFile(t, "wordpiece/vocab/bert-base-multilingual-cased-vocab.txt")), Options{})
	hash := sha256.New()
	eachLine(t, dataFile(t, "wordpiece/golden/nvidia_reference_tokenization.jsonl"), func(line []byte) {
		var r struct{ Text string }
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(hash, strings.Trim(fmt.Sprint(tok.Encode(nil, r.Text)), "[]"))
	})
	if got, want := hex.EncodeToString(hash.Sum(nil)), readLanguages(t).Multilingual; got != want {
		t.Errorf("SHA-256 of all ids %s, the reference's %s", got, want)
	}
}
