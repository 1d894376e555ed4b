// Package curve reads metrics files of training runs and draws them.
package curve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"

	"gonum.org/v1/plot/plotter"
)

// Run is what a metrics file tells of a run.
type Run struct {
	Name   string
	About  map[string]any // first line of metrics.jsonl: the configuration
	fields map[string]plotter.XYs
	starts []float64   // where phases after the first begin: the last step before
	last   float64     // step of the newest line, as the file counts
	over   bool        // the file said that the training ended
	clock  plotter.XYs // of the reference: seconds at each step since the process at work began
}

// read takes in metrics.jsonl of bertrain (one JSON object a line) or dllogger.json of the reference ("DLLL " and an object). Where a file holds
// phases that count their own steps, one behind the other, the steps of the later ones go on behind those before. A last line without its end, of a run that goes on or was killed, is passed over. The reference's names become ours: average_loss and final_loss are
// loss; sequences_per_s comes from time stamps and the summary of a process, so one that was killed has none.
func read(r io.Reader, name string) (*Run, error) {
	run := &Run{Name: name, fields: map[string]plotter.XYs{}}
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
			wrong = run.addReference(object)
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
	return run, nil
}

// ReadFile is Read of a file, or of standard input where its name is "-".
func ReadFile(ctx context.Context, name string, stdin io.Reader) (*Run, error) {
	in, err := stream.Open(ctx, name, stdin)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return read(in, in.Name)
}

// Median returns that of a field over the steps but the first, in which a program warms up.
func (r *Run) Median(field string) (float64, error) {
	points := r.Series(field)
	if len(points) < 2 {
		return 0, fault.WithHint(fmt.Errorf("read %s: %d step(s) have %s", r.Name, len(points), field), "run at least two steps: the first one is not counted")
	}
	var values []float64
	for _, p := range points[1:] {
		values = append(values, p.Y)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2, nil
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
	if !ok {
		if r.over = r.About != nil; !r.over {
			r.About = row
		}
		return nil
	}
	x := r.at(step)
	for field, value := range row {
		if number, ok := value.(float64); ok && field != "step" {
			r.put(field, x, number)
		}
	}
	return nil
}

// at returns where a step of the file lies among those of all its phases. One that starts again behind the end of a training is of a new phase;
// without such an end steps were done again.
func (r *Run) at(step float64) float64 {
	if r.over && step <= r.last {
		r.starts = append(r.starts, r.before()+r.last)
	}
	r.over, r.last = false, step
	return r.before() + step
}

// before returns the steps of the phases before the newest.
func (r *Run) before() float64 {
	if len(r.starts) == 0 {
		return 0
	}
	return r.starts[len(r.starts)-1]
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
func (r *Run) addReference(object []byte) error {
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
		perSecond, _ := line.Data["training_sequences_per_second"].(float64)
		seconds, _ := line.Data["raw_train_time"].(float64)
		r.addSpeed(perSecond * seconds)
		r.over = true
		return nil
	}
	step, ok := at[1].(float64)
	if !ok {
		return fmt.Errorf("step %v is no number", at[1])
	}
	x := r.at(step)
	for field, value := range line.Data {
		if number, ok := value.(float64); ok {
			r.put(ours(field), x, number)
		}
	}
	var seconds float64
	if _, err := fmt.Sscan(strings.TrimSpace(line.Elapsed), &seconds); err == nil {
		r.tick(x, seconds)
	}
	return nil
}

// tick notes the time of a step. Time that goes back is that of another process.
func (r *Run) tick(x, seconds float64) {
	n := len(r.clock)
	if n > 0 && seconds < r.clock[n-1].Y {
		r.clock, n = nil, 0
	}
	if n == 0 || r.clock[n-1].X < x {
		r.clock = append(r.clock, plotter.XY{X: x, Y: seconds})
	}
}

// ours returns our name of a field of the reference.
func ours(field string) string {
	if field == "average_loss" || field == "final_loss" {
		return "loss"
	}
	return field
}

// addSpeed makes the throughput between each two lines of a process that made so many sequences.
func (r *Run) addSpeed(sequences float64) {
	clock := r.clock
	r.clock = nil
	if len(clock) < 2 || sequences == 0 {
		return
	}
	first, last := clock[0], clock[len(clock)-1]
	perLine := (last.X - first.X) / float64(len(clock)-1)
	update := sequences / (last.X - first.X + perLine)
	for i, at := range clock[1:] {
		if before := clock[i]; at.Y > before.Y {
			r.put("sequences_per_s", at.X, update*(at.X-before.X)/(at.Y-before.Y))
		}
	}
}

// Join makes runs the phases of one training: the steps of each go on behind those before.
func Join(runs []*Run) {
	done := 0.0
	for _, r := range runs {
		for _, points := range r.fields {
			for i := range points {
				points[i].X += done
			}
		}
		for i := range r.starts {
			r.starts[i] += done
		}
		if done > 0 {
			r.starts = append([]float64{done}, r.starts...)
		}
		for _, points := range r.fields {
			done = max(done, points[len(points)-1].X)
		}
	}
}
