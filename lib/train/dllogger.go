package train

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hpcbert/lib/bert"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// dllogger writes the log of the reference's trainer, lines of "DLLL " and an object. Its losses are those of one rank: means over micro-batches
// of the means that each has.
type dllogger struct {
	file    *os.File // nil: nothing is written, as on all ranks but 0
	began   time.Time
	update  mean // of the micro-batches of the update at work
	window  mean // of those since the last line
	line    mean // of those of the last line
	last    float64
	first   time.Time // before the first batch
	updated time.Time // after the last update
}

type mean struct {
	sum   float64
	count int
}

func (m *mean) add(other mean) { m.sum, m.count = m.sum+other.sum, m.count+other.count }

// mean of nothing is not a number.
func (m mean) value() float64 { return m.sum / float64(m.count) }

// dlloggerMark begins every line.
const dlloggerMark = "DLLL "

// openLog opens the log behind what earlier runs wrote, and writes what the reference does at the start.
func (t *Trainer) openLog() (err error) {
	t.log = &dllogger{began: t.opt.Began, first: time.Now()}
	if t.comm.Rank() != 0 || t.opt.DLLogger == "" {
		return nil
	}
	if t.log.file, err = appendLines(t.opt.DLLogger, dlloggerMark); err != nil {
		return err
	}
	config, err := json.Marshal(t.runLine())
	if err != nil {
		return err
	}
	for _, f := range []field{{"Config", []string{string(config)}}, {"SEED", t.opt.Seed}, {"train_start", true}, {"batch_size_per_gpu", t.opt.MicroBatch}, {"learning_rate", t.opt.Schedule.Base}} {
		if err := t.log.parameter(f.key, f.value); err != nil {
			return err
		}
	}
	return nil
}

