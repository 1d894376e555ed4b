package shard

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Shards of a kind differ by one article at most, every article is placed once, and test shards get their part of the sentences.
func TestBalance(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes func(r *rand.Rand) int32
	}{
		{"equal articles", func(*rand.Rand) int32 { return 7 }},
		{"a long tail", func(r *rand.Rand) int32 { return 1 + int32(r.ExpFloat64()*r.ExpFloat64()*40) }},
		{"few huge ones", func(r *rand.Rand) int32 {
			if r.IntN(50) == 0 {
				return 5000
			}
			return 1 + r.Int32N(3)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(40) {
				r := rand.New(rand.NewPCG(seed, 2))
				o := Options{Train: 1 + r.IntN(20), Test: r.IntN(6), Fraction: []float64{0, 0.1, 0.5}[r.IntN(3)], Balance: true}
				sizes := make([]int32, o.Train+o.Test+r.IntN(3000))
				for i := range sizes {
					sizes[i] = c.sizes(r)
				}
				checkBalance(t, sizes, o)
			}
		})
	}
}

func checkBalance(t *testing.T, sizes []int32, o Options) {
	t.Helper()
	p, err := Place(sizes, o)
	if err != nil {
		t.Fatal(err)
	}
	largest := int64(slices.Max(sizes))
	placed := make([]int, len(sizes))
	var total, test int64
	for kind, shards := range [][][]int32{p.Train, p.Test} {
		least, most := int64(math.MaxInt64), int64(0)
		for _, shard := range shards {
			var n int64
			for _, a := range shard {
				placed[a]++
				n += int64(sizes[a])
			}
			least, most, total, test = min(least, n), max(most, n), total+n, test+n*int64(kind)
			if !slices.IsSorted(shard) || len(shard) == 0 {
				t.Errorf("%v: a shard is empty or out of order", o)
			}
		}
		if len(shards) > 0 && most-least > largest {
			t.Errorf("%v: shards hold from %d to %d sentences, the largest article has %d", o, least, most, largest)
		}
	}
	if slices.Min(placed) != 1 || slices.Max(placed) != 1 {
		t.Errorf("%v: articles are lost or placed twice", o)
	}
	// No shard is filled beyond its part and one article.
	if o.Test > 0 && math.Abs(float64(test)-o.Fraction*float64(total)) > float64(largest)*float64(o.Train+o.Test) {
		t.Errorf("%v: test shards hold %d of %d sentences", o, test, total)
	}
}
