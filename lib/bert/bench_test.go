package bert

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"hpcbert/kernels"
)

// BenchmarkStep is one micro-batch of 128 tokens a sequence, 15 % of them masked: forward and backward with dropout.
func BenchmarkStep(b *testing.B) {
	for _, e := range []struct {
		name              string
		layers, sequences int
	}{{"base of 2 layers, 4 sequences", 2, 4}, {"base, 16 sequences", 12, 16}} {
		b.Run(e.name, func(b *testing.B) {
			c := DefaultConfig()
			c.VocabSize, c.NumHiddenLayers = 30522, e.layers
			benchmarkStep(b, c, e.sequences, PreTraining)
		})
	}
}

func benchmarkStep(b *testing.B, c *Config, sequences int, mode Mode) {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: runtime.NumCPU()})
	if err != nil {
		b.Fatal(err)
	}
	s, err := dev.NewStream()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const length = 128
	m, err := New(dev, s, c, Limits{Tokens: sequences * length, Sequences: sequences, Masked: sequences * length}, mode)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	m.Init(1)
	lengths := make([]int, sequences)
	for i := range lengths {
		lengths[i] = length
	}
	batch := randomBatch(rand.New(rand.NewPCG(1, 1)), c, lengths...)
	masked := sequences * length * 15 / 100
	batch.MaskedRows, batch.MaskedIDs = batch.MaskedRows[:masked], batch.MaskedIDs[:masked]
	goal := objective(batch)
	goal.Dropout = true
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := m.ForwardBackward(batch, goal); err != nil {
			b.Fatal(err)
		}
	}
	seconds := b.Elapsed().Seconds() / float64(b.N)
	flops := c.FLOPs(sequences*length, int64(sequences*length*length), masked, sequences)
	b.ReportMetric(float64(sequences)/seconds, "sequences/s")
	b.ReportMetric(flops/seconds/1e9, "GFLOP/s")
}
