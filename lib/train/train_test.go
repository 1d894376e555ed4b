package train

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hpcbert/lib/pretrain"
)

func TestPack(t *testing.T) {
	b := Pack([]pretrain.Sample{
		{InputIDs: []int32{101, 5, 102}, SegmentIDs: []int32{0, 0, 1}, MaskedPositions: []int32{1}, MaskedIDs: []int32{7}, NextSentence: 1},
		{InputIDs: []int32{101, 8, 9, 102}, SegmentIDs: []int32{0, 0, 1, 1}, MaskedPositions: []int32{1, 2}, MaskedIDs: []int32{3, 4}},
	}, []int32{6, 9})
	for _, c := range []struct {
		what      string
		got, want []int32
	}{
		{"ids", b.IDs, []int32{101, 5, 102, 101, 8, 9, 102}}, {"positions", b.Positions, []int32{0, 1, 2, 0, 1, 2, 3}},
		{"segments", b.Segments, []int32{0, 0, 1, 0, 0, 1, 1}}, {"cumulative lengths", b.CuSeqlens, []int32{0, 3, 7}}, {"samples", b.Samples, []int32{6, 9}},
		{"masked rows", b.MaskedRows, []int32{1, 4, 5}}, {"masked ids", b.MaskedIDs, []int32{7, 3, 4}}, {"labels", b.NextSentence, []int32{1, 0}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %v, expected %v", c.what, c.got, c.want)
		}
	}
}

func TestEntropy(t *testing.T) {
	for _, c := range []struct {
		counts []int64
		want   float64
	}{{[]int64{1, 1, 1, 1}, math.Log(4)}, {[]int64{5, 0}, 0}, {[]int64{1, 3}, 0.25*math.Log(4) + 0.75*math.Log(4.0/3)}} {
		if got := entropy(c.counts); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %v, expected %v", c.counts, got, c.want)
		}
	}
}

func TestMetricsOfLostStepsAreDropped(t *testing.T) {
	name := filepath.Join(t.TempDir(), "metrics.jsonl")
	text := `{"run":"pretraining"}` + "\n" + `{"step":1}` + "\n" + `{"step":2}` + "\n" + `{"step":3}` + "\n" + `{"step":4,"lo`
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	kept, err := linesUpTo(name, 2)
	if want := text[:len(`{"run":"pretraining"}{"step":1}{"step":2}`)+3]; err != nil || string(kept) != want {
		t.Errorf("%q, %v; expected %q", kept, err, want)
	}
	if kept, err := linesUpTo(name+".none", 2); kept != nil || err != nil {
		t.Errorf("no file: %q %v", kept, err)
	}
}
