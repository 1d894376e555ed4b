package cli

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// madeUp is a node of 16 CPUs with this process as number 100 below a launcher, number 50; siblings have the same parent and name.
type madeUp struct {
	launcher string // "" = a shell
	smt      bool   // CPUs 8 to 15 are second threads of the cores 0 to 7
	cpus     string // of this process, "0-3,8"
	job      string // CPUs of the launcher, "" = all
	siblings []string
	wrapped  bool // a shell stands between the launcher and each rank
	files    map[string]string
}

func cpuList(text string) (cpus []int) {
	for part := range strings.SplitSeq(text, ",") {
		from, to, is := strings.Cut(part, "-")
		first, _ := strconv.Atoi(from)
		last := first
		if is {
			last, _ = strconv.Atoi(to)
		}
		for ; first <= last; first++ {
			cpus = append(cpus, first)
		}
	}
	return cpus
}

func (m madeUp) node() *node {
	const all = "0-15"
	if m.job == "" {
		m.job = all
	}
	masks := map[int]string{0: m.cpus, 100: m.cpus, 1: all, 50: m.job, 60: m.job}
	files := fstest.MapFS{}
	process := func(pid int, name string, parent int) {
		files[fmt.Sprintf("proc/%d/stat", pid)] = &fstest.MapFile{Data: fmt.Appendf(nil, "%d (%s) S %d 1 1", pid, name, parent)}
	}
	if m.launcher == "" {
		m.launcher = "bash"
	}
	process(50, m.launcher, 1)
	process(60, "ssh", 50) // mpirun's way to another node
	name, parent := "bertrain", 50
	if m.wrapped {
		name, parent = "a (wrapper", 99
		process(99, name, 50)
		masks[99] = m.cpus
		process(100, "bertrain", 99)
	} else {
		process(100, name, parent)
	}
	for i, cpus := range m.siblings {
		process(101+i, name, 50)
		masks[101+i] = cpus
	}
	for cpu := range 16 {
		siblings := strconv.Itoa(cpu)
		if m.smt {
			siblings = fmt.Sprintf("%d,%d", cpu%8, cpu%8+8)
		}
		files[fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu)] = &fstest.MapFile{Data: []byte(siblings + "\n")}
	}
	for file, text := range m.files {
		files[file] = &fstest.MapFile{Data: []byte(text)}
	}
	return &node{files: files, pid: 100, affinity: func(pid int) []int { return cpuList(masks[pid]) }}
}

