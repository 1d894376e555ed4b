package finetune

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/comm"
	"hpcbert/lib/comm/commtest"
	"hpcbert/lib/optim"
	"hpcbert/lib/train"
)

const words = 40 // of the small vocabulary; 0 and 1 stand for [CLS] and [SEP]

func smallConfig() *bert.Config {
	c := bert.DefaultConfig()
	c.VocabSize, c.HiddenSize, c.NumHiddenLayers, c.NumAttentionHeads, c.IntermediateSize, c.MaxPositionEmbeddings = words, 32, 2, 2, 64, 32
	return c
}

// toys are examples whose targets can be read off them: each class and value has words of its own, the answer is what begins with 38 and ends with 39.
func toys(n int, seed uint64, classes int) []Example {
	rng := rand.New(rand.NewPCG(seed, 1))
	var all []Example
	for range n {
		length := 8 + rng.IntN(12)
		e := Example{IDs: make([]int32, length), Second: length / 2}
		e.Class = rng.Int32N(int32(classes))
		e.Value = 1.5 * float32(e.Class)
		for i := range e.IDs {
			e.IDs[i] = 2 + 12*e.Class + rng.Int32N(12)
		}
		e.IDs[0], e.IDs[length-1] = 0, 1
		start := 2 + rng.IntN(length-5)
		e.Start, e.End = int32(start), int32(start+rng.IntN(2))
		e.IDs[e.Start], e.IDs[e.End] = 38, 39
		all = append(all, e)
	}
	return all
}

func open(t *testing.T, threads int) *kernels.Device {
	t.Helper()
	dev, err := kernels.Open("cpu", kernels.Options{Threads: threads, Crowded: true})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

func options(out string) Options {
	var o Options
	o.Out, o.Seed, o.GlobalBatch, o.MicroBatch, o.Memory, o.LogEvery = out, 3, 16, 4, math.MaxInt64, 1
	o.Optimizer = optim.Defaults()
	o.Optimizer.Name = "bertadam"
	o.Schedule = optim.Schedule{Name: "linear", Base: 2e-3, Warmup: 0.1}
	o.Epochs = 1
	return o
}

func never() bool { return false }

// tuned trains with one rank, and predicts examples if there are any.
func tuned(t *testing.T, o Options, head Head, examples, dev []Example) (train.Summary, [][]float32) {
	t.Helper()
	tuner, err := New(o, smallConfig(), head, open(t, 1), comm.Single("here"))
	if err != nil {
		t.Fatal(err)
	}
	defer tuner.Close()
	s, err := tuner.Train(t.Context(), examples, never)
	if err != nil {
		t.Fatal(err)
	}
	logits, err := tuner.Predict(t.Context(), dev)
	if err != nil {
		t.Fatal(err)
	}
	return s, logits
}

func best(z []float32) int32 { return int32(slices.Index(z, slices.Max(z))) }

// wrong counts the predictions that miss their targets.
func wrong(head Head, examples []Example, logits [][]float32) (n int) {
	for i, e := range examples {
		z := logits[i]
		switch length := len(e.IDs); {
		case head.Kind == Classifier && best(z) != e.Class, head.Kind == Regression && math.Abs(float64(z[0]-e.Value)) > 0.5,
			head.Kind == Span && (best(z[:length]) != e.Start || best(z[length:]) != e.End):
			n++
		}
	}
	return n
}

func TestEveryHeadLearnsAndPredicts(t *testing.T) {
	for _, c := range []struct {
		head   Head
		epochs float64
	}{{Head{Kind: Classifier, Outputs: 3}, 12}, {Head{Kind: Regression, Outputs: 1}, 12}, {Head{Kind: Span, Outputs: 2}, 12}} {
		t.Run(fmt.Sprint(c.head), func(t *testing.T) {
			o := options(t.TempDir())
			o.Epochs = c.epochs
			dev := toys(100, 2, 3)
			s, logits := tuned(t, o, c.head, toys(600, 1, 3), dev)
			if want := int(c.epochs) * 600 / 16; s.LastStep != want || s.Stopped {
				t.Errorf("%d steps, expected %d: %+v", s.LastStep, want, s)
			}
			if n := wrong(c.head, dev, logits); n > 10 {
				t.Errorf("%d of 100 predictions are wrong; loss from %.3f to %.3f", n, s.FirstLoss, s.LastLoss)
			}
			read := o // from the checkpoint, in other batches
			read.Init, read.Out, read.PredictBatch = o.Out, "", 7
			other, err := New(read, smallConfig(), c.head, open(t, 2), comm.Single("here"))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			again, err := other.Predict(t.Context(), dev)
			if err != nil {
				t.Fatal(err)
			}
			for i := range logits {
				if !slices.Equal(again[i], logits[i]) {
					t.Fatalf("example %d: %v from the checkpoint, %v from the model that was trained", i, again[i], logits[i])
				}
			}
		})
	}
}

// sameFolder compares two checkpoints byte by byte.
func sameFolder(t *testing.T, a, b string) {
	t.Helper()
	entries, err := os.ReadDir(a)
	if err != nil || len(entries) < 4 {
		t.Fatalf("%s: %d files: %v", a, len(entries), err)
	}
	for _, e := range entries {
		one, err1 := os.ReadFile(filepath.Join(a, e.Name()))
		two, err2 := os.ReadFile(filepath.Join(b, e.Name()))
		if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
			t.Errorf("%s differs: %v %v", e.Name(), err1, err2)
		}
	}
}

