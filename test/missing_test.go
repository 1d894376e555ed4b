package test

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rankOf returns the MPI rank of a process.
func rankOf(t *testing.T, pid int) int {
	t.Helper()
	_, text, found := strings.Cut(contents(t, "/proc", fmt.Sprint(pid), "environ"), "OMPI_COMM_WORLD_RANK=")
	var rank int
	if _, err := fmt.Sscan(strings.ReplaceAll(text, "\x00", " "), &rank); err != nil || !found {
		t.Fatalf("process %d: %v", pid, err)
	}
	return rank
}

// A rank that is stopped is named by the others within the timeout and three seconds; the job ends with status 1, and what was saved before stays.
// So is one whose process is gone while the launcher goes on; then each of those that are left tells it, and none has a say in the launcher's status.
func TestLostRanksAreNamed(t *testing.T) {
	needMPI(t)
	needData(t)
	const timeout, silent, gone = 3 * time.Second, "which does not answer", "whose process is gone"
	for _, c := range []struct {
		what   string
		ranks  int
		signal syscall.Signal
		lost   []int
		want   string
	}{
		{"the first is stopped", 3, syscall.SIGSTOP, []int{0}, silent},
		{"the last is stopped", 3, syscall.SIGSTOP, []int{2}, silent},
		{"the first and another are stopped", 4, syscall.SIGSTOP, []int{0, 2}, silent},
		{"the first is dead", 3, syscall.SIGKILL, []int{0}, gone},
		{"another is dead", 3, syscall.SIGKILL, []int{1}, gone},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			out := t.TempDir()
			line := trainLine(c.ranks, out, "--steps 1000000 --save-every 5 --keep 2 --comm-timeout 3s")
			if c.signal == syscall.SIGKILL {
				line = strings.Replace(line, "mpirun", "mpirun --mca orte_enable_recovery 1", 1)
			}
			stderr, status, took := loseRanks(t, line, filepath.Join(out, "step-00000005", "DONE"), c.ranks, c.lost, c.signal)
			if took > timeout+3*time.Second || c.signal == syscall.SIGSTOP && status != 1 {
				t.Errorf("exit status %d after %v", status, took)
			}
			told := regexp.MustCompile("(?m)^bertrain: error: .*$").FindAllString(stderr, -1)
			if len(told) == 0 || c.signal == syscall.SIGSTOP && len(told) > 1 {
				t.Fatalf("told %d times:\n%s", len(told), stderr)
			}
			_, names, _ := strings.Cut(told[0], " for ")
			for rank := range c.ranks {
				if named := strings.Contains(names, fmt.Sprintf("rank %d on ", rank)); named != slices.Contains(c.lost, rank) {
					t.Errorf("rank %d: named %v", rank, named)
				}
			}
			if strings.Count(names, c.want) != len(c.lost) || t.Failed() {
				t.Errorf("expected %q in %q\n%s", c.want, told[0], stderr)
			}
			if left, _ := filepath.Glob(filepath.Join(out, "step-*", "DONE")); len(left) == 0 {
				t.Error("no checkpoint is left")
			}
		})
	}
}

// loseRanks runs a job, sends a signal to some of its ranks when a file has appeared, and tells how and after what time the job ended.
func loseRanks(t *testing.T, line, file string, ranks int, lost []int, signal syscall.Signal) (stderr string, status int, took time.Duration) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "exec "+line)
	var text bytes.Buffer
	cmd.Env, cmd.Stderr = environment(), &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, file)
	for _, pid := range ranksOf(t, cmd.Process.Pid, ranks) {
		if slices.Contains(lost, rankOf(t, pid)) {
			syscall.Kill(pid, signal)
		}
	}
	begin := time.Now()
	cmd.Wait() // its status is looked at
	return text.String(), cmd.ProcessState.ExitCode(), time.Since(begin)
}

// mpirun itself ends the job when a rank dies, and names it.
func TestLauncherNamesTheDead(t *testing.T) {
	needMPI(t)
	needData(t)
	for _, rank := range []int{0, 2} {
		out := t.TempDir()
		stderr, status, took := loseRanks(t, trainLine(3, out, "--steps 1000000 --save-every 5 --keep 2"), filepath.Join(out, "step-00000005", "DONE"), 3, []int{rank}, syscall.SIGKILL)
		if status == 0 || took > 6*time.Second || !strings.Contains(stderr, fmt.Sprintf("rank %d with PID", rank)) {
			t.Errorf("exit status %d after %v:\n%s", status, took, stderr)
		}
	}
}
