package test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sameFiles compares the files of two checkpoints byte by byte.
func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	entries, err := os.ReadDir(a)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 5 {
		t.Fatalf("%s holds %d files", a, len(entries))
	}
	for _, e := range entries {
		one, err := os.ReadFile(filepath.Join(a, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(b, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if string(one) != string(two) {
			t.Errorf("%s differs between %s and %s", e.Name(), a, b)
		}
	}
}

func TestKilledRunGoesOnToTheSameBytes(t *testing.T) {
	needMPI(t)
	needData(t)
	whole, killed := t.TempDir(), t.TempDir()
	options := "--steps 40 --save-every 10 --keep 0 --global-batch 64" // long enough to be killed between 20 and 40
	must(t, trainLine(2, whole, options))

	cmd := start(t, trainLine(2, killed, options))
	waitFor(t, filepath.Join(killed, "step-00000020", "DONE"))
	for _, pid := range ranksOf(t, cmd.Process.Pid, 2) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if cmd.Wait() == nil {
		t.Fatal("mpirun ended well although its ranks were killed")
	}
	if _, err := os.Stat(filepath.Join(killed, "step-00000040")); err == nil {
		t.Fatal("the run ended before it could be killed: make it longer")
	}
	r := must(t, trainLine(2, killed, options))
	if !strings.Contains(r.stderr, "going on from step") {
		t.Errorf("the second run did not go on:\n%s", r.stderr)
	}
	sameFiles(t, filepath.Join(whole, "step-00000040"), filepath.Join(killed, "step-00000040"))
	for i, s := range steps(t, killed) {
		if s.Step != i+1 {
			t.Fatalf("metrics.jsonl: line %d is step %d", i+1, s.Step)
		}
	}
	again := must(t, trainLine(2, killed, options))
	if !strings.Contains(again.stderr, "already complete") {
		t.Errorf("a third run did not say that all is done:\n%s", again.stderr)
	}
}

func waitFor(t *testing.T, name string) {
	t.Helper()
	for range 1200 {
		if _, err := os.Stat(name); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s did not appear in a minute", name)
}

// waitForStep waits until a run has made an update.
func waitForStep(t *testing.T, out string) {
	t.Helper()
	waitFor(t, filepath.Join(out, "metrics.jsonl"))
	for range 1200 {
		if len(steps(t, out)) > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: no step in a minute", out)
}

// ranksOf returns the processes of bertrain that mpirun started.
func ranksOf(t *testing.T, mpirun, want int) []int {
	t.Helper()
	pids := ranksNow(t, mpirun)
	if len(pids) != want {
		t.Fatalf("%d ranks of process %d, expected %d", len(pids), mpirun, want)
	}
	return pids
}

// ranksNow returns those that there are at this moment.
func ranksNow(t *testing.T, mpirun int) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // ended meanwhile
		}
		pid, rest, _ := strings.Cut(string(text), " (")
		command, rest, _ := strings.Cut(rest, ") ")
		fields := strings.Fields(rest)
		if command == "bertrain" && fields[1] == strconv.Itoa(mpirun) && fields[0] != "Z" {
			n, _ := strconv.Atoi(filepath.Base(pid))
			pids = append(pids, n)
		}
	}
	return pids
}

func TestRankCountChangesOnlyRounding(t *testing.T) {
	needMPI(t)
	needData(t)
	var base []step
	for _, ranks := range []int{0, 1, 2, 4} {
		out := t.TempDir()
		must(t, trainLine(ranks, out, "--steps 20 --save-every 0"))
		got := steps(t, out)
		if len(got) != 20 {
			t.Fatalf("%d ranks: %d steps", ranks, len(got))
		}
		if base == nil {
			base = got
		}
		for i := range got {
			if relative(got[i].Loss, base[i].Loss) > 1e-5 {
				t.Errorf("%d ranks, step %d: loss %v, alone %v", ranks, i+1, got[i].Loss, base[i].Loss)
			}
		}
	}
}

// start starts a command line.
func start(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("bash", "-c", "exec "+line)
	cmd.Env = environment()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// runToStep trains until there is a checkpoint of an update.
func runToStep(t *testing.T, ranks int, out, options string, step int) {
	t.Helper()
	cmd := start(t, trainLine(ranks, out, options))
	waitFor(t, filepath.Join(out, fmt.Sprintf("step-%08d", step), "DONE"))
	cmd.Process.Signal(syscall.SIGUSR2)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// Each checkpoint is gone on from by the number of ranks that made it and by another one.
func TestRunGoesOnWithOtherRanks(t *testing.T) {
	needMPI(t)
	needData(t)
	const first = 5
	leg := 10 // updates after a change
	if os.Getenv("HPCBERT_SLOW") != "" {
		leg = 220
	}
	options := fmt.Sprintf("--steps %d --save-every 5 --keep 0", first+3*leg+100)
	ranks, at, from := 1, first, t.TempDir()
	runToStep(t, ranks, from, options, at)
	for _, next := range []int{2, 4, 1} {
		same, other := t.TempDir(), t.TempDir()
		for out, ranks := range map[string]int{same: ranks, other: next} {
			must(t, fmt.Sprintf("cp -r %[1]s/step-%08[2]d %[1]s/metrics.jsonl %[3]s", from, at, out))
			runToStep(t, ranks, out, options, at+leg)
		}
		want, got := steps(t, same), steps(t, other)
		worst, worstEarly := 0.0, 0.0
		for i := at; i < at+leg; i++ {
			e := relative(got[i].Loss, want[i].Loss)
			if worst = max(worst, e); i < at+20 {
				worstEarly = max(worstEarly, e)
			}
		}
		t.Logf("step %d, from %d ranks to %d: losses differ by %.1e at most in 20 steps, by %.1e in %d", at, ranks, next, worstEarly, worst, leg)
		if worstEarly > 1e-5 || worst > 1e-3 {
			t.Errorf("step %d, from %d ranks to %d: a loss differs by %.1e in 20 steps, by %.1e in %d", at, ranks, next, worstEarly, worst, leg)
		}
		ranks, at, from = next, at+leg, other
	}
}

func TestInitTakesWeightsAndMoments(t *testing.T) {
	needData(t)
	first, kept, reset, fresh := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	must(t, trainLine(0, first, "--steps 4 --warmup 0 --save-every 2"))
	init := "--steps 3 --warmup 0 --init " + filepath.Join(first, "step-00000002")
	must(t, trainLine(0, fresh, "--steps 3 --warmup 0"))
	must(t, trainLine(0, kept, init))
	must(t, trainLine(0, reset, init+" --reset-optimizer"))
	a, b, c := steps(t, kept), steps(t, reset), steps(t, fresh)
	if a[0].Step != 1 || a[0].Loss != b[0].Loss || a[0].Loss == c[0].Loss {
		t.Errorf("step %d: loss %v with moments, %v without, %v from random weights", a[0].Step, a[0].Loss, b[0].Loss, c[0].Loss)
	}
	if a[1].Loss == b[1].Loss {
		t.Errorf("step 2: loss %v with and without moments", a[1].Loss)
	}
}

func relative(a, b float64) float64 { return math.Abs(a-b) / math.Abs(b) }

func TestThreadsAndMicroBatch(t *testing.T) {
	needData(t)
	one, two, small := t.TempDir(), t.TempDir(), t.TempDir()
	must(t, trainLine(0, one, "--steps 5"))
	must(t, trainLine(0, two, "--steps 5 -j 3"))
	sameFiles(t, filepath.Join(one, "step-00000005"), filepath.Join(two, "step-00000005"))
	must(t, trainLine(0, small, "--steps 5 --micro-batch 3"))
	for i, s := range steps(t, small) {
		if want := steps(t, one)[i].Loss; relative(s.Loss, want) > 1e-5 {
			t.Errorf("step %d: loss %v with micro-batch 3, %v with 4", i+1, s.Loss, want)
		}
	}
}

func TestCheckpointedActivationsTrainTheSameBytes(t *testing.T) {
	needData(t)
	kept, again := t.TempDir(), t.TempDir()
	must(t, trainLine(0, kept, "--steps 5"))
	must(t, trainLine(0, again, "--steps 5 --checkpoint-activations"))
	sameFiles(t, filepath.Join(kept, "step-00000005"), filepath.Join(again, "step-00000005"))
}

// runLine is the first line of a run's metrics.
func runLine(t *testing.T, out string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatalf("%v in %s", err, first)
	}
	return line
}

// plannedMemory is what a run said that each rank takes.
func plannedMemory(t *testing.T, out string) int64 {
	t.Helper()
	return int64(runLine(t, out)["memory_bytes"].(float64))
}

// The error of a micro-batch that does not fit names one that does; the next larger one does not. Nothing is touched before.
func TestMicroBatchThatFits(t *testing.T) {
	needMPI(t)
	needData(t)
	for _, ranks := range []int{0, 2} {
		options := "--steps 1 --global-batch 64"
		out := t.TempDir()
		must(t, trainLine(ranks, out, options+" --micro-batch 20"))
		limit := fmt.Sprintf(" --memory-limit %d", plannedMemory(t, out)*int64(max(ranks, 1)))
		for _, micro := range []int{21, 32} {
			refused := filepath.Join(t.TempDir(), "out")
			r := sh(t, trainLine(ranks, refused, options+limit+fmt.Sprintf(" --micro-batch %d", micro)))
			if r.status != 1 || !strings.Contains(r.stderr, "; micro-batch 20 is the largest that fits\n") || !strings.Contains(r.stderr, "hint: give --micro-batch 20; with --checkpoint-act") ||
				strings.Count(r.stderr, ": error:") != 1 {
				t.Errorf("%d ranks, micro-batch %d: exit status %d\n%s", ranks, micro, r.status, r.stderr)
			}
			if _, err := os.Stat(refused); err == nil {
				t.Errorf("%d ranks, micro-batch %d: %s was made", ranks, micro, refused)
			}
		}
		must(t, trainLine(ranks, filepath.Join(t.TempDir(), "out"), options+limit+" --micro-batch 20"))
		r := sh(t, trainLine(ranks, filepath.Join(t.TempDir(), "out"), options+" --memory-limit 10M"))
		if r.status != 1 || !strings.Contains(r.stderr, "no micro-batch fits") {
			t.Errorf("%d ranks, 10 MiB: exit status %d\n%s", ranks, r.status, r.stderr)
		}
	}
}

// Where there is no room for a copy of what is saved, the error says that a run without one fits.
func TestNoRoomForACopy(t *testing.T) {
	needData(t)
	out := t.TempDir()
	options := "--steps 2 --save-every 1 "
	must(t, trainLine(0, out, options+"--save-sync"))
	limit := fmt.Sprintf("%s--memory-limit %d ", options, plannedMemory(t, out))
	checkFault(t, sh(t, trainLine(0, filepath.Join(out, "no"), limit)), 1, []string{"; with --save-sync micro-batches of 4 fit"})
	must(t, trainLine(0, filepath.Join(out, "sync"), limit+"--save-sync"))
	copied := filepath.Join(out, "copied")
	must(t, trainLine(0, copied, options))
	sameFiles(t, filepath.Join(out, "step-00000002"), filepath.Join(copied, "step-00000002"))
	if more := plannedMemory(t, copied) - plannedMemory(t, out); more < 3*4*95826 || more > 13*95826 { // weights and moments of so many parameters
		t.Errorf("the copy takes %d bytes", more)
	}
}

// What a run takes is what it said: no more than that and the program itself, no less than that without the kernels' scratch and the loader's
// room, which are touched as they are needed.
func TestMemoryIsAsPlanned(t *testing.T) {
	needData(t)
	shape := `{"hidden_size": 128, "num_hidden_layers": 8, "num_attention_heads": 4, "intermediate_size": 512, "max_position_embeddings": 64}`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shape.json"), []byte(shape), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"", " --checkpoint-activations"} {
		out := filepath.Join(dir, "out"+strings.TrimSpace(more))
		r := must(t, trainLine(0, out, "--config "+dir+"/shape.json --steps 1 --global-batch 64 --micro-batch 64"+more))
		_, line, _ := strings.Cut(r.stderr, "peak memory ")
		var peak float64
		if n, err := fmt.Sscanf(line, "%f MiB", &peak); n != 1 {
			t.Fatalf("%v in %q", err, r.stderr)
		}
		const program, scratch = 48, 80 + 8 // MiB
		planned := float64(plannedMemory(t, out)) / (1 << 20)
		t.Logf("%q: planned %.1f MiB, peak %.1f MiB", more, planned, peak)
		if peak > planned+program || peak < planned-scratch {
			t.Errorf("%q: planned %.1f MiB, peak %.1f MiB", more, planned, peak)
		}
	}
}

// Each of four ranks with a part of the moments takes less memory, by what the plan says.
func TestMomentsInPartsTakeLessMemory(t *testing.T) {
	needMPI(t)
	needData(t)
	shape := `{"hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 4, "intermediate_size": 1024, "max_position_embeddings": 64}`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shape.json"), []byte(shape), 0o666); err != nil {
		t.Fatal(err)
	}
	var planned, peak [2]float64 // MiB; without and with parts
	for i, option := range []string{"", " --shard-optimizer"} {
		out := filepath.Join(dir, fmt.Sprint("out", i))
		r := must(t, trainLine(4, out, "--config "+dir+"/shape.json --steps 1 --global-batch 4 --micro-batch 1"+option))
		_, line, _ := strings.Cut(r.stderr, "peak memory ")
		if n, err := fmt.Sscanf(line, "%f MiB", &peak[i]); n != 1 {
			t.Fatalf("%v in %q", err, r.stderr)
		}
		planned[i] = float64(plannedMemory(t, out)) / (1 << 20)
	}
	t.Logf("planned %.1f MiB, peak %.1f MiB", planned, peak)
	saved, want := peak[0]-peak[1], planned[0]-planned[1]
	if parameters := runLine(t, filepath.Join(dir, "out0"))["parameters"].(float64); relative(want, parameters*8*3/4/(1<<20)) > 0.01 {
		t.Errorf("the plan saves %.1f MiB of moments of %.0f parameters", want, parameters)
	}
	if relative(saved, want) > 0.25 {
		t.Errorf("measured %.1f MiB less, planned %.1f MiB less", saved, want)
	}
}

