package train

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hpcbert/lib/bert"
	"hpcbert/lib/pretrain"
)

// oneBin tells whether every item is in one bin, ascending, and the bins' numbers of items differ by at most one.
func oneBin(items int, bins [][]int) error {
	seen, fewest, most := make([]bool, items), items, 0
	for i, b := range bins {
		fewest, most = min(fewest, len(b)), max(most, len(b))
		if !slices.IsSorted(b) {
			return fmt.Errorf("bin %d is not ascending: %v", i, b)
		}
		for _, item := range b {
			if seen[item] {
				return fmt.Errorf("item %d twice", item)
			}
			seen[item] = true
		}
	}
	if slices.Contains(seen, false) || most-fewest > 1 {
		return fmt.Errorf("item %d in no bin, or bins of %d to %d items", slices.Index(seen, false), fewest, most)
	}
	return nil
}

// heaviest is the largest sum of a bin over the mean.
func heaviest(costs []int64, bins [][]int) float64 {
	var largest, total int64
	for _, b := range bins {
		var sum int64
		for _, item := range b {
			sum += costs[item]
		}
		largest, total = max(largest, sum), total+sum
	}
	return float64(largest) * float64(len(bins)) / float64(total)
}

func TestDivideTakesEveryItemOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ items, bins int }{{0, 3}, {1, 3}, {3, 3}, {7, 4}, {32, 1}, {33, 2}, {100, 7}, {4096, 96}, {65536, 1000}} {
		for name, cost := range map[string]func() int64{
			"equal": func() int64 { return 5 }, "random": func() int64 { return 1 + rng.Int64N(1000) }, "one giant": func() int64 { return 1 + rng.Int64N(2)*1e9 },
		} {
			costs := make([]int64, c.items)
			for i := range costs {
				costs[i] = cost()
			}
			bins := divide(costs, c.bins)
			if err := oneBin(c.items, bins); err != nil || len(bins) != c.bins {
				t.Errorf("%s: %d items in %d bins: %v", name, c.items, c.bins, err)
			}
		}
	}
}

// The best division of so few items can be found by trying all.
func TestDivideIsNearTheBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		costs := make([]int64, 10)
		var total, best int64
		for i := range costs {
			costs[i] = 1 + rng.Int64N(100)
			total += costs[i]
		}
		best = total
		for set := range 1 << len(costs) {
			var sum, n int64
			for i, cost := range costs {
				sum += cost * int64(set>>i&1)
				n += int64(set >> i & 1)
			}
			if n == 5 {
				best = min(best, max(sum, total-sum))
			}
		}
		if got := heaviest(costs, divide(costs, 2)) * float64(total) / 2; got > 1.06*float64(best) {
			t.Errorf("%v: heavier bin %v, the best division has %d", costs, got, best)
		}
	}
}

// realCosts are what sequences of a shard cost BERT base, and how long the longest are.
func realCosts(t *testing.T, name string) []int64 {
	t.Helper()
	data := os.Getenv("HPCBERT_DATA")
	if data == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	shard, err := pretrain.ReadShard(filepath.Join(data, "hdf5", name))
	if err != nil {
		t.Fatal(err)
	}
	config := bert.DefaultConfig()
	config.VocabSize = 30522
	costs := make([]int64, shard.Rows)
	for row := range costs {
		tokens, masked := shard.Tokens(row), 0
		for _, p := range shard.MaskedPositions[row*shard.MaxPred : (row+1)*shard.MaxPred] {
			masked += min(int(p), 1)
		}
		costs[row] = int64(config.FLOPs(tokens, int64(tokens*tokens), masked, 1))
	}
	return costs
}

func TestRanksHaveEqualWorkOnRealLengths(t *testing.T) {
	for _, name := range []string{"wiki_seq128_pred20.hdf5", "wiki_seq512_pred80.hdf5"} {
		all := realCosts(t, name)
		rng := rand.New(rand.NewPCG(5, 6))
		for _, c := range []struct{ batch, ranks, micro int }{{256, 4, 16}, {2048, 64, 8}, {8192, 64, 32}} {
			var worst, before, micros float64
			for range 20 {
				costs := make([]int64, c.batch)
				for i := range costs {
					costs[i] = all[rng.IntN(len(all))]
				}
				bins := divide(costs, c.ranks)
				worst = max(worst, heaviest(costs, bins))
				inOrder := make([][]int, c.ranks)
				for i := range costs {
					inOrder[i*c.ranks/c.batch] = append(inOrder[i*c.ranks/c.batch], i)
				}
				before = max(before, heaviest(costs, inOrder))
				own := make([]int64, len(bins[0]))
				for i, item := range bins[0] {
					own[i] = costs[item]
				}
				micros = max(micros, heaviest(own, divide(own, len(own)/c.micro)))
			}
			t.Logf("%s, %d sequences on %d ranks: heaviest %.4f of the mean (in order %.4f), its micro-batches of %d %.4f", name, c.batch, c.ranks, worst, before, c.micro, micros)
			if worst > 1.01 {
				t.Errorf("%s, %d sequences on %d ranks: the heaviest rank has %.4f of the mean", name, c.batch, c.ranks, worst)
			}
		}
	}
}

// Every rank finds the same division, its micro-batches hold each sequence once under its number in the global batch, and a set that is read once
// ends with what is left.
func TestFeedIsTheSameForAllRanks(t *testing.T) {
	data := os.Getenv("HPCBERT_DATA")
	if data == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	dir := t.TempDir()
	const name = "hdf5/wiki_seq128_pred20.hdf5"
	shard, err := pretrain.ReadShard(filepath.Join(data, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(data, name), filepath.Join(dir, "wiki_training_0.hdf5")); err != nil {
		t.Fatal(err)
	}
	set, err := pretrain.OpenSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	const global, end = 48, 48 + 5
	config := bert.DefaultConfig()
	config.VocabSize = 30522
	for _, ranks := range []int{1, 2, 3, 4, 8} {
		var seen [2]map[int32]bool
		for i := range seen {
			seen[i] = map[int32]bool{}
		}
		for rank := range ranks {
			task := &pretraining{set: set, order: pretrain.NewFileOrder(set.Rows)}
			f := &feed{config: config, read: task.Read, global: global, micro: 4, end: end, rank: rank, ranks: ranks}
			batch := 0
			for s := range f.start(context.Background(), 0) {
				if s.err != nil {
					t.Fatal(s.err)
				}
				for _, b := range s.micros {
					if len(b.Samples) > f.micro {
						t.Errorf("%d ranks: micro-batch of %d sequences", ranks, len(b.Samples))
					}
					for i, number := range b.Samples {
						row := batch*global + int(number)
						ids := b.IDs[b.CuSeqlens[i]:b.CuSeqlens[i+1]]
						if !slices.Equal(ids, shard.InputIDs[row*shard.Seq:][:len(ids)]) || len(ids) != shard.Tokens(row) {
							t.Fatalf("%d ranks: sample %d of batch %d is another row", ranks, number, batch)
						}
						if seen[batch][number] {
							t.Errorf("%d ranks: sample %d of batch %d twice", ranks, number, batch)
						}
						seen[batch][number] = true
					}
				}
				batch++
			}
		}
		if len(seen[0]) != global || len(seen[1]) != end-global {
			t.Errorf("%d ranks: batches of %d and %d sequences", ranks, len(seen[0]), len(seen[1]))
		}
	}
}
