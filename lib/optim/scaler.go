package optim

import (
	"fmt"
	"math"

	"hpcbert/lib/fault"
)

// Scaling says by what the mean loss of a micro-batch is multiplied before the backward pass, so that half precision can hold its gradients. The
// zero Scaling is none.
type Scaling struct {
	Start    float64 // the first scale
	Dynamic  bool    // halved when gradients overflow, doubled after Window good updates in a row
	Cap      float64 // doubled no further
	Floor    float64 // halved no further
	Window   int
	MaxSkips int // updates skipped in a row that end the run
}

// DynamicScaling returns what the reference does, with a floor and an end: its NaN weights halve the scale for ever. The start is the largest scale
// that its half loss can hold, so that as a rule no update is skipped at first; a float32 loss holds all up to the cap.
func DynamicScaling() Scaling {
	return Scaling{Start: 1 << 15, Dynamic: true, Cap: 1 << 24, Floor: 1, Window: 2000, MaxSkips: 20}
}

// Check tells what is wrong with a scaling.
func (c Scaling) Check() error {
	switch {
	case c == Scaling{}:
		return nil
	case !(c.Start > 0 && c.Start <= math.MaxFloat32):
		return fault.Usagef("loss scale %g must be above 0", c.Start)
	case c.Dynamic && !(c.Floor > 0 && c.Floor <= c.Start && c.Start <= c.Cap && c.Cap <= math.MaxFloat32):
		return fault.Usagef("loss scale: it starts at %g, which is not between its floor %g and its cap %g", c.Start, c.Floor, c.Cap)
	case c.Dynamic && (c.Window < 1 || c.MaxSkips < 1):
		return fault.Usagef("loss scale: doubled after %d good updates, ended after %d skipped ones: both must be at least 1", c.Window, c.MaxSkips)
	}
	return nil
}

// Scaler is the loss scale of a run. Its exported fields are the state that a checkpoint holds.
type Scaler struct {
	Scale   float64 `json:"scale"`
	Good    int     `json:"good_updates"` // in a row, since the scale last changed
	Skips   int     `json:"skips_in_a_row"`
	Skipped int     `json:"skipped_updates"` // in all

	scaling Scaling
}

// NewScaler starts a run's scale.
func NewScaler(c Scaling) *Scaler {
	s := &Scaler{Scale: c.Start, scaling: c}
	if c == (Scaling{}) {
		s.Scale = 1
	}
	return s
}

// Restore goes on from a checkpoint's state; a static scale stays as it was asked for.
func (s *Scaler) Restore(was Scaler) {
	s.Skipped = was.Skipped
	if s.scaling.Dynamic && was.Scale > 0 {
		s.Scale, s.Good, s.Skips = was.Scale, was.Good, was.Skips
	}
}

// Applied counts an update that was applied.
func (s *Scaler) Applied() {
	if !s.scaling.Dynamic {
		return
	}
	s.Skips = 0
	if s.Good++; s.Good >= s.scaling.Window {
		s.Scale, s.Good = min(2*s.Scale, s.scaling.Cap), 0
	}
}

// Overflow counts an update whose gradients are not finite, and tells whether it is to be skipped: the next one has a smaller scale then.
// Otherwise the run must end; why is "" where there is no loss scale that could be to blame.
func (s *Scaler) Overflow() (skip bool, why string) {
	switch {
	case s.scaling == Scaling{}:
		return false, ""
	case !s.scaling.Dynamic:
		return false, fmt.Sprintf("the loss scale %g is static", s.Scale)
	}
	s.Good = 0
	s.Skipped++
	if s.Skips++; s.Skips >= s.scaling.MaxSkips {
		return false, fmt.Sprintf("%d updates in a row, the last with loss scale %g", s.Skips, s.Scale)
	}
	s.Scale = max(s.Scale/2, s.scaling.Floor)
	return true, ""
}
