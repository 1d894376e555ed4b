package test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
	"hpcbert/lib/comm/commtest"
	"hpcbert/lib/fault"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/train"
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

// A rank whose data cannot be read ends the others at once, not when they have computed all of theirs.
func TestEvaluationEndsWhereARankFails(t *testing.T) {
	needData(t)
	out, gone := t.TempDir(), filepath.Join(t.TempDir(), "gone_training_0.hdf5")
	must(t, trainLine(0, out, "--steps 1"))
	config, err := bert.ReadConfig(filepath.Join(out, "step-00000001", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := pretrain.OpenSet(filepath.Join(work, "hdf5"))
	if err != nil {
		t.Fatal(err)
	}
	var computed atomic.Int64
	errs := commtest.Run(2, func(c comm.Comm) error {
		dev, err := kernels.Open("cpu", kernels.Options{Threads: 1, Crowded: true})
		if err != nil {
			return err
		}
		set := *all
		if c.Rank() == 1 {
			set.Files = []string{gone}
		}
		e := train.Evaluation{Checkpoint: filepath.Join(out, "step-00000001"), Config: config, Set: &set, MicroBatch: 1, Memory: 1 << 40, Warn: t.Errorf,
			Notify: func(int64) { computed.Add(1) }}
		_, err = train.Evaluate(t.Context(), e, dev, c)
		return err
	})
	if fault.KindOf(errs[0]) != fault.Elsewhere || !errors.Is(errs[1], os.ErrNotExist) {
		t.Errorf("%v", errs)
	}
	if n, total := computed.Load(), all.TotalRows(); n*4 > int64(total) {
		t.Errorf("%d micro-batches were computed, of %d in all", n, total)
	}
}
