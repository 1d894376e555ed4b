package test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/launch"
	"hpcbert/lib/train"
)

// faultVariable makes this program one of the ranks that mpirun starts: its value is the fault, a name of faults, that rank 1 has.
const faultVariable = "HPCBERT_TEST_FAULT"

var faults = map[string]func(o *train.Options){
	"gradient": func(o *train.Options) {
		o.Hooks.Gradients = put(4, map[int]float32{0: float32(math.NaN())})
	},
	"weight": func(o *train.Options) { o.Hooks.Weights = putWeight(4, 0, float32(math.NaN())) },
}

// rankOptions are the options of a faulty rank.
type rankOptions struct {
	cli.Common
	Output string `short:"o" long:"output"`
	Half   bool   `long:"half"`
}

// faultyRank trains as bertrain does, but for the fault of rank 1.
func faultyRank() {
	work = os.Getenv("WORK")
	var o rankOptions
	cli.Main(cli.Program{Name: "bertrain"}, &o, func(ctx context.Context, env *cli.Env, _ []string) error {
		return launch.Ranks(env, time.Minute, func(c comm.Comm) error {
			err := trainRank(ctx, c, o.Output, func(opt *train.Options) {
				if o.Half {
					dynamicHalf(opt)
				}
				if c.Rank() == 1 {
					faults[os.Getenv(faultVariable)](opt)
				}
			})
			if err != nil {
				err = launch.Abort(env, c, err)
			}
			return err
		})
	})
}

// What is not finite on one rank alone ends a job of processes: that rank tells it, with its number and host, once, and the checkpoint before
// stays and is whole.
func TestNotFiniteOnOneProcess(t *testing.T) {
	needMPI(t)
	needData(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ fault, options, want string }{
		{"gradient", "", "the gradient of bert.embeddings.word_embeddings.weight is not finite"},
		{"weight", "", "the weight bert.embeddings.word_embeddings.weight is not finite"},
		{"weight", " --half", "the weight bert.embeddings.word_embeddings.weight is not finite"},
	} {
		t.Run(c.fault+c.options, func(t *testing.T) {
			out := t.TempDir()
			r := sh(t, faultVariable+"="+c.fault+" mpirun -np 3 "+self+c.options+" -o "+out)
			checkFault(t, r, 1, []string{"bertrain: error: rank 1 on " + host + ": step 4: " + c.want, "hint: "})
			before := filepath.Join(out, "step-00000003")
			if left, _ := filepath.Glob(filepath.Join(out, "*step-*")); !slices.Equal(left, []string{before}) {
				t.Errorf("checkpoints %v", left)
			}
			must(t, "ckpt check "+before)
		})
	}
}