func TestAResumedTrainingEndsWithTheSameBytes(t *testing.T) {
	for _, mode := range []bert.Mode{0, bert.BFloat16, bert.Float16} {
		head, examples := Head{Kind: Classifier, Outputs: 3}, toys(100, 1, 3)
		o := options(t.TempDir())
		o.Mode, o.Epochs, o.SaveEvery, o.SaveSync = mode, 2, 4, true
		if mode == bert.Float16 {
			o.Scaling = optim.DynamicScaling()
		}
		if s, _ := tuned(t, o, head, examples, nil); s.LastStep != 13 { // 12.5 batches
			t.Fatalf("%+v", s)
		}
		parts := o
		parts.Out = t.TempDir()
		parts.Until = 6
		if s, _ := tuned(t, parts, head, examples, nil); !s.Stopped || s.LastStep != 6 {
			t.Fatalf("%+v", s)
		}
		if err := os.RemoveAll(ckpt.AtStep(parts.Out, 6)); err != nil { // as if it had been killed
			t.Fatal(err)
		}
		parts.Until = 0
		if s, _ := tuned(t, parts, head, examples, nil); s.FirstStep != 5 || s.LastStep != 13 {
			t.Fatalf("%+v", s)
		}
		sameFolder(t, ckpt.AtStep(o.Out, 13), ckpt.AtStep(parts.Out, 13))
	}
}

