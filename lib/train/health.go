package train

import (
	"fmt"
	"slices"
	"time"

	"hpcbert/lib/comm"
)

// A rank is named as slow when the median of its last updates is so much above that of the ranks, and as well again when it is near it.
const (
	healthWindow = 50 // updates
	healthLeast  = 20 // updates before the first judgement
	healthEvery  = 10 // updates between judgements
	slowAbove    = 1.2
	wellBelow    = 1.1
)

// spent is where a rank's time of an update went.
type spent struct {
	compute time.Duration // forward and backward passes
	data    time.Duration // waiting for the loader
	wait    time.Duration // in collectives that no computing hides
	flops   float64
}

// waited counts the time since begin as waiting for other ranks.
func (t *Trainer) waited(begin time.Time) { t.spent.wait += time.Since(begin) }

// pulseLen is how many numbers a rank tells of an update.
const pulseLen = 4

// pulse is what the ranks told of an update.
type pulse []float64

// put writes a rank's numbers.
func (p pulse) put(rank int, s spent) {
	copy(p[rank*pulseLen:], []float64{s.compute.Seconds(), s.data.Seconds(), s.wait.Seconds(), s.flops})
}

func (p pulse) ranks() int               { return len(p) / pulseLen }
func (p pulse) compute(rank int) float64 { return p[rank*pulseLen] }
func (p pulse) data(rank int) float64    { return p[rank*pulseLen+1] }

// cost is the time for a unit of work: shares of a batch differ in what they contain.
func (p pulse) cost(rank int) float64 { return p[rank*pulseLen] / max(1, p[rank*pulseLen+3]) }

// slowest returns the rank whose work cost most, over the median of the ranks.
func (p pulse) slowest() (rank int, overMedian float64) {
	costs := make([]float64, p.ranks())
	for r := range costs {
		if costs[r] = p.cost(r); costs[r] > costs[rank] {
			rank = r
		}
	}
	if m := median(costs); m > 0 {
		return rank, costs[rank] / m
	}
	return rank, 1
}

// waitSeconds is the mean over the ranks.
func (p pulse) waitSeconds() float64 {
	sum := 0.0
	for r := range p.ranks() {
		sum += p[r*pulseLen+2]
	}
	return sum / max(1, float64(p.ranks()))
}

// median is the lower one of an even number: of two ranks one can be slower than the median.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// health names ranks that are slower than the others. Medians are judged: other programs and the sizes of batches make any single update long.
type health struct {
	hosts  []string
	recent []pulse // of the last updates
	seen   int
	slow   []bool // told that it computes slowly
	hungry []bool // told that it waits for data
}

func newHealth(c comm.Comm) (*health, error) {
	hosts, err := comm.Texts(c, c.Host())
	return &health{hosts: hosts, slow: make([]bool, len(hosts)), hungry: make([]bool, len(hosts))}, err
}

// name is a rank with its host.
func (h *health) name(rank int) string { return fmt.Sprintf("rank %d on %s", rank, h.hosts[rank]) }

// note takes an update in and returns what is to be told.
func (h *health) note(p pulse) (news []string) {
	h.recent = append(h.recent, p)
	h.recent = h.recent[max(0, len(h.recent)-healthWindow):]
	h.seen++
	if len(h.hosts) < 2 || h.seen < healthLeast || h.seen%healthEvery != 0 {
		return nil
	}
	costs, computes, data := h.medians(pulse.cost), h.medians(pulse.compute), h.medians(pulse.data)
	usual, step, meal := median(costs), median(computes), median(data)
	for r := range h.hosts {
		if over := costs[r] / usual; turns(&h.slow[r], over) {
			news = append(news, h.tell(r, h.slow[r], "computes as fast as the others again", "is slow: its computing takes %.2f times the ranks' median", over))
		}
		if over := 1 + (data[r]-meal)/step; turns(&h.hungry[r], over) {
			news = append(news, h.tell(r, h.hungry[r], "waits no longer for its data", "waits for its data: %.3g s of each update, in which ranks compute %.3g s", data[r], step))
		}
	}
	return news
}

// turns changes a state where a ratio calls for it, and tells whether it did.
func turns(bad *bool, over float64) bool {
	was := *bad
	*bad = over > slowAbove || was && over > wellBelow
	return *bad != was
}

func (h *health) tell(rank int, bad bool, well, ill string, a ...any) string {
	if !bad {
		return h.name(rank) + " " + well
	}
	return fmt.Sprintf("%s %s (medians of the last %d updates)", h.name(rank), fmt.Sprintf(ill, a...), len(h.recent))
}

// medians returns each rank's median over the last updates.
func (h *health) medians(of func(p pulse, rank int) float64) []float64 {
	values, medians := make([]float64, len(h.recent)), make([]float64, len(h.hosts))
	for r := range medians {
		for i, p := range h.recent {
			values[i] = of(p, r)
		}
		medians[r] = median(values)
	}
	return medians
}
