package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli/clitest"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

// queenly makes a checkpoint that answers each question with the word "queen": its embedding alone points where the layer of questions looks,
// and everything between the two is zero, so that rows pass through unchanged but for their normalisation.
func queenly(t *testing.T) string {
	t.Helper()
	folder, vocabulary := t.TempDir(), "../../lib/squad/testdata/vocab.txt"
	text, err := os.ReadFile(vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	tokens := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	cfg := bert.DefaultConfig()
	cfg.VocabSize, cfg.HiddenSize, cfg.NumHiddenLayers, cfg.NumAttentionHeads, cfg.IntermediateSize, cfg.MaxPositionEmbeddings = len(tokens), 4, 2, 2, 8, 384
	entries := []ckpt.Entry{{Name: "qa_outputs.weight", Shape: []int{2, 4}, Values: []float32{5, 0, 0, 0, 5, 0, 0, 0}}, {Name: "qa_outputs.bias", Shape: []int{2}, Values: make([]float32, 2)}}
	for _, p := range cfg.EncoderParams() {
		values := make([]float32, p.Len)
		if p.Init.Form == bert.InitOne {
			values = slices.Repeat([]float32{1}, p.Len)
		}
		if strings.HasSuffix(p.Name, "word_embeddings.weight") {
			for i, token := range tokens {
				copy(values[4*i:], map[bool][]float32{false: {-1, 1, 1, -1}, true: {3, -1, -1, -1}}[token == "queen"])
			}
		}
		entries = append(entries, ckpt.Entry{Name: p.Name, Shape: p.Shape, Values: values})
	}
	if err := ckpt.Write(filepath.Join(folder, "model.safetensors"), entries, nil); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"config.json": cfg.JSON(), "vocab.txt": text} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// long is a context of many windows with one queen.
var long = strings.Repeat("the king of the city was born. ", 60) + "The  «Queen»\twon a war, " + strings.Repeat("and the river lost. ", 60)

func TestPair(t *testing.T) {
	init := queenly(t)
	file := filepath.Join(t.TempDir(), "article.txt")
	if err := os.WriteFile(file, []byte(long), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		stdin string
		args  []string
		want  string // first line after the probability
		lines int
	}{
		"context on standard input":    {long, []string{"--question", "Who won?"}, "Queen", 1},
		"context in a file":            {"", []string{"--question", "Who won?", file}, "Queen", 1},
		"context as an option":         {"", []string{"--question", "Who won?", "--context", long}, "Queen", 1},
		"one window, several answers":  {"", []string{"--question", "Who won?", "--context", "the queen won", "--n-best", "3"}, "queen", 3},
		"half precision, small batch":  {long, []string{"--question", "Who won?", "--fp16", "--batch", "1"}, "Queen", 1},
		"no word in the context":       {" \n", []string{"--question", "Who won?"}, "", 1},
		"no answer is as likely":       {"the king", []string{"--question", "Who?", "--squad2", "--null-threshold", "-1"}, "", 1},
		"an answer is likelier":        {long, []string{"--question", "Who?", "--version_2_with_negative", "--null_score_diff_threshold", "-11"}, "Queen", 1},
		"flags of the original":        {"", []string{"--bert_model", "bert-base-uncased", "--question", "Who?", "--context", "a queen", "--max_query_length", "8", "--no_cuda", "--do_lower_case", "--n_best_size", "1", "--seed", "3"}, "queen", 1},
		"answers of one token at most": {"queen queen", []string{"--question", "Who?", "--max-answer-length", "1"}, "queen", 1},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := run(c.stdin, append([]string{"--init_checkpoint", init, "--max-length", "48", "--doc-stride", "16", "-j", "2"}, c.args...)...)
			lines := strings.SplitAfter(stdout, "\n")
			_, text, _ := strings.Cut(lines[0], "\t")
			if status != 0 || len(lines)-1 != c.lines || text != c.want+"\n" {
				t.Errorf("exit %d, %q, %s", status, stdout, stderr)
			}
		})
	}
}

// The examples of the help text work, here on questions that a queen answers.
func TestExamples(t *testing.T) {
	init := queenly(t)
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"article.txt": long, "questions.jsonl.gz": clitest.Gzip(`{"question": "Who won?", "context": "the queen won"}`)} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(init, "out"); err != nil {
		t.Fatal(err)
	}
	for i, args := range clitest.Examples(t, program) {
		status, stdout, stderr := run("", args...)
		if file := slices.Index(args, "-o"); file >= 0 {
			text, err := os.ReadFile(args[file+1])
			if stdout += string(text); err != nil {
				t.Error(err)
			}
		}
		want := []string{"\tQueen\n", "\t", `"answer":"queen"`}[i]
		if status != 0 || !strings.Contains(stdout, want) || slices.Contains(args, "--n-best") != (strings.Count(stdout, "\n") == 3) {
			t.Errorf("%q: exit %d, %q: %s", args, status, stdout, stderr)
		}
	}
}

