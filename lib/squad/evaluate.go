package squad

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"hpcbert/lib/fault"
	"hpcbert/lib/python"
	"hpcbert/lib/wordpiece"
)

// Predictions are answers by the ids of their questions.
type Predictions map[string]string

// ReadPredictions reads a file of predictions.
func ReadPredictions(ctx context.Context, name string, stdin io.Reader) (Predictions, error) {
	var file map[string]*string
	name, err := readJSON(ctx, name, stdin, &file)
	if err != nil {
		return nil, err
	}
	p := Predictions{}
	for id, text := range file {
		if text == nil {
			return nil, fmt.Errorf("read %s: question %s: null where a text is expected", name, id)
		}
		p[id] = *text
	}
	return p, nil
}

// PredictionsOf returns what a file of the answers would hold.
func PredictionsOf(answers []Answer) Predictions {
	p := Predictions{}
	for _, a := range answers {
		p[a.ID] = a.Text
	}
	return p
}

// NoAnswer is how probable it is that questions have no answer, in the order of a file.
type NoAnswer struct {
	ids   []string
	probs map[string]float64
}

// ReadNoAnswer reads a file of the probabilities, or of other scores that grow with them.
func ReadNoAnswer(ctx context.Context, name string, stdin io.Reader) (*NoAnswer, error) {
	var text json.RawMessage
	n := &NoAnswer{}
	name, err := readJSON(ctx, name, stdin, &text)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &n.probs); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	in := json.NewDecoder(bytes.NewReader(text))
	seen := map[string]bool{}
	for i := 0; ; i++ { // a brace, then keys and values in turn
		token, err := in.Token()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if id, key := token.(string); key && i%2 == 1 && !seen[id] {
			seen[id] = true
			n.ids = append(n.ids, id)
		}
	}
}

// Marks are exact match and F1 of answers, each the best over the right answers.
type Marks struct{ Exact, F1 float64 }

// Result is what an official script prints.
type Result struct {
	names   []string
	values  []any // float64 or int
	indent  bool
	Missing []string // questions without a prediction
}

// Value returns a number by its name, such as "f1".
func (r *Result) Value(name string) (float64, bool) {
	i := slices.Index(r.names, name)
	if i < 0 {
		return 0, false
	}
	if n, whole := r.values[i].(int); whole {
		return float64(n), true
	}
	return r.values[i].(float64), true
}

// Marks are the two numbers over all questions, in percent.
func (r *Result) Marks() Marks {
	exact, v2 := r.Value("exact")
	if !v2 {
		exact, _ = r.Value("exact_match")
	}
	f1, _ := r.Value("f1")
	return Marks{exact, f1}
}

// JSON returns the result as the official script of the data's version prints it.
func (r *Result) JSON() []byte {
	separator, start, end := ", ", "{", "}\n"
	if r.indent {
		separator, start, end = ",\n  ", "{\n  ", "\n}\n"
	}
	b := []byte(start)
	for i, name := range r.names {
		if i > 0 {
			b = append(b, separator...)
		}
		b = append(python.AppendString(b, name), ": "...)
		if n, whole := r.values[i].(int); whole {
			b = fmt.Append(b, n)
		} else {
			b = python.AppendFloat(b, r.values[i].(float64))
		}
	}
	return append(b, end...)
}

func (r *Result) add(name string, value any) {
	r.names, r.values = append(r.names, name), append(r.values, value)
}

// IsVersion2 tells whether the data are SQuAD 2.0, where a question may have no answer.
func (d *Data) IsVersion2() bool { return strings.HasPrefix(strings.TrimPrefix(d.Version, "v"), "2") }