// Training in 16 bits follows that in float32; threads, kills and recomputed activations change no byte of it, ranks little; a run can go on
// in the other precision, and checkpoints hold float32. On a CPU tf32 is fp32.
func TestTrainingInOtherPrecisions(t *testing.T) {
	needMPI(t)
	needData(t)
	dir := t.TempDir()
	out := func(name string) string { return filepath.Join(dir, name) }
	const options, last = "--steps 20 --save-every 10 --keep 0 --warmup 0.1 ", "/step-00000020"
	must(t, trainLine(0, out("fp32"), options))
	if r := must(t, trainLine(0, out("tf32"), options+"--precision tf32")); !strings.Contains(r.stderr, "computes in fp32") {
		t.Errorf("tf32: %s", r.stderr)
	}
	sameFiles(t, out("fp32")+last, out("tf32")+last)
	for _, precision := range []string{"bf16", "fp16"} {
		t.Run(precision, func(t *testing.T) {
			in := func(name string) string { return out(precision + name) }
			must(t, trainLine(0, in(""), options+"--precision "+precision))
			must(t, trainLine(2, in("ranks"), options+"--precision "+precision))
			got, want, ranks := steps(t, in("")), steps(t, out("fp32")), steps(t, in("ranks"))
			same := 0
			for i := range want {
				if e := relative(got[i].Loss, want[i].Loss); e > 0.01 {
					t.Errorf("step %d: loss %v, in float32 %v", i+1, got[i].Loss, want[i].Loss)
				}
				if got[i].Loss == want[i].Loss {
					same++
				}
				if e := relative(ranks[i].Loss, got[i].Loss); e > 1e-3 { // a weight near the middle between two values may be packed as the other one
					t.Errorf("step %d: loss %v on two ranks, alone %v", i+1, ranks[i].Loss, got[i].Loss)
				}
			}
			if same > 1 {
				t.Errorf("%d losses are exactly those of float32", same)
			}

			must(t, trainLine(0, in("threads"), options+"-j 3 --checkpoint-activations --precision "+precision))
			sameFiles(t, in("")+last, in("threads")+last)
			for name, now := range map[string]string{"resumed": precision, "changed": "fp32"} {
				must(t, "mkdir "+in(name)+" && cp -r "+in("")+"/step-00000010 "+in("")+"/metrics.jsonl "+in(name))
				r := must(t, trainLine(0, in(name), options+"--precision "+now))
				if warned := strings.Contains(r.stderr, "was trained in "+precision+", going on in fp32"); warned != (now == "fp32") {
					t.Errorf("going on in %s: %s", now, r.stderr)
				}
			}
			sameFiles(t, in("")+last, in("resumed")+last)
			must(t, "test $(stat -c %s "+in("")+last+"/model.safetensors) = $(stat -c %s "+out("fp32")+last+"/model.safetensors)")
			if half, full := activationMemory(t, in("")), activationMemory(t, out("fp32")); half > 0.55*full {
				t.Errorf("activations take %.0f bytes, in float32 %.0f", half, full)
			}
		})
	}
}

