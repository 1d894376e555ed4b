package squad

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"hpcbert/lib/python"
)

// Ask returns a question about any text, to be asked like those of a file: Converter.Windows, a model's scores, Decoding.Answers.
func Ask(id, question, text string) Example {
	return Example{Question: &Question{ID: id, Text: question, Context: cut(text, python.IsSpace)}, Start: -1, End: -1}
}

// Locate returns the code points of the context that a guess's text is: from start to end-1, white space between words as it stands there.
// A text that is not of the context is nowhere.
func (c *Context) Locate(g Guess) (start, end int, found bool) {
	if g.First < 0 {
		return 0, 0, false
	}
	words := strings.Join(c.Words[g.First:g.Last+1], " ")
	at := strings.Index(words, g.Text)
	if at < 0 {
		return 0, 0, false
	}
	first := utf8.RuneCountInString(words[:at])
	return c.place(g.First, first), c.place(g.First, first+utf8.RuneCountInString(g.Text)-1) + 1, true
}

// place returns where in the context the n-th code point of its words from first on is, one blank counted between two of them.
func (c *Context) place(first, n int) int {
	for i := first; ; i++ {
		length := utf8.RuneCountInString(c.Words[i])
		if n < length || i == len(c.Words)-1 {
			return int(c.starts[i]) + n
		}
		n -= length + 1
	}
}

// Distinct returns the n best guesses of different texts. What several windows say is said once, and its probabilities add up.
func Distinct(guesses []Guess, n int) []Guess {
	var out []Guess
	for _, g := range guesses { // best first
		if i := slices.IndexFunc(out, func(o Guess) bool { return o.Text == g.Text }); i >= 0 {
			out[i].Probability += g.Probability
		} else {
			out = append(out, g)
		}
	}
	slices.SortStableFunc(out, func(a, b Guess) int { return cmp.Compare(b.Probability, a.Probability) })
	return out[:min(len(out), n)]
}
