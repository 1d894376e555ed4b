package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/cli"
	"hpcbert/lib/stream"
)

// row is one figure.
type row struct {
	kind, name, model, precision, shape string
	state                               string // "ok" or "unsupported"
	runs                                int
	seconds                             float64 // median: of a call, of an update, of a micro-batch's forward and backward, of a batch's inference
	rate                                float64
	unit                                string // of rate and ceiling: GFLOP/s or GB/s
	ceiling                             float64
	sequences, tokens                   float64 // a second
	forward, backward, optimiser        float64 // seconds of an update
	deviation                           float64 // per cent from the line of a sweep
	p95, p99                            float64 // seconds of a batch
	reference                           float64 // sequences a second as the original would count them
	memory                              int64   // bytes
	others                              float64
}

// columns are those of the CSV; a number that is 0 stays empty.
var columns = []string{"kind", "name", "model", "precision", "shape", "state", "runs", "ms", "rate", "unit", "ceiling", "percent", "sequences_per_s",
	"tokens_per_s", "forward_ms", "backward_ms", "optimiser_ms", "deviation_percent", "p95_ms", "p99_ms", "reference_per_s", "memory_mib", "others",
	"cpu", "device", "threads", "cores", "date", "commit"}

func (r row) record(about []string) []string {
	percent := 0.0
	if r.ceiling > 0 {
		percent = 100 * r.rate / r.ceiling
	}
	others := ""
	if r.runs > 0 {
		others = strconv.FormatFloat(r.others, 'f', 2, 64)
	}
	record := []string{r.kind, r.name, r.model, r.precision, r.shape, r.state, number(float64(r.runs)), number(1e3 * r.seconds), number(r.rate), r.unit,
		number(r.ceiling), number(percent), number(r.sequences), number(r.tokens), number(1e3 * r.forward), number(1e3 * r.backward), number(1e3 * r.optimiser),
		number(r.deviation), number(1e3 * r.p95), number(1e3 * r.p99), number(r.reference), number(float64(r.memory >> 20)), others}
	return append(record, about...)
}

// number prints four digits that count.
func number(x float64) string {
	if x == 0 {
		return ""
	}
	if x >= 1000 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}

// report collects records.
type report struct {
	about   []string // the last columns, the same for all
	records [][]string
}

func newReport(dev *kernels.Device) *report {
	alone := &cli.Env{Getenv: func(string) string { return "" }}
	cores := alone.Placement().Threads
	return &report{about: []string{cpuModel(), dev.Name(), strconv.Itoa(dev.Threads()), strconv.Itoa(cores), time.Now().UTC().Format(time.DateOnly), cli.Version}}
}

// cpuModel returns what the system calls the CPU.
func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); key == "model name" || key == "CPU part" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// add writes all records so far to the file.
func (r *report) add(record []string, file string) error {
	r.records = append(r.records, record)
	var text strings.Builder
	w := csv.NewWriter(&text)
	if err := w.WriteAll(append([][]string{columns}, r.records...)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	return stream.WriteFile(file, []byte(text.String()))
}

// tables says what people see of each kind.
var tables = []struct {
	kind, title string
	columns     []string
}{
	{"op", "operations", []string{"name", "model", "precision", "shape", "state", "ms", "rate", "unit", "ceiling", "percent", "others"}},
	{"step", "updates; rate in GFLOP/s, percent = MFU", []string{"name", "model", "precision", "shape", "state", "sequences_per_s", "tokens_per_s", "rate", "ceiling", "percent", "ms",
		"forward_ms", "backward_ms", "optimiser_ms", "memory_mib", "others"}},
	{"infer", "inference; ms = median of a batch", []string{"name", "model", "precision", "shape", "state", "ms", "p95_ms", "p99_ms", "sequences_per_s", "tokens_per_s", "reference_per_s",
		"memory_mib", "others"}},
	{"sweep", "forward and backward of a micro-batch, and the line through them", []string{"name", "model", "precision", "shape", "state", "ms", "sequences_per_s", "percent", "deviation_percent", "others"}},
}

// print writes the tables.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "# %s, %s, %s threads of %s cores, %s, commit %s\n", r.about[0], r.about[1], r.about[2], r.about[3], r.about[4], r.about[5])
	for _, t := range tables {
		out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		lines := 0
		for _, record := range append([][]string{columns}, r.records...) {
			if record[0] != t.kind && record[0] != columns[0] {
				continue
			}
			for _, name := range t.columns {
				fmt.Fprint(out, record[slices.Index(columns, name)], "\t")
			}
			fmt.Fprintln(out)
			lines++
		}
		if lines > 1 {
			fmt.Fprintf(w, "\n%s\n", t.title)
			out.Flush()
		}
	}
}
