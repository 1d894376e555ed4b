package squad

import (
	"slices"
	"strings"
	"testing"
)

// A model that knows where the answer is: the window with the word "queen" scores it high, whatever else there is.
func TestAskInALongText(t *testing.T) {
	tokens := tokenizer(t, "testdata/vocab.txt", true)
	v := tokens.Vocabulary()
	text := strings.Repeat("the king of\u00a0the city was born. ", 60) + "The Queen\x1dwon a war, " + strings.Repeat("and the river lost. ", 60)
	example := Ask("", "Who won?", text)
	windows, err := NewConverter(tokens, Options{MaxSeq: 64, Stride: 20, MaxQuery: 16}).Windows(t.Context(), []Example{example}, 1)
	if err != nil || len(windows) < 10 {
		t.Fatal(len(windows), err)
	}
	know := func(i int) Scores {
		ids := windows[i].IDs
		s := Scores{make([]float64, len(ids)), make([]float64, len(ids))}
		if at := slices.Index(ids, v.ID("queen")); at >= 0 {
			s.Start[at], s.End[at] = 8, 9
		}
		return s
	}
	answers, err := Decoding{NBest: 20, MaxAnswer: 30, LowerCase: true}.Answers(t.Context(), v, []Example{example}, windows, know, 2)
	if err != nil || len(answers) != 1 {
		t.Fatal(len(answers), err)
	}
	best := Distinct(answers[0].NBest, 3)
	if answers[0].Text != "Queen" || len(best) != 3 || best[0].Text != "Queen" || best[0].Probability < 0.99 || best[1].Probability > best[0].Probability {
		t.Errorf("answer %q, best %+v", answers[0].Text, best)
	}
}

func TestDistinct(t *testing.T) {
	got := Distinct([]Guess{{Text: "a", Probability: 0.4, Start: 3}, {Text: "b", Probability: 0.3, Start: 2}, {Text: "b", Probability: 0.2, Start: 1}, {Text: "c", Probability: 0.1}}, 2)
	want := []Guess{{Text: "b", Probability: 0.5, Start: 2}, {Text: "a", Probability: 0.4, Start: 3}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, expected %+v", got, want)
	}
}

func TestLocate(t *testing.T) {
	c := Ask("", "", "Ünder  the\tbig 𝒜 tree.").Context
	for name, x := range map[string]struct {
		guess      Guess
		start, end int
		found      bool
	}{
		"several words, other white space": {Guess{Text: "the big 𝒜", First: 1, Last: 3}, 7, 16, true},
		"a part of a word":                 {Guess{Text: "der", First: 0, Last: 0}, 2, 5, true},
		"the last word without its mark":   {Guess{Text: "tree", First: 4, Last: 4}, 17, 21, true},
		"parts of two words":               {Guess{Text: "r t", First: 0, Last: 1}, 4, 8, true},
		"another text":                     {Guess{Text: "big", First: 0, Last: 1}, 0, 0, false},
		"no answer":                        {Guess{First: -1, Last: -1}, 0, 0, false},
	} {
		if start, end, found := c.Locate(x.guess); start != x.start || end != x.end || found != x.found {
			t.Errorf("%s: %d to %d, %v; expected %d to %d, %v", name, start, end, found, x.start, x.end, x.found)
		}
	}
}
