package curve

import (
	"bytes"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"
)

const run = `{"run":"pretraining","global_batch":32}
{"step":1,"loss":7.5}
{"step":2,"loss":7.25}
{"step":3,"loss":6}
`

// reference is what DLLogger writes: 64 sequences in each of 3 steps of 2 seconds, the last one with the final loss; the second update was
// skipped once.
const reference = `DLLL {"timestamp": "1", "datetime": "2020-08-14 10:00:00.1", "elapsedtime": "1.0", "type": "LOG", "step": "PARAMETER", "data": {"Config": ["Namespace(a=1)"]}}
DLLL {"timestamp": "1", "datetime": "2020-08-14 10:00:00.1", "elapsedtime": "3.0", "type": "LOG", "step": [0, 1], "data": {"average_loss": 11.25, "step_loss": 11.5, "learning_rate": 0.001}}
DLLL {"timestamp": "1", "datetime": "2020-08-14 10:00:00.1", "elapsedtime": "4.0", "type": "LOG", "step": [0, 1], "data": {"average_loss": NaN, "step_loss": -Infinity, "learning_rate": 0.001}}
DLLL {"timestamp": "1", "datetime": "2020-08-14 10:00:00.1", "elapsedtime": "5.0", "type": "LOG", "step": [0, 2], "data": {"average_loss": 10.5, "step_loss": 10, "learning_rate": 0.002}}
DLLL {"timestamp": "1", "datetime": "2020-08-14 10:00:00.1", "elapsedtime": "7.0", "type": "LOG", "step": [0, 3], "data": {"final_loss": 9.75}}
DLLL {"timestamp": "1", "datetime": "2020-08-14 10:00:00.1", "elapsedtime": "8.0", "type": "LOG", "step": [], "data": {"e2e_train_time": 8.0, "training_sequences_per_second": 32.0, "final_loss": 9.75, "raw_train_time": 6.0}}
`

func TestReadTakesWhatIsThere(t *testing.T) {
	without, _, _ := strings.Cut(reference, `DLLL {"timestamp": "1", "datetime": "2020-08-14 10:00:00.1", "elapsedtime": "8.0"`)
	for _, c := range []struct {
		name, text, field string
		want              plotter.XYs
	}{
		{"ours", run, "loss", plotter.XYs{{X: 1, Y: 7.5}, {X: 2, Y: 7.25}, {X: 3, Y: 6}}},
		{"ours, other field", run, "mfu", nil},
		{"a last line without its end", run + `{"step":4,"lo`, "loss", plotter.XYs{{X: 1, Y: 7.5}, {X: 2, Y: 7.25}, {X: 3, Y: 6}}},
		{"a last line without its newline", run + `{"step":4,"loss":5}`, "loss", plotter.XYs{{X: 1, Y: 7.5}, {X: 2, Y: 7.25}, {X: 3, Y: 6}, {X: 4, Y: 5}}},
		{"steps done again", run + `{"step":2,"loss":7}` + "\n", "loss", plotter.XYs{{X: 1, Y: 7.5}, {X: 2, Y: 7}}},
		{"blank lines", "\n" + strings.ReplaceAll(run, "\n", "\r\n\n"), "loss", plotter.XYs{{X: 1, Y: 7.5}, {X: 2, Y: 7.25}, {X: 3, Y: 6}}},
		{"the reference's loss", reference, "loss", plotter.XYs{{X: 1, Y: 11.25}, {X: 2, Y: 10.5}, {X: 3, Y: 9.75}}},
		{"the reference's learning rate", reference, "learning_rate", plotter.XYs{{X: 1, Y: 0.001}, {X: 2, Y: 0.002}}},
		{"the reference's speed", reference, "sequences_per_s", plotter.XYs{{X: 2, Y: 32}, {X: 3, Y: 32}}},
		{"the reference before its end", without, "sequences_per_s", nil},
		{"the reference, cut off", reference + "DLLL {", "loss", plotter.XYs{{X: 1, Y: 11.25}, {X: 2, Y: 10.5}, {X: 3, Y: 9.75}}},
		{"nothing", "", "loss", nil},
		{"the reference's two phases", reference + reference, "loss", twice(11.25, 10.5, 9.75)},
		{"their speed", reference + reference, "sequences_per_s", plotter.XYs{{X: 2, Y: 32}, {X: 3, Y: 32}, {X: 5, Y: 32}, {X: 6, Y: 32}}},
		{"the reference, killed and done again", without + reference, "loss", plotter.XYs{{X: 1, Y: 11.25}, {X: 2, Y: 10.5}, {X: 3, Y: 9.75}}},
		{"two phases of ours", run + run, "loss", twice(7.5, 7.25, 6)},
		{"the second phase done again", run + run + `{"step":2,"loss":7}` + "\n", "loss", plotter.XYs{{X: 1, Y: 7.5}, {X: 2, Y: 7.25}, {X: 3, Y: 6}, {X: 4, Y: 7.5}, {X: 5, Y: 7}}},
		{"stopped, and gone on", reference + strings.NewReplacer("[0, 1]", "[0, 4]", "[0, 2]", "[0, 5]", "[0, 3]", "[0, 6]").Replace(reference), "loss", twice(11.25, 10.5, 9.75)},
	} {
		got, err := read(strings.NewReader(c.text), "m")
		if err != nil || !slices.Equal(got.Series(c.field), c.want) {
			t.Errorf("%s: %v, want %v, %v", c.name, got.Series(c.field), c.want, err)
		}
	}
}

