package test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// logLine is a line of the reference's log.
type logLine struct {
	epoch, step int // -1 of a parameter, -2 of the summary
	data        map[string]any
}

// number returns a value that must be there.
func (l logLine) number(t *testing.T, key string) float64 {
	t.Helper()
	x, ok := l.data[key].(float64)
	if !ok {
		t.Errorf("step %d: no %s in %v", l.step, key, l.data)
	}
	return x
}

var logForm = regexp.MustCompile(`^DLLL (\{"timestamp": "\d+\.\d{6}", "datetime": "\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", "elapsedtime": "\d+\.\d{6}", "type": "LOG", "step": ("PARAMETER"|\[\]|\[\d+, \d+\]), "data": (\{.*\})\})$`)

// readLog reads a log strictly: every line has all keys in their order, and is as Python writes it.
func readLog(t *testing.T, name string) (lines []logLine) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		m := logForm.FindStringSubmatch(line)
		if m == nil || !json.Valid([]byte(m[1])) {
			t.Fatalf("%s: line %d is not the reference's: %q", name, i+1, line)
		}
		l := logLine{epoch: -1, step: -1}
		if m[2] == "[]" {
			l.step = -2
		}
		fmt.Sscanf(m[2], "[%d, %d]", &l.epoch, &l.step)
		if err := json.Unmarshal([]byte(m[3]), &l.data); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines
}

