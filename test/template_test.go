package test

import (
	"fmt"
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
	small    = "DATA=$WORK/hdf5,$WORK/hdf5 CONFIG=$WORK/small.json BATCHSIZE=16 MICROBATCH=4 OMP_NUM_THREADS=1 "
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
	const (
		mpirun = "mpirun --map-by ppr:1:node --bind-to none "
		one    = "BERTRAIN --config configs/model/large.json --data hdf5-128 -o pretrain/phase1 --global-batch 65536 --micro-batch 8 --learning-rate 6e-3 --warmup 0.2843 --steps 7038 --save-every 200 --seed 42"
		two    = "BERTRAIN --config configs/model/large.json --data hdf5-512 -o pretrain/phase2 --global-batch 32768 --micro-batch 4 --learning-rate 4e-3 --warmup 0.128 --steps 1563 --save-every 200 --seed 42"
		init   = " --phase2 --init pretrain/phase1"
		pyxis  = "srun --mpi=pmix --ntasks=1 --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1 --container-image=i.sqsh --container-mounts=DIR:DIR"
	)
	inImage := strings.NewReplacer("BERTRAIN", "bertrain")
	for _, c := range []struct{ what, variables, want string }{
		{"both phases", "", mpirun + one + "\n" + mpirun + two + init},
		{"phase 1", "PHASE=1", mpirun + one},
		{"phase 2", "PHASE=2", mpirun + two + init},
		{"phase 2 of another run", "PHASE=2 PHASE1=p STEPS=5", mpirun + strings.Replace(two, "1563", "5", 1) + " --phase2 --init p"},
		{"ranks of sbatch", "PHASE=1 SLURM_NTASKS_PER_NODE=8", "mpirun --map-by ppr:8:node --bind-to none " + one},
		{"srun", "PHASE=1 LAUNCHER=srun RANKS_PER_NODE=2 SLURM_NNODES=4", "srun --mpi=pmix --ntasks=8 --ntasks-per-node=2 --cpu-bind=none --kill-on-bad-exit=1 " + one},
		{"names with blanks", "PHASE=1 OUT='a b' DATA='c;d'", mpirun + strings.NewReplacer("pretrain/", `a\ b/`, "hdf5-128", `c\;d`).Replace(one)},
		{"precision and memory", "PRECISION=bf16,fp32 CHECKPOINT_ACTIVATIONS=0,1", mpirun + one + " --precision bf16\n" + mpirun + two + " --checkpoint-activations" + init},
		{"a value for each phase", "LR=1,2 STEPS=3,4 SEED=5", mpirun + strings.NewReplacer("6e-3", "1", "7038", "3", "seed 42", "seed 5").Replace(one) + "\n" +
			mpirun + strings.NewReplacer("4e-3", "2", "1563", "4", "seed 42", "seed 5").Replace(two) + init},
		{"all variables", "PHASE=1 DATA=d OUT=o CONFIG=c BATCHSIZE=1 MICROBATCH=2 LR=3 WARMUP=.4 STEPS=5 SAVE_EVERY=6 SEED=7",
			mpirun + "BERTRAIN --config c --data d -o o/phase1 --global-batch 1 --micro-batch 2 --learning-rate 3 --warmup .4 --steps 5 --save-every 6 --seed 7"},
		{"recipe", "PHASE=1 RECIPE=r1.json,r2.json MACHINE=m.json LR=1", mpirun + "BERTRAIN --config configs/model/large.json --data hdf5-128 -o pretrain/phase1 --learning-rate 1 --recipe r1.json --machine m.json"},
		{"bound", "PHASE=1 BIND=exclusive", mpirun + "$REPO/sub/bind.sh --cpu=exclusive --ib=off -- " + one},
		{"device alone", "PHASE=1 IB=single", mpirun + "$REPO/sub/bind.sh --cpu=off --mem=off --ib=single -- " + one},
		{"pyxis", "PHASE=1 IMAGE=i.sqsh", pyxis + " --container-workdir=DIR " + inImage.Replace(one)},
		{"pyxis and folders elsewhere", "IMAGE=i.sqsh PHASE=1 DATA=/d OUT=../o MOUNTS=/x:/y BIND=node", pyxis + `\,/d:/d\,PARENT/o:PARENT/o\,/x:/y --container-workdir=DIR bind.sh --cpu=node --ib=off -- ` +
			strings.NewReplacer("BERTRAIN", "bertrain", "hdf5-128", "/d", "pretrain/", "../o/").Replace(one)},
		{"apptainer", "PHASE=1 CONTAINER=apptainer IMAGE=i.sif", mpirun + "apptainer exec --bind DIR:DIR --pwd DIR i.sif " + inImage.Replace(one)},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			must(t, inFolder(t, dir, "mkdir -p sub && cp $REPO/sub/bind.sh sub/")) // as in the repository
			r := sh(t, inFolder(t, dir, c.variables+" DRYRUN=1 bash "+template))
			want := strings.NewReplacer("BERTRAIN", filepath.Join(programs, "bertrain"), "DIR", dir, "PARENT", filepath.Dir(dir), "$REPO", dir).Replace(c.want) + "\n"
			if r.stdout != want {
				t.Errorf("printed\n%sexpected\n%s%s", r.stdout, want, r.stderr)
			}
			if left, _ := os.ReadDir(dir); len(left) > 1 {
				t.Errorf("a dry run made %v", left)
			}
		})
	}
}

