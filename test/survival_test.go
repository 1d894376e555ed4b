package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledAtRandom kills a random rank at a random moment and gives the same command again, until so many kills have hit; a training that ends
// before that is made once more, elsewhere. Moments lie between the start of the program and twice the time that it takes to the first new
// checkpoint, so that about half of the runs get on; they hit start, loading, steps, and writing, naming and removing of checkpoints.
func TestKilledAtRandom(t *testing.T) {
	needMPI(t)
	needData(t)
	kills, total := 5, 20
	if os.Getenv("HPCBERT_SLOW") != "" {
		kills, total = 100, 500
	}
	line := func(out string) string {
		return trainLine(2, out, fmt.Sprintf("--steps %d --save-every 2 --keep 2 --global-batch 256", total))
	}
	whole := t.TempDir()
	began := time.Now()
	first := start(t, line(whole))
	waitFor(t, filepath.Join(whole, "step-00000002", "DONE"))
	k := killer{window: 2 * time.Since(began), left: kills, random: rand.New(rand.NewPCG(1, 2))}
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("undisturbed: %v for %d steps; killed within %v of the start", time.Since(began), total, k.window)
	began = time.Now()
	for k.left > 0 {
		killed := t.TempDir()
		k.train(t, line(killed), killed)
		last := fmt.Sprintf("step-%08d", total)
		sameFiles(t, filepath.Join(whole, last), filepath.Join(killed, last))
		sameSteps(t, steps(t, whole), steps(t, killed))
	}
	t.Logf("%d kills in %v, %d runs got on, mpirun hung %d times", kills, time.Since(began), k.gotOn, k.hung)
	if k.gotOn < kills/10 || k.hung > max(1, kills/10) {
		t.Errorf("%d of %d runs got on, mpirun hung %d times", k.gotOn, kills, k.hung)
	}
}

// sameSteps compares the metrics of two trainings.
func sameSteps(t *testing.T, want, got []step) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("metrics.jsonl has %d steps, expected %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Step != want[i].Step || got[i].Loss != want[i].Loss {
			t.Fatalf("metrics.jsonl: step %d with loss %v, expected step %d with %v", got[i].Step, got[i].Loss, want[i].Step, want[i].Loss)
		}
	}
}

// killer kills ranks.
type killer struct {
	window time.Duration // from the start of a run
	left   int
	gotOn  int // runs that made a checkpoint
	hung   int // runs whose mpirun did not end
	random *rand.Rand
}

// train runs a command of two ranks until it ends by itself.
func (k *killer) train(t *testing.T, line, out string) {
	t.Helper()
	for at, done := 0, false; !done; {
		var stderr bytes.Buffer
		cmd := exec.Command("bash", "-c", "exec "+line)
		cmd.Env, cmd.Stderr = environment(), &stderr
		if k.left%10 > 0 { // mpirun does not let the other rank go on for a second or two
			cmd.Env = append(cmd.Env, "OMPI_MCA_odls_base_sigkill_timeout=0")
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		hit := k.left > 0 && killRank(t, cmd.Process.Pid, time.Duration(k.random.Float64()*float64(k.window)), k.random)
		done = k.wait(t, cmd) == nil
		if text := stderr.String(); !done && !hit || strings.Contains(text, "SHA-256") || strings.Contains(text, "damaged") {
			t.Fatalf("with %d kills to come: %s", k.left, text)
		}
		if hit {
			k.left--
		}
		if now := newestStep(t, out); now > at {
			k.gotOn, at = k.gotOn+1, now
		}
	}
}

// wait waits for mpirun. That of Open MPI 4.1 may, once in a while, lock itself up in PMIx_server_finalize after a rank was killed and all have
// ended; it is killed then.
func (k *killer) wait(t *testing.T, mpirun *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- mpirun.Wait() }()
	for alone := 0; ; alone++ {
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Second):
		}
		if len(ranksNow(t, mpirun.Process.Pid)) > 0 {
			alone = 0
		}
		if alone == 60 {
			k.hung++
			mpirun.Process.Kill()
		}
	}
}

