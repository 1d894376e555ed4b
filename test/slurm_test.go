package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// slurm is a running Slurm: the line that sets the environment of its commands, and what starts and stops its nodes.
type slurm struct {
	environment string
	power       func(command, node string)
}

// startSlurm starts a Slurm of four nodes on this host.
func startSlurm(t *testing.T) slurm {
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
	power := func(command, node string) { must(t, script+command+" "+folder+" "+node) }
	return slurm{must(t, "./minislurm.sh env "+folder).stdout, power}
}

// slurmJob is a job and what has been seen of it.
type slurmJob struct {
	t       *testing.T
	line    func(string) string // a command in the folder and the environment of the Slurm
	id, log string
	states  []string // "12 s: RUNNING n[1-4]"
	begun   time.Time
}

// submit submits a job script with its variables and options of sbatch.
func submit(t *testing.T, line func(string) string, variables, options, log, script string) *slurmJob {
	t.Helper()
	r := must(t, line(variables+" sbatch --parsable -o "+log+" "+options+" "+script))
	return &slurmJob{t: t, line: line, id: strings.TrimSpace(r.stdout), log: log, begun: time.Now()}
}

// look notes the state of the job when it has changed.
func (j *slurmJob) look() {
	state := strings.TrimSpace(sh(j.t, j.line("squeue --noheader --jobs="+j.id+" --format='%T %r %N' 2>/dev/null")).stdout)
	if n := len(j.states); n == 0 || !strings.HasSuffix(j.states[n-1], ": "+state) {
		j.note(state)
	}
}

// note adds what the test does to the states.
func (j *slurmJob) note(what string) {
	j.states = append(j.states, fmt.Sprintf("%3.0f s: %s", time.Since(j.begun).Seconds(), what))
}

// text is the log of the job so far.
func (j *slurmJob) text() string {
	return sh(j.t, j.line("cat "+j.log+" 2>/dev/null")).stdout
}

// until waits until a count of what the log says is reached.
func (j *slurmJob) until(what string, count int, limit time.Duration) {
	j.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Second) {
		j.look()
		if strings.Count(j.text(), what) >= count {
			return
		}
	}
	j.t.Fatalf("the log does not say %q %d time(s) after %v; states:\n%s\nlog:\n%s", what, count, limit, strings.Join(j.states, "\n"), j.text())
}

// ended waits for the end of the job, which must be a good one.
func (j *slurmJob) ended(limit time.Duration) {
	j.t.Helper()
	j.until("all done: ", 1, limit)
	const show = "scontrol show job "
	state := must(j.t, j.line("for i in {1..60}; do "+show+j.id+" | grep -q JobState=COMPLETED && break; sleep 0.5; done; "+show+j.id)).stdout
	if !strings.Contains(state, "JobState=COMPLETED") {
		j.t.Errorf("the job did not end well:\n%s", state)
	}
}

// TestSlurm submits the template as users do. One job is disturbed: the time limit comes twice, then the power of a node and of the one that the
// script runs on fails for a while. It goes on by itself, and its models are those of a job that nothing disturbed.
func TestSlurm(t *testing.T) {
	needMPI(t)
	nodes := startSlurm(t)
	needData(t)
	dir := t.TempDir()
	line := func(command string) string { return inFolder(t, dir, nodes.environment+command) }
	probe := submit(t, line, small+"STEPS=100 PHASE=1 OUT=probe", "-N4", "probe.log", template)
	probe.ended(5 * time.Minute)
	for _, want := range []string{"4 node(s) x 1 rank(s)", "4 node(s) answered", "; 4 rank(s) x 1 thread(s)", "phase 1: done at step 100"} {
		if !strings.Contains(probe.text(), want) {
			t.Errorf("the log does not say %q:\n%s", want, probe.text())
		}
	}

	// A limit of two minutes and a signal a minute before it comes when 30 to 60 seconds are over: Slurm looks every 30 seconds.
	enough := int(130 / medianSeconds(steps(t, filepath.Join(dir, "probe/phase1"))))
	variables := fmt.Sprintf(small+"STEPS=%d,20 SAVE_EVERY=%d ", enough, enough/16)
	job := submit(t, line, variables+"OUT=disturbed", "-N4 --time=2 --signal=B:USR2@60", "disturbed.log", template)
	job.until("USR2: the ranks save and stop", 2, 10*time.Minute)
	must(t, line("scontrol update TimeLimit=60 JobId="+job.id)) // that will do
	for i, node := range []string{"n3", "n1"} {
		job.until("going on from step", 2+i, 5*time.Minute)
		time.Sleep(10 * time.Second) // train a little
		nodes.power("kill", node)
		job.note("power of " + node + " off")
		for range 60 {
			time.Sleep(time.Second)
			job.look()
		}
		nodes.power("boot", node)
		job.note("power of " + node + " on")
	}
	job.ended(15 * time.Minute)
	t.Logf("states of the disturbed job:\n%s\nits log:\n%s", strings.Join(job.states, "\n"), job.text())

	submit(t, line, variables+"OUT=whole", "-N4", "whole.log", template).ended(10 * time.Minute)
	checkSame(t, dir, enough)
}

