package shard

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"hpcbert/lib/fault"

	"github.com/google/go-cmp/cmp"
)

// The reference's placement of 40 articles, article k of 1+((7k²+3k) mod 23) sentences.
func TestPlaceAsReference(t *testing.T) {
	sizes := make([]int32, 40)
	for k := range sizes {
		sizes[k] = int32(1 + (7*k*k+3*k)%23)
	}
	o := Options{Train: 4, Test: 2, Fraction: 0.1}
	p, err := Place(sizes, o)
	if err != nil {
		t.Fatal(err)
	}
	train := [][]int32{{21, 10, 37, 38, 35, 12, 11, 36, 13}, {18, 6, 25, 24, 27, 4, 5, 26, 3}, {32, 33, 31, 14, 15, 20, 34, 22}, {30, 29, 8, 2, 1, 19, 28, 17}}
	test := [][]int32{{9, 39, 16}, {7, 23, 0}}
	if diff := cmp.Diff(train, p.Train); diff != "" {
		t.Errorf("training (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(test, p.Test); diff != "" {
		t.Errorf("test (-want +got):\n%s", diff)
	}
	_, _, left := placeSlowly(sizes, o)
	if want := []int{30, 26, 24, 22, 20, 18, 16, 14, 10, 8, 6, 4, 2, 2, 2, 2, 0}; !slices.Equal(left, want) {
		t.Errorf("the slow procedure leaves %v, want %v", left, want)
	}
}

// placeSlowly is the procedure as the specification tells it, recounting everything in every round.
func placeSlowly(sizes []int32, o Options) (train, test [][]int32, lefts []int) {
	var total int
	stacks := map[int][]int32{}
	maxS := 0
	for i, n := range sizes {
		total += int(n)
		stacks[int(n)] = append(stacks[int(n)], int32(i))
		maxS = max(maxS, int(n))
	}
	trainTotal := int((1 - o.Fraction) * float64(total))
	train, test = make([][]int32, o.Train), make([][]int32, o.Test)
	nominalTrain, nominalTest := trainTotal/o.Train, (total-trainTotal)/o.Test
	unplaced := len(sizes)
	pop := func(size int) int32 {
		s := stacks[size]
		stacks[size] = s[:len(s)-1]
		unplaced--
		return s[len(s)-1]
	}
	lowerMax := func() {
		for len(stacks[maxS]) == 0 && maxS > 0 {
			maxS--
		}
	}
	first := func(shards [][]int32, nominal *int) {
		for i := range shards {
			*nominal = max(*nominal, maxS)
			shards[i] = append(shards[i], pop(maxS))
			lowerMax()
		}
	}
	first(train, &nominalTrain)
	first(test, &nominalTest)
	count := func(shards [][]int32) (counts []int, median float64) {
		for _, s := range shards {
			n := 0
			for _, a := range s {
				n += int(sizes[a])
			}
			counts = append(counts, n)
		}
		sorted := slices.Sorted(slices.Values(counts))
		if m := len(sorted) / 2; len(sorted)%2 == 1 {
			return counts, float64(sorted[m])
		} else {
			return counts, float64(sorted[m-1]+sorted[m]) / 2
		}
	}
	round := func(shards [][]int32, counts []int, median float64, nominal int) {
		for i := range shards {
			want := min(nominal-counts[i], maxS)
			lowerMax()
			for want > 0 && len(stacks[want]) == 0 {
				want--
			}
			if len(stacks[want]) == 0 || want == 0 || float64(counts[i]) > median {
				continue
			}
			shards[i] = append(shards[i], pop(want))
		}
	}
	var history []int
	for unplaced > 0 {
		trainCounts, trainMedian := count(train)
		testCounts, testMedian := count(test)
		round(train, trainCounts, trainMedian, nominalTrain)
		round(test, testCounts, testMedian, nominalTest)
		lefts = append(lefts, unplaced)
		if len(history) == 4 {
			history = history[1:]
		}
		history = append(history, unplaced)
		if len(slices.Compact(slices.Clone(history))) == 1 {
			nominalTrain++
		}
	}
	return train, test, lefts
}

func TestPlaceEqualsTheSlowProcedure(t *testing.T) {
	distributions := map[string]func(*rand.Rand) int32{
		"equal":     func(*rand.Rand) int32 { return 7 },
		"ones":      func(*rand.Rand) int32 { return 1 },
		"uniform":   func(r *rand.Rand) int32 { return 1 + r.Int32N(50) },
		"wide":      func(r *rand.Rand) int32 { return 1 + r.Int32N(1000) },
		"long tail": func(r *rand.Rand) int32 { return 1 + int32(20*r.ExpFloat64()*r.ExpFloat64()) },
		"tiny and huge": func(r *rand.Rand) int32 {
			if r.IntN(40) == 0 {
				return 500 + r.Int32N(1500)
			}
			return 1 + r.Int32N(3)
		},
		"two sizes": func(r *rand.Rand) int32 { return []int32{3, 200}[r.IntN(2)] },
	}
	for name, draw := range distributions {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(60) {
				r := rand.New(rand.NewPCG(seed, 1))
				o := Options{Train: 1 + r.IntN(9), Test: 1 + r.IntN(5), Fraction: []float64{0, 0.1, 0.15, 0.5, 0.9}[r.IntN(5)]}
				sizes := make([]int32, o.Train+o.Test+r.IntN(300))
				for i := range sizes {
					sizes[i] = draw(r)
				}
				compareWithSlow(t, fmt.Sprintf("seed %d", seed), sizes, o)
			}
		})
	}
}

