package squad

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"hpcbert/lib/fault"
	"hpcbert/lib/python"
	"hpcbert/lib/stream"
	"hpcbert/lib/wordpiece"
)

// Decoding says how scores become answers.
type Decoding struct {
	NBest     int     // answers to keep of a question
	MaxAnswer int     // tokens of an answer
	LowerCase bool    // as the tokenizer
	Null      bool    // SQuAD 2.0: a question may have no answer
	Threshold float64 // it has none when that scores more than this above the best answer
}

// Check tells what is wrong with a decoding.
func (d Decoding) Check() error {
	switch {
	case d.NBest < 1 || d.MaxAnswer < 1:
		return fault.Usagef("--n-best-size %d, --max-answer-length %d: must be at least 1", d.NBest, d.MaxAnswer)
	case math.IsNaN(d.Threshold):
		return fault.Usagef("--null-threshold: must be a number")
	}
	return nil
}

// Scores are what a model says of the tokens of a window: how likely an answer starts and ends there. Those of padding may follow or not.
type Scores struct{ Start, End []float64 }

// SplitScores makes scores of a model's output: those of the starts, then those of the ends.
func SplitScores(output []float32) Scores {
	s := make([]float64, len(output))
	for i, x := range output {
		s[i] = float64(x)
	}
	return Scores{s[:len(s)/2], s[len(s)/2:]}
}

// Guess is a possible answer.
type Guess struct {
	Text        string
	Probability float64 // among the guesses
	Start, End  float64 // scores
	First, Last int     // words of the context that it is taken from; -1: of none
}

// Answer is the answer to a question. An empty text says that there is none.
type Answer struct {
	ID, Text string
	NBest    []Guess // best first
	NullOdds float64 // score of no answer less that of the best one, with Decoding.Null
}

// span of a window and its scores.
type pair struct {
	start, end           int
	startScore, endScore float64
}

func (p pair) score() float64 { return p.startScore + p.endScore }

// null is the best answer of a question that there is none.
type null struct{ score, start, end float64 }

// Answers returns the answer to each example that has windows, in the order of the examples, made in so many threads. Windows are all windows of
// the examples, in order; scores returns those of window i.
func (d Decoding) Answers(ctx context.Context, v *wordpiece.Vocabulary, examples []Example, windows []Window, scores func(i int) Scores, threads int) ([]Answer, error) {
	var answers []Answer
	at := 0
	next := func() (group, error) {
		g := group{first: at}
		for at < len(windows) && windows[at].Example == windows[g.first].Example {
			at++
		}
		if g.end = at; g.first == at {
			return g, io.EOF
		}
		return g, nil
	}
	worker := func() func(group) (Answer, error) {
		t := newTexts(d, v)
		return func(g group) (Answer, error) {
			return t.answer(examples[windows[g.first].Example], windows[g.first:g.end], func(i int) Scores { return scores(g.first + i) })
		}
	}
	err := stream.Map(ctx, threads, next, worker, func(a Answer) error {
		answers = append(answers, a)
		return nil
	})
	return answers, err
}

// group is the windows of one example.
type group struct{ first, end int }

// texts makes answers; each goroutine has its own.
type texts struct {
	Decoding
	vocab *wordpiece.Vocabulary
	words *wordpiece.Splitter
}

func newTexts(d Decoding, v *wordpiece.Vocabulary) *texts {
	return &texts{d, v, wordpiece.NewSplitter(wordpiece.Options{LowerCase: d.LowerCase})}
}

func (t *texts) answer(e Example, windows []Window, scores func(i int) Scores) (Answer, error) {
	var guesses []Guess
	none := null{score: math.Inf(1)}
	for i := range windows {
		s := scores(i)
		if tokens := len(windows[i].IDs); len(s.Start) < tokens || len(s.End) != len(s.Start) {
			return Answer{}, fmt.Errorf("question %s, window %d: %d and %d scores for %d tokens", e.ID, i+1, len(s.Start), len(s.End), tokens)
		}
		guesses = append(guesses, t.guesses(e, &windows[i], s)...)
		if score := s.Start[0] + s.End[0]; score < none.score {
			none = null{score, s.Start[0], s.End[0]}
		}
	}
	return t.choose(e.ID, guesses, none), nil
}

