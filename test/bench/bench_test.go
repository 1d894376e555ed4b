package main

import (
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hpcbert/lib/bert"
	"hpcbert/lib/wordpiece"
)

// The program is run, not called: it starts itself for the steps.
func TestQuickRunWritesWholeRecords(t *testing.T) {
	dir := t.TempDir()
	program, file := filepath.Join(dir, "bench"), filepath.Join(dir, "bench.csv")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("A sentence.\n\nA question?\tA longer text that holds its answer, and more.\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "--quick", "-j", "2", "--config", "../../configs/model/tiny.json", "--seq", "16", "--text", text, "--vocab", "../data/vocab.txt", "--batch", "2",
		"-o", file, "op", "step", "sweep", "infer").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	records, err := csv.NewReader(in).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(records[0], columns) {
		t.Errorf("first line %q", records[0])
	}
	kinds := map[string]int{}
	for _, record := range records[1:] {
		checkRecord(t, record)
		kinds[record[0]]++
	}
	// fp32 and bf16: every operation but the three of the optimiser twice, a step, two micro-batches and their line
	if kinds["op"] < 60 || kinds["step"] != 2 || kinds["sweep"] < 4 || kinds["infer"] != 2 {
		t.Errorf("%v records", kinds)
	}
	if !strings.Contains(string(out), "gemm ffn_1 forward+GELU") || !strings.HasPrefix(string(out[strings.Index(string(out), "#"):]), "# ") {
		t.Errorf("table:\n%s", out)
	}
}

// checkRecord wants numbers where there should be some: an operation in float32 is never unsupported.
func checkRecord(t *testing.T, record []string) {
	t.Helper()
	column := func(name string) string { return record[slices.Index(columns, name)] }
	if column("state") == "unsupported" && column("precision") == "bf16" || column("shape") == "" {
		return
	}
	wanted := map[string][]string{"op": {"ms", "rate", "ceiling", "percent"}, "step": {"ms", "sequences_per_s", "percent", "memory_mib"},
		"infer": {"ms", "p95_ms", "p99_ms", "sequences_per_s", "tokens_per_s", "reference_per_s"}}[record[0]]
	for _, name := range wanted {
		if x, err := strconv.ParseFloat(column(name), 64); err != nil || !(x > 0) {
			t.Errorf("%s is %q in %q", name, column(name), record)
		}
	}
}

func TestComparisonSkipsWithoutTorch(t *testing.T) {
	python := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(python, []byte("#!/bin/sh\nprintf 'Traceback\\nModuleNotFoundError: No module named \\047torch\\047\\n' >&2\nexit 1\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bench-torch", "bench-infer"} {
		out, err := exec.Command("../"+name+".sh", python).CombinedOutput()
		if want := name + ": skipped: " + python + ": ModuleNotFoundError: No module named 'torch'\n"; err != nil || string(out) != want {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

func TestLineThroughMicroBatches(t *testing.T) {
	for _, c := range []struct {
		name    string
		seconds []float64 // of 4, 8, 16 sequences
		shape   string
		largest string
	}{
		{"a line", []float64{0.14, 0.18, 0.26}, "100 ms + 10 ms a sequence", ""},
		{"10 % more in the middle, between which the line lies", []float64{0.14, 0.198, 0.26}, "", "6.9"}, // numpy.polyfit with weights 1/seconds
	} {
		rows := make([]row, len(c.seconds))
		for i, s := range c.seconds {
			rows[i].seconds = s
		}
		all := withLine(rows, []int{4, 8, 16}, row{})
		line := all[len(all)-1]
		if c.shape != "" && line.shape != c.shape {
			t.Errorf("%s: %s", c.name, line.shape)
		}
		if got := strconv.FormatFloat(line.deviation, 'f', 1, 64); c.largest != "" && got != c.largest {
			t.Errorf("%s: largest deviation %s %%", c.name, got)
		}
	}
}

func TestRecordsAsBatches(t *testing.T) {
	v, err := wordpiece.Load(strings.NewReader("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n"), "vocabulary")
	if err != nil {
		t.Fatal(err)
	}
	e := wordpiece.New(v, wordpiece.Options{}).Acquire()
	var records []record
	for _, line := range []string{"a b c a b c a b", "a\tb c", "a b c a b c\tc", "a"} {
		records = append(records, newRecord(e, v, line, 7))
	}
	want := &bert.Batch{
		IDs:       []int32{2, 5, 6, 7, 5, 6, 3, 2, 5, 3, 6, 7, 3, 2, 5, 6, 7, 5, 3, 3},
		Positions: []int32{0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6},
		Segments:  []int32{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1},
		CuSeqlens: []int32{0, 7, 13, 20}, Samples: []int32{0, 1, 2},
	}
	if got := batches(records, 3); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("%+v", got)
	}
}

func TestPercentile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3, 6, 9, 8, 7, 10}
	for p, want := range map[int]float64{1: 1, 50: 5, 90: 9, 91: 10, 95: 10, 99: 10, 100: 10} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile %d of 1 to 10 is %g, expected %g", p, got, want)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct {
		o    options
		args []string
	}{
		{options{Records: 64, Tokens: 128, MicroBatches: 1, Updates: 1}, []string{"steps"}},
		{options{Records: 64, Tokens: 128, MicroBatches: 1, Updates: 1, Precision: []string{"fp8"}}, nil},
		{options{Records: 64, Tokens: 128, MicroBatches: 1, Updates: 1, Seq: []int{129}}, nil},
		{options{Records: 64, Tokens: 128, MicroBatches: 0, Updates: 1}, nil},
		{options{Records: 64, Tokens: 128, MicroBatches: 1, Updates: 1}, []string{"infer"}},
		{options{Records: 0, Tokens: 128, MicroBatches: 1, Updates: 1}, nil},
		{options{Records: 64, Tokens: 128, MicroBatches: 1, Updates: 1, Batch: []int{0}}, nil},
	} {
		if c.o.check(c.args) == nil {
			t.Errorf("%+v %v: accepted", c.o, c.args)
		}
	}
}
