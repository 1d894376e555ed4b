package glue

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// The numbers are those of scikit-learn and scipy (testdata/expected.py).
func TestMetrics(t *testing.T) {
	text, err := os.ReadFile("testdata/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Case       string
		Class      []int32
		Right      []int32
		Value      []float64
		RightValue []float64 `json:"right_value"`
	}
	var values []map[string]any
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	checked := map[string]int{}
	for i, c := range cases {
		a := Answers{Class: c.Class, RightClass: c.Right, Value: c.Value, RightValue: c.RightValue}
		for _, m := range []Metric{accuracy, f1, accuracyAndF1, matthews, pearson, spearman, correlation} {
			want, given := values[i][m.Name].(float64)
			if !given {
				continue
			}
			checked[m.Name]++
			if got := m.Of(a); !(math.Abs(got-want) <= 1e-12) {
				t.Errorf("%s: %s is %.17g, expected %.17g", c.Case, m.Name, got, want)
			}
		}
	}
	if len(checked) != 7 {
		t.Errorf("checked only %v", checked)
	}
}

// The losses are the definitions, with the numbers put in.
func TestLosses(t *testing.T) {
	class := &Set{Examples: []Example{{Class: 0}, {Class: 2}}}
	want := (-math.Log(math.Exp(1)/(math.Exp(1)+math.Exp(2)+math.Exp(-3))) - math.Log(math.Exp(0)/(math.Exp(0)+math.Exp(4)+math.Exp(0)))) / 2
	if got := find(t, "mnli").Loss(class, [][]float32{{1, 2, -3}, {0, 4, 0}}); !(math.Abs(got-want) < 1e-14) {
		t.Errorf("cross-entropy %.17g, expected %.17g", got, want)
	}
	if got := find(t, "mnli").Loss(class, [][]float32{{1e4, 0, 0}, {0, 0, 1e4}}); got != 0 {
		t.Errorf("cross-entropy of sure answers: %v", got)
	}
	value := &Set{Examples: []Example{{Value: 2.5}, {Value: 4}}}
	if got := find(t, "sts-b").Loss(value, [][]float32{{3}, {2}}); got != (0.25+4)/2 {
		t.Errorf("squared error %v", got)
	}
}

func find(t *testing.T, name string) *Task {
	t.Helper()
	task, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return task
}
