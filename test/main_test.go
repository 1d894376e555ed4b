package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs is the folder of freshly built programs, work a folder for data that several tests share.
var programs, work string

func TestMain(m *testing.M) {
	if os.Getenv(faultVariable) != "" {
		faultyRank() // does not return
	}
	os.Exit(func() int {
		var err error
		if work, err = os.MkdirTemp("", "hpcbert-test-"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(work)
		programs = filepath.Join(work, "bin")
		build := exec.Command("go", "build", "-o", programs+"/", "hpcbert/tools/...")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s\n", out)
			return 1
		}
		return m.Run()
	}())
}

// result is how a command ended.
type result struct {
	status         int
	stdout, stderr string
}

// sh runs a bash command line with the programs on its PATH; $WORK is the shared folder.
func sh(t *testing.T, line string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -o pipefail; "+line)
	return run(t, cmd)
}

func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

var templateVariables = map[string]bool{"PHASE": true, "DATA": true, "OUT": true, "CONFIG": true, "BATCHSIZE": true, "MICROBATCH": true, "PRECISION": true, "CHECKPOINT_ACTIVATIONS": true, "LR": true, "WARMUP": true, "STEPS": true, "SAVE_EVERY": true, "SEED": true, "PHASE1": true, "LAUNCHER": true, "RANKS_PER_NODE": true, "DRYRUN": true, "RETRIES": true, "RECIPE": true, "MACHINE": true, "IMAGE": true, "CONTAINER": true, "MOUNTS": true, "BIND": true, "IB": true,
	"WIKI": true, "BOOKS": true, "TEXT": true, "VOCAB": true, "TRAIN": true, "TEST": true, "FRACTION": true, "PHASES": true, "DUPE": true, "CASED": true, "RULES": true, "MODEL": true, "KEEP": true,
	"INIT": true, "MODE": true, "VERSION": true, "SQUAD_DIR": true, "TRAIN_FILE": true, "PREDICT_FILE": true, "SEEDS": true, "MAX_STEPS": true, "EPOCHS": true, "TASK": true, "GLUE_DIR": true}

// environment is this process's without what the job template reads: make passes DATA=... of its command line on.
func environment() []string {
	var inherited []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !templateVariables[name] {
			inherited = append(inherited, v)
		}
	}
	return append(inherited, "PATH="+programs+":"+os.Getenv("PATH"), "WORK="+work, "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
		"OMPI_MCA_mpi_yield_when_idle=1", "OMPI_MCA_rmaps_base_oversubscribe=1", "OMPI_MCA_hwloc_base_binding_policy=none")
}

// must runs a line that has to succeed.
func must(t *testing.T, line string) result {
	t.Helper()
	r := sh(t, line)
	if r.status != 0 {
		t.Fatalf("%s\nexit status %d\n%s%s", line, r.status, r.stdout, r.stderr)
	}
	return r
}

// smallData makes, once, the bundled corpus's HDF5 shards (sequences of 64 tokens) in $WORK/hdf5 and a small model shape in $WORK/small.json.
var smallData = sync.OnceValue(func() error {
	shape := `{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "max_position_embeddings": 64}`
	if err := os.WriteFile(filepath.Join(work, "small.json"), []byte(shape), 0o666); err != nil {
		return err
	}
	cmd := exec.Command("bash", "-c", `set -e -o pipefail
wikiextract data/tinywiki.xml | segment | shard --train 3 --test 1 -o $WORK/shards
mkpretrain --vocab data/vocab.txt --seq 64 --max-pred 10 --dupe 1 --seed 12345 -o $WORK/hdf5 $WORK/shards/*.txt`)
	cmd.Env = environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v\n%s", err, out)
	}
	return nil
})

func needData(t *testing.T) {
	t.Helper()
	if err := smallData(); err != nil {
		t.Fatal(err)
	}
}

func needMPI(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("mpirun"); err != nil {
		t.Skip("skipped: no mpirun on this machine")
	}
}

// trainLine is a training command on the small data; ranks 0 means without mpirun.
func trainLine(ranks int, out, options string) string {
	line := fmt.Sprintf("bertrain -j 1 --config $WORK/small.json --data $WORK/hdf5 -o %s --global-batch 16 --micro-batch 4 --seed 42 %s", out, options)
	if ranks > 0 {
		line = "mpirun -np " + strconv.Itoa(ranks) + " " + line
	}
	return line
}

// step is a line of metrics.jsonl.
type step struct {
	Step         int     `json:"step"`
	Loss         float64 `json:"loss"`
	MLMLoss      float64 `json:"mlm_loss"`
	NSPLoss      float64 `json:"nsp_loss"`
	LearningRate float64 `json:"learning_rate"`
	GradientNorm float64 `json:"gradient_norm"`
	Seconds      float64 `json:"seconds"`
	GFLOPs       float64 `json:"gflop_per_s"`
	LossScale    float64 `json:"loss_scale"`
	Skipped      int     `json:"skipped_steps"`
}

// steps reads the logged steps of a run.
func steps(t *testing.T, out string) []step {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []step
	for line := range strings.Lines(string(text)) {
		var s step
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("metrics.jsonl: %v in %q", err, line)
		}
		if s.Step > 0 {
			all = append(all, s)
		}
	}
	return all
}