// killRank kills one of the ranks of mpirun after a time, or as soon as there are any. It tells whether there was one to kill.
func killRank(t *testing.T, mpirun int, after time.Duration, random *rand.Rand) bool {
	t.Helper()
	time.Sleep(after)
	for range 1000 {
		ranks := ranksNow(t, mpirun)
		if len(ranks) > 0 {
			return syscall.Kill(ranks[random.IntN(len(ranks))], syscall.SIGKILL) == nil
		}
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", mpirun)); err != nil || strings.Contains(string(text), ") Z ") {
			return false // it ended before
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// newestStep is the update of a run's newest finished checkpoint.
func newestStep(t *testing.T, out string) (step int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(out, "step-*", "DONE"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) > 0 {
		fmt.Sscanf(filepath.Base(filepath.Dir(names[len(names)-1])), "step-%d", &step)
	}
	return step
}

// damages are what disks, copies and kills do to a checkpoint D, and what is said of each.
var damages = []struct {
	what, do string
	want     []string
}{
	{"weights flipped", "flip $D/model.safetensors", []string{"model.safetensors", "SHA-256"}},
	{"weights cut off", "truncate -s -1 $D/model.safetensors", []string{"model.safetensors", "bytes"}},
	{"weights longer", "printf x >> $D/model.safetensors", []string{"model.safetensors", "bytes"}},
	{"weights gone", "rm $D/model.safetensors", []string{"model.safetensors", "no such file"}},
	{"weights a folder", "rm $D/model.safetensors && mkdir $D/model.safetensors", []string{"model.safetensors", "is a directory"}},
	{"moments flipped", "flip $D/optimizer-00000-of-00001.safetensors", []string{"optimizer-00000-of-00001.safetensors", "SHA-256"}},
	{"moments half written", "truncate -s 1000 $D/optimizer-00000-of-00001.safetensors", []string{"optimizer-00000-of-00001.safetensors", "bytes"}},
	{"moments of another step", "cp $D/../step-00000003/optimizer-00000-of-00001.safetensors $D", []string{"optimizer-00000-of-00001.safetensors", "SHA-256"}},
	{"state empty", ": > $D/trainer.json", []string{"trainer.json", "0 bytes"}},
	{"state with another step", `sed -i 's/"step": 4/"step": 5/' $D/trainer.json`, []string{"trainer.json", "SHA-256"}},
	{"shape flipped", "flip $D/config.json", []string{"config.json", "SHA-256"}},
	{"vocabulary gone", "rm $D/vocab.txt", []string{"vocab.txt", "no such file"}},
	{"DONE gone", "rm $D/DONE", []string{"no DONE", "not finished"}},
	{"DONE empty", ": > $D/DONE", []string{"DONE is damaged"}},
	{"DONE cut off", "truncate -s 100 $D/DONE", []string{"DONE is damaged"}},
	{"DONE flipped", `sed -i 's/"sha256": "./"sha256": "g/' $D/DONE`, []string{"SHA-256"}},
	{"DONE without the weights", `sed -i '/model.safetensors/,/}/d' $D/DONE`, []string{"DONE does not list model.safetensors"}},
}

// flip is a shell function that flips a bit in the middle of a file.
const flip = `flip() { python3 -c 'import sys; f = open(sys.argv[1], "r+b"); d = f.read(); i = len(d) // 2; f.seek(i); f.write(bytes([d[i] ^ 1]))' "$1"; }; `

// Every damage is named and skipped: training goes on from the checkpoint before to the same model. ckpt check answers no, and a start from it is
// refused.
func TestDamagedCheckpoints(t *testing.T) {
	needData(t)
	whole := t.TempDir()
	must(t, trainLine(0, whole, "--steps 4 --save-every 1 --keep 0"))
	const last = "step-00000004"
	for i, c := range damages {
		if i%3 != 0 && os.Getenv("HPCBERT_SLOW") == "" {
			continue
		}
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			must(t, flip+"cp -r "+whole+" "+out+"; D="+out+"/"+last+"; "+c.do)
			checkFault(t, sh(t, "ckpt check "+out+"/"+last), 3, append(c.want, last))
			checkFault(t, sh(t, trainLine(0, t.TempDir(), "--steps 1 --init "+out+"/"+last)), 1, append(c.want, last, "hint: "))
			r := must(t, trainLine(0, out, "--steps 4 --save-every 1 --keep 0"))
			for _, want := range append(c.want, "warning: ", last, ": skipped", "going on from step 3") {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("standard error does not say %q:\n%s", want, r.stderr)
				}
			}
			sameFiles(t, filepath.Join(whole, last), filepath.Join(out, last))
		})
	}
}

// A run whose checkpoints are all damaged must not start anew by itself: that would remove its metrics. One that was killed while it wrote its
// first checkpoint has nothing to lose.
func TestOnlyDamagedCheckpoints(t *testing.T) {
	needData(t)
	out := t.TempDir()
	must(t, trainLine(0, out, "--steps 2"))
	damage(t, filepath.Join(out, "step-00000002", "model.safetensors"))
	r := sh(t, trainLine(0, out, "--steps 2"))
	checkFault(t, r, 1, []string{"no checkpoint is whole", "hint: "})
	if n := len(steps(t, out)); n != 2 {
		t.Errorf("%d steps left in metrics.jsonl", n)
	}
	must(t, "rm "+out+"/step-00000002/DONE")
	if r = must(t, trainLine(0, out, "--steps 2")); !strings.Contains(r.stderr, "not finished: skipped") || strings.Contains(r.stderr, "going on") {
		t.Errorf("standard error:\n%s", r.stderr)
	}
}

// smallDisk makes a file system of so many KiB.
func smallDisk(t *testing.T, kib int) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dk", kib), "none", dir).CombinedOutput(); err != nil {
		t.Skipf("skipped: cannot make a small file system here: %s", out)
	}
	t.Cleanup(func() { exec.Command("umount", dir).Run() })
	return dir
}

