package squad

import (
	"cmp"
	"slices"

	"hpcbert/lib/python"
)

// Ask returns a question about any text, to be asked like those of a file: Converter.Windows, a model's scores, Decoding.Answers.
func Ask(id, question, text string) Example {
	return Example{Question: &Question{ID: id, Text: question, Context: cut(text, python.IsSpace)}, Start: -1, End: -1}
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
