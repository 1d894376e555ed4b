package optim

import "testing"

// The values are what the reference printed.
func TestPolynomialIsTheReferencesSchedule(t *testing.T) {
	phase1 := Polynomial{Base: 6e-3, Warmup: 0.2843, Steps: 7038, Degree: 0.5}
	phase2 := Polynomial{Base: 4e-3, Warmup: 0.128, Steps: 1563, Degree: 0.5}
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
		{"no warm-up", Polynomial{Base: 1, Steps: 4, Degree: 1}, 1, 0.75},
	} {
		if got := c.schedule.Rate(c.update); got != c.want {
			t.Errorf("%s: update %d has rate %v, expected %v", c.name, c.update, got, c.want)
		}
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	for _, s := range []Polynomial{{Base: 1, Degree: 1}, {Base: -1, Steps: 1, Degree: 1}, {Base: 1, Steps: 1, Degree: 1, Warmup: 1.5}, {Base: 1, Steps: 1}} {
		if s.Check() == nil {
			t.Errorf("%+v passes", s)
		}
	}
}
