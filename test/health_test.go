package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hpcbert/lib/bert"
	"hpcbert/lib/fault"
	"hpcbert/lib/train"
)

// listen collects what the ranks warn about.
func listen() (warn func(string, ...any), heard func() []string) {
	var mu sync.Mutex
	var texts []string
	return func(format string, a ...any) {
			mu.Lock()
			defer mu.Unlock()
			texts = append(texts, fmt.Sprintf(format, a...))
		}, func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(texts)
		}
}

func TestSlowRankIsNamedInARun(t *testing.T) {
	needData(t)
	for _, c := range []struct {
		what  string
		hooks train.Hooks
		want  string
	}{
		{"half speed", train.Hooks{Computed: func(step int, took time.Duration) {
			if step > 10 {
				time.Sleep(took)
			}
		}}, "rank 1 on testhost is slow: its computing takes "},
		{"data", train.Hooks{Data: func(int) { time.Sleep(20 * time.Millisecond) }}, "rank 1 on testhost waits for its data: "},
	} {
		out := t.TempDir()
		warn, heard := listen()
		errs := trainHere(t, 3, out, func(rank int, o *train.Options) {
			o.Steps, o.SaveEvery, o.Warn = 100, 0, warn
			if rank == 1 {
				o.Hooks = c.hooks
			}
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		named := slices.ContainsFunc(heard(), func(s string) bool { return strings.HasPrefix(s, c.want) })
		if !named {
			t.Errorf("%s: not named: %q", c.what, heard())
		}
		slow := 0
		for line := range strings.Lines(contents(t, out, "metrics.jsonl")) {
			var s struct {
				Slowest int     `json:"slowest_rank"`
				Over    float64 `json:"slowest_over_median"`
				Wait    float64 `json:"wait_share"`
			}
			if err := json.Unmarshal([]byte(line), &s); err != nil || s.Wait < 0 || s.Wait > 1 {
				t.Fatalf("%v: %s", err, line)
			}
			if s.Slowest == 1 && s.Over > 1.2 {
				slow++
			}
		}
		if (slow > 45) != (c.what == "half speed") {
			t.Errorf("%s: metrics say that rank 1 is slow in %d updates of 100", c.what, slow)
		}
	}
}

// flips changes a bit of a gradient in every micro-batch that its rank computes, from an update on.
func flips(from int) train.Hooks {
	return train.Hooks{Backward: func(step, first int, stretch []float32) {
		if first == 0 && step >= from {
			stretch[5] = math.Float32frombits(math.Float32bits(stretch[5]) ^ 1)
		}
	}}
}

// A rank whose bits differ is found at the next verification; nothing of its work is saved.
func TestCorruptedGradientsAreFound(t *testing.T) {
	needData(t)
	for _, c := range []struct {
		what   string
		ranks  int
		change func(o *train.Options)
		want   []string
	}{
		{"two ranks", 2, asIs, []string{"rank 0 on testhost and rank 1 on testhost: one of these hosts is at fault"}},
		{"three", 3, asIs, []string{"rank 0 on testhost and rank 1 on testhost and rank 2 on testhost: rank 1 on testhost is at fault"}},
		{"five, one micro-batch", 5, func(o *train.Options) { o.MicroBatch = 16 }, []string{"rank 1 on testhost", ": rank 1 on testhost is at fault"}},
		{"bfloat16", 2, func(o *train.Options) { o.Mode = bert.BFloat16 }, []string{"one of these hosts"}},
		{"parts", 2, func(o *train.Options) { o.Reduction.Shard = true }, []string{"one of these hosts"}},
	} {
		out := t.TempDir()
		errs := trainHere(t, c.ranks, out, func(rank int, o *train.Options) {
			o.Steps, o.SaveEvery, o.VerifyEvery = 20, 4, 3
			if c.change(o); rank == 1 {
				o.Hooks = flips(8)
			}
		})
		for rank, err := range errs {
			if err == nil || !strings.Contains(err.Error(), "step 8: micro-batches computed twice differ between ") {
				t.Fatalf("%s: rank %d: %v", c.what, rank, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, expected %q", c.what, err, want)
				}
			}
			if hint := fault.HintOf(err); !strings.Contains(hint, "the last verified update is 6") {
				t.Errorf("%s: hint %q", c.what, hint)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(out, "*step-*")); !slices.Equal(left, []string{filepath.Join(out, "step-00000004")}) {
			t.Errorf("%s: checkpoints %v", c.what, left)
		}
	}
}

// A checkpoint behind the last verification, as a stop makes one, is put aside when the next one fails.
func TestUnverifiedCheckpointIsPutAside(t *testing.T) {
	needData(t)
	out := t.TempDir()
	with := func(hooks train.Hooks, until int) []error {
		return trainHere(t, 2, out, func(rank int, o *train.Options) {
			o.Steps, o.SaveEvery, o.VerifyEvery, o.Until = 20, 5, 5, until
			if rank == 1 {
				o.Hooks = hooks
			}
		})
	}
	if err := errors.Join(with(train.Hooks{}, 5)...); err != nil {
		t.Fatal(err)
	}
	must(t, fmt.Sprintf("cp -r %s/step-00000005 %s/step-00000007; sed -i 's/\"step\": 5/\"step\": 7/; s/\"samples\": 80/\"samples\": 112/' %s/step-00000007/trainer.json", out, out, out))
	must(t, "rm "+out+"/step-00000007/DONE; cp "+out+"/step-00000005/DONE "+out+"/step-00000007/")
	t.Log(contents(t, out, "step-00000007", "DONE"))
	errs := with(flips(1), 20)
	if err := errs[0]; err == nil || !strings.Contains(fault.HintOf(err), "step-00000007 is unverified-step-00000007 now") {
		t.Errorf("%v: %s", err, fault.HintOf(err))
	}
	if left, _ := filepath.Glob(filepath.Join(out, "*step-*")); len(left) != 2 {
		t.Errorf("checkpoints %v", left)
	}
}

// Verification changes no bit of the model, also where one rank verifies the only micro-batch of another one.
func TestVerificationChangesNothing(t *testing.T) {
	needData(t)
	for _, ranks := range []int{1, 2, 3} {
		for _, batch := range []struct{ global, micro int }{{16, 2}, {16, 16}, {9, 4}} {
			plain, verified := t.TempDir(), t.TempDir()
			mustTrain(t, ranks, plain, func(o *train.Options) { o.GlobalBatch, o.MicroBatch = batch.global, batch.micro })
			mustTrain(t, ranks, verified, func(o *train.Options) { o.GlobalBatch, o.MicroBatch, o.VerifyEvery = batch.global, batch.micro, 1 })
			for _, name := range []string{"model.safetensors", "optimizer-00000-of-00001.safetensors"} {
				if contents(t, plain, "step-00000006", name) != contents(t, verified, "step-00000006", name) {
					t.Errorf("%d ranks, %+v: %s differs", ranks, batch, name)
				}
			}
		}
	}
}
