// Package optim is the optimisers over flat arenas (LAMB, NVLAMB, AdamW, BertAdam), learning-rate schedules and loss scaling.
package optim

import (
	"math"

	"hpcbert/lib/fault"
)

// Schedule gives the learning rate of each update of a run. It warms up linearly over the first part of the updates, then falls: with
// p = update / Steps it is Base * p / Warmup while p < Warmup, else, by Name,
//
//	polynomial  Base * (1 - p)^Degree
//	linear      Base * (1 - p) / (1 - Warmup)
//	cosine      Base * (1 + cos(π (p - Warmup) / (1 - Warmup))) / 2
//	constant    Base
//
// A Whole linear one warms up over w = floor(Warmup * Steps) updates, at least one, then is Base * (Steps - update + 1) / (Steps - w): two
// updates have the full rate, and the last one moves.
//
// As in the reference the polynomial's fall starts below the peak of the warm-up. All but the constant one have rate 0 at the last update
// and after it. (The reference's cosine adds π instead of multiplying by it.)
type Schedule struct {
	Name   string  `json:"schedule"`
	Base   float64 `json:"base_learning_rate"`
	Warmup float64 `json:"warmup"` // part of the steps
	Steps  int     `json:"steps"`
	Degree float64 `json:"degree"` // of the polynomial; 0.5 in the reference

	Whole bool `json:"whole_updates,omitempty"` // the linear one counts as PyTorch's trainers do
}

// falls are the schedules after their warm-up, as parts of the base rate.
var falls = map[string]func(s Schedule, p float64) float64{
	"polynomial": func(s Schedule, p float64) float64 { return math.Pow(1-p, s.Degree) },
	"linear":     func(s Schedule, p float64) float64 { return (1 - p) / (1 - s.Warmup) },
	"cosine":     func(s Schedule, p float64) float64 { return (1 + math.Cos(math.Pi*(p-s.Warmup)/(1-s.Warmup))) / 2 },
	"constant":   func(Schedule, float64) float64 { return 1 },
}

// Rate returns the learning rate of an update; updates count from 1.
func (s Schedule) Rate(update int) float64 {
	if s.Whole {
		return s.whole(update)
	}
	p := min(1, float64(update)/float64(s.Steps))
	if p < s.Warmup {
		return s.Base * p / s.Warmup
	}
	return s.Base * falls[s.Name](s, p)
}

func (s Schedule) whole(update int) float64 {
	warmup := max(1, int(s.Warmup*float64(s.Steps)))
	if update <= warmup {
		return s.Base * float64(update) / float64(warmup)
	}
	return s.Base * max(0, float64(s.Steps-update+1)) / float64(max(1, s.Steps-warmup))
}

// Check tells what is wrong with a schedule.
func (s Schedule) Check() error {
	switch {
	case falls[s.Name] == nil:
		return fault.Usagef("schedule %q: it is none of polynomial, linear, cosine, constant", s.Name)
	case s.Whole && s.Name != "linear":
		return fault.Usagef("schedule %q cannot count whole updates", s.Name)
	case s.Steps < 1:
		return fault.Usagef("schedule: %d steps", s.Steps)
	case !(s.Warmup >= 0 && s.Warmup < 1):
		return fault.Usagef("schedule: a warm-up of %g of the steps must be from 0 to below 1", s.Warmup)
	case !(s.Base > 0 && s.Base <= math.MaxFloat32): // so written, NaN is refused
		return fault.Usagef("schedule: learning rate %g must be above 0", s.Base)
	case s.Name == "polynomial" && !(s.Degree > 0):
		return fault.Usagef("schedule: degree %g must be above 0", s.Degree)
	}
	return nil
}
