package glue

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/fault"
)

// row is a line whose columns are numbered, but for some.
func row(columns int, at map[int]string) string {
	fields := make([]string, columns)
	for i := range fields {
		fields[i] = string(rune('c' + i))
	}
	for i, text := range at {
		fields[i] = text
	}
	return strings.Join(fields, "\t") + "\n"
}

func read(t *testing.T, task *Task, s Split, text string) (*Set, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), s.File)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return task.Read(context.Background(), path, s)
}

// The columns are those of the published files.
func TestColumns(t *testing.T) {
	const yes, no = "first text", "second text"
	pair := func(at map[int]string, a, b int) map[int]string { at[a], at[b] = yes, no; return at }
	labelled := []struct {
		task, header string
		row          string
		name         string
		class        int32
		value        float32
		two          bool
	}{
		{"cola", "", row(4, map[int]string{1: "1", 3: yes}), "-0", 1, 0, false},
		{"mrpc", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n", row(5, pair(map[int]string{0: "1"}, 3, 4)), "-1", 1, 0, true},
		{"sst-2", "sentence\tlabel\n", yes + "\t1\n", "-1", 1, 0, false},
		{"mnli", "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n",
			row(12, pair(map[int]string{0: "17", 10: "neutral", 11: "entailment"}, 8, 9)), "-17", 1, 0, true},
		{"qnli", "index\tquestion\tsentence\tlabel\n", row(4, pair(map[int]string{0: "17", 3: "not_entailment"}, 1, 2)), "-17", 1, 0, true},
		{"qqp", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n", row(6, pair(map[int]string{0: "17", 5: "1"}, 3, 4)), "-17", 1, 0, true},
		{"rte", "index\tsentence1\tsentence2\tlabel\n", row(4, pair(map[int]string{0: "17", 3: "not_entailment"}, 1, 2)), "-17", 1, 0, true},
		{"sts-b", "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n", row(10, pair(map[int]string{0: "17", 9: "3.750"}, 7, 8)), "-17", 0, 3.75, true},
		{"wnli", "index\tsentence1\tsentence2\tlabel\n", row(4, pair(map[int]string{0: "17", 3: "1"}, 1, 2)), "-17", 1, 0, true},
	}
	for _, c := range labelled {
		task := find(t, c.task)
		for _, s := range append([]Split{task.Train}, task.Dev...) {
			set, err := read(t, task, s, c.header+c.row)
			if err != nil {
				t.Errorf("%s: %v", s.File, err)
				continue
			}
			want := Example{Name: s.Name + c.name, A: yes, Class: c.class, Value: c.value}
			if c.two {
				want.B = no
			}
			got := set.Examples[0]
			got.Index = ""
			if len(set.Examples) != 1 || got != want {
				t.Errorf("%s %s: %+v, expected %+v", c.task, s.File, set.Examples, want)
			}
		}
	}
	if len(labelled) != len(tasks) {
		t.Errorf("%d tasks of %d", len(labelled), len(tasks))
	}
	tests := map[string]struct{ width, a, b int }{
		"CoLA.tsv": {2, 1, none}, "SST-2.tsv": {2, 1, none}, "MRPC.tsv": {5, 3, 4}, "QQP.tsv": {3, 1, 2}, "STS-B.tsv": {9, 7, 8}, "QNLI.tsv": {3, 1, 2},
		"RTE.tsv": {3, 1, 2}, "WNLI.tsv": {3, 1, 2}, "MNLI-m.tsv": {10, 8, 9}, "MNLI-mm.tsv": {10, 8, 9}, "AX.tsv": {3, 1, 2},
	}
	for _, name := range names() {
		for _, s := range find(t, name).Test {
			c, at := tests[s.Submission], map[int]string{0: "17"}
			at[c.a] = yes
			if c.b != none {
				at[c.b] = no
			}
			set, err := read(t, find(t, name), s, row(c.width, nil)+row(c.width, at))
			if err != nil {
				t.Errorf("%s: %v", s.Submission, err)
			} else if got := set.Examples[0]; got.Index != "17" || got.A != yes || (got.B == no) != (c.b != none) {
				t.Errorf("%s: %+v", s.Submission, got)
			}
			delete(tests, s.Submission)
		}
	}
	if len(tests) > 0 {
		t.Errorf("no task hands in %v", tests)
	}
}

func TestFormsOfLines(t *testing.T) {
	sst := find(t, "sst-2")
	for _, c := range []struct{ what, text, want string }{
		{"byte order mark", "\ufeffsentence\tlabel\ngood\t1\n", "good"},
		{"CR LF", "sentence\tlabel\r\ngood\t1\r\n", "good"},
		{"no line end", "sentence\tlabel\ngood\t1", "good"},
		{"empty lines at the end", "sentence\tlabel\ngood\t1\n\n\r\n", "good"},
		{"quotation marks", "sentence\tlabel\n\" so good\t1\n", "\" so good"},
		{"blanks", "sentence\tlabel\n good \t1\n", " good "},
		{"further columns", "sentence\tlabel\ngood\t1\tx\n", "good"},
	} {
		set, err := read(t, sst, sst.Train, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		} else if len(set.Examples) != 1 || set.Examples[0].A != c.want || set.Examples[0].Class != 1 {
			t.Errorf("%s: %+v", c.what, set.Examples)
		}
	}
	headless := find(t, "cola")
	set, err := read(t, headless, headless.Train, "\ufeffx\t0\t*\tThe book.\n")
	if err != nil || set.Examples[0].Name != "train-0" || set.Examples[0].A != "The book." {
		t.Errorf("byte order mark before an example: %+v, %v", set, err)
	}
	questions := find(t, "qqp")
	set, err = read(t, questions, questions.Train, row(6, nil)+row(6, map[int]string{5: "0"})+"133273\t213221\n"+row(6, map[int]string{5: "1"}))
	if err != nil || len(set.Examples) != 2 || set.Ragged != 1 {
		t.Errorf("QQP as published: %+v, %v", set, err)
	}
}

func TestLinesThatAreRefused(t *testing.T) {
	for _, c := range []struct{ what, task, text, want string }{
		{"no examples", "sst-2", "sentence\tlabel\n", "no examples"},
		{"empty file", "sst-2", "", "no examples"},
		{"short", "sst-2", "sentence\tlabel\nx\t1\nx y\n", "line 3: 1 column(s), at least 2 are needed"},
		{"short, the label last", "mnli", row(12, nil) + row(10, map[int]string{9: "neutral"}), "line 2: 10 column(s), at least 11"},
		{"empty line", "sst-2", "sentence\tlabel\nx\t1\n\ny\t0\n", "line 3: is empty"},
		{"label", "mrpc", row(5, nil) + row(5, map[int]string{0: "2"}), `line 2: label "2": is none of 0, 1`},
		{"no label", "rte", row(4, nil) + row(4, map[int]string{3: ""}), `line 2: label "": is none of entailment`},
		{"number", "sts-b", row(10, nil) + row(10, map[int]string{9: "high"}), `line 2: label "high": is not a number`},
		{"NaN", "sts-b", row(10, nil) + row(10, map[int]string{9: "nan"}), `line 2: label "nan": is not a number`},
		{"no names of columns", "sst-2", "x\t1\ny\t0\n", "line 1: is an example"},
		{"names of columns", "cola", "source\tlabel\tmark\tsentence\nx\t1\t\tThe book.\n", `line 1: label "label"`},
		{"bytes", "sst-2", "sentence\tlabel\ncaf\xe9\t1\n", "line 2: is not UTF-8"},
	} {
		task := find(t, c.task)
		_, err := read(t, task, task.Train, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "train.tsv: ") {
			t.Errorf("%s: %v, expected %q", c.what, err, c.want)
		} else if strings.Contains(c.want, "line") && fault.HintOf(err) == "" {
			t.Errorf("%s: no hint", c.what)
		}
	}
	task := find(t, "cola")
	if _, err := read(t, task, task.Test[0], "0\tThe book.\n"); err == nil || !strings.Contains(err.Error(), "line 1: is an example") {
		t.Errorf("a test without names of columns: %v", err)
	}
	if _, err := Find("stsc"); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "sts-b") {
		t.Errorf("no such task: %v", err)
	}
	if task, err := Find("SST2"); err != nil || task.Name != "sst-2" {
		t.Errorf("SST2: %v", err)
	}
}

// The numbers are those that the benchmark publishes.
func TestRealFiles(t *testing.T) {
	folder := os.Getenv("HPCBERT_DATA")
	if folder == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	for _, c := range []struct {
		task, file       string
		examples, labels int // labels: how many are of class 1
		name, a, b       string
	}{
		{"mrpc", "MRPC/train.tsv", 3668, 2474, "train-1", `Amrozi accused his brother , whom he called " the witness " , of deliberately distorting his evidence .`,
			`Referring to him as only " the witness " , Amrozi accused his brother of deliberately distorting his evidence .`},
		{"mrpc", "MRPC/dev.tsv", 408, 279, "dev-1", "He said the foodservice pie business doesn 't fit the company 's long-term growth strategy .",
			`" The foodservice pie business does not fit our long-term growth strategy .`},
		{"sst-2", "SST-2/train.tsv", 67349, 37569, "train-1", "hide new secretions from the parental units ", ""},
		{"sst-2", "SST-2/dev.tsv", 872, 444, "dev-1", "it 's a charming and often affecting journey . ", ""},
		{"sst-2", "SST-2/test.tsv", 1821, 0, "test-0", "uneasy mishmash of styles and genres .", ""},
		{"cola", "CoLA/train.tsv", 8551, 6023, "train-0", "Our friends won't buy this analysis, let alone the next one we propose.", ""},
		{"cola", "CoLA/test.tsv", 1063, 0, "test-0", "Bill whistled past the house.", ""},
		{"cola", "CoLA/dev.tsv", 1043, 721, "dev-0", "The sailors rode the breeze clear of the rocks.", ""},
	} {
		task := find(t, c.task)
		split := map[string]Split{"train.tsv": task.Train, "dev.tsv": task.Dev[0], "test.tsv": task.Test[0]}[filepath.Base(c.file)]
		set, err := task.Read(context.Background(), filepath.Join(folder, "glue", c.file), split)
		if err != nil {
			t.Error(err)
			continue
		}
		ones := 0
		for _, x := range set.Examples {
			ones += int(x.Class)
		}
		first := set.Examples[0]
		if len(set.Examples) != c.examples || ones != c.labels || first.Name != c.name || first.A != c.a || first.B != c.b {
			t.Errorf("%s: %d examples, %d of class 1, the first %+v", c.file, len(set.Examples), ones, first)
		}
	}
}
