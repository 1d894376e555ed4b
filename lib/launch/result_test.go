package launch

import (
	"math"
	"strings"
	"testing"
	"time"
)

// The reference's README has these five values with this mean and deviation.
func TestStabilityTable(t *testing.T) {
	var all [][]Result
	for _, x := range []float64{0.8578, 0.8431, 0.8505, 0.8873, 0.7917} {
		all = append(all, []Result{{"acc", x}, {"f1", 0.5}})
	}
	const want = "metric\t1\t2\t3\t4\t7\tmean\tdeviation\n" +
		"acc\t0.8578\t0.8431\t0.8505\t0.8873\t0.7917\t0.8461\t0.0347\n" +
		"f1\t0.5000\t0.5000\t0.5000\t0.5000\t0.5000\t0.5000\t0.0000\n"
	if got := stabilityTable(Seeds{1, 2, 3, 4, 7}, all); got != want {
		t.Errorf("%s expected %s", got, want)
	}
	if mean, deviation := spread([]float64{3}); mean != 3 || deviation != 0 {
		t.Errorf("one value: %v, %v", mean, deviation)
	}
}

func TestSeeds(t *testing.T) {
	for text, want := range map[string]int{"1..5": 5, "7": 1, "1,2,9": 3, "1..2,9": 3, "": 0, "5..1": 0, "a": 0, "1..": 0, "-1": 0, "0..99999": 0} {
		var s Seeds
		if err := s.UnmarshalFlag(text); (err == nil) != (want > 0) || err == nil && len(s) != want {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}

// Of n times in ascending order the percentile t is that at floor(n t) - 1.
func TestLatencies(t *testing.T) {
	for _, c := range []struct {
		ms   []int
		want string
	}{
		{[]int{40, 10, 20, 30}, "20 30 30 30 40 25 11.180 100 80"},
		{[]int{7}, "7 7 7 7 7 7 0 7 285.714"},
	} {
		var l Latencies
		for _, ms := range c.ms {
			l.Add(time.Duration(ms)*time.Millisecond, 2)
		}
		want := strings.Fields(c.want)
		results := l.Results()
		if len(results) != len(want) {
			t.Fatalf("%v", results)
		}
		for i, r := range results {
			x, err := time.ParseDuration(want[i] + "s")
			if got := r.Value.(float64); err != nil || !(math.Abs(got-x.Seconds()) < 1e-3) {
				t.Errorf("%v: %s is %v, expected %s", c.ms, r.Name, got, want[i])
			}
		}
	}
}

func TestResultsJSON(t *testing.T) {
	got := string(ResultsJSON([]Result{{"global_step", 3}, {"infer:latency(ms):50%", 1.0}, {"n", int64(4)}, {"loss", math.NaN()}}))
	if want := `{"global_step": 3, "infer:latency(ms):50%": 1.0, "n": 4, "loss": NaN}` + "\n"; got != want {
		t.Errorf("%s expected %s", got, want)
	}
}