// TestTemplateValues: an illegal value is wrong usage, and the message lists the legal ones.
func TestTemplateValues(t *testing.T) {
	const two = "or two of them with a comma between"
	testPreflight(t, template, "true", []preflightCase{
		{"phase 3", "PHASE=3", 2, `PHASE is "3", it must be 1, 2 or both`},
		{"other launcher", "LAUNCHER=mpiexec", 2, "LAUNCHER is \"mpiexec\", it must be mpirun or srun"},
		{"no rank", "RANKS_PER_NODE=0", 2, "a number of at least 1"},
		{"retries", "RETRIES=-1", 2, "a number of at least 0"},
		{"binding", "BIND=socket", 2, "off, node, exclusive, exclusive,nosmt or FILE.sh"},
		{"container program", "CONTAINER=docker IMAGE=x", 2, "pyxis, apptainer or none"},
		{"container without image", "CONTAINER=pyxis", 2, "IMAGE is not set"},
		{"image without container", "CONTAINER=none IMAGE=x", 2, "IMAGE is set"},
		{"machine without recipe", "MACHINE=x", 2, "RECIPE is not set"},
		{"mpirun and pyxis", "LAUNCHER=mpirun IMAGE=x", 2, "by srun only"},
		{"batch", "BATCHSIZE=many", 2, two},
		{"batch of phase 2", "BATCHSIZE=64,0", 2, two},
		{"three batches", "BATCHSIZE=64,32,16", 2, two},
		{"batch below ranks", "RANKS_PER_NODE=3 BATCHSIZE=8,2", 2, "at least one for each of the 3 ranks"},
		{"micro-batch", "MICROBATCH=1.5", 2, two},
		{"precision", "PRECISION=fp8", 2, "fp32, bf16, fp16 or tf32"},
		{"learning rate of 0", "LR=0.0", 2, "a number above 0"},
		{"learning rate below 0", "LR=-1", 2, "a number above 0"},
		{"warm-up of 1", "WARMUP=1", 2, "a share from 0 to below 1"},
		{"steps", "STEPS=0", 2, two},
		{"checkpoints", "SAVE_EVERY=-1", 2, two},
		{"seed", "SEED=x", 2, two},
		{"activations", "CHECKPOINT_ACTIVATIONS=yes", 2, "0 or 1"},
		{"one folder for two phases", "DATA=hdf5", 2, "two phases need two folders"},
	})
}

