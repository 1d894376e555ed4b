package curve

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// ticks are numbers that people count in (1, 2 or 5 times a power of ten) at equal distances along an axis, all of them labelled, with unlabelled ones
// between.
type ticks struct {
	most     int     // distances between labels on an axis
	smallest float64 // distance between ticks
}

// Ticks returns the ticks between two values.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	step, parts := t.distance(high - low)
	decimals := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	var all []plot.Tick
	small := step / float64(parts)
	for i := int(math.Ceil(low/small - 1e-9)); float64(i) <= high/small+1e-9; i++ {
		tick := plot.Tick{Value: float64(i) * small}
		if i%parts == 0 {
			tick.Label = label(tick.Value, decimals)
		}
		all = append(all, tick)
	}
	return all
}

// distance returns that between labels over such a range, and into how many parts small ticks divide it.
func (t ticks) distance(span float64) (step float64, parts int) {
	if !(span > 0) {
		return 1, 1
	}
	power := math.Pow(10, math.Floor(math.Log10(span/float64(t.most))))
	for _, n := range []struct {
		step  float64
		parts int
	}{{1, 5}, {2, 4}, {5, 5}, {10, 5}} {
		if step, parts = n.step*power, n.parts; span/step <= float64(t.most)+1e-9 {
			break
		}
	}
	if step < t.smallest {
		step = t.smallest
	}
	if step/float64(parts) < t.smallest {
		parts = 1
	}
	return step, parts
}

// label prints a number with so many decimals, or as 2e-06 where these are too many to read.
func label(x float64, decimals int) string {
	if decimals > 5 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	return strconv.FormatFloat(x, 'f', decimals, 64)
}
