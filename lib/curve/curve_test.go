package curve

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const run = `{"run":"pretraining"}
{"step":1,"loss":7.5}
{"step":2,"loss":7.25}
{"step":3,"loss":6}
`

func TestReadTakesStepsWithTheField(t *testing.T) {
	points, err := Read(strings.NewReader(run), "m", "loss")
	if err != nil || len(points) != 3 || points[2].X != 3 || points[2].Y != 6 {
		t.Errorf("%v %v", points, err)
	}
}

func TestReadNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, field, want string }{
		{"", "loss", `no step has a number "loss"`},
		{run, "mfu", `no step has a number "mfu"`},
		{run + "{broken\n", "loss", "line 5"},
	} {
		if _, err := Read(strings.NewReader(c.text), "m.jsonl", c.field); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "m.jsonl") {
			t.Errorf("%q, %s: %v", c.text, c.field, err)
		}
	}
}

func TestDrawWritesAPicture(t *testing.T) {
	points, err := Read(strings.NewReader(run), "m", "loss")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "loss.png")
	if err := Draw(name, "loss", []Series{{"a", points}, {"b", points}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if picture, err := png.Decode(bytes.NewReader(data)); err != nil || picture.Bounds().Dx() < 300 {
		t.Errorf("%v", err)
	}
}