func TestPlaceFewArticlesManyWays(t *testing.T) {
	// All corpora of six articles of four sizes.
	for _, o := range []Options{{Train: 1, Test: 1, Fraction: 0.1}, {Train: 2, Test: 1, Fraction: 0.3}, {Train: 3, Test: 2, Fraction: 0.1}} {
		for code := range 1 << 12 {
			sizes := make([]int32, 6)
			for i := range sizes {
				sizes[i] = []int32{1, 2, 5, 40}[code>>(2*i)&3]
			}
			compareWithSlow(t, fmt.Sprint(sizes), sizes, o)
		}
	}
}

func compareWithSlow(t *testing.T, name string, sizes []int32, o Options) {
	t.Helper()
	train, test, _ := placeSlowly(sizes, o)
	p, err := Place(sizes, o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if diff := cmp.Diff([][][]int32{train, test}, [][][]int32{p.Train, p.Test}); diff != "" {
		t.Fatalf("%s, %+v (-want +got):\n%s", name, o, diff)
	}
}

func TestPlaceIsFast(t *testing.T) {
	cases := []struct {
		name   string
		sizes  func(i int) int32
		n      int
		shards int
	}{
		{"one huge article among small ones", func(i int) int32 {
			if i == 777 {
				return 100_000
			}
			return 1 + int32(i%4)
		}, 50_000, 64},
		{"huge articles left over", func(i int) int32 { return 100_000 + int32(i) }, 300, 64},
		{"a long tail", func(i int) int32 { return 1 + int32(i*i%9973)/40 }, 200_000, 256},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sizes := make([]int32, c.n)
			for i := range sizes {
				sizes[i] = c.sizes(i)
			}
			start := time.Now()
			p, err := Place(sizes, Options{Train: c.shards, Test: c.shards / 8, Fraction: 0.1})
			if err != nil {
				t.Fatal(err)
			}
			if spent := time.Since(start); spent > 20*time.Second {
				t.Errorf("took %v", spent)
			}
			placed := make([]bool, c.n)
			for _, s := range append(p.Train, p.Test...) {
				for _, a := range s {
					if placed[a] {
						t.Fatalf("article %d is placed twice", a)
					}
					placed[a] = true
				}
			}
			if slices.Contains(placed, false) {
				t.Error("articles are lost")
			}
		})
	}
}

func TestPlaceWithoutTestShards(t *testing.T) {
	p, err := Place([]int32{1, 2, 3, 4}, Options{Train: 2, Fraction: 0.1})
	if err != nil || len(p.Test) != 0 || len(p.Train[0])+len(p.Train[1]) != 4 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPlaceErrors(t *testing.T) {
	_, err := Place([]int32{1, 2}, Options{Train: 2, Test: 1, Fraction: 0.1})
	if err == nil || !strings.Contains(err.Error(), "2 articles are fewer than 2 training and 1 test shards") || fault.HintOf(err) == "" {
		t.Errorf("error %v", err)
	}
	for _, o := range []Options{{Test: 1}, {Train: 1, Test: -1}, {Train: 1, Fraction: 1}, {Train: 1, Fraction: -0.1}} {
		if _, err := Place([]int32{1, 2, 3}, o); fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v: error %v", o, err)
		}
	}
}
