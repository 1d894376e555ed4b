package test

import (
	"encoding/json"
	"testing"
)

// score is what evalpretrain prints.
type score struct {
	Sequences   int64   `json:"sequences"`
	Masked      int64   `json:"masked_tokens"`
	Loss        float64 `json:"loss"`
	MLMAccuracy float64 `json:"mlm_accuracy"`
	NSPAccuracy float64 `json:"nsp_accuracy"`
}

// A run is evaluated on its test shards, alone and on any number of ranks: the same losses, counts and predictions.
func TestEvaluation(t *testing.T) {
	needMPI(t)
	needData(t)
	out := t.TempDir()
	must(t, trainLine(0, out, "--steps 60 --save-every 30 --learning-rate 1e-2 --warmup 0.1"))
	evaluate := func(launcher, options string) (s score) {
		r := must(t, launcher+"evalpretrain -j 1 --checkpoint "+out+" --data $WORK/hdf5 "+options)
		if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
			t.Fatalf("%v in %q", err, r.stdout)
		}
		return s
	}
	want := evaluate("", "")
	if want.Sequences < 20 || want.Masked < 100 || !(want.MLMAccuracy > 0.05) || want.NSPAccuracy == 0 {
		t.Errorf("%+v", want)
	}
	for name, got := range map[string]score{"two ranks": evaluate("mpirun -np 2 ", ""), "four ranks": evaluate("mpirun -np 4 ", "--batch 3"), "large batches": evaluate("", "--batch 64")} {
		if relative(got.Loss, want.Loss) > 1e-6 {
			t.Errorf("%s: loss %v, expected %v", name, got.Loss, want.Loss)
		}
		got.Loss = want.Loss
		if got != want {
			t.Errorf("%s: %+v, expected %+v", name, got, want)
		}
	}
	if before := evaluate("", "--ckpt-step 30"); !(before.Loss > want.Loss) {
		t.Errorf("loss %v after 30 steps, %v after 60", before.Loss, want.Loss)
	}
}
