package bert

import (
	"hash/fnv"
	"math"
	"slices"
	"testing"
)

func TestInitialValuesAreOfTheReferencesDistributions(t *testing.T) {
	c := goldenConfig()
	c.VocabSize, c.HiddenSize, c.IntermediateSize = 500, 64, 256
	r := newRig(t, "", 2, c, Limits{Tokens: 8, Sequences: 1, Masked: 1}, PreTraining)
	r.Init(7)
	for _, p := range r.Params {
		checkDistribution(t, p.Name, download(t, r.s, r.Weight(p.Name)), p.Init)
	}
	if p := r.Params[r.index["bert.encoder.layer.0.intermediate.dense.bias"]]; p.Init != (Init{InitUniform, 0.125}) {
		t.Errorf("%s: %+v", p.Name, p.Init)
	}
}

func checkDistribution(t *testing.T, name string, values []float32, init Init) {
	t.Helper()
	n := float64(len(values))
	var mean, squares, largest float64
	for _, v := range values {
		mean += float64(v) / n
		squares += float64(v) * float64(v) / n
		largest = max(largest, math.Abs(float64(v)))
	}
	deviation := map[InitForm]float64{InitNormal: init.Scale, InitUniform: init.Scale / math.Sqrt(3)}[init.Form]
	switch init.Form {
	case InitZero, InitOne:
		want := float64(init.Form)
		if mean != want || squares != want {
			t.Errorf("%s: mean %v, expected all %v", name, mean, want)
		}
		return
	case InitUniform:
		if largest >= init.Scale {
			t.Errorf("%s: a value of %v, expected below %v", name, largest, init.Scale)
		}
	}
	if math.Abs(mean) > 5*deviation/math.Sqrt(n) || math.Abs(squares/(deviation*deviation)-1) > 5*math.Sqrt(2/n) {
		t.Errorf("%s: mean %v, deviation %v, expected 0, %v", name, mean, math.Sqrt(squares), deviation)
	}
}

func TestInitialValuesDependOnSeedAndNameAlone(t *testing.T) {
	draw := func(threads int, seed uint64, name string) []float32 {
		values := make([]float32, 1003)
		fillParallel(values, Init{InitNormal, 1}, seed, name, threads)
		return values
	}
	want := draw(1, 5, "a")
	for threads := 2; threads < 9; threads++ {
		if !slices.Equal(draw(threads, 5, "a"), want) {
			t.Errorf("%d threads change the values", threads)
		}
	}
	if slices.Equal(draw(1, 6, "a"), want) || slices.Equal(draw(1, 5, "b"), want) {
		t.Error("another seed or name gives the same values")
	}
	c := DefaultConfig()
	c.NumHiddenLayers = 48
	seen := map[uint32]string{}
	for _, p := range c.Params() {
		hash := fnv.New32a()
		hash.Write([]byte(p.Name))
		if other, ok := seen[hash.Sum32()]; ok {
			t.Errorf("%s and %s draw the same values", p.Name, other)
		}
		seen[hash.Sum32()] = p.Name
	}
}