// appendLines opens a file of lines to go on behind the last whole one. What a kill has left of a line is cut off. A file whose lines do not
// begin with that mark is somebody else's.
func appendLines(name, mark string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return f, err
	}
	text, err := io.ReadAll(f)
	if err == nil {
		err = checkMark(name, mark, text)
	}
	if whole := bytes.LastIndexByte(text, '\n') + 1; err == nil && whole < len(text) {
		err = f.Truncate(int64(whole))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkMark refuses a file that begins with something else than the mark, or the part of it that a kill has left.
func checkMark(name, mark string, text []byte) error {
	if n := min(len(mark), len(text)); string(text[:n]) != mark[:n] {
		return fault.WithHint(fmt.Errorf("append to %s: its lines do not begin with %q", name, mark), "give the log a file of its own")
	}
	return nil
}

// CheckLog refuses a file that the reference's log cannot be appended to, before there is anything to log. "" is no log.
func CheckLog(name string) error {
	info, err := os.Stat(name)
	if name == "" || errors.Is(err, os.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	begin := make([]byte, len(dlloggerMark))
	n, err := io.ReadFull(f, begin)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return checkMark(name, dlloggerMark, begin[:n])
}

// micro takes in the losses of a micro-batch.
func (d *dllogger) micro(b *bert.Batch, r bert.Result) {
	d.last = r.MLMLossSum/math.Max(1, float64(len(b.MaskedIDs))) + (r.NSPLossSum+r.TaskLossSum)/float64(len(b.Samples))
	d.update.add(mean{d.last, 1})
}

// logUpdate writes the line of an update, applied or skipped, if it is due; that of the last one is written at the end.
func (t *Trainer) logUpdate(m *measure) error {
	d := t.log
	d.updated = time.Now()
	d.window.add(d.update)
	d.update = mean{}
	if m.skipped {
		if err := d.parameter("loss_scale", t.scaler.Scale); err != nil {
			return err
		}
	}
	if t.batches()%int64(t.opt.LogEvery) != 0 || t.step == t.end() {
		return nil
	}
	d.line, d.window = d.window, mean{}
	return d.write(t.at(), field{"average_loss", d.line.value()}, field{"step_loss", d.last}, field{"learning_rate", m.learningRate})
}

// at is where the run stands, as the log says it.
func (t *Trainer) at() string { return fmt.Sprintf("[%d, %d]", t.epoch(), t.step) }

// logEnd writes the loss and the speed of the run. All ranks call it: the loss is the mean of theirs.
func (t *Trainer) logEnd(s *Summary) error {
	d := t.log
	if d.window.count == 0 { // stopped behind a line
		d.window = d.line
	}
	sum := []float64{d.window.value()}
	if err := t.comm.AllreduceFloat64(sum); err != nil || d.file == nil || d.updated.IsZero() {
		return err
	}
	final := field{"final_loss", sum[0] / float64(t.comm.Size())}
	if err := d.write(t.at(), final); err != nil {
		return err
	}
	raw := d.updated.Sub(d.first).Seconds()
	return d.write("[]", field{"e2e_train_time", time.Since(d.began).Seconds()}, field{"training_sequences_per_second", float64(s.Sequences) / raw}, final,
		field{"raw_train_time", raw})
}

// LogScore appends what the reference's inference logs at its end. Without losses it tells the speed alone.
func LogScore(name string, began time.Time, s *Score, losses bool) error {
	f, err := appendLines(name, dlloggerMark)
	if err != nil {
		return err
	}
	d := &dllogger{file: f, began: began}
	if losses {
		err = d.write(`"Inference Loss"`, field{"final_loss", s.MLMLoss() + s.NSPLoss()})
	}
	if err == nil {
		err = d.write(`"Inference perf"`, field{"inference_sequences_per_second", float64(s.Sequences) / s.Seconds})
	}
	return errors.Join(err, f.Close())
}

// LogLine is a line of the reference's log of what is no training loop's.
type LogLine struct {
	Parameter bool  // what the run is, else what it has come to
	Data      []any // a key and its value, in turn
}

// AppendLog appends lines to a log of the reference's form.
func AppendLog(name string, began time.Time, lines ...LogLine) error {
	f, err := appendLines(name, dlloggerMark)
	if err != nil {
		return err
	}
	d := &dllogger{file: f, began: began}
	for _, l := range lines {
		step, data := "[]", make([]field, len(l.Data)/2)
		if l.Parameter {
			step = `"PARAMETER"`
		}
		for i := range data {
			data[i] = field{l.Data[2*i].(string), l.Data[2*i+1]}
		}
		err = cmp.Or(err, d.write(step, data...))
	}
	return errors.Join(err, f.Close())
}

// field is a key of a line's data with its value.
type field struct {
	key   string
	value any
}

func (d *dllogger) parameter(key string, value any) error {
	return d.write(`"PARAMETER"`, field{key, value})
}

// write writes a line at once, as Python's json does, which knows NaN and Infinity. Nothing stays in a buffer.
func (d *dllogger) write(step string, data ...field) error {
	if d.file == nil {
		return nil
	}
	var pairs []string
	for _, f := range data {
		text, err := python(f.value)
		if err != nil {
			return err
		}
		pairs = append(pairs, fmt.Sprintf("%q: %s", f.key, text))
	}
	now := time.Now()
	_, err := fmt.Fprintf(d.file, dlloggerMark+`{"timestamp": "%d.%06d", "datetime": "%s", "elapsedtime": "%.6f", "type": "LOG", "step": %s, "data": {%s}}`+"\n",
		now.Unix(), now.Nanosecond()/1000, now.Format("2006-01-02 15:04:05.000000"), now.Sub(d.began).Seconds(), step, strings.Join(pairs, ", "))
	return stream.DiskFull(err)
}

// python is a value in Python's JSON.
func python(value any) (string, error) {
	x, ok := value.(float64)
	switch {
	case !ok:
		text, err := json.Marshal(value)
		return string(text), err
	case math.IsNaN(x):
		return "NaN", nil
	case math.IsInf(x, 0):
		return map[bool]string{true: "Infinity", false: "-Infinity"}[x > 0], nil
	}
	text := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0" // a float stays one to a reader
	}
	return text, nil
}

func (d *dllogger) close() {
	if d.file != nil {
		d.file.Close()
	}
}
