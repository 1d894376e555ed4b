// Package shard spreads the articles of a sentence stream over training and test shards of nearly equal numbers of sentences.
package shard

import (
	"fmt"
	"slices"

	"hpcbert/lib/fault"
)

// Options says how to spread.
type Options struct {
	Train    int     `json:"train"`    // training shards, at least 1
	Test     int     `json:"test"`     // test shards
	Fraction float64 `json:"fraction"` // of the sentences meant for the test shards
	Balance  bool    `json:"balance,omitempty"`
}

// String tells the options for people.
func (o Options) String() string {
	placed := "placed as the reference does"
	if o.Balance {
		placed = "balanced"
	}
	return fmt.Sprintf("%d training, %d test, fraction %v, %s", o.Train, o.Test, o.Fraction, placed)
}

// Check returns an error of usage where the options make no sense.
func (o Options) Check() error {
	switch {
	case o.Train < 1:
		return fault.Usagef("%d training shards, want at least 1", o.Train)
	case o.Test < 0:
		return fault.Usagef("%d test shards, want 0 or more", o.Test)
	case !(o.Fraction >= 0 && o.Fraction < 1):
		return fault.Usagef("test fraction %v, want 0 or more and less than 1", o.Fraction)
	}
	return nil
}

// Placement lists the articles of each shard in order, by their numbers in the stream from 0.
type Placement struct {
	Train, Test [][]int32
	// Sentences a shard was meant to hold at first, before articles larger than that and left-over articles raised it.
	NominalTrain, NominalTest int64
	Largest                   int64 // sentences of the largest article
}

// Share returns the sentences that every shard can hold; a larger article makes the shards of its kind uneven.
func (p *Placement) Share() int64 {
	if len(p.Test) == 0 {
		return p.NominalTrain
	}
	return min(p.NominalTrain, p.NominalTest)
}

// Place spreads articles with the given numbers of sentences, each at least 1. Unless balance is asked for, it does so as the original data
// preparation does, article for article. Every shard first gets one of the largest articles. Then, round by round, each shard that holds no more than its kind's
// median takes the largest article that fits below the nominal number of sentences; the nominal number of the training shards grows
// while nothing fits.
func Place(sentences []int32, o Options) (*Placement, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if len(sentences) < o.Train+o.Test {
		return nil, fault.WithHint(fmt.Errorf("%d articles are fewer than %d training and %d test shards", len(sentences), o.Train, o.Test),
			"ask for fewer shards; is the input one sentence a line with a blank line after each article, as segment writes?")
	}
	if o.Balance {
		return balance(sentences, o), nil
	}
	a := newArticles(sentences)
	trainTotal, testTotal := o.divide(sentences)
	train := newGroup(o.Train, trainTotal)
	test := newGroup(o.Test, testTotal)
	p := &Placement{NominalTrain: train.nominal, NominalTest: test.nominal, Largest: int64(a.largest(a.max))}
	train.takeLargest(a)
	test.takeLargest(a)
	var last history
	for a.left > 0 {
		before := a.left
		train.round(a)
		test.round(a)
		if last.add(a.left) {
			train.nominal++
		}
		// A round that places nothing changes nothing but the nominal size: the rounds up to the one in which the smallest article fits
		// the emptiest training shard are all like it.
		for need := train.least() + int64(a.smallest()); a.left == before && train.nominal < need; {
			if last.add(a.left) {
				train.nominal++
			}
		}
	}
	p.Train, p.Test = train.articles, test.articles
	return p, nil
}

// divide returns the sentences meant for the training and for the test shards.
func (o Options) divide(sentences []int32) (train, test int64) {
	var total int64
	for _, n := range sentences {
		total += int64(n)
	}
	if o.Test == 0 {
		return total, 0
	}
	train = int64((1 - o.Fraction) * float64(total))
	return train, total - train
}

// articles holds those not yet placed, by size; of a size the last in the stream is taken first.
type articles struct {
	bySize []int32 // all article numbers, ordered by size, then by place in the stream
	first  []int32 // of each size: where its articles begin in bySize
	count  []int32 // of each size: articles left
	lower  []int32 // of each size: a size not above it, nearer to the next with articles left (union-find)
	max    int32
	min    int32 // no article left is smaller
	left   int
}

func newArticles(sentences []int32) *articles {
	a := &articles{max: slices.Max(sentences), min: 1, left: len(sentences), bySize: make([]int32, len(sentences))}
	a.first, a.count, a.lower = make([]int32, a.max+2), make([]int32, a.max+1), make([]int32, a.max+1)
	for _, n := range sentences {
		a.count[n]++
	}
	for size, n := range a.count {
		a.first[size+1] = a.first[size] + n
		a.lower[size] = int32(size)
		if n == 0 && size > 0 {
			a.lower[size] = int32(size) - 1
		}
	}
	next := slices.Clone(a.first)
	for i, n := range sentences {
		a.bySize[next[n]] = int32(i)
		next[n]++
	}
	return a
}

// largest returns the largest size up to limit that has articles left, 0 if none has.
func (a *articles) largest(limit int32) int32 {
	size := limit
	for a.lower[size] != size {
		size = a.lower[size]
	}
	for a.lower[limit] != limit { // shorten the path
		a.lower[limit], limit = size, a.lower[limit]
	}
	return size
}

// smallest returns the smallest size that has articles left, of which there must be some.
func (a *articles) smallest() int32 {
	for a.left > 0 && a.count[a.min] == 0 {
		a.min++
	}
	return a.min
}

func (a *articles) take(size int32) int32 {
	a.count[size]--
	a.left--
	if a.count[size] == 0 {
		a.lower[size] = size - 1
	}
	return a.bySize[a.first[size]+a.count[size]]
}

// group is the training shards or the test shards.
type group struct {
	nominal   int64
	articles  [][]int32
	sentences []int64 // of each shard
	sorted    []int64 // sentences in order, at the beginning of a round
}

func newGroup(shards int, total int64) *group {
	g := &group{articles: make([][]int32, shards), sentences: make([]int64, shards)}
	if shards > 0 {
		g.nominal = total / int64(shards)
	}
	return g
}

func (g *group) add(a *articles, shard int, size int32) {
	g.articles[shard] = append(g.articles[shard], a.take(size))
	g.sentences[shard] += int64(size)
}

func (g *group) takeLargest(a *articles) {
	for i := range g.articles {
		size := a.largest(a.max)
		g.add(a, i, size)
		g.nominal = max(g.nominal, int64(size))
	}
}

func (g *group) round(a *articles) {
	if len(g.articles) == 0 {
		return
	}
	g.sorted = append(g.sorted[:0], g.sentences...)
	slices.Sort(g.sorted)
	n := len(g.sorted)
	twiceMedian := g.sorted[(n-1)/2] + g.sorted[n/2]
	for i, holds := range g.sentences { // a shard's number changes only at its own turn
		if 2*holds > twiceMedian {
			continue
		}
		if size := a.largest(int32(min(g.nominal-holds, int64(a.max)))); size > 0 {
			g.add(a, i, size)
		}
	}
}

func (g *group) least() int64 { return slices.Min(g.sentences) }

// history is the last four numbers of articles left.
type history struct {
	left [4]int
	n    int
}

// add appends a number and tells whether all are equal; one alone is.
func (h *history) add(left int) bool {
	if h.n == len(h.left) {
		copy(h.left[:], h.left[1:])
		h.n--
	}
	h.left[h.n] = left
	h.n++
	for _, l := range h.left[:h.n] {
		if l != left {
			return false
		}
	}
	return true
}