// TestTemplatePreflight: what would fail in the job is found before it, in a dry run too.
func TestTemplatePreflight(t *testing.T) {
	needMPI(t)
	needData(t)
	// other makes a program in a folder of its own that comes first on PATH.
	other := func(name, text string) string {
		return "mkdir -p bin; printf '#!/bin/bash\n%s\n' '" + text + "' > bin/" + name + "; chmod +x bin/" + name
	}
	testPreflight(t, template, small, []preflightCase{
		{"all there", "true", 0, "1 node(s) answered"},
		{"program missing", "mkdir p; ln -s $(command -v bash dirname) p; PATH=$PWD/p", 1, "bertrain: not found"},
		{"launcher missing", "mkdir p; ln -s $(command -v bash dirname bertrain) p; PATH=$PWD/p", 1, "mpirun: not found"},
		{"MPI that does not work", other("mpirun", "exit 1"), 1, "0 of 1 node(s) answered"},
		{"program that does not start", other("bertrain", "echo no libhdf5; exit 127"), 1, "bertrain does not start: no libhdf5"},
		{"another program on a node", other("mpirun", `printf "n1\tv 1\t99999999\t\nn2\tv 2\t99999999\t\n"`), 1, "n2 has another bertrain (v 2) than n1 (v 1)"},
		{"a node that does not see the folder", other("mpirun", `printf "n1\tv 1\t99999999\tout: not the same folder\n"`), 1, "n1: out: not the same folder"},
		{"a node that does not answer", other("mpirun", `printf "n1\tv 1\t99999999\t\n"`) + "; SLURM_NNODES=2", 1, "1 of 2 node(s) answered"},
		{"disk full on a node", other("mpirun", `printf "n1\tv 1\t1\t\n"`), 1, "0 MiB free"},
		{"data missing", "DATA=none,$WORK/hdf5", 1, "none: no file"},
		{"data of phase 2 missing", "DATA=$WORK/hdf5,none", 1, "none: no file"},
		{"test shards alone", "mkdir d; : > d/test_0.hdf5; DATA=d PHASE=1", 1, "d: no file"},
		{"shape missing", "CONFIG=none.json", 1, "none.json"},
		{"recipe missing", "RECIPE=none.json", 1, "none.json: cannot be read"},
		{"own binding missing", "BIND=none.sh; mkdir sub; cp $REPO/sub/bind.sh sub", 1, "none.sh: cannot be read"},
		{"no pyxis", "IMAGE=x.sqsh; " + other("srun", "echo usage"), 1, "no --container-image"},
		{"no apptainer", "IMAGE=x.sif CONTAINER=apptainer", 1, "apptainer: not found"},
		{"image missing", "IMAGE=./x.sif CONTAINER=apptainer; " + other("apptainer", ""), 1, "./x.sif: no such image"},
		{"output below a file", ": > file; OUT=file/out", 1, "because of file"},
		{"no phase 1", "PHASE=2", 1, "phase 1 has not ended"},
		{"phase 1 not ended", "mkdir -p one/step-00000010; : > one/step-00000010/DONE; PHASE=2 PHASE1=one", 1, "phase 1 has not ended"},
		{"phase 1 without checkpoint", "mkdir -p one/step-00000010; : > one/DONE; PHASE=2 PHASE1=one", 1, "no whole checkpoint"},
		{"phase 1 with a damaged checkpoint", "mkdir -p one/step-00000010; : > one/DONE; : > one/step-00000010/DONE; PHASE=2 PHASE1=one", 1, "one/step-00000010"},
		{"plan that bertrain refuses", "LR=1e99", 2, "bertrain: error: --learning-rate"},
	})
}

// TestTemplateWithoutSlurm stops a run of two ranks, goes on from there to the end of phase 1, and through phase 2.
func TestTemplateWithoutSlurm(t *testing.T) {
	needMPI(t)
	needData(t)
	dir := t.TempDir()
	const line = small + "RANKS_PER_NODE=2 STEPS=%s OUT=%s exec bash " + template
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR2} {
		out := "stopped-by-" + signal.String()
		cmd := exec.Command("bash", "-c", inFolder(t, dir, fmt.Sprintf(line, "100000,5", "'"+out+"'")))
		var log strings.Builder
		cmd.Env, cmd.Stderr = environment(), &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		one := filepath.Join(dir, out, "phase1")
		waitForStep(t, one)
		cmd.Process.Signal(signal)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v\n%s", signal, err, log.String())
		}
		checkpoints, _ := filepath.Glob(filepath.Join(one, "step-*", "DONE"))
		if _, err := os.Stat(filepath.Join(one, "STOPPED")); err != nil || len(checkpoints) != 1 {
			t.Errorf("%v: %v, checkpoints %v\n%s", signal, err, checkpoints, log.String())
		}
		if _, err := os.Stat(filepath.Join(dir, out, "phase2")); err == nil || strings.Contains(log.String(), "requeue") {
			t.Errorf("%v: phase 2 begun, or requeued without Slurm:\n%s", signal, log.String())
		}
	}

	must(t, inFolder(t, dir, fmt.Sprintf("PHASE=1 "+line, "10", "run")))
	r := must(t, inFolder(t, dir, fmt.Sprintf(line, "10,5", "run")))
	for _, want := range []string{"phase 1: done at step 10", "--phase2 --init run/phase1", "phase 2: done at step 5"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("the log does not say %q:\n%s", want, r.stderr)
		}
	}
	one, two := steps(t, filepath.Join(dir, "run/phase1")), steps(t, filepath.Join(dir, "run/phase2"))
	if len(one) != 10 || len(two) != 5 || two[0].Loss >= one[0].Loss {
		t.Errorf("phase 1: %v\nphase 2: %v", one, two)
	}
}

