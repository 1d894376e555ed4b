package shard

import (
	"container/heap"
	"slices"
)

// balance gives each article, the largest first, to the shard that is filled least, as a part of what it is meant to hold. So shards of a
// kind differ by at most one article, and large and small articles go to training and test shards alike. Shards list their articles in the
// order of the stream.
func balance(sentences []int32, o Options) *Placement {
	trainTotal, testTotal := o.divide(sentences)
	train, test := newGroup(o.Train, trainTotal), newGroup(o.Test, testTotal)
	a := newArticles(sentences)
	p := &Placement{NominalTrain: train.nominal, NominalTest: test.nominal, Largest: int64(a.largest(a.max))}
	fill := make(fillHeap, 0, o.Train+o.Test)
	for _, g := range []*group{train, test} {
		for i := range g.articles {
			fill = append(fill, filled{g, i, len(fill)})
		}
	}
	for a.left > 0 {
		fill[0].group.add(a, fill[0].shard, a.largest(a.max))
		heap.Fix(&fill, 0)
	}
	for _, articles := range slices.Concat(train.articles, test.articles) {
		slices.Sort(articles)
	}
	p.Train, p.Test = train.articles, test.articles
	return p
}

// filled is a shard and its place among all, which decides between equals.
type filled struct {
	group *group
	shard int
	place int
}

// part is what the shard holds of what it is meant to hold.
func (f filled) part() float64 {
	return float64(f.group.sentences[f.shard]) / float64(max(f.group.nominal, 1))
}

// fillHeap has the least filled shard first.
type fillHeap []filled

func (h fillHeap) Len() int { return len(h) }
func (h fillHeap) Less(i, j int) bool {
	a, b := h[i].part(), h[j].part()
	return a < b || a == b && h[i].place < h[j].place
}
func (h fillHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *fillHeap) Push(any)     { panic("shard: shards do not come later") }
func (h *fillHeap) Pop() any     { panic("shard: shards do not go") }
