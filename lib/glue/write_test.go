package glue

import "testing"

func TestSubmissions(t *testing.T) {
	set := &Set{Examples: []Example{{Index: "0"}, {Index: "7"}}}
	for _, c := range []struct {
		task    string
		outputs [][]float32
		want    string
	}{
		{"mrpc", [][]float32{{1, 2}, {2, 1}}, "0\t1\n7\t0\n"},
		{"mnli", [][]float32{{1, 2, 3}, {3, 2, 1}}, "0\tneutral\n7\tcontradiction\n"},
		{"qnli", [][]float32{{1, 1}, {1, 2}}, "0\tentailment\n7\tnot_entailment\n"},
		{"sts-b", [][]float32{{-0.2}, {3.14159}}, "0\t0.000\n7\t3.142\n"},
	} {
		task := find(t, c.task)
		if got := string(task.Submission(set, task.Answer(set, c.outputs))); got != "index\tprediction\n"+c.want {
			t.Errorf("%s: %q", c.task, got)
		}
	}
}

func TestPredictions(t *testing.T) {
	task := find(t, "mnli")
	matched, mismatched := &Set{Examples: []Example{{Name: "dev_matched-0"}, {Name: `dev_matched-"<é`}}}, &Set{Examples: []Example{{Name: "dev_mismatched-0"}}}
	answers := []Answers{task.Answer(matched, [][]float32{{0, 1, 0}, {0, 0, 1}}), task.Answer(mismatched, [][]float32{{1, 0, 0}})}
	const want = `{"dev_matched-0": "entailment", "dev_matched-\"<\u00e9": "neutral", "dev_mismatched-0": "contradiction"}` + "\n"
	if got := string(task.Predictions([]*Set{matched, mismatched}, answers)); got != want {
		t.Errorf("%s expected %s", got, want)
	}
}
