package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"hpcbert/lib/fault"
	"hpcbert/lib/squad"
	"hpcbert/lib/stream"
)

// longestLine is the most that one JSON line may have, in bytes.
const longestLine = 64 << 20

// distinct says once what is said several times, and chooses the likeliest text, unless there is no answer.
func distinct(a squad.Answer, none bool) squad.Answer {
	a.NBest = squad.Distinct(a.NBest, len(a.NBest))
	if none && a.Text == "" {
		return a
	}
	a.Text = ""
	if i := slices.IndexFunc(a.NBest, func(g squad.Guess) bool { return g.First >= 0 }); i >= 0 {
		a.Text = a.NBest[i].Text
	}
	return a
}

// pair answers --question and writes a line for each answer.
func (m *model) pair(ctx context.Context, in io.Reader, out *stream.Writer) error {
	text := m.options.Context
	if text == "" {
		all, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		text = string(all)
	}
	a, _, err := m.ask(ctx, m.Question, text)
	if err != nil {
		return err
	}
	for _, g := range shown(a, m.NBest) {
		if _, err := fmt.Fprintf(out, "%.4f\t%s\n", g.Probability, g.Text); err != nil {
			return err
		}
	}
	return nil
}

// shown returns the n likeliest guesses, the answer first. Where there is nothing to guess, that is the empty one.
func shown(a squad.Answer, n int) []squad.Guess {
	guesses := slices.Clone(a.NBest)
	for i := range guesses {
		if guesses[i].First < 0 {
			guesses[i].Text = ""
		}
	}
	i := slices.IndexFunc(guesses, func(g squad.Guess) bool { return g.Text == a.Text })
	if i < 0 {
		guesses, i = append(guesses, squad.Guess{First: -1, Last: -1}), len(guesses)
	}
	first := guesses[i]
	guesses = slices.Insert(slices.Delete(guesses, i, i+1), 0, first)
	return guesses[:min(n, len(guesses))]
}

// asked is a line of questions.
type asked struct {
	ID       json.RawMessage `json:"id"`
	Question *string         `json:"question"`
	Context  *string         `json:"context"`
}

// answered is a line of answers.
type answered struct {
	ID       json.RawMessage `json:"id,omitempty"`
	Question string          `json:"question"`
	Answer   string          `json:"answer"`
	place
	NullOdds *float64 `json:"null_odds,omitempty"`
	Answers  []text   `json:"answers"`
}

// place is how likely a text is, and where it is in the context.
type place struct {
	Probability float64 `json:"probability"`
	Start       *int    `json:"start,omitempty"`
	End         *int    `json:"end,omitempty"`
}

// text is one of the likeliest answers.
type text struct {
	Text string `json:"text"`
	place
	StartLogit float64 `json:"start_logit"`
	EndLogit   float64 `json:"end_logit"`
}

// lines answers questions, one a line, each as soon as it is there.
func (m *model) lines(ctx context.Context, in io.Reader, out *stream.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, longestLine)
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := m.line(ctx, lines.Bytes(), out); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d MiB", n+1, longestLine>>20)
	}
	return lines.Err()
}

func (m *model) line(ctx context.Context, line []byte, out *stream.Writer) error {
	var q asked
	if err := json.Unmarshal(line, &q); err != nil {
		return fault.WithHint(fmt.Errorf("read question: %w", err), `a line is an object {"question": "…", "context": "…"}`)
	}
	if q.Question == nil || q.Context == nil {
		return fault.WithHint(errors.New("no \"question\" or no \"context\""), `a line is an object {"question": "…", "context": "…"}`)
	}
	a, c, err := m.ask(ctx, *q.Question, *q.Context)
	if err != nil {
		return err
	}
	answer := answered{ID: q.ID, Question: *q.Question, Answer: a.Text}
	if m.Squad2 {
		answer.NullOdds = &a.NullOdds
	}
	for _, g := range shown(a, m.NBest) {
		answer.Answers = append(answer.Answers, text{Text: g.Text, place: locate(c, g), StartLogit: g.Start, EndLogit: g.End})
	}
	answer.place = answer.Answers[0].place
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(answer); err != nil {
		return err
	}
	return out.Flush()
}

func locate(c *squad.Context, g squad.Guess) place {
	p := place{Probability: g.Probability}
	if start, end, found := c.Locate(g); found && g.Text != "" {
		p.Start, p.End = &start, &end
	}
	return p
}
