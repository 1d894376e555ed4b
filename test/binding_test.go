package test

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"hpcbert/lib/cli"
)

// cores returns how many physical cores this process may run on.
func cores() int {
	env := &cli.Env{Getenv: func(string) string { return "" }}
	return env.Placement().Threads
}

// TestRanksShareCores starts ranks as users do and wants no more threads than cores, and the same numbers however they are bound.
func TestRanksShareCores(t *testing.T) {
	needMPI(t)
	needData(t)
	cores := cores()
	if cores < 2 {
		t.Skip("skipped: one core cannot be shared")
	}
	counts := regexp.MustCompile(`(\d+) rank\(s\) x (\d+) thread\(s\)`)
	first := 0.0
	for _, c := range []struct {
		binding string
		ranks   int
		threads int // 0 = any number that fits
	}{{"--bind-to core", 2, 1}, {"--bind-to none", 2, cores / 2}, {"--bind-to socket", 2, 0}, {"--map-by slot:PE=2 --bind-to core", 1, 2}, {"--bind-to none", 1, cores}} {
		t.Run(strings.ReplaceAll(c.binding, " ", "_")+"_"+strconv.Itoa(c.ranks), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			train := strings.Replace(trainLine(c.ranks, out, "--steps 2"), " -j 1", "", 1)
			r := must(t, strings.Replace(train, "mpirun", "env -u OMP_NUM_THREADS mpirun "+c.binding, 1))
			m := counts.FindStringSubmatch(r.stderr)
			if m == nil {
				t.Fatalf("no count of ranks and threads:\n%s", r.stderr)
			}
			ranks, _ := strconv.Atoi(m[1])
			threads, _ := strconv.Atoi(m[2])
			if ranks != c.ranks || ranks*threads > cores || c.threads > 0 && threads != c.threads {
				t.Errorf("%d ranks x %d threads on %d cores, expected %d x %d", ranks, threads, cores, c.ranks, c.threads)
			}
			loss := steps(t, out)[0].Loss
			if first == 0 {
				first = loss
			}
			if diff := loss - first; diff > 1e-4 || diff < -1e-4 {
				t.Errorf("loss of the first step %g, %g with other threads", loss, first)
			}
		})
	}
}

// TestCrowdedRanksGetOn runs more threads than cores, as asked, which must warn and still end.
func TestCrowdedRanksGetOn(t *testing.T) {
	needMPI(t)
	needData(t)
	threads := strconv.Itoa(2 * cores())
	train := strings.Replace(trainLine(2, filepath.Join(t.TempDir(), "out"), "--steps 2"), "-j 1", "-j "+threads, 1)
	if r := must(t, train); !strings.Contains(r.stderr, "more threads than cores: "+threads+" for each of 2 rank(s)") {
		t.Errorf("no warning:\n%s", r.stderr)
	}
}