// Unknown returns the ids of predictions that no question has, sorted.
func (d *Data) Unknown(p Predictions) []string {
	known := map[string]bool{}
	for _, q := range d.Questions {
		known[q.ID] = true
	}
	var unknown []string
	for id := range p {
		if !known[id] {
			unknown = append(unknown, id)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// Evaluate marks predictions as the official script of the data's version does. None may be nil; questions that it holds for more probably
// unanswerable than threshold count as answered by nothing. They are of SQuAD 2.0 alone.
func (d *Data) Evaluate(p Predictions, none *NoAnswer, threshold float64) (*Result, error) {
	for _, q := range d.Questions {
		if q.Gold == nil {
			return nil, fault.WithHint(fmt.Errorf("%s: question %s has no key \"answers\"", d.Name, q.ID), "answers to a test set cannot be marked without the truth")
		}
	}
	if d.IsVersion2() {
		return d.evaluate2(p, none, threshold)
	}
	return d.evaluate1(p)
}

// evaluate1 counts questions without a prediction as wrong.
func (d *Data) evaluate1(p Predictions) (*Result, error) {
	r := &Result{}
	var sum Marks
	for _, q := range d.Questions {
		text, there := p[q.ID]
		if !there {
			r.Missing = append(r.Missing, q.ID)
			continue
		}
		if len(q.Gold) == 0 {
			return nil, fmt.Errorf("%s: question %s has no answer, which version %q does not know", d.Name, q.ID, d.Version)
		}
		m := mark(q.Gold, text, false)
		sum.Exact += m.Exact
		sum.F1 += m.F1
	}
	total := float64(len(d.Questions))
	r.add("exact_match", 100*sum.Exact/total)
	r.add("f1", 100*sum.F1/total)
	return r, nil
}

// marked is a question of SQuAD 2.0 and what its answer gets.
type marked struct {
	Marks
	id         string
	answerable bool
	text       string // of the prediction
}

// evaluate2 leaves questions without a prediction out.
func (d *Data) evaluate2(p Predictions, none *NoAnswer, threshold float64) (*Result, error) {
	r := &Result{indent: true}
	var raw []marked
	unanswerable := 0
	for _, q := range d.Questions {
		if len(q.Gold) == 0 {
			unanswerable++
		}
		text, there := p[q.ID]
		if !there {
			r.Missing = append(r.Missing, q.ID)
			continue
		}
		gold := slices.DeleteFunc(slices.Clone(q.Gold), func(g Gold) bool { return normalize(g.Text) == "" })
		if len(gold) == 0 {
			gold = []Gold{{}}
		}
		raw = append(raw, marked{mark(gold, text, true), q.ID, len(q.Gold) > 0, text})
	}
	if len(raw) == 0 {
		return nil, fmt.Errorf("%s: not one of %d questions has a prediction", d.Name, len(d.Questions))
	}
	final, err := raw, error(nil)
	if none != nil {
		final, err = none.apply(raw, threshold)
	}
	if err != nil {
		return nil, err
	}
	r.totals("", final)
	for _, part := range []struct {
		name       string
		answerable bool
	}{{"HasAns_", true}, {"NoAns_", false}} {
		r.totals(part.name, slices.DeleteFunc(slices.Clone(final), func(m marked) bool { return m.answerable != part.answerable }))
	}
	if none != nil {
		r.best("exact", none, raw, unanswerable, func(m marked) float64 { return m.Exact })
		r.best("f1", none, raw, unanswerable, func(m marked) float64 { return m.F1 })
	}
	return r, nil
}

func (r *Result) totals(prefix string, questions []marked) {
	if len(questions) == 0 {
		return
	}
	var sum Marks
	for _, m := range questions {
		sum.Exact += m.Exact
		sum.F1 += m.F1
	}
	total := float64(len(questions))
	r.add(prefix+"exact", 100*sum.Exact/total)
	r.add(prefix+"f1", 100*sum.F1/total)
	r.add(prefix+"total", len(questions))
}

// apply marks questions as if there were no answer where that is more probable than the threshold.
func (n *NoAnswer) apply(raw []marked, threshold float64) ([]marked, error) {
	final := slices.Clone(raw)
	for i, m := range raw {
		prob, there := n.probs[m.id]
		if !there {
			return nil, fmt.Errorf("no probability that question %s has no answer", m.id)
		}
		if prob <= threshold {
			continue
		}
		final[i].Marks = Marks{}
		if !m.answerable {
			final[i].Marks = Marks{1, 1}
		}
	}
	return final, nil
}

// best adds the highest score that any threshold gives, and that threshold.
func (r *Result) best(name string, n *NoAnswer, raw []marked, unanswerable int, score func(marked) float64) {
	byID := map[string]marked{}
	for _, m := range raw {
		byID[m.id] = m
	}
	ids := slices.Clone(n.ids)
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(n.probs[a], n.probs[b]) })
	current := float64(unanswerable) // of the threshold that leaves no answer
	best, threshold := current, 0.0
	for _, id := range ids {
		m, there := byID[id]
		switch {
		case !there:
			continue
		case m.answerable:
			current += score(m)
		case m.text != "":
			current--
		}
		if current > best {
			best, threshold = current, n.probs[id]
		}
	}
	r.add("best_"+name, 100*best/float64(len(raw)))
	r.add("best_"+name+"_thresh", threshold)
}

// mark compares a prediction with the right answers. The scripts differ where nothing is left of both after normalization.
func mark(gold []Gold, prediction string, v2 bool) (m Marks) {
	said := normalize(prediction)
	tokens := python.Fields(said)
	for _, g := range gold {
		right := normalize(g.Text)
		if right == said {
			m.Exact = 1
		}
		m.F1 = max(m.F1, overlap(python.Fields(right), tokens, v2))
	}
	return m
}

// overlap is F1 of the words that two texts share.
func overlap(gold, said []string, v2 bool) float64 {
	if v2 && len(gold) == 0 && len(said) == 0 {
		return 1
	}
	count, same := map[string]int{}, 0
	for _, word := range gold {
		count[word]++
	}
	for _, word := range said {
		if count[word] > 0 {
			count[word]--
			same++
		}
	}
	if same == 0 {
		return 0
	}
	precision, recall := float64(same)/float64(len(said)), float64(same)/float64(len(gold))
	return (2 * precision * recall) / (precision + recall)
}

// normalize lower-cases a text, drops ASCII punctuation and the articles, and joins what is left with blanks.
func normalize(text string) string {
	text = strings.Map(func(r rune) rune {
		if '!' <= r && r <= '/' || ':' <= r && r <= '@' || '[' <= r && r <= '`' || '{' <= r && r <= '~' {
			return -1
		}
		return r
	}, wordpiece.Lower(text))
	return strings.Join(python.Fields(withoutArticles(text)), " ")
}

// withoutArticles makes a blank of each word a, an or the. Words end where Unicode says, so é is a letter and a dash is none.
func withoutArticles(text string) string {
	var b strings.Builder
	start := 0 // of the word at work
	for i, r := range text {
		if !python.IsWord(r) {
			b.WriteString(unlessArticle(text[start:i]))
			b.WriteRune(r)
			start = i + utf8.RuneLen(r)
		}
	}
	b.WriteString(unlessArticle(text[start:]))
	return b.String()
}

func unlessArticle(word string) string {
	if word == "a" || word == "an" || word == "the" {
		return " "
	}
	return word
}

// Marked tells whether the file has the answers of all questions, even if that is none.
func (d *Data) Marked() bool {
	return !slices.ContainsFunc(d.Questions, func(q *Question) bool { return q.Gold == nil })
}
