package squad

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"hpcbert/lib/wordpiece"
)

// goldens are what NVIDIA's run_squad.py makes of real questions.
var goldens = []string{"en_uncased_384_128", "en_uncased_64_16", "de_cased_128_64", "v2_uncased_128_64"}

// golden is one of them.
type golden struct {
	t    *testing.T
	path string // without suffix
	args struct {
		Vocab         string
		LowerCase     bool    `json:"do_lower_case"`
		MaxSeq        int     `json:"max_seq_length"`
		Stride        int     `json:"doc_stride"`
		MaxQuery      int     `json:"max_query_length"`
		NBest         int     `json:"n_best_size"`
		MaxAnswer     int     `json:"max_answer_length"`
		Version2      bool    `json:"version_2_with_negative"`
		NullThreshold float64 `json:"null_score_diff_threshold"`
	}
	tokenizer *wordpiece.Tokenizer
	data      *Data
}

// realData is the folder of real data.
func realData(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("HPCBERT_DATA")
	if folder == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	return folder
}

func openGolden(t *testing.T, name string) *golden {
	t.Helper()
	folder := realData(t)
	g := &golden{t: t, path: filepath.Join(folder, "squad/features", name)}
	g.read("args", &g.args)
	g.tokenizer = tokenizer(t, filepath.Join(folder, "wordpiece/vocab", g.args.Vocab+"-vocab.txt"), g.args.LowerCase)
	var err error
	if g.data, err = Read(t.Context(), g.path+".input.json", nil); err != nil {
		t.Fatal(err)
	}
	return g
}

