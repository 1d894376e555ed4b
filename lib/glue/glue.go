// Package glue is the tasks of the GLUE benchmark (Wang et al. 2018): their files, features and metrics, and what is handed in to it.
package glue

import (
	"slices"
	"strings"

	"hpcbert/lib/fault"
)

// Task is one of the benchmark's tasks.
type Task struct {
	Name    string   // as on the command line: "sst-2"
	Labels  []string // by class; none for a task whose labels are numbers
	Train   Split
	Dev     []Split  // what is evaluated, the first as in the reference
	Test    []Split  // what the benchmark has no labels for
	Metrics []Metric // of the predictions for a Dev
}

// Split is one file of a task.
type Split struct {
	Name       string // "dev", the beginning of its examples' names
	File       string // below the task's folder
	Prefix     string // of its metrics' names
	Submission string // file of the benchmark's form that its predictions go to; of a Test
	Optional   bool   // not in every copy of the data
	columns    columns
}

// columns say where things are in the lines of a file, from 0.
type columns struct {
	headless bool // the first line is an example
	a, b     int
	label    int
	name     int  // numbered names the example by its line
	ragged   bool // as published, a few lines have columns missing
}

const (
	none     = -1 // no such column
	last     = -2 // whatever the number of columns
	numbered = -3
)

// tasks are all that there are.
var tasks = []*Task{
	{Name: "cola", Labels: binary, Metrics: []Metric{matthews},
		Train: Split{columns: columns{headless: true, a: 3, b: none, label: 1, name: numbered}},
		Test:  []Split{{Submission: "CoLA.tsv", columns: columns{a: 1, b: none}}}},
	{Name: "mnli", Labels: []string{"contradiction", "entailment", "neutral"}, Metrics: []Metric{accuracy},
		Train: Split{columns: columns{a: 8, b: 9, label: last}},
		Dev: []Split{{Name: "dev_matched", columns: columns{a: 8, b: 9, label: last}},
			{Name: "dev_mismatched", Prefix: "mnli-mm/", Optional: true, columns: columns{a: 8, b: 9, label: last}}},
		Test: []Split{{Name: "test_matched", Submission: "MNLI-m.tsv", columns: columns{a: 8, b: 9}},
			{Name: "test_mismatched", Submission: "MNLI-mm.tsv", columns: columns{a: 8, b: 9}},
			{Name: "diagnostic", Submission: "AX.tsv", Optional: true, columns: columns{a: 1, b: 2}}}},
	{Name: "mrpc", Labels: binary, Metrics: []Metric{accuracy, f1, accuracyAndF1},
		Train: Split{columns: columns{a: 3, b: 4, label: 0, name: numbered}},
		Test:  []Split{{Submission: "MRPC.tsv", columns: columns{a: 3, b: 4}}}},
	{Name: "qnli", Labels: entailed, Metrics: []Metric{accuracy},
		Train: Split{columns: columns{a: 1, b: 2, label: 3}},
		Test:  []Split{{Submission: "QNLI.tsv", columns: columns{a: 1, b: 2}}}},
	{Name: "qqp", Labels: binary, Metrics: []Metric{accuracy, f1, accuracyAndF1},
		Train: Split{columns: columns{a: 3, b: 4, label: 5, ragged: true}},
		Test:  []Split{{Submission: "QQP.tsv", columns: columns{a: 1, b: 2}}}},
	{Name: "rte", Labels: entailed, Metrics: []Metric{accuracy},
		Train: Split{columns: columns{a: 1, b: 2, label: 3}},
		Test:  []Split{{Submission: "RTE.tsv", columns: columns{a: 1, b: 2}}}},
	{Name: "sst-2", Labels: binary, Metrics: []Metric{accuracy},
		Train: Split{columns: columns{a: 0, b: none, label: 1, name: numbered}},
		Test:  []Split{{Submission: "SST-2.tsv", columns: columns{a: 1, b: none}}}},
	{Name: "sts-b", Metrics: []Metric{pearson, spearman, correlation},
		Train: Split{columns: columns{a: 7, b: 8, label: 9}},
		Test:  []Split{{Submission: "STS-B.tsv", columns: columns{a: 7, b: 8}}}},
	{Name: "wnli", Labels: binary, Metrics: []Metric{accuracy},
		Train: Split{columns: columns{a: 1, b: 2, label: 3}},
		Test:  []Split{{Submission: "WNLI.tsv", columns: columns{a: 1, b: 2}}}},
}

var (
	binary   = []string{"0", "1"}
	entailed = []string{"entailment", "not_entailment"}
)

// names lists the tasks.
func names() []string {
	var names []string
	for _, t := range tasks {
		names = append(names, t.Name)
	}
	return names
}

// Find returns the task of that name, whose case and hyphen do not matter, all its splits named.
func Find(name string) (*Task, error) {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "") }
	i := slices.IndexFunc(tasks, func(t *Task) bool { return plain(t.Name) == plain(name) })
	if i < 0 {
		return nil, fault.Usagef("task %q: it is none of %s", name, strings.Join(names(), ", "))
	}
	t := *tasks[i]
	t.Train = t.Train.named("train")
	if t.Dev == nil {
		t.Dev = []Split{{columns: t.Train.columns}}
	}
	t.Dev, t.Test = slices.Clone(t.Dev), slices.Clone(t.Test)
	for i := range t.Dev {
		t.Dev[i] = t.Dev[i].named("dev")
	}
	for i := range t.Test {
		t.Test[i] = t.Test[i].named("test")
		t.Test[i].columns.label = none
	}
	return &t, nil
}

// named completes a split; most have the usual name, and all have their name's file.
func (s Split) named(usual string) Split {
	if s.Name == "" {
		s.Name = usual
	}
	s.File = s.Name + ".tsv"
	return s
}

// Outputs is the number of values that a model computes for an example: a logit for each class, or the one value.
func (t *Task) Outputs() int { return max(1, len(t.Labels)) }

// Regression tells whether the labels are numbers.
func (t *Task) Regression() bool { return t.Labels == nil }
