package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/lib/cli/clitest"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

// The expected lines are the official scripts' (lib/squad/testdata/marks.py).
func TestSameAsTheOfficialScripts(t *testing.T) {
	var cases []struct {
		What, Data, Predictions, Probs, Stdout string
		Options                                []string
	}
	clitest.ReadJSON(t, "../../lib/squad/testdata/marks.json", &cases)
	for _, c := range cases {
		args := append([]string{clitest.WriteFile(t, "data.json", c.Data), "-"}, c.Options...)
		if c.Probs != "" {
			args = append(args, "--na-prob-file", clitest.WriteFile(t, "probs.json", c.Probs))
		}
		status, stdout, stderr := run(c.Predictions, args...)
		if status != 0 || stdout != c.Stdout {
			t.Errorf("%s: exit %d, %s, expected %s: %s", c.What, status, stdout, c.Stdout, stderr)
		}
		if missing := strings.Contains(c.What, "missing"); missing != strings.Contains(stderr, "without a prediction, such as q") {
			t.Errorf("%s: says %s", c.What, stderr)
		}
	}
}

const (
	one = `{"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "a cat", "qas": [{"id": "x", "question": "?", "answers": [{"text": "cat", "answer_start": 2}]}]}]}]}`
	two = `{"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": "a cat", "qas": [{"id": "x", "question": "?", "answers": [], "is_impossible": true}]}]}]}`
)

func TestRefused(t *testing.T) {
	good, data, data2 := clitest.WriteFile(t, "p.json", `{"x": "cat"}`), clitest.WriteFile(t, "one.json", one), clitest.WriteFile(t, "two.json", two)
	for _, c := range []struct {
		what        string
		predictions string
		args        []string
		status      int
		says        string
	}{
		{"one file", "", []string{data}, 2, "1 files"},
		{"standard input twice", "", []string{"-", "-"}, 2, "standard input"},
		{"threshold alone", `{}`, []string{data2, "-", "--na-prob-thresh", "1"}, 2, "goes with --na-prob-file"},
		{"probabilities of 1.1", `{"x": "cat"}`, []string{data, "-", "--na-prob-file", good}, 2, "every question has an answer"},
		{"no data", "", []string{"missing.json", good}, 1, "missing.json"},
		{"an unknown question", `{"y": "cat", "x": "dog"}`, []string{data, "-"}, 1, "1 of 2 predictions are for questions that " + data + " lacks, such as y"},
		{"malformed", "{\n\"x\" 3}", []string{data, "-"}, 1, "read standard input: line 2, column 5: invalid character"},
		{"a number", "{\n\"x\": 3}", []string{data, "-"}, 1, "line 2, column 6: number"},
		{"null", `{"x": null}`, []string{data, "-"}, 1, "question x: null"},
		{"a list", `[]`, []string{data, "-"}, 1, "array where"},
		{"no probability", `{"x": ""}`, []string{data2, "-", "--na-prob-file", clitest.WriteFile(t, "n.json", `{"y": 1}`)}, 1, "question x"},
		{"nothing predicted", `{}`, []string{data2, "-"}, 1, "not one of 1 questions"},
		{"no answers", `{"x": ""}`, []string{clitest.WriteFile(t, "test.json", strings.Replace(one, `"answers"`, `"other"`, 1)), "-"}, 1, "no key \"answers\""},
		{"none in 1.1", `{"x": ""}`, []string{clitest.WriteFile(t, "none.json", strings.Replace(two, "v2.0", "1.1", 1)), "-"}, 1, "has no answer"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			clitest.Refused(t, run, c.predictions, slices.Clip(c.args), c.status, c.says)
		})
	}
}

// The examples of the help text work.
func TestExamples(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"dev-v1.1.json": one, "dev-v2.0.json.gz": clitest.Gzip(two), "predictions.json": `{"x": "cat"}`, "null_odds.json": `{"x": 0.5}`} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for i, args := range clitest.Examples(t, program) {
		status, stdout, stderr := run("", args...)
		if want := []string{`{"exact_match": 100.0, "f1": 100.0}`, `"exact": 0.0`}[i]; status != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%q: exit %d, %s: %s", args, status, stdout, stderr)
		}
	}
}

func TestWarnings(t *testing.T) {
	data := clitest.WriteFile(t, "one.json", strings.Replace(one, `"1.1"`, `"3.7"`, 1))
	status, stdout, stderr := run(`{"x": "The cat!", "y": ""}`, data, "-", "--force")
	if want := "{\"exact_match\": 100.0, \"f1\": 100.0}\n"; status != 0 || stdout != want || !strings.Contains(stderr, `of version "3.7"`) {
		t.Errorf("exit %d, %s, expected %s: %s", status, stdout, want, stderr)
	}
}

func TestOutputFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "score.json")
	status, stdout, stderr := run(`{"x": "cat dog"}`, clitest.WriteFile(t, "one.json", one), "-", "-o", out)
	text, err := os.ReadFile(out)
	if want := "{\"exact_match\": 0.0, \"f1\": 66.66666666666666}\n"; status != 0 || stdout != "" || err != nil || string(text) != want {
		t.Errorf("exit %d, %q, file %q, %v: %s", status, stdout, text, err, stderr)
	}
}