// The disk fills up at the first checkpoint, or at a later one, written while training goes on or not. What is there stays whole; with room the
// same command goes on.
func TestFullDisk(t *testing.T) {
	needData(t)
	whole := t.TempDir()
	must(t, trainLine(0, whole, "--steps 6 --save-every 2 --keep 0"))
	for _, c := range []struct {
		options string
		kib     int
		want    string
		left    int
	}{
		{"--steps 5", 300, "save step 5: ", 0},
		{"--steps 6 --save-every 2 --keep 0", 3000, "save step 6: ", 2},
		{"--steps 6 --save-every 2 --keep 0", 1700, "save step 4: ", 1},
		{"--steps 6 --save-every 2 --keep 0 --save-sync", 1700, "save step 4: ", 1},
	} {
		t.Run(c.options, func(t *testing.T) {
			dir := smallDisk(t, c.kib)
			line := trainLine(0, dir, c.options)
			checkFault(t, sh(t, line), 1, []string{c.want, "no space left on device", "hint: free some space"})
			left, _ := filepath.Glob(filepath.Join(dir, "*step-*"))
			hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
			if len(left) != c.left || len(hidden) > 0 {
				t.Errorf("left behind: %v %v", left, hidden)
			}
			if c.left > 0 {
				must(t, "mount -o remount,size=20m "+dir+" && "+line)
				sameFiles(t, filepath.Join(whole, "step-00000006"), filepath.Join(dir, "step-00000006"))
			}
		})
	}
}

func TestReadOnlyFolder(t *testing.T) {
	needData(t)
	dir := smallDisk(t, 20000)
	options := "--steps 4 --save-every 2"
	must(t, trainLine(0, dir, options)+" && rm "+dir+"/DONE && rm -r "+dir+"/step-00000004 && mount -o remount,ro "+dir)
	for _, out := range []string{dir, dir + "/new"} {
		checkFault(t, sh(t, trainLine(0, out, options)), 1, []string{out + ": read-only file system", "hint: "})
	}
}

// A training that has ended is left alone, whoever starts it again.
func TestCompleteRunIsNotTouched(t *testing.T) {
	needData(t)
	out := t.TempDir()
	must(t, trainLine(0, out, "--steps 4 --save-every 2"))
	list := "cd " + out + " && find . -printf '%p %s %T@ %C@ %i\n' | sort"
	before := must(t, list)
	r := must(t, trainLine(0, out, "--steps 4 --save-every 2"))
	if after := must(t, list); after.stdout != before.stdout || !strings.Contains(r.stderr, "already complete") {
		t.Errorf("before\n%safter\n%s%s", before.stdout, after.stdout, r.stderr)
	}
}

// Phase 2 goes on from phase 1's newest checkpoint or a named one, weights and moments, counts its own steps in its own folder, and leaves
// phase 1's alone.
func TestPhase2(t *testing.T) {
	needData(t)
	one := t.TempDir()
	must(t, trainLine(0, one, "--steps 6 --save-every 2 --warmup 0 --keep 0"))
	phase2 := func(options string) (out string, stderr string) {
		out = t.TempDir()
		return out, must(t, trainLine(0, out, "--steps 3 --warmup 0 "+options)).stderr
	}
	named, _ := phase2("--init " + one + "/step-00000006")
	newest, _ := phase2("--phase2 --init " + one)
	sameFiles(t, named+"/step-00000003", newest+"/step-00000003")

	fourth, _ := phase2("--phase2 --phase1-end-step 4 --init " + one)
	named, _ = phase2("--init " + one + "/step-00000004")
	sameFiles(t, named+"/step-00000003", fourth+"/step-00000003")

	line := trainLine(0, one, "--steps 3 --warmup 0 --phase2 --phase1-end-step 4")
	must(t, line)
	sameFiles(t, named+"/step-00000003", one+"/phase2/step-00000003")
	if r := must(t, line); !strings.Contains(r.stderr, "already complete") {
		t.Errorf("again: %s", r.stderr)
	}
	if r := must(t, trainLine(0, one, "--steps 6 --save-every 2 --warmup 0 --keep 0")); !strings.Contains(r.stderr, "already complete") {
		t.Errorf("phase 1 again: %s", r.stderr)
	}

	damage(t, one+"/step-00000006/model.safetensors")
	_, stderr := phase2("--phase2 --init " + one)
	for _, want := range []string{"step-00000006", "SHA-256", "has made 4 of its 6 steps"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("standard error does not say %q:\n%s", want, stderr)
		}
	}
	for options, want := range map[string]string{
		"--phase2 --init " + one + " --phase1-end-step 5":               "step-00000005: there is none",
		"--phase2 --init " + one + " --phase1-end-step 6":               "SHA-256",
		"--phase2 --init " + one + "/step-00000004 --phase1-end-step 2": "it is of step 4, not 2",
		"--phase2": "no checkpoint in this folder",
	} {
		checkFault(t, sh(t, trainLine(0, t.TempDir(), "--steps 3 "+options)), 1, []string{want})
	}
}
