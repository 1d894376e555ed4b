package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// template is the job script of pre-training, small the variables that make it train the small model on the small data.
const (
	template = "$REPO/sub/pretrain.sub"
	small    = "DATA=$WORK/hdf5 CONFIG=$WORK/small.json BATCHSIZE=16 MICROBATCH=4 OMP_NUM_THREADS=1 "
)

// inFolder makes a line run in dir, with $REPO as the repository.
func inFolder(t *testing.T, dir, line string) string {
	t.Helper()
	repository, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return "export REPO='" + repository + "'; cd '" + dir + "'; " + line
}

// preflightCase is a line of bash before a dry run, and how that ends.
type preflightCase struct {
	what, line string
	status     int
	want       string // on standard error
}

// testPreflight makes dry runs of a job script: what would fail in the job is found before it, with a hint unless it is wrong usage, and no
// output folder is made.
func testPreflight(t *testing.T, script, variables string, cases []preflightCase) {
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			r := sh(t, inFolder(t, dir, "set -a; "+variables+"; "+c.line+"; DRYRUN=1; /bin/bash "+script))
			if r.status != c.status || !strings.Contains(r.stderr, c.want) {
				t.Errorf("exit status %d, expected %d; standard error does not say %q:\n%s", r.status, c.status, c.want, r.stderr)
			}
			if c.status == 1 && strings.Count(r.stderr, "hint: ") != 1 {
				t.Errorf("no hint:\n%s", r.stderr)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "out")); len(left) > 0 {
				t.Error("a dry run made the output folder")
			}
		})
	}
}

// TestTemplateRecipes: the values are those of the reference's scripts.
func TestTemplateRecipes(t *testing.T) {
	const one = " --config configs/model/large.json --data hdf5-128 -o pretrain-phase1 --global-batch 65536 --micro-batch 8 --learning-rate 6e-3 --warmup 0.2843 --steps 7038 --save-every 200 --seed 42\n"
	const two = " --config configs/model/large.json --data hdf5-512 -o pretrain-phase2 --global-batch 32768 --micro-batch 4 --learning-rate 4e-3 --warmup 0.128 --steps 1563 --save-every 200 --seed 42"
	for _, c := range []struct{ what, variables, want string }{
		{"phase 1", "", "mpirun --map-by ppr:1:node --bind-to none BERTRAIN" + one},
		{"phase 2", "PHASE=2", "mpirun --map-by ppr:1:node --bind-to none BERTRAIN" + two + " --init pretrain-phase1\n"},
		{"ranks of sbatch", "SLURM_NTASKS_PER_NODE=8", "mpirun --map-by ppr:8:node --bind-to none BERTRAIN" + one},
		{"srun", "LAUNCHER=srun RANKS_PER_NODE=2", "srun --mpi=pmix --ntasks-per-node=2 --cpu-bind=none --kill-on-bad-exit=1 BERTRAIN" + one},
		{"names with blanks", "OUT='a b' DATA='c;d'", strings.NewReplacer("pretrain-phase1", `a\ b`, "hdf5-128", `c\;d`).Replace("mpirun --map-by ppr:1:node --bind-to none BERTRAIN" + one)},
		{"precision and memory", "PRECISION=bf16 CHECKPOINT_ACTIVATIONS=1", "mpirun --map-by ppr:1:node --bind-to none BERTRAIN" +
			strings.TrimSuffix(one, "\n") + " --precision bf16 --checkpoint-activations\n"},
		{"all variables", "DATA=d OUT=o CONFIG=c BATCHSIZE=1 MICROBATCH=2 LR=3 WARMUP=0.4 STEPS=5 SAVE_EVERY=6 SEED=7",
			"mpirun --map-by ppr:1:node --bind-to none BERTRAIN --config c --data d -o o --global-batch 1 --micro-batch 2 --learning-rate 3 --warmup 0.4 --steps 5 --save-every 6 --seed 7\n"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			r := sh(t, inFolder(t, dir, c.variables+" DRYRUN=1 bash "+template))
			if want := strings.ReplaceAll(c.want, "BERTRAIN", filepath.Join(programs, "bertrain")); r.stdout != want {
				t.Errorf("printed\n%sexpected\n%s%s", r.stdout, want, r.stderr)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("a dry run made %v", left)
			}
		})
	}
}

