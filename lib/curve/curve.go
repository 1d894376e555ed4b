// Package curve reads metrics files of training runs and draws them.
package curve

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"hpcbert/lib/fault"

	"gonum.org/v1/plot/plotter"
)

// Run is what a metrics file tells of a run.
type Run struct {
	Name   string
	About  map[string]any // first line of metrics.jsonl: the configuration
	fields map[string]plotter.XYs
	end    summary
}

// summary is the reference's last line.
type summary struct {
	TrainingSequencesPerSecond float64 `json:"training_sequences_per_second"`
	RawTrainTime               float64 `json:"raw_train_time"`
}

// Read takes in metrics.jsonl of bertrain (one JSON object a line) or dllogger.json of the reference ("DLLL " and an object). A last line
// without its end, of a run that goes on or was killed, is passed over. The reference's names become ours: average_loss and final_loss are
// loss; sequences_per_s comes from its time stamps and its summary, so a run without summary has none.
func Read(r io.Reader, name string) (*Run, error) {
	run := &Run{Name: name, fields: map[string]plotter.XYs{}}
	clock := plotter.XYs{} // of the reference: seconds at each step
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read %s: line %d: %w", name, number, err)
		}
		whole := err == nil
		line = bytes.TrimSpace(line)
		var wrong error
		if object, ok := bytes.CutPrefix(line, []byte("DLLL ")); ok {
			wrong = run.addReference(object, &clock)
		} else if len(line) > 0 {
			wrong = run.add(line)
		}
		if wrong != nil && (whole || number == 1) {
			return nil, fault.WithHint(fmt.Errorf("read %s: line %d: %w", name, number, wrong), "expected metrics.jsonl of bertrain, one JSON object a line, or dllogger.json of the original, \"DLLL {...}\"")
		}
		if !whole {
			break
		}
	}
	run.addSpeed(clock)
	return run, nil
}

// Fields returns the names of what the run has over its steps.
func (r *Run) Fields() []string { return slices.Sorted(maps.Keys(r.fields)) }

// Series returns a field over the steps, none where the run has no such field.
func (r *Run) Series(field string) plotter.XYs { return r.fields[field] }

// add takes in a line of metrics.jsonl.
func (r *Run) add(line []byte) error {
	var row map[string]any
	if err := json.Unmarshal(line, &row); err != nil {
		return err
	}
	step, ok := row["step"].(float64)
	if !ok && r.About == nil {
		r.About = row
	}
	if !ok {
		return nil
	}
	for field, value := range row {
		if number, ok := value.(float64); ok && field != "step" {
			r.put(field, step, number)
		}
	}
	return nil
}

// put adds a point. A step that comes again was done again, from a checkpoint: what the file had of it and of later steps is no part of the run.
func (r *Run) put(field string, step, value float64) {
	points := r.fields[field]
	for len(points) > 0 && points[len(points)-1].X >= step {
		points = points[:len(points)-1]
	}
	r.fields[field] = append(points, plotter.XY{X: step, Y: value})
}

// notFinite are numbers that Python writes and JSON does not know.
var notFinite = regexp.MustCompile(`([:\[,]\s*)-?(?:NaN|Infinity)\b`)

// addReference takes in a line of dllogger.json.
func (r *Run) addReference(object []byte, clock *plotter.XYs) error {
	var line struct {
		Type    string
		Elapsed string `json:"elapsedtime"`
		Step    any
		Data    map[string]any
	}
	if err := json.Unmarshal(object, &line); err != nil && json.Unmarshal(notFinite.ReplaceAll(object, []byte("${1}null")), &line) != nil {
		return err
	}
	at, ok := line.Step.([]any)
	if !ok || line.Type != "LOG" {
		return nil
	}
	if len(at) < 2 {
		r.end.TrainingSequencesPerSecond, _ = line.Data["training_sequences_per_second"].(float64)
		r.end.RawTrainTime, _ = line.Data["raw_train_time"].(float64)
		return nil
	}
	step, ok := at[1].(float64)
	if !ok {
		return fmt.Errorf("step %v is no number", at[1])
	}
	for field, value := range line.Data {
		if number, ok := value.(float64); ok {
			r.put(ours(field), step, number)
		}
	}
	var seconds float64
	if _, err := fmt.Sscan(strings.TrimSpace(line.Elapsed), &seconds); err == nil && (len(*clock) == 0 || (*clock)[len(*clock)-1].X < step) {
		*clock = append(*clock, plotter.XY{X: step, Y: seconds})
	}
	return nil
}

// ours returns our name of a field of the reference.
func ours(field string) string {
	if field == "average_loss" || field == "final_loss" {
		return "loss"
	}
	return field
}

// addSpeed makes the throughput between each two lines of the reference. Its summary tells the sequences of the whole run, hence of a step.
func (r *Run) addSpeed(clock plotter.XYs) {
	if len(clock) < 2 || r.end.TrainingSequencesPerSecond == 0 {
		return
	}
	first, last := clock[0], clock[len(clock)-1]
	perLine := (last.X - first.X) / float64(len(clock)-1)
	update := r.end.TrainingSequencesPerSecond * r.end.RawTrainTime / (last.X - first.X + perLine)
	for i, at := range clock[1:] {
		if before := clock[i]; at.Y > before.Y {
			r.put("sequences_per_s", at.X, update*(at.X-before.X)/(at.Y-before.Y))
		}
	}
}
