package python

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"
)

// The expected values are Python's (testdata/expected.py).
func TestSameAsPython(t *testing.T) {
	text, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Texts []struct {
			Text, Strip, Dumps string
			Fields             []string
		}
		Numbers []struct{ Bits, Dumps string }
	}
	if err := json.Unmarshal(text, &expected); err != nil || len(expected.Texts) < 100 || len(expected.Numbers) < 100 {
		t.Fatal(len(expected.Texts), len(expected.Numbers), err)
	}
	for _, want := range expected.Texts {
		if got := Strip(want.Text); got != want.Strip {
			t.Errorf("Strip(%q) = %q, Python has %q", want.Text, got, want.Strip)
		}
		if got := Fields(want.Text); !slices.Equal(got, want.Fields) {
			t.Errorf("Fields(%q) = %q, Python has %q", want.Text, got, want.Fields)
		}
		if got := string(AppendString(nil, want.Text)); got != want.Dumps {
			t.Errorf("AppendString(%q) = %s, Python has %s", want.Text, got, want.Dumps)
		}
	}
	for _, want := range expected.Numbers {
		x, err := strconv.ParseFloat(want.Bits, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(AppendFloat(nil, x)); got != want.Dumps {
			t.Errorf("AppendFloat(%v) = %s, Python has %s", x, got, want.Dumps)
		}
	}
}

func TestNumbersThatAreNone(t *testing.T) {
	for want, x := range map[string]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)} {
		if got := string(AppendFloat(nil, x)); got != want {
			t.Errorf("AppendFloat(%v) = %s, expected %s", x, got, want)
		}
	}
}
