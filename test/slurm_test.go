package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// startSlurm starts a Slurm of four nodes on this host and returns the line that sets the environment of its commands.
func startSlurm(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"slurmctld", "slurmd", "munged", "sbatch", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("skipped: no %s on this machine", name)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("skipped: a Slurm of several nodes on one host needs root")
	}
	if os.Getenv("HPCBERT_SLOW") == "" {
		t.Skip("skipped: HPCBERT_SLOW is not set")
	}
	folder := t.TempDir()
	script := fmt.Sprintf("PORT=%d ./minislurm.sh ", 20000+os.Getpid()%1000*10)
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := exec.Command("bash", "-c", "tail -n 20 "+folder+"/slurm*.log").Output()
			t.Logf("%s", logs)
		}
		if out, err := exec.Command("bash", "-c", script+"stop "+folder).CombinedOutput(); err != nil { // the test's context has ended
			t.Errorf("%v\n%s", err, out)
		}
	})
	must(t, script+"start "+folder+" 4")
	return must(t, "./minislurm.sh env "+folder).stdout
}

// TestSlurm submits the template as users do: once to the end, once with a time limit that comes too early.
func TestSlurm(t *testing.T) {
	needMPI(t)
	setup := startSlurm(t)
	needData(t)
	dir := t.TempDir()
	line := func(command string) string { return inFolder(t, dir, setup+command) }

	must(t, line(small+"STEPS=100 OUT=whole sbatch -W -N4 -o whole.log "+template))
	log := read(t, filepath.Join(dir, "whole.log"))
	for _, want := range []string{"4 node(s) x 1 rank(s)", "; 4 rank(s) x 1 thread(s)", "done at step 100"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	whole := steps(t, filepath.Join(dir, "whole"))
	if len(whole) != 100 {
		t.Fatalf("%d steps instead of 100", len(whole))
	}

	// Long enough for the signal, which comes between one and two minutes before a limit of two minutes.
	enough := int(120 / medianSeconds(whole))
	submit := fmt.Sprintf("STEPS=%d OUT=limited sbatch --parsable -N4 --time=2 --signal=B:USR2@60 -o limited.log ", enough)
	job := strings.TrimSpace(must(t, line(small+submit+template)).stdout)
	logFile := filepath.Join(dir, "limited.log")
	waitForText(t, logFile, "requeue of job "+job, 4*time.Minute)
	// Slurm lets a requeued job wait for two minutes; nobody needs that here, nor a second signal.
	must(t, line("for i in {1..60}; do sleep 0.5; scontrol update JobId="+job+" TimeLimit=60 StartTime=now 2>&1 && exit; done; exit 1"))
	waitForText(t, logFile, fmt.Sprintf("done at step %d", enough), 15*time.Minute)
	state := must(t, line("for i in {1..60}; do scontrol show job "+job+" | grep JobState=COMPLETED && break; sleep 0.5; done; scontrol show job "+job)).stdout
	if !strings.Contains(state, "JobState=COMPLETED") || !strings.Contains(state, "Restarts=1 ") {
		t.Errorf("the job did not end well after one restart:\n%s", state)
	}
	checkRestart(t, filepath.Join(dir, "limited"), read(t, logFile), enough)
}

// checkRestart looks for the seam of a run that was stopped and went on.
func checkRestart(t *testing.T, out, log string, enough int) {
	t.Helper()
	t.Logf("log of the job with the time limit:\n%s", log)
	stopped := regexp.MustCompile(`stopped with everything saved at step (\d+)`).FindStringSubmatch(log)
	if stopped == nil || !strings.Contains(log, "restart 1") || !strings.Contains(log, "going on from step "+stopped[1]+"\n") {
		t.Fatal("the job did not go on from where it stopped")
	}
	if _, err := os.Stat(filepath.Join(out, "DONE")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(out, "STOPPED")); err == nil {
		t.Error("STOPPED is still there")
	}
	all := steps(t, out)
	if len(all) != enough {
		t.Fatalf("metrics.jsonl holds %d steps, expected %d", len(all), enough)
	}
	for i, s := range all {
		if s.Step != i+1 {
			t.Fatalf("metrics.jsonl: line %d is step %d", i+1, s.Step)
		}
	}
	seam, _ := strconv.Atoi(stopped[1])
	if seam < 20 || seam > enough-20 {
		t.Skipf("skipped: stopped at step %d, too near to an end to compare losses", seam)
	}
	before, after := meanLoss(all[seam-10:seam]), meanLoss(all[seam:seam+10])
	if first := all[0].Loss; after > (before+first)/2 {
		t.Errorf("mean loss before the stop %v, after it %v, of the first step %v", before, after, first)
	}
}

func meanLoss(part []step) float64 {
	sum := 0.0
	for _, s := range part {
		sum += s.Loss
	}
	return sum / float64(len(part))
}

func medianSeconds(all []step) float64 {
	var seconds []float64
	for _, s := range all {
		seconds = append(seconds, s.Seconds)
	}
	slices.Sort(seconds)
	return seconds[len(seconds)/2]
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func waitForText(t *testing.T, name, text string, limit time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Second) {
		if now, _ := os.ReadFile(name); strings.Contains(string(now), text) {
			return
		}
	}
	now, _ := os.ReadFile(name)
	t.Fatalf("%s does not say %q after %v:\n%s", name, text, limit, now)
}