// twice are the losses of two phases of three steps.
func twice(a, b, c float64) plotter.XYs {
	return plotter.XYs{{X: 1, Y: a}, {X: 2, Y: b}, {X: 3, Y: c}, {X: 4, Y: a}, {X: 5, Y: b}, {X: 6, Y: c}}
}

func TestJoinedRunsGoOn(t *testing.T) {
	var runs []*Run
	for range 3 {
		r, err := read(strings.NewReader(run), "m")
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	Join(runs)
	for i, r := range runs {
		x := float64(3 * i)
		if want := (plotter.XYs{{X: x + 1, Y: 7.5}, {X: x + 2, Y: 7.25}, {X: x + 3, Y: 6}}); !slices.Equal(r.Series("loss"), want) {
			t.Errorf("run %d: %v, want %v", i, r.Series("loss"), want)
		}
	}
}

func TestTicksByHand(t *testing.T) {
	for _, c := range []struct {
		t         ticks
		low, high float64
		labels    string
		small     int // ticks without a label
	}{
		{ticks{most: 9, smallest: 1}, 1, 1000, "200 400 600 800 1000", 15},
		{ticks{most: 9, smallest: 1}, 1, 6, "1 2 3 4 5 6", 0},
		{ticks{most: 9, smallest: 1}, 3, 3, "3", 0},
		{ticks{most: 9, smallest: 1}, 1, 8601, "1000 2000 3000 4000 5000 6000 7000 8000", 35},
		{ticks{most: 6}, 0, 0.006, "0.000 0.001 0.002 0.003 0.004 0.005 0.006", 24},
		{ticks{most: 6}, 5.8, 8.4, "6.0 6.5 7.0 7.5 8.0", 22},
		{ticks{most: 6}, -1, 1, "-1.0 -0.5 0.0 0.5 1.0", 16},
		{ticks{most: 6}, 0, 5e-7, "0 1e-07 2e-07 3e-07 4e-07 5e-07", 20},
	} {
		var labels []string
		small := 0
		for _, tick := range c.t.Ticks(c.low, c.high) {
			if tick.Label == "" {
				small++
			} else {
				labels = append(labels, tick.Label)
			}
		}
		if got := strings.Join(labels, " "); got != c.labels || small != c.small {
			t.Errorf("from %g to %g: %q and %d small ones, want %q and %d", c.low, c.high, got, small, c.labels, c.small)
		}
	}
}

func TestReadKeepsTheConfiguration(t *testing.T) {
	got, err := read(strings.NewReader(run), "m")
	if err != nil || got.About["global_batch"] != 32.0 || !slices.Equal(got.Fields(), []string{"loss"}) {
		t.Errorf("%v %v %v", got.About, got.Fields(), err)
	}
}

func TestReadNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"{broken", "line 1"},
		{"{broken\n", "line 1"},
		{run + "{broken\n", "line 5"},
		{run + "{broken\n" + run, "line 5"},
		{run + "[1]\n", "line 5"},
		{run + "DLLL 3\n", "line 5"},
		{`DLLL {"type": "LOG", "step": [0, "x"]}` + "\n", "line 1: step x is no number"},
	} {
		if _, err := read(strings.NewReader(c.text), "m.jsonl"); err == nil || !strings.Contains(err.Error(), "read m.jsonl: "+c.want) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}

