package optim

import (
	"math"
	"testing"
)

// play lets a scaler see updates: g is a good one, x an overflow. It returns how many passed before the end, and why it was the end.
func play(s *Scaler, updates string) (passed int, why string) {
	for _, u := range updates {
		if u == 'g' {
			s.Applied()
		} else if skip, why := s.Overflow(); !skip {
			return passed, why
		}
		passed++
	}
	return passed, ""
}

func TestScaler(t *testing.T) {
	small := Scaling{Start: 16, Dynamic: true, Cap: 64, Floor: 4, Window: 3, MaxSkips: 4}
	for _, c := range []struct {
		what    string
		scaling Scaling
		updates string
		scale   float64
		passed  int
		skipped int
	}{
		{"none", Scaling{}, "ggggx", 1, 4, 0},
		{"static", Scaling{Start: 128}, "ggggggx", 128, 6, 0},
		{"overflow halves", small, "xx", 4, 2, 2},
		{"not below the floor", small, "xxx", 4, 3, 3},
		{"the fourth skip in a row ends", small, "xxxgxxxx", 4, 7, 7},
		{"good updates double", small, "ggg", 32, 3, 0},
		{"the window starts anew after doubling", small, "ggggg", 32, 5, 0},
		{"an overflow breaks the row of good ones", small, "ggxgg", 8, 5, 1},
		{"a row of good ones after an overflow", small, "ggxggg", 16, 6, 1},
		{"not above the cap", small, "ggggggggggggggg", 64, 15, 0},
	} {
		s := NewScaler(c.scaling)
		passed, why := play(s, c.updates)
		if s.Scale != c.scale || passed != c.passed || (why != "") != (passed < len(c.updates) && c.scaling != Scaling{}) || s.Skipped != c.skipped {
			t.Errorf("%s: scale %v after %d updates, %d skipped, %q; expected %v after %d, %d skipped", c.what, s.Scale, passed, s.Skipped, why, c.scale, c.passed, c.skipped)
		}
	}
}

func TestScalerGoesOnFromItsState(t *testing.T) {
	cutAnywhere(t, "ggxggggxgggggggxxg", Scaling{Start: 16, Dynamic: true, Cap: 64, Floor: 4, Window: 3, MaxSkips: 4})
	cutAnywhere(t, "ggggggg", Scaling{Start: 16})
	cutAnywhere(t, "ggggggg", Scaling{})
	static := NewScaler(Scaling{Start: 8})
	if static.Restore(Scaler{Scale: 64, Skipped: 3}); static.Scale != 8 || static.Skipped != 3 {
		t.Errorf("a static scale became %+v", static)
	}
}

func cutAnywhere(t *testing.T, updates string, c Scaling) {
	for cut := range updates {
		whole, first, second := NewScaler(c), NewScaler(c), NewScaler(c)
		play(whole, updates)
		play(first, updates[:cut])
		second.Restore(*first)
		play(second, updates[cut:])
		if *second != *whole {
			t.Errorf("cut at %d: %+v, without a cut %+v", cut, *second, *whole)
		}
	}
}

func TestScalingIsChecked(t *testing.T) {
	good := DynamicScaling()
	if good.Check() != nil || (Scaling{}).Check() != nil || (Scaling{Start: 1000}).Check() != nil {
		t.Error("a good one is refused")
	}
	for what, change := range map[string]func(c *Scaling){
		"no start": func(c *Scaling) { c.Start = 0 }, "NaN": func(c *Scaling) { c.Start = math.NaN() }, "endless": func(c *Scaling) { c.Start = math.Inf(1) },
		"above the cap": func(c *Scaling) { c.Start = 1 << 25 }, "below the floor": func(c *Scaling) { c.Floor = 1 << 16 },
		"no window": func(c *Scaling) { c.Window = 0 }, "no end": func(c *Scaling) { c.MaxSkips = 0 },
	} {
		c := good
		if change(&c); c.Check() == nil {
			t.Errorf("%s: %+v passes", what, c)
		}
	}
}
