package optim

import (
	"math"
	"testing"
)

// The values are what the reference printed.
func TestPolynomialIsTheReferencesSchedule(t *testing.T) {
	phase1 := Schedule{Name: "polynomial", Base: 6e-3, Warmup: 0.2843, Steps: 7038, Degree: 0.5}
	phase2 := Schedule{Name: "polynomial", Base: 4e-3, Warmup: 0.128, Steps: 1563, Degree: 0.5}
	for _, c := range []struct {
		name     string
		schedule Schedule
		update   int
		want     float64
	}{
		{"first of warm-up", phase1, 1, 2.9986455118223097e-06},
		{"second of warm-up", phase1, 2, 5.9972910236446195e-06},
		{"last of warm-up", phase1, 2000, 0.00599729102364462},
		{"the jump down", phase1, 2001, 0.005075894589365794},
		{"half", phase1, 3519, 0.004242640687119286},
		{"last but one", phase1, 7037, 7.151985398522354e-05},
		{"last", phase1, 7038, 0},
		{"beyond the last is not complex", phase1, 7039, 0},
		{"phase 2, first", phase2, 1, 1.999360204734485e-05},
		{"phase 2, last of warm-up", phase2, 200, 0.00399872040946897},
		{"phase 2, the jump down", phase2, 201, 0.0037339547970086148},
		{"phase 2, last", phase2, 1563, 0},
		{"no warm-up", Schedule{Name: "polynomial", Base: 1, Steps: 4, Degree: 1}, 1, 0.75},
	} {
		if got := c.schedule.Rate(c.update); got != c.want {
			t.Errorf("%s: update %d has rate %v, expected %v", c.name, c.update, got, c.want)
		}
	}
}

// The formulas are those of the reference's fine-tuning and its unused schedules (the cosine as it was meant), written down anew.
func TestOtherSchedules(t *testing.T) {
	const base, steps = 2e-3, 1000
	for _, warmup := range []float64{0, 0.1, 0.37, 0.999} {
		for name, fall := range map[string]func(x float64) float64{
			"linear":   func(x float64) float64 { return max((x-1)/(warmup-1), 0) },
			"cosine":   func(x float64) float64 { return math.Pow(math.Cos(math.Pi/2*(x-warmup)/(1-warmup)), 2) },
			"constant": func(x float64) float64 { return 1 },
		} {
			s := Schedule{Name: name, Base: base, Warmup: warmup, Steps: steps}
			if err := s.Check(); err != nil {
				t.Error(err)
			}
			for update := 1; update <= steps; update++ {
				x := float64(update) / steps
				want := fall(x)
				if x < warmup {
					want = x / warmup
				}
				if got := s.Rate(update); math.Abs(got-base*want) > 1e-12*base {
					t.Errorf("%s, warm-up %v, update %d: %v, expected %v", name, warmup, update, got, base*want)
				}
			}
			if last := s.Rate(steps + 1); name != "constant" && last != 0 || name == "constant" && last != base {
				t.Errorf("%s: %v after the last update", name, last)
			}
		}
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	for _, s := range []Schedule{
		{Name: "linear", Base: 1}, {Name: "linear", Base: -1, Steps: 1}, {Name: "linear", Base: math.NaN(), Steps: 1}, {Name: "linear", Base: 1, Steps: 1, Warmup: 1},
		{Name: "polynomial", Base: 1, Steps: 1}, {Name: "step", Base: 1, Steps: 1}, {Base: 1, Steps: 1},
	} {
		if s.Check() == nil {
			t.Errorf("%+v passes", s)
		}
	}
}

// The rates are those that finetune_glue.py's formula printed, with warm = max(1, int(0.1 * steps)):
// [(s + 1) / warm if s < warm else max(0.0, (steps - s) / (steps - warm)) for s in range(steps)].
func TestWholeUpdates(t *testing.T) {
	for _, c := range []struct {
		steps int
		want  []float64
	}{
		{1, []float64{1}},
		{4, []float64{1, 1, 2.0 / 3, 1.0 / 3, 0}},
		{25, []float64{0.5, 1, 1, 22.0 / 23, 21.0 / 23}},
	} {
		s := Schedule{Name: "linear", Base: 2, Warmup: 0.1, Steps: c.steps, Whole: true}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		for i, want := range c.want {
			if got := s.Rate(i + 1); math.Abs(got-2*want) > 1e-15 {
				t.Errorf("%d updates, update %d: %v, expected %v", c.steps, i+1, got, 2*want)
			}
		}
	}
	if (Schedule{Name: "cosine", Base: 2, Steps: 4, Whole: true}).Check() == nil {
		t.Error("a cosine counts whole updates")
	}
}