// reply is what is read of a line.
type reply struct {
	ID          any
	Answer      string
	Probability float64
	Start, End  *int
	NullOdds    *float64 `json:"null_odds"`
	Answers     []struct {
		Text                 string
		Probability          float64
		Start, End           *int
		StartLogit, EndLogit float64
	}
}

func TestLines(t *testing.T) {
	line := func(id, text string) string {
		context, _ := json.Marshal(text)
		return fmt.Sprintf(`{"id": %s, "question": "Who won?", "context": %s}`+"\n", id, context)
	}
	in := line(`"ä"`, "Ünder 𝒜 snow: "+long) + "\n" + line("7", "the queen won") + `{"question": "Who won?", "context": ""}`
	out := filepath.Join(t.TempDir(), "answers.jsonl")
	status, stdout, stderr := run(in, "--init", queenly(t), "--max-length", "64", "--doc-stride", "20", "--n-best", "4", "-o", out)
	text, err := os.ReadFile(out)
	if status != 0 || stdout != "" || err != nil {
		t.Fatalf("exit %d, %q, %s, %v", status, stdout, stderr, err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	replies := make([]reply, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &replies[i]); err != nil {
			t.Fatal(err)
		}
	}
	if len(replies) != 3 || replies[0].ID != "ä" || replies[1].ID != 7.0 || replies[2].ID != nil || replies[2].Answer != "" {
		t.Fatalf("%s", text)
	}
	first := replies[0]
	if first.Answer != "Queen" || first.Probability < 0.9 || len(first.Answers) != 4 || first.NullOdds != nil {
		t.Errorf("%+v", first)
	}
	runes := []rune("Ünder 𝒜 snow: " + long)
	for i, a := range first.Answers {
		if got := strings.Join(strings.Fields(string(runes[*a.Start:*a.End])), " "); got != a.Text || i > 0 && a.Probability > first.Answers[i-1].Probability {
			t.Errorf("%q is said to be at %d to %d, where %q is", a.Text, *a.Start, *a.End, got)
		}
	}
}

func TestRefused(t *testing.T) {
	init := queenly(t)
	for name, c := range map[string]struct {
		stdin, says string
		args        []string
		status      int
	}{
		"not JSON":                {"{\"question\": \"a\", \"context\": \"b\"}\nwho?\n", "line 2: read question", nil, 1},
		"no context":              {"{\"question\": \"who?\"}\n", "line 1: no \"question\" or no \"context\"", nil, 1},
		"no such file":            {"", "no such file", []string{"none.jsonl"}, 1},
		"an encoder alone":        {"{\"question\": \"a\", \"context\": \"b\"}\n", "qa_outputs", []string{"--init", "ENCODER"}, 1},
		"a context for each line": {"", "--context goes with --question", []string{"--context", "x"}, 2},
		"two contexts":            {"", "--context goes with --question", []string{"--question", "x", "--context", "x", "file"}, 2},
		"an empty question":       {"", "--question is empty", []string{"--question", ""}, 2},
		"two files":               {"", "there is one file", []string{"a", "b"}, 2},
		"no batch":                {"", "--batch 0", []string{"--batch", "0"}, 2},
		"no answers":              {"", "--n-best 0", []string{"--n-best", "0"}, 2},
		"windows too small":       {"", "--max-seq-length 4", []string{"--max-length", "4"}, 2},
		"windows too large":       {"", "384 positions", []string{"--max-length", "385"}, 2},
		"no precision":            {"", "fp8", []string{"--precision", "fp8"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--init", init, "--max-length", "64"}, c.args...)
			if i := slices.Index(args, "ENCODER"); i >= 0 {
				args[i] = encoderOf(t, init)
			}
			if status, _, stderr := run(c.stdin, args...); status != c.status || !strings.Contains(stderr, c.says) {
				t.Errorf("exit %d, %s", status, stderr)
			}
		})
	}
}

// encoderOf copies a checkpoint without its layer of questions.
func encoderOf(t *testing.T, folder string) string {
	t.Helper()
	s, err := ckpt.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	to := t.TempDir()
	var entries []ckpt.Entry
	for _, name := range s.Names() {
		if strings.HasPrefix(name, "qa_outputs.") {
			continue
		}
		values, err := s.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, ckpt.Entry{Name: name, Shape: s.Tensor(name).Shape, Values: values})
	}
	if err := ckpt.Write(filepath.Join(to, "model.safetensors"), entries, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.json", "vocab.txt"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return to
}