// Three hundred updates, warm-up and fall: each loss in 16 bits is that of float32 to 1 %.
func TestLongTrainingInOtherPrecisions(t *testing.T) {
	if os.Getenv("HPCBERT_SLOW") == "" {
		t.Skip("skipped: HPCBERT_SLOW is not set")
	}
	needData(t)
	losses := func(precision string) []step {
		out := filepath.Join(t.TempDir(), precision)
		must(t, trainLine(0, out, "--steps 300 --save-every 0 --learning-rate 1e-2 --precision "+precision))
		return steps(t, out)
	}
	want := losses("fp32")
	for _, precision := range []string{"bf16", "fp16"} {
		got := losses(precision)
		worst, sum := 0.0, 0.0
		for i := range want {
			e := relative(got[i].Loss, want[i].Loss)
			worst, sum = max(worst, e), sum+e
			if !(e <= 0.01) {
				t.Errorf("%s, step %d: loss %v, in float32 %v", precision, i+1, got[i].Loss, want[i].Loss)
			}
		}
		first, last := got[0], got[len(got)-1]
		t.Logf("%s: losses differ from float32's by %.1e at most, by %.1e in the mean; the last are %.5f and %.5f; loss scale %g to %g, %d updates skipped", precision, worst,
			sum/float64(len(want)), last.Loss, want[len(want)-1].Loss, first.LossScale, last.LossScale, last.Skipped)
		if len(got) != 300 || !(last.Loss < 0.9*first.Loss) {
			t.Errorf("%s: the loss went from %v to %v in %d steps", precision, first.Loss, last.Loss, len(got))
		}
		if scaled := last.LossScale > 1; scaled != (precision == "fp16") {
			t.Errorf("%s: loss scale %g", precision, last.LossScale)
		}
	}
}

