package train

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestCensusFindsWhatAnyRankHas(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, vocabulary := range []int{1, 31, 32, 62, 63, 64, 30522} {
		for _, ranks := range []int{2, 3, 4, 7, 8, 1000} {
			var sum []int64
			all := map[int32]bool{}
			for range ranks {
				ids := []int32{0, int32(vocabulary - 1)} // every rank has them: the fullest counts
				for range random.IntN(10) {
					ids = append(ids, random.Int32N(int32(vocabulary)))
				}
				for _, id := range ids {
					all[id] = true
				}
				c := newCensus(vocabulary, ranks)
				c.put(ids)
				if sum == nil {
					sum = make([]int64, len(c.counts))
				}
				for i, n := range c.counts {
					sum[i] += n
				}
			}
			c := newCensus(vocabulary, ranks)
			c.counts = sum
			var want []int32
			for id := range int32(vocabulary) {
				if all[id] {
					want = append(want, id)
				}
			}
			if got := c.ids(); !slices.Equal(got, want) {
				t.Fatalf("%d ranks, vocabulary of %d: %v, expected %v", ranks, vocabulary, got, want)
			}
		}
	}
}