// checkSame compares the disturbed run with the whole one: each step once, the models of both phases byte by byte.
func checkSame(t *testing.T, dir string, enough int) {
	t.Helper()
	for phase, last := range map[string]int{"phase1": enough, "phase2": 20} {
		model := fmt.Sprintf("%s/step-%08d/model.safetensors", phase, last)
		must(t, "cd "+dir+" && cmp whole/"+model+" disturbed/"+model)
		all := steps(t, filepath.Join(dir, "disturbed", phase))
		if len(all) != last {
			t.Errorf("%s: metrics.jsonl holds %d steps, expected %d", phase, len(all), last)
		}
		for i, s := range all {
			if s.Step != i+1 {
				t.Fatalf("%s: metrics.jsonl: line %d is step %d", phase, i+1, s.Step)
			}
		}
	}
}

// TestReadmeSlurm runs the commands of the README's section "On a cluster" as they stand, but for the sizes and with ranks that srun starts.
func TestReadmeSlurm(t *testing.T) {
	needMPI(t)
	nodes := startSlurm(t)
	needCorpora(t)
	dir := t.TempDir()
	line := func(command string) string { return inFolder(t, dir, nodes.environment+command) }
	shape := `{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "max_position_embeddings": 512}`
	if err := os.WriteFile(filepath.Join(dir, "shape.json"), []byte(shape), 0o666); err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(read(t, "../README.md"), "## On a cluster")
	smaller := strings.NewReplacer("WIKI=data/wiki ", prepared, "-N8", "-N4", "CONFIG=configs/model/base.json", "CONFIG=shape.json BATCHSIZE=8 MICROBATCH=2 STEPS=6,3 OMP_NUM_THREADS=1 LAUNCHER=srun", " sub/", " $REPO/sub/")
	submitted := must(t, line("set -e\n"+smaller.Replace(strings.Split(section, "```")[1])+"echo dataprep: $job")).stdout
	id := regexp.MustCompile(`^Submitted batch job (\d+)\ndataprep: (\d+)\n$`).FindStringSubmatch(submitted)
	if id == nil {
		t.Fatalf("sbatch says %q", submitted)
	}
	data := &slurmJob{t: t, line: line, id: id[2], log: "dataprep-" + id[2] + ".out", begun: time.Now()}
	job := &slurmJob{t: t, line: line, id: id[1], log: "pretrain-" + id[1] + ".out", begun: time.Now()}
	job.ended(10 * time.Minute)
	t.Logf("states of the second job:\n%s\nlog of the first:\n%s\nof the second:\n%s", strings.Join(job.states, "\n"), data.text(), job.text())
	must(t, "diff -r $WORK/expected/hdf5-128 "+dir+"/hdf5-128")
	for phase, last := range map[string]int{"phase1": 6, "phase2": 3} {
		if got := len(steps(t, filepath.Join(dir, "pretrain", phase))); got != last {
			t.Errorf("%s: %d steps, expected %d", phase, got, last)
		}
	}
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