// TestPlacement runs through the ways in which launchers start ranks.
func TestPlacement(t *testing.T) {
	ompi := func(ranks int) string {
		return fmt.Sprintf("OMPI_COMM_WORLD_SIZE=9 OMPI_COMM_WORLD_LOCAL_SIZE=%d ", ranks)
	}
	whole := slices.Repeat([]string{"0-15"}, 8)
	none := []int(nil)
	for _, c := range []struct {
		name, env string
		j         int
		on        madeUp
		want      Placement
	}{
		{"alone", "", 0, madeUp{cpus: "0-15"}, Placement{16, none, false, 0}},
		{"alone, hardware threads", "", 0, madeUp{cpus: "0-15", smt: true}, Placement{8, none, false, 0}},
		{"alone, -j", "OMP_NUM_THREADS=4", 3, madeUp{cpus: "0-15"}, Placement{3, none, false, 0}},
		{"alone, OMP_NUM_THREADS", "OMP_NUM_THREADS=4,2", 0, madeUp{cpus: "0-15"}, Placement{4, none, false, 0}},
		{"alone, OMP_NUM_THREADS is nonsense", "OMP_NUM_THREADS=many", 0, madeUp{cpus: "0-3"}, Placement{4, none, false, 0}},
		{"alone, too many asked for", "", 32, madeUp{cpus: "0-15"}, Placement{32, none, true, 0}},
		{"alone, taskset", "", 0, madeUp{cpus: "4-7"}, Placement{4, none, false, 0}},
		{"container with half a core", "", 0, madeUp{cpus: "0-15", files: map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}},
			Placement{1, none, false, 0}},
		{"one rank on the node", ompi(1), 0, madeUp{launcher: "orted", cpus: "0-15"}, Placement{16, none, false, 0}},
		{"one rank on a whole node of Slurm", ompi(1) + "SLURM_CPUS_ON_NODE=16", 0, madeUp{launcher: "orted", cpus: "0-15"}, Placement{16, cpuList("0-15"), false, 0}},
		{"one rank on a whole node of Slurm, fewer threads", ompi(1) + "SLURM_CPUS_ON_NODE=16", 4, madeUp{launcher: "orted", cpus: "0-15"}, Placement{4, none, false, 0}},
		{"bind-to core", ompi(4), 0, madeUp{launcher: "mpirun", cpus: "2", siblings: []string{"0", "1", "3"}}, Placement{1, []int{2}, false, 12}},
		{"bind-to core, hardware threads", ompi(4), 0, madeUp{launcher: "mpirun", smt: true, cpus: "2,10", siblings: []string{"0,8", "1,9", "3,11"}},
			Placement{1, []int{2}, false, 4}},
		{"map-by slot:PE=4", ompi(4), 0, madeUp{launcher: "mpirun", cpus: "4-7", siblings: []string{"0-3", "8-11", "12-15"}}, Placement{4, cpuList("4-7"), false, 0}},
		{"map-by slot:PE=4, half the threads", ompi(4), 2, madeUp{launcher: "mpirun", cpus: "4-7", siblings: []string{"0-3", "8-11", "12-15"}},
			Placement{2, []int{4, 6}, false, 0}},
		{"bind-to core, threads asked for", ompi(4), 4, madeUp{launcher: "mpirun", cpus: "2", siblings: []string{"0", "1", "3"}}, Placement{4, none, true, 0}},
		{"bind-to none", ompi(4), 0, madeUp{launcher: "mpirun", cpus: "0-15", siblings: whole[:3]}, Placement{4, none, false, 0}},
		{"bind-to none, a wrapper", ompi(4), 0, madeUp{launcher: "mpirun", wrapped: true, cpus: "0-15", siblings: whole[:3]}, Placement{4, none, false, 0}},
		{"bind-to core, a wrapper", ompi(2), 0, madeUp{launcher: "mpirun", wrapped: true, cpus: "0-7", siblings: []string{"8-15"}}, Placement{8, cpuList("0-7"), false, 0}},
		{"bind-to none, more ranks than cores", ompi(9), 0, madeUp{launcher: "mpirun", smt: true, cpus: "0-15", siblings: whole}, Placement{1, none, true, 0}},
		{"bind-to none, all threads asked for", ompi(4) + "OMP_NUM_THREADS=16", 0, madeUp{launcher: "mpirun", cpus: "0-15", siblings: whole[:3]}, Placement{16, none, true, 0}},
		{"bind-to socket, a rank on each", ompi(2), 0, madeUp{launcher: "mpirun", cpus: "8-15", siblings: []string{"0-7"}}, Placement{8, cpuList("8-15"), false, 0}},
		{"bind-to socket, both on one", ompi(2), 0, madeUp{launcher: "mpirun", cpus: "0-7", siblings: []string{"0-7"}}, Placement{4, none, false, 8}},
		{"bind-to socket, two on each", ompi(4), 0, madeUp{launcher: "mpirun", cpus: "0-7", siblings: []string{"0-7", "8-15", "8-15"}}, Placement{4, none, false, 0}},
		{"launcher of another kind, bound", ompi(2), 0, madeUp{launcher: "aprun", cpus: "0-7", siblings: []string{"8-15"}}, Placement{8, none, false, 0}},
		{"mpirun in half a node of Slurm", ompi(2) + "SLURM_CPUS_ON_NODE=8", 0, madeUp{launcher: "mpirun", job: "0-7", cpus: "0-7", siblings: []string{"0-7"}},
			Placement{4, none, false, 0}},
		{"mpirun in half a node of Slurm that binds nothing", ompi(2) + "SLURM_CPUS_ON_NODE=8 SLURM_CPUS_PER_TASK=1", 0,
			madeUp{launcher: "mpirun", cpus: "0-15", siblings: whole[:1]}, Placement{4, none, false, 0}},
		{"srun, bound", "PMIX_RANK=0 SLURM_CPUS_PER_TASK=4 SLURM_STEP_TASKS_PER_NODE=2(x3)", 0, madeUp{launcher: "slurmstepd", cpus: "0-3", siblings: []string{"4-7"}},
			Placement{4, cpuList("0-3"), false, 8}},
		{"srun, bound to nothing", "PMIX_RANK=0 SLURM_CPUS_PER_TASK=4 SLURM_STEP_TASKS_PER_NODE=2(x3)", 0, madeUp{launcher: "slurmstepd", cpus: "0-15", siblings: whole[:1]},
			Placement{4, none, false, 0}},
		{"srun, hardware threads", "PMI_SIZE=6 SLURM_CPUS_PER_TASK=8 SLURM_CPUS_ON_NODE=16 SLURM_STEP_TASKS_PER_NODE=2(x3)", 0,
			madeUp{launcher: "slurmstepd", smt: true, cpus: "0-15", siblings: whole[:1]}, Placement{4, none, false, 0}},
		{"ranks in a container with a quota", ompi(2), 0, madeUp{launcher: "mpirun", cpus: "0-15", siblings: whole[:1],
			files: map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "450000 100000"}},
			Placement{2, none, false, 0}},
	} {
		env := Env{Getenv: environment(c.env), threads: c.j, node: c.on.node()}
		got := env.Placement()
		if got.Threads != c.want.Threads || !slices.Equal(got.Pin, c.want.Pin) || got.Crowded != c.want.Crowded || got.Idle != c.want.Idle {
			t.Errorf("%s: %+v, expected %+v", c.name, got, c.want)
		}
	}
}

