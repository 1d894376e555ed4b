package sentence

import (
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestImprovedRules(t *testing.T) {
	cases := []struct{ name, document, want string }{
		{"paragraphs end sentences", "A heading\nIt begins here\r\nand \n\n ends.", "A heading|It begins here|and|ends."},
		{"titles", "I saw Mt. Fuji with Gen. Grant, Prof. Li and Mrs. Elton.", "I saw Mt. Fuji with Gen. Grant, Prof. Li and Mrs. Elton."},
		{"figures and numbers", "See Fig. 3.1, eq. 5 and pp. 7. He is no. 2 now. He said no. Then he left.", "See Fig. 3.1, eq. 5 and pp. 7.|He is no. 2 now.|He said no.|Then he left."},
		{"Latin", "Some, e.g. LiMe, i.e. a salt, dissolve, cf. Smith et al. (2004). So did Lee et al. The others failed.",
			"Some, e.g. LiMe, i.e. a salt, dissolve, cf. Smith et al. (2004).|So did Lee et al.|The others failed."},
		{"initials", "J. S. Bach and A. Noel met. It was World War I. The end came.", "J. S. Bach and A. Noel met.|It was World War I.|The end came."},
		{"acronyms", "I live in the U.S. How about you? The U.S. Senate met at 5 p.m. on Monday.", "I live in the U.S.|How about you?|The U.S. Senate met at 5 p.m. on Monday."},
		{"numbers with periods", "Prices rose by 0.21%. Wages did not. See example.com. Then go.", "Prices rose by 0.21%.|Wages did not.|See example.com.|Then go."},
		{"speech goes on", `"Stop!" he cried. 'Why?' said Alice. "So." She left.`, `"Stop!" he cried.|'Why?' said Alice.|"So."|She left.`},
		{"typographic quotes", "He said “no.” Then ‘yes!’ He was «sure.» All was well…", "He said “no.”|Then ‘yes!’|He was «sure.»|All was well…"},
		{"brackets", "He left (it was late.) at ten. (She stayed.) All slept.", "He left (it was late.) at ten.|(She stayed.)|All slept."},
		{"three periods", "Well . . . perhaps. She paused... Then she spoke. And ... so on. He [...] Left.", "Well . . . perhaps.|She paused...|Then she spoke.|And ... so on.|He [...] Left."},
		{"dashes", "Is it -- or is it? -- a whale? No -- it is not.", "Is it -- or is it? -- a whale?|No -- it is not."},
		{"items of a list", "1. The first.\n• 2.) The second.\nb. The third.", "1. The first.|• 2.) The second.|b. The third."},
		{"runs of marks", "What?! No way!! Go.", "What?!|No way!!|Go."},
		{"bytes that are no text", "a.\xff \xffB. \xe2\x80", "a.\xff \xffB.|\xe2\x80"},
		{"nothing", " \n\r\n ", ""},
	}
	p := englishModel(t)
	for _, c := range cases {
		if got := strings.Join(p.SplitImproved(c.document), "|"); got != c.want {
			t.Errorf("%s: SplitImproved(%q)\n got %q\nwant %q", c.name, c.document, got, c.want)
		}
	}
}

// labelled is a text with its sentences as people cut it, and as NLTK does.
type labelled struct {
	Text  string   `json:"text"`
	Gold  []string `json:"gold"`
	Punkt []string `json:"nltk_punkt"`
}

func readLabelled(t *testing.T, name string) []labelled {
	f, err := os.Open(dataFile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []labelled
	for dec := json.NewDecoder(f); ; {
		var l labelled
		if err := dec.Decode(&l); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
}

// score counts the ends of sentences, told by the characters before them that are not white space.
type score struct{ right, found, gold int }

func (s *score) add(gold, got []string) {
	want := ends(gold)
	s.gold += len(want)
	for end := range ends(got) {
		s.found++
		if want[end] {
			s.right++
		}
	}
}

func (s score) f1() float64 { return 2 * float64(s.right) / float64(s.found+s.gold) }

func ends(sentences []string) map[int]bool {
	at, all := 0, map[int]bool{}
	for _, s := range sentences {
		for _, r := range s {
			if !unicode.IsSpace(r) {
				at++
			}
		}
		all[at] = true
	}
	return all
}

// Sentences marked by people are found better than by NLTK, also where NLTK is told the paragraphs.
func TestImprovedBeatsNLTK(t *testing.T) {
	p := englishModel(t)
	var nltk, told, improved score
	for _, d := range readLabelled(t, "sentences/ud_english_ewt/ewt_dev_docs.jsonl") {
		var paragraphs []string
		for paragraph := range strings.SplitSeq(d.Text, "\n\n") {
			paragraphs = append(paragraphs, p.Split(paragraph)...)
		}
		nltk.add(d.Gold, d.Punkt)
		told.add(d.Gold, paragraphs)
		improved.add(d.Gold, p.SplitImproved(d.Text))
	}
	t.Logf("EWT dev: F1 of NLTK %.4f, of NLTK on each paragraph %.4f, of the improved rules %.4f", nltk.f1(), told.f1(), improved.f1())
	if improved.f1() <= told.f1() || improved.f1() <= nltk.f1() {
		t.Error("the improved rules are not above NLTK")
	}
}

func TestImprovedOnGoldenRules(t *testing.T) {
	p := englishModel(t)
	nltk, improved := 0, 0
	all := readLabelled(t, "sentences/golden_rules.jsonl")
	for _, d := range all {
		if slices.Equal(d.Gold, d.Punkt) {
			nltk++
		}
		if slices.Equal(d.Gold, p.SplitImproved(d.Text)) {
			improved++
		}
	}
	t.Logf("%d golden rules: NLTK keeps %d, the improved rules %d", len(all), nltk, improved)
	if improved <= nltk {
		t.Error("the improved rules are not above NLTK")
	}
}

func BenchmarkSplitImproved(b *testing.B) {
	text := strings.Join(books(b), "\n")
	p := englishModel(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		p.SplitImproved(text)
	}
}