// guesses returns the best answers in a window. The same text may come from several windows; it counts once in each.
func (t *texts) guesses(e Example, w *Window, s Scores) (found []Guess) {
	seen := map[string]bool{}
	for _, p := range t.pairs(w, s) {
		if len(found) == t.NBest {
			break
		}
		text := t.text(e.Context, w, p)
		if !seen[text] {
			seen[text] = true
			first, _ := w.word(p.start)
			last, _ := w.word(p.end)
			found = append(found, Guess{Text: text, Start: p.startScore, End: p.endScore, First: first, Last: last})
		}
	}
	return found
}

// pairs returns the legal answers that the best starts and ends of a window make, best first.
func (t *texts) pairs(w *Window, s Scores) (pairs []pair) {
	ends := best(s.End, t.NBest)
	for _, start := range best(s.Start, t.NBest) {
		if _, inContext := w.word(start); !inContext || !w.maxContext(start) {
			continue
		}
		for _, end := range ends {
			if _, inContext := w.word(end); inContext && start <= end && end-start < t.MaxAnswer {
				pairs = append(pairs, pair{start, end, s.Start[start], s.End[end]})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.score(), a.score()) })
	return pairs
}

// best returns the places of the n highest scores, highest first; the first of equal ones first.
func best(scores []float64, n int) []int {
	var top []int
	for i, x := range scores {
		if len(top) == n && scores[top[n-1]] >= x {
			continue
		}
		at := len(top)
		for at > 0 && scores[top[at-1]] < x {
			at--
		}
		if len(top) == n {
			top = top[:n-1]
		}
		top = slices.Insert(top, at, i)
	}
	return top
}

// choose ranks the guesses of a question and takes the answer.
func (t *texts) choose(id string, guesses []Guess, none null) Answer {
	if t.Null {
		guesses = append(guesses, Guess{Start: none.start, End: none.end, First: -1, Last: -1})
	}
	slices.SortStableFunc(guesses, func(a, b Guess) int { return cmp.Compare(b.Start+b.End, a.Start+a.End) })
	guesses = guesses[:min(len(guesses), t.NBest)]
	if len(guesses) == 0 {
		guesses = []Guess{{Text: "empty", First: -1, Last: -1}} // the reference's word for it
	}
	weigh(guesses)
	a := Answer{ID: id, NBest: guesses, Text: guesses[0].Text}
	if !t.Null {
		return a
	}
	i := slices.IndexFunc(guesses, func(g Guess) bool { return g.Text != "" })
	if i < 0 { // nothing is a legal answer
		a.NullOdds = none.score
		return a
	}
	a.NullOdds = none.score - guesses[i].Start - guesses[i].End
	if a.Text = guesses[i].Text; a.NullOdds > t.Threshold {
		a.Text = ""
	}
	return a
}

// weigh sets the probabilities: the softmax of the scores. The guesses are sorted.
func weigh(guesses []Guess) {
	sum := 0.0
	for i := range guesses {
		g := &guesses[i]
		g.Probability = math.Exp(g.Start + g.End - (guesses[0].Start + guesses[0].End))
		sum += g.Probability
	}
	for i := range guesses {
		guesses[i].Probability /= sum
	}
}

// text returns what the context says where a pair is.
func (t *texts) text(c *Context, w *Window, p pair) string {
	var b strings.Builder
	for i, id := range w.IDs[p.start : p.end+1] {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.vocab.Tokens[id])
	}
	pieces := strings.ReplaceAll(strings.ReplaceAll(b.String(), " ##", ""), "##", "")
	first, _ := w.word(p.start)
	last, _ := w.word(p.end)
	return t.align(strings.Join(python.Fields(pieces), " "), strings.Join(c.Words[first:last+1], " "))
}

// align returns the part of the original text that the joined pieces are of: the words around it may hold more, such as a plural or a bracket. Where
// that cannot be told it returns all of the original.
func (t *texts) align(pieces, original string) string {
	var split []string
	t.words.Each(original, func(word []byte) { split = append(split, string(word)) })
	tokens := strings.Join(split, " ")
	at := strings.Index(tokens, pieces)
	if at < 0 || pieces == "" {
		return original
	}
	text := []rune(original)
	places := []int{} // in the text, of what is no blank
	for i, r := range text {
		if r != ' ' {
			places = append(places, i)
		}
	}
	solid := func(s string) int { return len([]rune(s)) - strings.Count(s, " ") }
	if solid(tokens) != len(places) {
		return original
	}
	first := solid(tokens[:at])
	return string(text[places[first] : places[first+solid(pieces)-1]+1])
}