func environment(words string) func(string) string {
	values := map[string]string{}
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		values[name] = value
	}
	return func(name string) string { return values[name] }
}

// TestThreadsOfDataPrograms wants every hardware thread used: there is more to do than to multiply.
func TestThreadsOfDataPrograms(t *testing.T) {
	for _, c := range []struct {
		name, env string
		on        madeUp
		want      int
	}{
		{"hardware threads", "", madeUp{cpus: "0-15", smt: true}, 16},
		{"taskset", "", madeUp{cpus: "0-2"}, 3},
		{"quota of version 1", "", madeUp{cpus: "0-15", files: map[string]string{"proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"}}, 2},
		{"no quota of version 1", "", madeUp{cpus: "0-15", files: map[string]string{"proc/self/cgroup": "4:cpu:/\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}}, 16},
		{"ranks", "OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_SIZE=4", madeUp{cpus: "0-15"}, 4},
	} {
		env := Env{Getenv: environment(c.env), node: c.on.node()}
		if got := env.Threads(); got != c.want {
			t.Errorf("%s: %d threads, expected %d", c.name, got, c.want)
		}
	}
}

// TestThreadsBoundGo wants -j to cap the cores of data programs, whatever their number of goroutines, and to leave alone those whose threads
// are not Go's.
func TestThreadsBoundGo(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct {
		name       string
		threads    int
		ask        func(*Env)
		cores, was int
	}{
		{"-j 1", 1, func(e *Env) { e.Threads() }, 1, 3},
		{"more than before", 2, func(e *Env) { e.Threads() }, min(2, runtime.NumCPU()), 1},
		{"more than there are", 1000, func(e *Env) { e.Threads() }, runtime.NumCPU(), 1},
		{"a program that multiplies", 1, func(e *Env) { e.Placement() }, 3, 3},
	} {
		runtime.GOMAXPROCS(c.was)
		c.ask(&Env{Getenv: environment(""), threads: c.threads, node: madeUp{cpus: "0-15"}.node()})
		if got := runtime.GOMAXPROCS(0); got != c.cores {
			t.Errorf("%s: Go uses %d cores, expected %d", c.name, got, c.cores)
		}
	}
}

func TestRanksOfANodeInSlurmsLists(t *testing.T) {
	for _, c := range []struct {
		list string
		node int
		want int
	}{{"4", 0, 4}, {"2(x3),1", 0, 2}, {"2(x3),1", 2, 2}, {"2(x3),1", 3, 1}, {"2(x3),1", 4, 0}, {"", 0, 0}, {"1,12(x2)", 1, 12}, {"x", 0, 0}} {
		if got := slurmCount(c.list, c.node); got != c.want {
			t.Errorf("node %d of %q: %d ranks, expected %d", c.node, c.list, got, c.want)
		}
	}
}