func tokenizer(t testing.TB, vocabulary string, lower bool) *wordpiece.Tokenizer {
	t.Helper()
	f, err := os.Open(vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := wordpiece.Load(f, vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	return wordpiece.New(v, wordpiece.Options{LowerCase: lower})
}

func (g *golden) read(part string, v any) {
	g.t.Helper()
	text, err := os.ReadFile(g.path + "." + part + ".json")
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// eachLine reads a file of JSON lines.
func eachLine[T any](g *golden, part string, f func(T)) {
	g.t.Helper()
	file, err := os.Open(g.path + "." + part + ".jsonl")
	if err != nil {
		g.t.Fatal(err)
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		var line T
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			g.t.Fatal(err)
		}
		f(line)
	}
	if err := in.Err(); err != nil {
		g.t.Fatal(err)
	}
}

func (g *golden) windows(examples []Example, threads int) []Window {
	g.t.Helper()
	c := NewConverter(g.tokenizer, Options{MaxSeq: g.args.MaxSeq, Stride: g.args.Stride, MaxQuery: g.args.MaxQuery})
	windows, err := c.Windows(context.Background(), examples, threads)
	if err != nil {
		g.t.Fatal(err)
	}
	return windows
}

func (g *golden) decoding() Decoding {
	return Decoding{NBest: g.args.NBest, MaxAnswer: g.args.MaxAnswer, LowerCase: g.args.LowerCase, Null: g.args.Version2, Threshold: g.args.NullThreshold}
}

// feature is a line of the features.
type feature struct {
	Mode       string
	Example    int             `json:"example_index"`
	ID         string          `json:"qas_id"`
	Window     int             `json:"doc_span_index"`
	IDs        []int32         `json:"input_ids"`
	Segments   []int           `json:"segment_ids"`
	Start      int32           `json:"start_position"`
	End        int32           `json:"end_position"`
	Impossible bool            `json:"is_impossible"`
	OrigStart  int             `json:"orig_start"`
	OrigEnd    int             `json:"orig_end"`
	Words      map[string]int  `json:"token_to_orig_map"`
	MaxContext map[string]bool `json:"token_is_max_context"`
}

func TestWindowsAreTheReferences(t *testing.T) {
	for _, name := range goldens {
		t.Run(name, func(t *testing.T) {
			g := openGolden(t, name)
			features := map[string][]feature{}
			eachLine(g, "features", func(f feature) { features[f.Mode] = append(features[f.Mode], f) })
			g.compareWindows(features["train"], true)
			g.compareWindows(features["eval"], false)
		})
	}
}

// compareWindows compares the windows of the questions with the reference's, and returns them with their examples.
func (g *golden) compareWindows(features []feature, training bool) ([]Example, []Window) {
	g.t.Helper()
	examples, err := g.data.Asked()
	if training {
		examples, _, err = g.data.Training(g.args.Version2)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	windows := g.windows(examples, 2)
	if len(windows) != len(features) || len(windows) == 0 {
		g.t.Fatalf("training %v: %d windows, expected %d", training, len(windows), len(features))
	}
	for i, f := range features {
		if wrong := f.differs(&windows[i], examples); wrong != "" {
			g.t.Errorf("%s, window %d of question %s: %s", f.Mode, f.Window, f.ID, wrong)
		}
	}
	return examples, windows
}

// differs tells what is not as in the reference.
func (f *feature) differs(w *Window, examples []Example) string {
	e := examples[w.Example]
	second := slices.Index(f.Segments, 1)
	switch {
	case e.ID != f.ID || w.self != f.Window || f.Mode == "eval" && w.Example != f.Example:
		return fmt.Sprintf("is window %d of question %s", w.self, e.ID)
	case !slices.Equal(w.IDs, f.IDs):
		return fmt.Sprintf("ids %v, expected %v", w.IDs, f.IDs)
	case w.Second != second:
		return fmt.Sprintf("second segment at %d, expected %d", w.Second, second)
	case f.Mode == "train" && (w.Start != f.Start || w.End != f.End):
		return fmt.Sprintf("answer at %d to %d, expected %d to %d", w.Start, w.End, f.Start, f.End)
	case f.Mode == "train" && !f.Impossible && (e.Start != f.OrigStart || e.End != f.OrigEnd):
		return fmt.Sprintf("answer in words %d to %d, expected %d to %d", e.Start, e.End, f.OrigStart, f.OrigEnd)
	case f.Mode == "train":
		return ""
	}
	for token := range f.IDs {
		want, inContext := f.Words[strconv.Itoa(token)]
		got, ok := w.word(token)
		if got != want || ok != inContext {
			return fmt.Sprintf("token %d is of word %d, %v, expected %d, %v", token, got, ok, want, inContext)
		}
		if inContext && w.maxContext(token) != f.MaxContext[strconv.Itoa(token)] {
			return fmt.Sprintf("token %d: max context %v", token, w.maxContext(token))
		}
	}
	return ""
}

// scoreLine is a line of the made-up scores.
type scoreLine struct {
	Start []float64 `json:"start_logits"`
	End   []float64 `json:"end_logits"`
}

type goldenGuess struct {
	Text        string
	Probability float64
	Start       float64 `json:"start_logit"`
	End         float64 `json:"end_logit"`
}

// The reference gives every question of SQuAD 2.0 the scores of the last one for "no answer" in its list of guesses: a defect. Here the list is
// compared as if we did, so that the rest of it can be; the answers are compared with our own.
func TestAnswersAreTheReferences(t *testing.T) {
	for _, name := range goldens {
		t.Run(name, func(t *testing.T) {
			g := openGolden(t, name)
			var scores []Scores
			eachLine(g, "logits", func(l scoreLine) { scores = append(scores, Scores(l)) })
			var nbest map[string][]goldenGuess
			var texts map[string]string
			g.read("nbest5", &nbest)
			g.read("predictions", &texts)
			examples, err := g.data.Asked()
			if err != nil {
				t.Fatal(err)
			}
			windows := g.windows(examples, 2)
			d := g.decoding()
			answers, err := d.Answers(t.Context(), g.tokenizer.Vocabulary(), examples, windows, func(i int) Scores { return scores[i] }, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(answers) != len(texts) || len(texts) != len(nbest) {
				t.Fatalf("%d answers, expected %d", len(answers), len(texts))
			}
			for i, a := range g.withDefect(d, answers, windows, scores) {
				if answers[i].Text != texts[a.ID] {
					t.Errorf("question %s: answer %q, expected %q", a.ID, answers[i].Text, texts[a.ID])
				}
				if wrong := differ(a.NBest, nbest[a.ID]); wrong != "" {
					t.Errorf("question %s: %s", a.ID, wrong)
				}
			}
		})
	}
}

// withDefect ranks the guesses anew with the scores that the last question has for no answer.
func (g *golden) withDefect(d Decoding, answers []Answer, windows []Window, scores []Scores) []Answer {
	if !d.Null {
		return answers
	}
	last := null{score: math.Inf(1)}
	for i, w := range windows {
		if s := scores[i]; w.Example == windows[len(windows)-1].Example && s.Start[0]+s.End[0] < last.score {
			last = null{s.Start[0] + s.End[0], s.Start[0], s.End[0]}
		}
	}
	wrong := make([]Answer, len(answers))
	for i, a := range answers {
		isNull := func(guess Guess) bool { return guess.Text == "" }
		wrong[i] = newTexts(d, g.tokenizer.Vocabulary()).choose(a.ID, slices.DeleteFunc(slices.Clone(a.NBest), isNull), last)
	}
	return wrong
}

func differ(got []Guess, want []goldenGuess) string {
	for i, w := range want {
		if i >= len(got) {
			return fmt.Sprintf("%d guesses, expected %d", len(got), len(want))
		}
		g := got[i]
		if g.Text != w.Text || g.Start != w.Start || g.End != w.End || math.Abs(g.Probability-w.Probability) > 1e-14 {
			return fmt.Sprintf("guess %d is %+v, expected %+v", i+1, g, w)
		}
	}
	return ""
}

// Published predictions get what the official scripts give them, to the last digit.
func TestMarksAreTheOfficialScripts(t *testing.T) {
	folder := filepath.Join(realData(t), "squad")
	text, err := os.ReadFile(filepath.Join(folder, "predictions/expected_em_f1.shared.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]struct {
		Script map[string]float64 `json:"official_script"`
	}
	if err := json.Unmarshal(text, &expected); err != nil || len(expected) == 0 {
		t.Fatal(err)
	}
	for name, want := range expected {
		version := name[:len("v1.1")]
		d, err := Read(t.Context(), filepath.Join(folder, "dev-"+version+".shared.json"), nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ReadPredictions(t.Context(), filepath.Join(folder, "predictions", name+".shared.json"), nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Evaluate(p, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]float64
		if err := json.Unmarshal(r.JSON(), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want.Script) {
			t.Errorf("%s: %s, expected %v", name, r.JSON(), want.Script)
		}
		for key, x := range want.Script {
			if got[key] != x {
				t.Errorf("%s: %s is %v, expected %v", name, key, got[key], x)
			}
		}
	}
}
