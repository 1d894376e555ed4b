package squad

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// hard is what the original program makes of questions that are hard to get right (testdata/expected.py).
type hard struct {
	Args        json.RawMessage
	Train, Eval struct {
		Data     json.RawMessage
		Features []feature
	}
	Scores         []scoreLine
	Answers, NBest string // files
}

func readHard(t *testing.T) (all []hard) {
	t.Helper()
	if _, err := readJSON(context.Background(), "testdata/expected.json.gz", nil, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// dataOf reads the text of a SQuAD file.
func dataOf(t *testing.T, text string) *Data {
	t.Helper()
	d, err := Read(t.Context(), "-", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestHardQuestions(t *testing.T) {
	for _, h := range readHard(t) {
		t.Run(string(h.Args), func(t *testing.T) {
			g := &golden{t: t}
			if err := json.Unmarshal(h.Args, &g.args); err != nil {
				t.Fatal(err)
			}
			g.tokenizer = tokenizer(t, "testdata/vocab.txt", g.args.LowerCase)
			g.data = dataOf(t, string(h.Train.Data))
			g.compareWindows(h.Train.Features, true)
			g.data = dataOf(t, string(h.Eval.Data))
			examples, windows := g.compareWindows(h.Eval.Features, false)
			scores := make([]Scores, len(h.Scores))
			for i, s := range h.Scores {
				scores[i] = Scores(s)
			}
			d := g.decoding()
			answers, err := d.Answers(t.Context(), g.tokenizer.Vocabulary(), examples, windows, func(i int) Scores { return scores[i] }, 3)
			if err != nil {
				t.Fatal(err)
			}
			compareFile(t, "predictions", h.Answers, answers, WritePredictions)
			compareFile(t, "n best", h.NBest, g.withDefect(d, answers, windows, scores), WriteNBest)
		})
	}
}

// compareFile compares a file with the original's, byte by byte.
func compareFile(t *testing.T, what, want string, answers []Answer, write func(w io.Writer, a []Answer) error) {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, answers); err != nil {
		t.Fatal(err)
	}
	if b.String() == want {
		return
	}
	got, expected := strings.Split(b.String(), "\n"), strings.Split(want, "\n")
	if len(got) != len(expected) {
		t.Errorf("%s: %d lines, expected %d", what, len(got), len(expected))
		return
	}
	for i := range got {
		if got[i] != expected[i] && !sameProbability(got[i], expected[i]) {
			t.Errorf("%s: line %d is %q, expected %q", what, i+1, got[i], expected[i])
		}
	}
}

// sameProbability allows for the last bits: Go's exponential function is not C's.
func sameProbability(got, want string) bool {
	var x, y float64
	const form = `"probability": %g,`
	_, err := fmt.Sscanf(strings.TrimSpace(got), form, &x)
	_, err2 := fmt.Sscanf(strings.TrimSpace(want), form, &y)
	return err == nil && err2 == nil && math.Abs(x-y) <= 1e-15*y
}