// keys are the names of a log's data in their order, one word for each line.
func logKeys(lines []logLine) (all []string) {
	for _, l := range lines {
		var keys []string
		for key := range l.data {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		all = append(all, strings.Join(keys, "+"))
	}
	return all
}

const (
	logStart = "Config SEED train_start batch_size_per_gpu learning_rate"
	logStep  = "average_loss+learning_rate+step_loss"
	logLast  = "final_loss e2e_train_time+final_loss+raw_train_time+training_sequences_per_second"
)

func mean(x ...float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// A learning rate that moves nothing lets one sequence an update tell the losses that the log is to average.
func TestLogOfTheReference(t *testing.T) {
	needMPI(t)
	needData(t)
	dir := t.TempDir()
	const still = "--order file --dropout 0 --learning-rate 1e-30 --warmup 0 --save-every 0 --micro-batch 1 --dllogger "
	name := func(run string) string { return filepath.Join(dir, run, "logs", "dllogger.json") }
	must(t, trainLine(0, dir+"/each", still+name("each")+" --steps 12 --global-batch 1"))
	var l []float64
	for _, s := range steps(t, dir+"/each") {
		l = append(l, s.Loss)
	}
	for i, line := range readLog(t, name("each"))[5:16] {
		if a, b := line.number(t, "average_loss"), line.number(t, "step_loss"); relative(a, l[i]) > 1e-7 || a != b || line.step != i+1 || line.epoch != 0 {
			t.Errorf("step %d: average %v, step %v, expected %v of step %d", line.step, a, b, l[i], i+1)
		}
	}
	must(t, trainLine(0, dir+"/alone", still+name("alone")+" --steps 3 --global-batch 4 --log-every 2"))
	must(t, trainLine(2, dir+"/ranks", still+name("ranks")+" --steps 6 --global-batch 2 --log_freq 3"))
	for _, c := range []struct {
		run, keys string
		step      int
		average   []float64 // what the line may say
		last      []float64
		final     float64
	}{
		{"alone", logStart + " " + logStep + " checkpoint_step " + logLast, 2, []float64{mean(l[:8]...)}, l[4:8], mean(l[8:12]...)},
		{"ranks", logStart + " " + logStep + " checkpoint_step " + logLast, 3, oneOfEach(l[:6]), l[4:6], mean(l[6:12]...)},
	} {
		lines := readLog(t, name(c.run))
		if got := strings.Join(logKeys(lines), " "); got != c.keys {
			t.Fatalf("%s: lines %s, expected %s", c.run, got, c.keys)
		}
		near := func(want float64, among ...float64) bool {
			return slices.ContainsFunc(among, func(x float64) bool { return relative(x, want) < 1e-6 })
		}
		line, end, sum := lines[5], lines[7], lines[8]
		if x, y := line.number(t, "average_loss"), line.number(t, "step_loss"); line.step != c.step || !near(x, c.average...) || !near(y, c.last...) {
			t.Errorf("%s: step %d: average %v, last %v; expected step %d, %v, %v", c.run, line.step, x, y, c.step, c.average, c.last)
		}
		for _, s := range steps(t, filepath.Join(dir, c.run)) {
			if x := line.number(t, "learning_rate"); s.Step == c.step && x != s.LearningRate {
				t.Errorf("%s: learning rate %v, metrics.jsonl has %v", c.run, x, s.LearningRate)
			}
		}
		if x := end.number(t, "final_loss"); !near(x, c.final) || x != sum.number(t, "final_loss") {
			t.Errorf("%s: final loss %v, in the summary %v, expected %v", c.run, x, sum.data["final_loss"], c.final)
		}
		raw := sum.number(t, "raw_train_time")
		if n := raw * sum.number(t, "training_sequences_per_second"); math.Abs(n-12) > 1e-6 || !(raw > 0) || !(sum.number(t, "e2e_train_time") >= raw) {
			t.Errorf("%s: %v sequences in %v", c.run, n, sum.data)
		}
	}
	if a, b, c := readLog(t, name("ranks"))[1].data["SEED"], readLog(t, name("ranks"))[3].data["batch_size_per_gpu"], readLog(t, name("ranks"))[2].data["train_start"]; a != 42.0 || b != 1.0 || c != true {
		t.Errorf("seed %v, batch %v, start %v", a, b, c)
	}
}

// oneOfEach returns the means of all choices of one of each two numbers.
func oneOfEach(x []float64) (means []float64) {
	for choice := range 1 << (len(x) / 2) {
		var chosen []float64
		for i := range len(x) / 2 {
			chosen = append(chosen, x[2*i+choice>>i&1])
		}
		means = append(means, mean(chosen...))
	}
	return means
}

// A run that goes on writes behind what is there, but for a line that a kill has cut; skipped updates tell their loss scale.
func TestLogGoesOn(t *testing.T) {
	needData(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "log.json")
	line := trainLine(0, dir+"/out", "--save-every 2 --json-summary "+name)
	r := must(t, line+" --steps 5 --steps_this_run 3")
	if !strings.Contains(r.stderr, "saved and stopped as asked") {
		t.Errorf("says %s", r.stderr)
	}
	if _, err := os.Stat(dir + "/out/STOPPED"); err != nil {
		t.Error(err)
	}
	first := read(t, name)
	if err := os.WriteFile(name, []byte(first+`DLLL {"timestamp": "17`), 0o666); err != nil {
		t.Fatal(err)
	}
	must(t, line+" --steps 5")
	if whole := read(t, name); !strings.HasPrefix(whole, first) {
		t.Errorf("what was there is gone: %s", whole)
	}
	want := logStart + " " + logStep + " " + logStep + " checkpoint_step checkpoint_step " + logLast + " " + logStart + " " + logStep + " checkpoint_step checkpoint_step " + logLast
	lines := readLog(t, name)
	if got := strings.Join(logKeys(lines), " "); got != want {
		t.Errorf("lines %s, expected %s", got, want)
	}
	if s := lines[16].step; s != 4 {
		t.Errorf("the second run begins with step %d", s)
	}
	must(t, line+" --steps 5") // complete: nothing is written
	if n := len(readLog(t, name)); n != len(lines) {
		t.Errorf("a complete run wrote %d lines", n-len(lines))
	}
	for _, options := range []string{"--steps 1", "--steps 1 --dry-run"} { // before anything is computed or written
		r := sh(t, trainLine(0, dir+"/other", options+" --dllogger "+dir+"/out/metrics.jsonl"))
		if _, err := os.Stat(dir + "/other"); r.status != 1 || !strings.Contains(r.stderr, `its lines do not begin with "DLLL "`) || err == nil {
			t.Errorf("%s: exit status %d, folder %v: %s", options, r.status, err, r.stderr)
		}
	}
	half := filepath.Join(dir, "half.json")
	must(t, trainLine(0, dir+"/half", "--steps 3 --precision fp16 --init-loss-scale 16777216 --skip_checkpoint --dllogger "+half))
	scales := 0
	for _, l := range readLog(t, half) {
		if x, ok := l.data["loss_scale"].(float64); ok {
			if scales++; x != math.Ldexp(1, 24-scales) {
				t.Errorf("loss scale %v after %d skipped updates", x, scales)
			}
		}
	}
	if scales == 0 {
		t.Error("no update was skipped: the test shows nothing")
	}
	if left, _ := filepath.Glob(dir + "/half/step-*"); len(left) > 0 {
		t.Errorf("--skip-checkpoint left %v", left)
	}
}
