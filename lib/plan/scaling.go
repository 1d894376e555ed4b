package plan

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Scaling is how fast a kind of device trains, alone and with others. The time of an update is
//
//	share * SequenceSeconds * (1 + slowdown) + UpdateSeconds + what is seen of the all-reduce
//
// with slowdown the sum of DeviceSlowdown, where a node has several devices at work, and NodeSlowdown, where there are several nodes. The
// slowdowns are what the reference's tables show and the links do not explain: a loss that is in proportion to the work (all wait for the slowest,
// devices share power and memory), there from the second member on, and hardly larger with more.
type Scaling struct {
	SequenceSeconds float64 // of a sequence, forward and backward
	UpdateSeconds   float64 // of what an update costs whatever its size
	DeviceSlowdown  float64 // of the computing, as a share of it
	NodeSlowdown    float64
}

// Network is what carries the gradients.
type Network struct {
	Bytes       float64 // of the gradients
	DeviceLink  Link    // between the devices of a node
	NodeLink    Link    // between nodes; the devices of a node share it
	OverlapPart float64 // share of the all-reduce that can run beside the last backward pass
}

// Step is a predicted update.
type Step struct {
	Compute   float64 // seconds, update of the weights included
	Allreduce float64
	Exposed   float64 // part of Allreduce that nothing hides
}

// Seconds returns what the update takes.
func (s Step) Seconds() float64 { return s.Compute + s.Exposed }

// backwardPart is the share of a micro-batch's time that its backward pass takes: twice the operations of the forward pass.
const backwardPart = 2.0 / 3

// Step predicts an update.
func (s Scaling) Step(b Batch, net Network) Step {
	sequence := s.SequenceSeconds * (1 + s.slowdown(b))
	t := Step{Compute: float64(b.Share())*sequence + s.UpdateSeconds, Allreduce: net.allreduce(b)}
	last := b.Share() - (b.Accumulation()-1)*b.Micro
	hidden := min(net.OverlapPart*t.Allreduce, backwardPart*float64(last)*sequence)
	t.Exposed = t.Allreduce - hidden
	return t
}

func (s Scaling) slowdown(b Batch) float64 {
	sum := 0.0
	if b.Devices > 1 {
		sum += s.DeviceSlowdown
	}
	if b.Nodes > 1 {
		sum += s.NodeSlowdown
	}
	return sum
}

// allreduce sums in each node, then between the nodes, where each device carries its part of the gradients, and spreads the result.
func (n Network) allreduce(b Batch) float64 {
	return n.DeviceLink.Allreduce(n.Bytes, b.Devices) + n.NodeLink.Allreduce(n.Bytes, b.Nodes)
}

// Row is a measured update.
type Row struct {
	Batch
	Seconds float64
}

// unknown is one number of Scaling in the equation of an update's time, which is linear in them but for the slowdowns: these are fitted as
// seconds a sequence.
type unknown struct {
	sought func(rows []Row) bool                     // whether rows can tell it
	factor func(b Batch) float64                     // what it is multiplied with in the time of an update
	store  func(s *Scaling, value, sequence float64) // value is not negative
}

var unknowns = []unknown{
	{func([]Row) bool { return true }, func(b Batch) float64 { return float64(b.Share()) },
		func(s *Scaling, value, _ float64) { s.SequenceSeconds = value }},
	{func(rows []Row) bool { return differ(rows, func(r Row) int { return min(r.Devices, 2) }) }, func(b Batch) float64 { return float64(b.Share() * min(1, b.Devices-1)) },
		func(s *Scaling, value, sequence float64) { s.DeviceSlowdown = value / sequence }},
	{func(rows []Row) bool { return differ(rows, func(r Row) int { return min(r.Nodes, 2) }) }, func(b Batch) float64 { return float64(b.Share() * min(1, b.Nodes-1)) },
		func(s *Scaling, value, sequence float64) { s.NodeSlowdown = value / sequence }},
	{batchesDiffer, func(Batch) float64 { return 1 },
		func(s *Scaling, value, _ float64) { s.UpdateSeconds = value }},
}

// differ tells whether rows have two values of something.
func differ(rows []Row, value func(Row) int) bool {
	for _, r := range rows {
		if value(r) != value(rows[0]) {
			return true
		}
	}
	return false
}

// batchesDiffer tells whether two rows of the same slowdown have shares of different size.
func batchesDiffer(rows []Row) bool {
	shares := map[[2]int]int{}
	for _, r := range rows {
		at := [2]int{min(r.Nodes, 2), min(r.Devices, 2)}
		if shares[at] > 0 && shares[at] != r.Share() {
			return true
		}
		shares[at] = r.Share()
	}
	return false
}

// Fit finds the scaling that explains measured rows, by least squares of the relative errors. One row tells SequenceSeconds alone; the
// slowdowns need rows with one and with several members, UpdateSeconds different shares on one device, or on several. What rows cannot tell, and what
// comes out negative, is 0.
func Fit(rows []Row, net Network) (Scaling, error) {
	if len(rows) == 0 {
		return Scaling{}, errors.New("fit: no measured rows")
	}
	sought := make([]bool, len(unknowns))
	for i, u := range unknowns {
		sought[i] = u.sought(rows)
	}
	for {
		s, negative, err := fit(rows, net, sought)
		if err != nil || negative < 1 {
			return s, err
		}
		sought[negative] = false
	}
}

// fit solves for the unknowns that are sought and names the most harmful one that came out negative, -1 for none. What is seen of the all-reduce
// depends on the result when it overlaps, so it takes some rounds.
func fit(rows []Row, net Network, sought []bool) (s Scaling, negative int, err error) {
	const rounds = 30
	negative = -1
	for range rounds {
		x, err := solve(rows, net, s, sought)
		if err != nil {
			return Scaling{}, -1, err
		}
		s, negative = Scaling{}, -1
		for i, value := range x {
			if value < 0 && i > 0 {
				negative, value = i, 0
			}
			unknowns[i].store(&s, value, x[0])
		}
		if !(s.SequenceSeconds > 0) {
			return Scaling{}, -1, errors.New("fit: the rows leave no time for computing: the links are too slow for what was measured")
		}
	}
	return s, negative, nil
}

// solve returns a value for each unknown, 0 for those not sought.
func solve(rows []Row, net Network, now Scaling, sought []bool) ([]float64, error) {
	var columns []int
	for i, is := range sought {
		if is {
			columns = append(columns, i)
		}
	}
	if len(rows) < len(columns) {
		return nil, fmt.Errorf("fit: %d rows cannot tell %d numbers apart", len(rows), len(columns))
	}
	a, b := mat.NewDense(len(rows), len(columns), nil), mat.NewVecDense(len(rows), nil)
	for i, r := range rows {
		for j, c := range columns {
			a.Set(i, j, unknowns[c].factor(r.Batch)/r.Seconds)
		}
		b.SetVec(i, (r.Seconds-now.Step(r.Batch, net).Exposed)/r.Seconds)
	}
	var found mat.VecDense
	if err := found.SolveVec(a, b); err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	x := make([]float64, len(sought))
	for j, c := range columns {
		x[c] = found.AtVec(j)
		if math.IsNaN(x[c]) || math.IsInf(x[c], 0) {
			return nil, errors.New("fit: the rows have no finite solution")
		}
	}
	return x, nil
}
