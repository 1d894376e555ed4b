// Package optim is the optimiser: LAMB over flat arenas, and learning-rate schedules.
package optim

import (
	"fmt"
	"math"
)

// Schedule gives the learning rate of an update; updates count from 1.
type Schedule interface {
	Rate(update int) float64
}

// Polynomial warms up linearly over the first part of the updates, then falls as a power: with p = update / Steps,
// Base * p / Warmup while p < Warmup, else Base * (1 - p)^Degree. As in the reference the fall starts below the peak of the warm-up, the
// last update has rate 0, and so have all after it.
type Polynomial struct {
	Base   float64
	Warmup float64 // part of the steps
	Steps  int
	Degree float64 // 0.5 in the reference
}

// Rate returns the learning rate of an update.
func (s Polynomial) Rate(update int) float64 {
	p := float64(update) / float64(s.Steps)
	if p < s.Warmup {
		return s.Base * p / s.Warmup
	}
	return s.Base * math.Pow(max(0, 1-p), s.Degree)
}

// Check tells what is wrong with a schedule.
func (s Polynomial) Check() error {
	switch {
	case s.Steps < 1:
		return fmt.Errorf("schedule: %d steps", s.Steps)
	case !(s.Warmup >= 0 && s.Warmup <= 1):
		return fmt.Errorf("schedule: warm-up %v is not a proportion", s.Warmup)
	case !(s.Base >= 0) || math.IsInf(s.Base, 0):
		return fmt.Errorf("schedule: learning rate %v", s.Base)
	case !(s.Degree > 0):
		return fmt.Errorf("schedule: degree %v is not above 0", s.Degree)
	}
	return nil
}
