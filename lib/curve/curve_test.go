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
	} {
		got, err := Read(strings.NewReader(c.text), "m")
		if err != nil || !slices.Equal(got.Series(c.field), c.want) {
			t.Errorf("%s: %v, want %v, %v", c.name, got.Series(c.field), c.want, err)
		}
	}
}

func TestReadKeepsTheConfiguration(t *testing.T) {
	got, err := Read(strings.NewReader(run), "m")
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
		if _, err := Read(strings.NewReader(c.text), "m.jsonl"); err == nil || !strings.Contains(err.Error(), "read m.jsonl: "+c.want) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}

func TestAverageByHand(t *testing.T) {
	points := plotter.XYs{{X: 1, Y: 8}, {X: 2, Y: 4}, {X: 3, Y: 0}}
	// Over 3 steps each weight is half of the next.
	want := []float64{8, (4 + 8*0.5) / 1.5, (0 + 4*0.5 + 8*0.25) / 1.75}
	for i, p := range average(points, 3) {
		if math.Abs(p.Y-want[i]) > 1e-12 || p.X != points[i].X {
			t.Errorf("point %d: %v, want %g", i, p, want[i])
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
	first, err := Read(strings.NewReader(run), "a")
	if err != nil {
		t.Fatal(err)
	}
	second, err := Read(strings.NewReader(strings.ReplaceAll(run, `:7`, `:2`)+`{"step":4,"loss":3,"learning_rate":1}`+"\n"+`{"step":5,"loss":2,"learning_rate":2}`), "b")
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