func activationMemory(t *testing.T, out string) float64 {
	return runLine(t, out)["memory_activations"].(float64)
}

// A run that is asked to stop saves all but the update at work, and ends within five seconds, or before its time limit.
func TestStoppedRunsAreSaved(t *testing.T) {
	needData(t)
	const limit = 9 * time.Second
	for _, c := range []struct {
		what   string
		ranks  int // 0: without mpirun
		signal syscall.Signal
		status int
	}{
		{"USR2", 0, syscall.SIGUSR2, 0}, {"TERM", 0, syscall.SIGTERM, 128 + 15}, {"INT", 0, syscall.SIGINT, 128 + 2}, {"time limit", 0, 0, 0},
		{"USR2 through mpirun", 2, syscall.SIGUSR2, 0}, {"time limit of ranks", 2, 0, 0},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			if c.ranks > 0 {
				needMPI(t)
			}
			out, options, within := t.TempDir(), "--steps 100000 --save-every 50 --keep 1 ", 5*time.Second
			if c.signal == 0 {
				options, within = options+"--time-limit "+limit.String(), limit
			}
			asked := time.Now()
			cmd := start(t, trainLine(c.ranks, out, options))
			if c.signal != 0 {
				waitForStep(t, out)
				asked = time.Now()
				cmd.Process.Signal(c.signal) // mpirun passes it on
			}
			cmd.Wait()
			if waited := time.Since(asked); waited > within {
				t.Errorf("ended after %v, expected within %v", waited, within)
			}
			if got := cmd.ProcessState.ExitCode(); got != c.status {
				t.Errorf("exit status %d, expected %d", got, c.status)
			}
			made := steps(t, out)
			last := made[len(made)-1].Step
			if text, err := os.ReadFile(filepath.Join(out, "STOPPED")); err != nil || string(text) != fmt.Sprintf("step %d\n", last) {
				t.Errorf("STOPPED says %q, %v; the last step is %d", text, err, last)
			}
			saved, _ := filepath.Glob(filepath.Join(out, "step-*", "DONE"))
			if want := fmt.Sprintf("%s/step-%08d/DONE", out, last); len(saved) != 1 || saved[0] != want {
				t.Errorf("checkpoints %v, expected %s", saved, want)
			}
		})
	}
}