// TestTemplateFailure: phase 2 does not start after a failed phase 1. Under Slurm the job is requeued, unless the usage is wrong or RETRIES starts
// in a row have brought no checkpoint. An mpirun that starts programs as they are stands for all launchers, one that fails as told for lost nodes.
func TestTemplateFailure(t *testing.T) {
	needData(t)
	const launcher = "#!/bin/bash\nshift 4\n[ $1 = bash ] && exec \"$@\"\n[[ \"$*\" = *--dry-run* ]] && exit 0\necho started >> starts\n[ -z $CHECKPOINT ] || { mkdir -p out/phase1/step-0000000$(wc -l < starts); : > out/phase1/step-0000000$(wc -l < starts)/DONE; }\n[ -z $STOPPED ] || { mkdir -p out/phase1; echo step 3 > out/phase1/STOPPED; }\nexit $FAIL\n"
	for _, c := range []struct {
		what, variables string
		starts          int // of the job
		status          int // of the last start
		trained         int // starts of ranks
		want            string
	}{
		{"without Slurm", "FAIL=7", 1, 7, 1, "phase 1 failed with exit status 7"},
		{"nothing said, nothing made", "FAIL=0", 1, 1, 1, "phase 1 failed with exit status 0"},
		{"wrong usage", "FAIL=2 SLURM_JOB_ID=5", 1, 2, 1, "phase 1 failed with exit status 2"},
		{"failed once", "FAIL=1 SLURM_JOB_ID=5", 1, 0, 1, "requeue of job 5"},
		{"failed too often", "FAIL=1 SLURM_JOB_ID=5 RETRIES=2", 4, 1, 3, "no new checkpoint in 3 starts of job 5"},
		{"never again", "FAIL=1 SLURM_JOB_ID=5 RETRIES=0", 2, 1, 1, "no new checkpoint in 1 starts of job 5"},
		{"failed often, but got on", "FAIL=1 SLURM_JOB_ID=5 RETRIES=1 CHECKPOINT=1", 5, 0, 5, "requeue of job 5"},
		{"ranks that knew the time limit", "FAIL=0 SLURM_JOB_ID=5 STOPPED=1", 1, 0, 1, "requeue of job 5"},
		{"ranks stopped without Slurm", "FAIL=0 STOPPED=1", 1, 0, 1, "stopped with everything saved at step 3"},
		{"node not back yet", "FAIL=1 SLURM_JOB_ID=5 SLURM_RESTART_COUNT=1 CONFIG=none", 1, 0, 0, "requeue of job 5"},
		{"wrong from the start", "FAIL=1 SLURM_JOB_ID=5 CONFIG=none", 1, 1, 0, "none: cannot be read"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			must(t, inFolder(t, dir, "mkdir bin; printf '"+launcher+"' > bin/mpirun; printf '#!/bin/sh\n' > bin/scontrol; chmod +x bin/*; : > starts"))
			var r result
			for i := range c.starts {
				r = sh(t, inFolder(t, dir, fmt.Sprintf("set -a; %s STEPS=10 OUT=out SLURM_RESTART_COUNT=%d; %s; bash %s", small, i, c.variables, template)))
			}
			if r.status != c.status || !strings.Contains(r.stderr, c.want) {
				t.Errorf("exit status %d, expected %d; standard error does not say %q:\n%s", r.status, c.status, c.want, r.stderr)
			}
			if n := strings.Count(read(t, filepath.Join(dir, "starts")), "started"); n != c.trained {
				t.Errorf("ranks were started %d times, expected %d", n, c.trained)
			}
			if _, err := os.Stat(filepath.Join(dir, "out/phase2")); err == nil {
				t.Error("phase 2 was begun")
			}
		})
	}
}