// ranked trains and predicts with ranks that are goroutines.
func ranked(t *testing.T, ranks int, o Options, head Head, examples, dev []Example) (logits [][]float32) {
	t.Helper()
	all := make([][][]float32, ranks)
	for _, err := range commtest.Run(ranks, func(c comm.Comm) error {
		device, err := kernels.Open("cpu", kernels.Options{Threads: 1, Crowded: true})
		if err != nil {
			return err
		}
		tuner, err := New(o, smallConfig(), head, device, c)
		if err != nil {
			return err
		}
		defer tuner.Close()
		if _, err := tuner.Train(t.Context(), examples, never); err != nil {
			return err
		}
		all[c.Rank()], err = tuner.Predict(t.Context(), dev)
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for r := 1; r < ranks; r++ {
		if !slices.EqualFunc(all[r], all[0], slices.Equal) {
			t.Errorf("rank %d of %d has other predictions than rank 0", r, ranks)
		}
	}
	return all[0]
}

// losses are those of metrics.jsonl.
func losses(t *testing.T, out string) (all []float64) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var m struct {
			Step         int
			Loss         float64
			GradientNorm float64 `json:"gradient_norm"`
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		if m.Step > 0 {
			all = append(all, m.Loss, m.GradientNorm)
		}
	}
	return all
}

func TestRanksChangeRoundingOnly(t *testing.T) {
	for _, head := range []Head{{Kind: Classifier, Outputs: 3}, {Kind: Span, Outputs: 2}} {
		examples, dev := toys(90, 1, 3), toys(21, 2, 3)
		var want []float64
		var wantLogits [][]float32
		for _, ranks := range []int{1, 2, 4} {
			o := options(t.TempDir())
			o.MicroBatch, o.MaxSteps, o.Epochs, o.PredictBatch = 3, 12, 9, 5
			if ranks == 4 {
				o.Reduction.Shard = true
			}
			logits, got := ranked(t, ranks, o, head, examples, dev), losses(t, o.Out)
			if ranks == 1 {
				want, wantLogits = got, logits
				continue
			}
			if len(got) != 2*12 || len(got) != len(want) {
				t.Fatalf("%d ranks: %d losses and norms", ranks, len(got))
			}
			for i := range got {
				if e := math.Abs(got[i]-want[i]) / want[i]; !(e <= 1e-5) {
					t.Errorf("%v, %d ranks, step %d: %v, expected %v", head, ranks, i/2+1, got[i], want[i])
				}
			}
			for i := range logits {
				for j := range logits[i] {
					if e := math.Abs(float64(logits[i][j] - wantLogits[i][j])); !(e <= 1e-3) {
						t.Fatalf("%v, %d ranks, example %d: %v, expected %v", head, ranks, i, logits[i], wantLogits[i])
					}
				}
			}
		}
	}
}

// Training with a Span leaves the pooler as it was, and the examples' order is another in each epoch.
func TestASpanLeavesThePooler(t *testing.T) {
	o := options(t.TempDir())
	tuned(t, o, Head{Kind: Span, Outputs: 2}, toys(100, 1, 3), nil)
	dev := open(t, 1)
	s, err := dev.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m, err := bert.New(dev, s, smallConfig(), bert.Limits{Tokens: 1, Sequences: 1}, bert.Encoder)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Init(o.Seed)
	f, err := ckpt.Open(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, same := range map[string]bool{"bert.pooler.dense.weight": true, "bert.pooler.dense.bias": true, "bert.encoder.layer.1.output.dense.weight": false} {
		values, err := f.Float32(name)
		if err != nil || slices.Equal(values, kernels.Host[float32](m.Weight(name))) != same {
			t.Errorf("%s is as at the start: %v, expected %v: %v", name, !same, same, err)
		}
	}
}

func TestOrderIsAnotherInEachEpoch(t *testing.T) {
	orders := map[string]bool{}
	for _, seed := range []uint64{1, 2} {
		o := options("")
		o.Seed = seed
		task, err := newTask(smallConfig(), Head{Kind: Classifier, Outputs: 3}, toys(30, 1, 3), o)
		if err != nil {
			t.Fatal(err)
		}
		r := task.Read(t.Context())
		for epoch := range int64(3) {
			got, err := r.Fetch(30*epoch, 30)
			if err != nil || task.Epoch(30*epoch+29) != int(epoch) {
				t.Fatal(err)
			}
			order := slices.Clone(got.(rows).which)
			orders[fmt.Sprint(order)] = true
			slices.Sort(order)
			if order[0] != 0 || order[29] != 29 || len(slices.Compact(order)) != 30 {
				t.Errorf("epoch %d has the examples %v", epoch, order)
			}
		}
	}
	if len(orders) != 6 {
		t.Errorf("%d orders in two seeds' three epochs", len(orders))
	}
}

func TestUpdatesOfATraining(t *testing.T) {
	for _, c := range []struct {
		examples, batch int
		epochs          float64
		most, want      int
	}{{100, 16, 1, 0, 7}, {96, 16, 3, 0, 18}, {100, 16, 2.5, 0, 16}, {100, 16, 3, 5, 5}, {3, 16, 1, 0, 1}, {100, 16, 1, 50, 7}, {100, 16, 0, 50, 50}} {
		o := options("out")
		o.GlobalBatch, o.Epochs, o.MaxSteps = c.batch, c.epochs, c.most
		tuner, err := New(o, smallConfig(), Head{Kind: Classifier, Outputs: 3}, open(t, 1), comm.Single("here"))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := tuner.prepare(t.Context(), toys(c.examples, 1, 3))
		if err != nil || got.Steps != c.want {
			t.Errorf("%+v: %d updates: %v", c, got.Steps, err)
		}
	}
}

func TestErrors(t *testing.T) {
	good := Head{Kind: Classifier, Outputs: 3}
	for _, c := range []struct {
		name   string
		head   Head
		change func(o *Options, e []Example)
		want   string
	}{
		{"no head", Head{}, func(*Options, []Example) {}, "head of kind 0"},
		{"labels", good, func(o *Options, _ []Example) { o.Labels = []string{"a", "b"} }, "2 labels of 3 classes"},
		{"no folder", good, func(o *Options, _ []Example) { o.Out = "" }, "without an output folder"},
		{"no epochs", good, func(o *Options, _ []Example) { o.Epochs = 0 }, "0 epochs"},
		{"class", good, func(_ *Options, e []Example) { e[4].Class = 3 }, "example 5: class 3 is not one of 3"},
		{"value", Head{Kind: Regression, Outputs: 1}, func(_ *Options, e []Example) { e[0].Value = float32(math.NaN()) }, "example 1: the value NaN"},
		{"answer", Head{Kind: Span, Outputs: 2}, func(_ *Options, e []Example) { e[1].End = 99 }, "example 2: answer from token"},
		{"too long", good, func(_ *Options, e []Example) { e[1].IDs = make([]int32, 33) }, "example 2: 33 tokens"},
		{"word", good, func(_ *Options, e []Example) {
			for i := range e {
				e[i].IDs[1] = words
			}
		}, "id 40 is not below"},
		{"no weights", good, func(o *Options, _ []Example) { o.Init = "/does/not/exist" }, "no such file"},
		{"no vocabulary", good, func(o *Options, _ []Example) { o.Vocabulary = "/does/not/exist" }, "no such file"},
	} {
		o, examples := options(t.TempDir()), toys(20, 1, 3)
		c.change(&o, examples)
		tuner, err := New(o, smallConfig(), c.head, open(t, 1), comm.Single("here"))
		if err == nil {
			_, err = tuner.Train(t.Context(), examples, never)
			tuner.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %q", c.name, err, c.want)
		}
	}
}

func TestOtherExamplesAreAnotherTraining(t *testing.T) {
	o := options(t.TempDir())
	o.Until = 3
	head, examples := Head{Kind: Classifier, Outputs: 3}, toys(100, 1, 3)
	tuned(t, o, head, examples, nil)
	for _, c := range []struct {
		head   Head
		change func(e []Example)
		want   string
	}{
		{head, func(e []Example) { e[7].Class = (e[7].Class + 1) % 3 }, "training data was other than now"},
		{head, func(e []Example) { e[7].IDs[3]++ }, "training data was other than now"},
		{Head{Kind: Classifier, Outputs: 4}, func([]Example) {}, "head was 3 classes, now it is 4 classes"},
	} {
		changed := toys(100, 1, 3)
		c.change(changed)
		tuner, err := New(o, smallConfig(), c.head, open(t, 1), comm.Single("here"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = tuner.Train(t.Context(), changed, never); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, expected %q", err, c.want)
		}
		tuner.Close()
	}
}

// What starts from a checkpoint without the head says so; a prediction refuses it.
func TestAHeadThatIsMissing(t *testing.T) {
	from := options(t.TempDir())
	tuned(t, from, Head{Kind: Span, Outputs: 2}, toys(20, 1, 3), nil)
	var told []string
	o := options(t.TempDir())
	o.Init = from.Out
	o.Warn = func(format string, a ...any) { told = append(told, fmt.Sprintf(format, a...)) }
	head := Head{Kind: Classifier, Outputs: 3}
	tuned(t, o, head, toys(20, 1, 3), nil)
	if len(told) != 1 || !strings.Contains(told[0], "no classifier.weight, classifier.bias: they start from random values") {
		t.Errorf("told %q", told)
	}
	tuner, err := New(o, smallConfig(), head, open(t, 1), comm.Single("here"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tuner.Predict(t.Context(), toys(3, 1, 3)); err == nil || !strings.Contains(err.Error(), "no classifier.weight") {
		t.Errorf("a prediction without a head: %v", err)
	}
}

func TestConfigNamesTheModelAndItsClasses(t *testing.T) {
	for _, c := range []struct {
		head   Head
		labels []string
		want   []string
	}{
		{Head{Kind: Classifier, Outputs: 2}, []string{"no", "yes"}, []string{`"id2label": {"0":"no","1":"yes"}`, `"label2id": {"no":0,"yes":1}`, `"BertForSequenceClassification"`, `"single_label_classification"`}},
		{Head{Kind: Classifier, Outputs: 2}, nil, []string{`{"0":"LABEL_0","1":"LABEL_1"}`}},
		{Head{Kind: Regression, Outputs: 1}, nil, []string{`{"0":"LABEL_0"}`, `"regression"`}},
		{Head{Kind: Span, Outputs: 2}, nil, []string{`"BertForQuestionAnswering"`}},
	} {
		cfg, err := configOf(smallConfig(), c.head, c.labels)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(cfg.JSON())), "")
		for _, want := range c.want {
			if !strings.Contains(text, strings.Join(strings.Fields(want), "")) {
				t.Errorf("%v: no %s in %s", c.head, want, text)
			}
		}
	}
}

var _ train.Task = (*task)(nil)