// Job scripts decide by DONE and STOPPED: what an earlier run left must not speak for this one, and a run that was killed between its last
// checkpoint and its mark must get the mark when it is run again.
func TestMarksAreOfTheLatestRun(t *testing.T) {
	needData(t)
	out := t.TempDir()
	for _, name := range []string{"DONE", "STOPPED"} {
		if err := os.WriteFile(filepath.Join(out, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cmd := start(t, trainLine(0, out, "--steps 100000 --save-every 0"))
	waitFor(t, filepath.Join(out, "metrics.jsonl"))
	cmd.Process.Kill()
	cmd.Wait()
	if left, _ := filepath.Glob(filepath.Join(out, "[DS]*")); len(left) > 0 {
		t.Errorf("a killed run left %v", left)
	}
	must(t, trainLine(0, out, "--steps 2"))
	done := filepath.Join(out, "DONE")
	must(t, "rm "+done)
	must(t, trainLine(0, out, "--steps 2"))
	if text, err := os.ReadFile(done); string(text) != "step 2\n" {
		t.Errorf("DONE of a complete run: %q, %v", text, err)
	}
}

// TestStopDoesNotWaitForALongUpdate asks for the end in the middle of an update of thousands of micro-batches.
func TestStopDoesNotWaitForALongUpdate(t *testing.T) {
	needMPI(t)
	needData(t)
	for _, ranks := range []int{0, 2} {
		out := t.TempDir()
		cmd := start(t, trainLine(ranks, out, "--steps 3 --global-batch 100001"))
		waitFor(t, filepath.Join(out, "metrics.jsonl"))
		time.Sleep(time.Second)
		asked := time.Now()
		cmd.Process.Signal(syscall.SIGUSR2) // mpirun passes it on
		cmd.Wait()
		if waited := time.Since(asked); waited > 30*time.Second || cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("%d ranks: exit status %d after %v", ranks, cmd.ProcessState.ExitCode(), waited)
		}
		if text, err := os.ReadFile(filepath.Join(out, "STOPPED")); err != nil || string(text) != "step 0\n" {
			t.Errorf("%d ranks: STOPPED says %q, %v", ranks, text, err)
		}
	}
}

func TestLossFallsBelowTheConstantPrediction(t *testing.T) {
	needData(t)
	out := t.TempDir()
	r := must(t, trainLine(0, out, "--steps 300 --save-every 0 --learning-rate 1e-2 --warmup 0.1 --dropout 0"))
	_, line, found := strings.Cut(r.stderr, "mean of the last ten ")
	var last, constant float64
	if n, err := fmt.Sscanf(line, "%f, best constant prediction (unigram) %f", &last, &constant); !found || n != 2 {
		t.Fatalf("%v in %q", err, r.stderr)
	}
	if !(last < constant) {
		t.Errorf("the last losses are %v in the mean, the best constant prediction has %v", last, constant)
	}
}

// TestTrajectory follows the reference run of PyTorch in float64 in two phases: see checkpoints/pretrain_tiny/README.md of the real data.
func TestTrajectory(t *testing.T) {
	data := os.Getenv("HPCBERT_DATA")
	if data == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	out := t.TempDir()
	for phase, file := range map[string]string{"one": "wiki_seq128_pred20.hdf5", "two": "wiki_seq512_pred80.hdf5"} {
		dir := filepath.Join(out, "data-"+phase)
		must(t, "mkdir -p "+dir+" && ln -s "+filepath.Join(data, "hdf5", file)+" "+dir+"/wiki_training_0.hdf5")
	}
	t.Run("alone", func(t *testing.T) { followTrajectory(t, data, out, "bertrain", "") })
	for _, ranks := range []string{"2", "1", "4"} {
		for _, options := range []string{"--shard-optimizer", "", "--allreduce after", "--shard-optimizer --allreduce after"} {
			t.Run(ranks+" ranks "+options, func(t *testing.T) {
				needMPI(t)
				if os.Getenv("HPCBERT_SLOW") == "" && (ranks != "2" || options != "--shard-optimizer") {
					t.Skip("skipped: HPCBERT_SLOW is not set")
				}
				followTrajectory(t, data, out, "mpirun -np "+ranks+" bertrain -j 1", options)
			})
		}
	}
}

// followTrajectory trains both phases and compares each step with the reference's.
func followTrajectory(t *testing.T, data, out, program, options string) {
	t.Helper()
	start := filepath.Join(data, "checkpoints", "pretrain_tiny")
	must(t, "rm -rf "+out+"/one "+out+"/two")
	common := program + " --config " + start + "/config.json --dropout 0 --order file --micro-batch 8 --save-every 0 " + options
	must(t, common+" --data "+out+"/data-one -o "+out+"/one --init "+start+" --global-batch 32 --steps 100 --learning-rate 6e-3 --warmup 0.2843")
	must(t, common+" --data "+out+"/data-two -o "+out+"/two --init "+out+"/one/step-00000100 --global-batch 16 --steps 30 --learning-rate 4e-3 --warmup 0.128")
	var want struct {
		Rows []struct {
			Phase, Step  int
			Loss         float64
			GradientNorm float64 `json:"gradient_norm"`
			LearningRate float64 `json:"learning_rate"`
		}
	}
	text, err := os.ReadFile(filepath.Join(start, "trajectory.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	got := append(steps(t, filepath.Join(out, "one")), steps(t, filepath.Join(out, "two"))...)
	if len(got) != len(want.Rows) {
		t.Fatalf("%d steps, expected %d", len(got), len(want.Rows))
	}
	what := program + " " + options
	worst, worstEarly := 0.0, 0.0
	for i, w := range want.Rows {
		e := relative(got[i].Loss, w.Loss)
		worst = math.Max(worst, e)
		if i < 20 {
			worstEarly = math.Max(worstEarly, e)
		}
		if e > 2e-5 || i < 20 && e > 2e-6 {
			t.Errorf("%s: phase %d, step %d: loss %v, expected %v (%.1e)", what, w.Phase, w.Step, got[i].Loss, w.Loss, e)
		}
		if relative(got[i].LearningRate, w.LearningRate) > 1e-12 && w.LearningRate != got[i].LearningRate {
			t.Errorf("%s: phase %d, step %d: learning rate %v, expected %v", what, w.Phase, w.Step, got[i].LearningRate, w.LearningRate)
		}
	}
	t.Logf("%s: worst relative error of a loss: %.1e in the first 20 steps, %.1e in all %d", what, worstEarly, worst, len(got))
}