// TestTemplatePreflight: what would fail in the job is found before it, in a dry run too.
func TestTemplatePreflight(t *testing.T) {
	needMPI(t)
	needData(t)
	testPreflight(t, template, small, []preflightCase{
		{"all there", "true", 0, ""},
		{"phase 3", "PHASE=3", 2, "PHASE"},
		{"other launcher", "LAUNCHER=mpiexec", 2, "LAUNCHER"},
		{"program missing", "mkdir p; ln -s $(command -v bash dirname) p; PATH=$PWD/p", 1, "bertrain: not found"},
		{"launcher missing", "mkdir p; ln -s $(command -v bash dirname bertrain) p; PATH=$PWD/p", 1, "mpirun: not found"},
		{"data missing", "DATA=none", 1, "none: no file"},
		{"test shards alone", "mkdir d; : > d/test_0.hdf5; DATA=d", 1, "d: no file"},
		{"shape missing", "CONFIG=none.json", 1, "none.json"},
		{"output below a file", ": > file; OUT=file/out", 1, "because of file"},
		{"no phase 1", "PHASE=2", 1, "phase 1 has not ended"},
		{"phase 1 not ended", "mkdir -p one/step-00000010; : > one/step-00000010/DONE; PHASE=2 PHASE1=one", 1, "phase 1 has not ended"},
		{"phase 1 without checkpoint", "mkdir -p one/step-00000010; : > one/DONE; PHASE=2 PHASE1=one", 1, "no whole checkpoint"},
		{"phase 1 ended", "mkdir -p one/step-00000010; : > one/DONE; : > one/step-00000010/DONE; PHASE=2 PHASE1=one", 0, ""},
	})
}

// TestTemplateWithoutSlurm stops a run of two ranks, goes on from there to the end, and starts phase 2 from it.
func TestTemplateWithoutSlurm(t *testing.T) {
	needMPI(t)
	needData(t)
	dir := t.TempDir()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR2} {
		out := "stopped-by-" + signal.String()
		cmd := exec.Command("bash", "-c", inFolder(t, dir, small+"RANKS_PER_NODE=2 STEPS=100000 OUT='"+out+"' exec bash "+template))
		var log strings.Builder
		cmd.Env, cmd.Stderr = environment(), &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitForStep(t, filepath.Join(dir, out))
		cmd.Process.Signal(signal)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v\n%s", signal, err, log.String())
		}
		checkpoints, _ := filepath.Glob(filepath.Join(dir, out, "step-*", "DONE"))
		if _, err := os.Stat(filepath.Join(dir, out, "STOPPED")); err != nil || len(checkpoints) != 1 {
			t.Errorf("%v: %v, checkpoints %v\n%s", signal, err, checkpoints, log.String())
		}
		if strings.Contains(log.String(), "requeue") {
			t.Errorf("%v: requeued without Slurm:\n%s", signal, log.String())
		}
	}

	must(t, inFolder(t, dir, small+"RANKS_PER_NODE=2 STEPS=10 OUT=one bash "+template))
	r := must(t, inFolder(t, dir, small+"PHASE=2 PHASE1=one STEPS=5 OUT=two bash "+template))
	if !strings.Contains(r.stderr, "--init one/step-00000010") || !strings.Contains(r.stderr, "done at step 5") {
		t.Errorf("phase 2:\n%s", r.stderr)
	}
	one, two := steps(t, filepath.Join(dir, "one")), steps(t, filepath.Join(dir, "two"))
	if len(one) != 10 || len(two) != 5 || two[0].Loss >= one[0].Loss {
		t.Errorf("phase 1: %v\nphase 2: %v", one, two)
	}
}
