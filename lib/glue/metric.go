package glue

import (
	"cmp"
	"math"
	"slices"
)

// Answers are a model's answers to examples, and what is right.
type Answers struct {
	Class, RightClass []int32
	Value, RightValue []float64
}

// Metric is a number that tells how good answers are, from -1 or 0 to 1. One that is not defined, as a correlation with a constant, is 0.
type Metric struct {
	Name string
	Of   func(a Answers) float64
}

var (
	accuracy      = Metric{"acc", Answers.accuracy}
	f1            = Metric{"f1", Answers.f1}
	accuracyAndF1 = Metric{"acc_and_f1", func(a Answers) float64 { return (a.accuracy() + a.f1()) / 2 }}
	matthews      = Metric{"mcc", Answers.matthews}
	pearson       = Metric{"pearson", func(a Answers) float64 { return correlate(a.Value, a.RightValue) }}
	spearman      = Metric{"spearmanr", func(a Answers) float64 { return correlate(ranks(a.Value), ranks(a.RightValue)) }}
	correlation   = Metric{"corr", func(a Answers) float64 { return (pearson.Of(a) + spearman.Of(a)) / 2 }}
)

// Score is the value of a metric.
type Score struct {
	Name  string
	Value float64
}

// Answer makes answers of a model's outputs for a set.
func (t *Task) Answer(s *Set, outputs [][]float32) Answers {
	var a Answers
	for i, x := range s.Examples {
		if t.Regression() {
			a.Value, a.RightValue = append(a.Value, float64(outputs[i][0])), append(a.RightValue, float64(x.Value))
			continue
		}
		a.Class, a.RightClass = append(a.Class, best(outputs[i])), append(a.RightClass, x.Class)
	}
	return a
}

// best returns the place of the largest value, the first of equal ones.
func best(values []float32) int32 {
	at := 0
	for i, v := range values {
		if v > values[at] {
			at = i
		}
	}
	return int32(at)
}

// Scores returns the task's metrics.
func (t *Task) Scores(s *Set, a Answers) []Score {
	var scores []Score
	for _, m := range t.Metrics {
		scores = append(scores, Score{s.Split.Prefix + m.Name, m.Of(a)})
	}
	return scores
}

// Loss is the mean over the examples of what training makes small: cross-entropy, or the squared error.
func (t *Task) Loss(s *Set, outputs [][]float32) float64 {
	sum := 0.0
	for i, x := range s.Examples {
		if t.Regression() {
			sum += (float64(outputs[i][0]) - float64(x.Value)) * (float64(outputs[i][0]) - float64(x.Value))
			continue
		}
		highest := float64(slices.Max(outputs[i]))
		exps := 0.0
		for _, v := range outputs[i] {
			exps += math.Exp(float64(v) - highest)
		}
		sum += highest + math.Log(exps) - float64(outputs[i][x.Class])
	}
	return sum / float64(len(s.Examples))
}

// count returns how many examples of class right were taken for class said.
func (a Answers) count(said, right int32) (n float64) {
	for i := range a.Class {
		if a.Class[i] == said && a.RightClass[i] == right {
			n++
		}
	}
	return n
}

func (a Answers) accuracy() float64 {
	n := 0
	for i := range a.Class {
		if a.Class[i] == a.RightClass[i] {
			n++
		}
	}
	return float64(n) / float64(len(a.Class))
}

// f1 is that of class 1.
func (a Answers) f1() float64 {
	right, wrong, missed := a.count(1, 1), a.count(1, 0), a.count(0, 1)
	return defined(2*right, 2*right+wrong+missed)
}

// matthews is the correlation of two classes.
func (a Answers) matthews() float64 {
	tp, tn, fp, fn := a.count(1, 1), a.count(0, 0), a.count(1, 0), a.count(0, 1)
	return defined(tp*tn-fp*fn, math.Sqrt(tp+fp)*math.Sqrt(tp+fn)*math.Sqrt(tn+fp)*math.Sqrt(tn+fn))
}

// correlate is Pearson's correlation.
func correlate(x, y []float64) float64 {
	mx, my := mean(x), mean(y)
	var xx, yy, xy float64
	for i := range x {
		dx, dy := x[i]-mx, y[i]-my
		xx, yy, xy = xx+dx*dx, yy+dy*dy, xy+dx*dy
	}
	return defined(xy, math.Sqrt(xx)*math.Sqrt(yy))
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// ranks are the places of values in their order, from 1; equal ones share the mean of theirs.
func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(x[i], x[j]) })
	r := make([]float64, len(x))
	for first := 0; first < len(x); {
		end := first + 1
		for end < len(x) && x[order[end]] == x[order[first]] {
			end++
		}
		for _, i := range order[first:end] {
			r[i] = float64(first+1+end) / 2
		}
		first = end
	}
	return r
}

func defined(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
