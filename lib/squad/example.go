package squad

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"hpcbert/lib/fault"
	"hpcbert/lib/python"
)

// Example is a question with the answer that a model shall learn, or to be asked.
type Example struct {
	*Question
	Start, End int    // words of the answer; -1 when there is none, or it is not looked at
	Answer     string // its text
}

// Dropped is a question that is not trained on because its answer is not in the context where it should be.
type Dropped struct{ ID, Found, Answer string }

// Asked returns the questions as a model is asked them: without their answers.
func (d *Data) Asked() ([]Example, error) {
	examples, seen := make([]Example, len(d.Questions)), map[string]bool{}
	for i, q := range d.Questions {
		if seen[q.ID] {
			return nil, fmt.Errorf("%s: question id %q is there twice", d.Name, q.ID)
		}
		seen[q.ID] = true
		examples[i] = Example{Question: q, Start: -1, End: -1}
	}
	return examples, nil
}

// Training returns the questions with their answers. With impossible (SQuAD 2.0) there are questions that have none.
func (d *Data) Training(impossible bool) (examples []Example, dropped []Dropped, err error) {
	for _, q := range d.Questions {
		if impossible && q.Impossible == nil {
			return nil, nil, fault.WithHint(fmt.Errorf("%s: question %s: no key \"is_impossible\"", d.Name, q.ID), "SQuAD 1.1 is trained without --squad2")
		}
		if impossible && *q.Impossible {
			examples = append(examples, Example{Question: q, Start: -1, End: -1})
			continue
		}
		e, found, err := q.answered()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: question %s: %w", d.Name, q.ID, err)
		}
		if wanted := strings.Join(python.Fields(e.Answer), " "); !strings.Contains(found, wanted) {
			dropped = append(dropped, Dropped{ID: q.ID, Found: found, Answer: wanted})
			continue
		}
		examples = append(examples, e)
	}
	return examples, dropped, nil
}

// answered finds the words of the question's one answer, and what they say.
func (q *Question) answered() (e Example, found string, err error) {
	if len(q.Gold) != 1 {
		return e, "", fault.WithHint(fmt.Errorf("%d answers: for training there must be exactly 1", len(q.Gold)), "development sets have several; SQuAD 2.0 is trained with --squad2")
	}
	g, c := q.Gold[0], q.Context
	last := g.Start + utf8.RuneCountInString(g.Text) - 1
	if g.Start < 0 || last < 0 || max(g.Start, last) >= c.length || len(c.Words) == 0 {
		return e, "", fmt.Errorf("the answer is at characters %d to %d of a context of %d", g.Start, last, c.length)
	}
	e = Example{Question: q, Start: c.wordAt(g.Start), End: c.wordAt(last), Answer: g.Text}
	if e.Start <= e.End {
		found = strings.Join(c.Words[e.Start:e.End+1], " ")
	}
	return e, found, nil
}
