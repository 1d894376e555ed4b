package glue

import (
	"bytes"
	"fmt"
	"strconv"

	"hpcbert/lib/python"
)

// Submission is the file that the benchmark takes for a Test: a line of column names, then index and prediction of each example, with a tab
// between. Predictions are the labels; of numbers those from 0 to 5 with three decimals.
func (t *Task) Submission(s *Set, a Answers) []byte {
	var b bytes.Buffer
	b.WriteString("index\tprediction\n")
	for i, x := range s.Examples {
		fmt.Fprintf(&b, "%s\t%s\n", x.Index, t.said(a, i))
	}
	return b.Bytes()
}

// said is the label that was answered.
func (t *Task) said(a Answers, i int) string {
	if t.Regression() {
		return strconv.FormatFloat(min(5, max(0, a.Value[i])), 'f', 3, 64)
	}
	return t.Labels[a.Class[i]]
}

// Predictions is the reference's predictions.json: an object of the examples' names and the labels that were answered, on one line.
func (t *Task) Predictions(sets []*Set, answers []Answers) []byte {
	var b []byte
	between := "{"
	for n, s := range sets {
		for i, x := range s.Examples {
			b = python.AppendString(append(b, between...), x.Name)
			b = python.AppendString(append(b, ": "...), t.said(answers[n], i))
			between = ", "
		}
	}
	return append(b, "}\n"...)
}