func TestAverageByHand(t *testing.T) {
	// Over 3 steps a weight is half of that a step later, whether or not there is a point at each step.
	for _, c := range []struct {
		points plotter.XYs
		want   []float64
	}{
		{plotter.XYs{{X: 1, Y: 8}, {X: 2, Y: 4}, {X: 3, Y: 0}}, []float64{8, (4 + 8*0.5) / 1.5, (0 + 4*0.5 + 8*0.25) / 1.75}},
		{plotter.XYs{{X: 2, Y: 8}, {X: 4, Y: 4}, {X: 7, Y: 0}}, []float64{8, (4 + 8*0.25) / 1.25, (0 + 4*0.125 + 8*0.03125) / 1.15625}},
	} {
		for i, p := range average(c.points, 3) {
			if math.Abs(p.Y-c.want[i]) > 1e-12 || p.X != c.points[i].X {
				t.Errorf("point %d: %v, want %g", i, p, c.want[i])
			}
		}
	}
}

func TestThinKeepsSpikes(t *testing.T) {
	points := make(plotter.XYs, 100_000)
	for i := range points {
		points[i].X = float64(i)
	}
	points[12345].Y, points[54321].Y = 9, -9
	got := thin(points, 2000)
	if len(got) > 2000 || !slices.Contains(got, points[12345]) || !slices.Contains(got, points[54321]) {
		t.Errorf("%d points", len(got))
	}
	if !slices.IsSortedFunc(got, func(a, b plotter.XY) int { return int(a.X - b.X) }) {
		t.Error("not in order")
	}
	if short := points[:1999]; len(thin(short, 2000)) != len(short) {
		t.Error("a short curve lost points")
	}
}

// TestDrawShowsEachRun counts the pixels of each run's colour in each panel of a picture.
func TestDrawShowsEachRun(t *testing.T) {
	first, err := read(strings.NewReader(run), "a")
	if err != nil {
		t.Fatal(err)
	}
	second, err := read(strings.NewReader(strings.ReplaceAll(run, `:7`, `:2`)+`{"step":4,"loss":3,"learning_rate":1}`+"\n"+`{"step":5,"loss":2,"learning_rate":2}`), "b")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "loss.png")
	if err := (Picture{Fields: []string{"loss", "learning_rate"}}).Draw(name, []*Run{first, second}, []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	size := picture.Bounds()
	middle := size.Dy() / 2
	var seen [2][2]int // panel, run
	for y := range size.Dy() {
		for x := size.Dx() / 4; x < size.Dx(); x++ { // the legend stands at the left
			r, g, b, _ := picture.At(x, y).RGBA()
			for i := range 2 {
				if c := colours[i]; uint8(r>>8) == c.R && uint8(g>>8) == c.G && uint8(b>>8) == c.B {
					seen[min(1, y/middle)][i]++
				}
			}
		}
	}
	if seen[0][0] < 50 || seen[0][1] < 50 || seen[1][0] != 0 || seen[1][1] < 50 {
		t.Errorf("pixels of each run's colour in each panel: %v", seen)
	}
}
