package squad

import (
	"strconv"
	"strings"
	"testing"

	"hpcbert/lib/cli/clitest"
)

// The expected lines are the official scripts' (testdata/marks.py).
func TestMarksOfHardPredictions(t *testing.T) {
	var cases []struct {
		What, Data, Predictions, Probs, Stdout string
		Options                                []string
	}
	clitest.ReadJSON(t, "testdata/marks.json", &cases)
	for _, c := range cases {
		p, err := ReadPredictions(t.Context(), "-", strings.NewReader(c.Predictions))
		if err != nil {
			t.Fatal(err)
		}
		var none *NoAnswer
		if c.Probs != "" {
			if none, err = ReadNoAnswer(t.Context(), "-", strings.NewReader(c.Probs)); err != nil {
				t.Fatal(err)
			}
		}
		threshold := 1.0
		if len(c.Options) == 2 {
			threshold, _ = strconv.ParseFloat(c.Options[1], 64)
		}
		r, err := dataOf(t, c.Data).Evaluate(p, none, threshold)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(r.JSON()); got != c.Stdout {
			t.Errorf("%s: %s, expected %s", c.What, got, c.Stdout)
		}
	}
}

func TestWithoutArticles(t *testing.T) {
	for given, want := range map[string]string{
		"éa the": "éa  ", "the": " ", "theater a": "theater  ", "a–an": " – ", "a_ a1 aé": "a_ a1 aé", "": "", "x\u0301a a\u0301": "x\u0301   \u0301",
	} {
		if got := withoutArticles(given); got != want {
			t.Errorf("%q becomes %q, expected %q", given, got, want)
		}
	}
}

func TestReadTellsThePlace(t *testing.T) {
	const begin = "{\"version\": \"1.1\", \"data\": [{\"title\": \"t\", \"paragraphs\": ["
	for text, want := range map[string]string{
		"{\"data\": [\n  {]}":                               "line 2, column 4: invalid character ']'",
		"{\"data\": [\n]":                                   "unexpected end of JSON input",
		"{\"data\": \n 3}":                                  "line 2, column 2: number where something else is expected",
		"{\"data\": \"\xff\"}":                              "line 1, column 11: not UTF-8",
		"{\"questions\": []}":                               "no key \"data\"",
		begin + "]}]}":                                      "no questions",
		begin + "{\"qas\": []}]}]}":                         "article \"t\", paragraph 1: no key \"context\"",
		begin + "{\"context\": \"\", \"qas\": [{}]}]}]}":    "paragraph 1: question 1: no key \"id\"",
		begin + "{\"context\": 1, \"qas\": []}]}]}":         "number where something else",
		begin + "{\"context\": \"\", \"qas\": []}]}]} more": "invalid character 'm' after top-level value",
	} {
		if _, err := Read(t.Context(), "-", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "standard input") {
			t.Errorf("%q: error %v, expected %q", text, err, want)
		}
	}
}

func TestTrainingRefuses(t *testing.T) {
	question := func(answers string) string {
		return `{"data": [{"paragraphs": [{"context": "ab cd", "qas": [{"id": "x", "question": "?", "answers": ` + answers + `}]}]}]}`
	}
	for text, want := range map[string]string{
		question(`[]`): "question x: 0 answers",
		question(`[{"text": "ab", "answer_start": 0}, {"text": "ab", "answer_start": 0}]`): "question x: 2 answers",
		question(`[{"text": "ab", "answer_start": 4}]`):                                    "at characters 4 to 5 of a context of 5",
		question(`[{"text": "ab"}]`):                                                       "at characters -1",
	} {
		if _, _, err := dataOf(t, text).Training(false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, expected %q", text, err, want)
		}
	}
	if _, _, err := dataOf(t, question(`[{"text": "ab", "answer_start": 0}]`)).Training(true); err == nil || !strings.Contains(err.Error(), "is_impossible") {
		t.Errorf("2.0 without is_impossible: error %v", err)
	}
}
