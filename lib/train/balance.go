package train

import (
	"cmp"
	"slices"
)

// divide puts items into bins so that the bins' sums of costs are nearly equal and their numbers of items differ by at most one. It returns the
// items of each bin, ascending; they are a function of the costs alone, so that every rank finds the same.
//
// The largest items go first, a round of one each to all bins, to the lightest bin the largest. Then the heaviest bin exchanges items with
// lighter ones as long as that helps.
func divide(costs []int64, bins int) [][]int {
	order := make([]int, len(costs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(costs[b], costs[a]) })
	d := &division{costs: costs, bins: make([]bin, bins)}
	for round := range slices.Chunk(order, bins) {
		d.sort()
		for i, item := range round {
			d.bins[i].items = append(d.bins[i].items, item)
			d.bins[i].sum += costs[item]
		}
	}
	for d.sort(); d.exchange(); d.sort() {
	}
	out := make([][]int, bins)
	for i, b := range d.bins {
		slices.Sort(b.items)
		out[i] = b.items
	}
	// Which bin is whose must not follow the sums' accidents: a rank would get other items for a difference of nothing.
	slices.SortFunc(out, slices.Compare)
	return out
}

type division struct {
	costs []int64
	bins  []bin
}

type bin struct {
	items []int // the dearest first
	sum   int64
}

// sort puts the lightest bin first. Of equal ones, that with the first item; bins are empty together or not at all.
func (d *division) sort() {
	slices.SortStableFunc(d.bins, func(a, b bin) int { return cmp.Compare(a.sum, b.sum) })
}

// enough is the excess of the heaviest bin over the mean that is left alone, as a part of the mean.
const enough = 1.0 / 1024

// exchange swaps an item of the heaviest bin for a cheaper one of a lighter bin, if there is a swap that brings the two nearer to each other.
func (d *division) exchange() bool {
	var total int64
	for _, b := range d.bins {
		total += b.sum
	}
	last := len(d.bins) - 1
	if mean := float64(total) / float64(len(d.bins)); float64(d.bins[last].sum)-mean <= enough*mean {
		return false
	}
	for i := range last {
		if d.swap(&d.bins[last], &d.bins[i]) {
			return true
		}
	}
	return false
}

// swap makes the exchange of one item each that brings the sums of two bins nearest to each other, if any does. The heavier then has at least
// a 4096th of the mean less, which ends the search.
func (d *division) swap(heavy, light *bin) bool {
	gap := heavy.sum - light.sum
	least := max(1, heavy.sum/4096)
	best, from, to := gap, -1, -1 // best is the gap that a swap leaves
	j := 0
	for i, a := range heavy.items {
		for ; j < len(light.items); j++ {
			moved := d.costs[a] - d.costs[light.items[j]]
			left := gap - 2*moved
			if left < 0 {
				left = -left
			}
			if moved >= least && gap-moved >= least && left < best {
				best, from, to = left, i, j
			}
			if 2*moved >= gap { // cheaper items of the lighter bin would move more
				break
			}
		}
	}
	if from < 0 {
		return false
	}
	moved := d.costs[heavy.items[from]] - d.costs[light.items[to]]
	heavy.items[from], light.items[to] = light.items[to], heavy.items[from]
	heavy.sum, light.sum = heavy.sum-moved, light.sum+moved
	for _, b := range []*bin{heavy, light} {
		slices.SortFunc(b.items, func(a, b int) int { return cmp.Or(cmp.Compare(d.costs[b], d.costs[a]), cmp.Compare(a, b)) })
	}
	return true
}
