package cli

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// node is what a process can learn about the machine under it. Tests put a made-up one in its place.
type node struct {
	files    fs.FS               // "/"
	affinity func(pid int) []int // CPUs that a process may run on, nil if that cannot be told
	pid      int                 // this process
}

func thisNode() *node {
	return &node{files: os.DirFS("/"), affinity: affinity, pid: os.Getpid()}
}

func affinity(pid int) []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(pid, &set) != nil {
		return nil
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// text returns the content of a file without blanks around it, "" if it cannot be read.
func (n *node) text(name string) string {
	data, _ := fs.ReadFile(n.files, name)
	return strings.TrimSpace(string(data))
}

// cores returns the first of cpus on each physical core: hardware threads of one core share its multipliers.
func (n *node) cores(cpus []int) []int {
	var first []int
	seen := map[string]bool{}
	for _, cpu := range cpus {
		siblings := n.text("sys/devices/system/cpu/cpu" + strconv.Itoa(cpu) + "/topology/thread_siblings_list")
		if siblings == "" {
			siblings = strconv.Itoa(cpu)
		}
		if !seen[siblings] {
			seen[siblings] = true
			first = append(first, cpu)
		}
	}
	return first
}

// quota returns how many CPUs' time the control groups above this process grant, at least 1, and 0 without a limit.
func (n *node) quota() int {
	least := 0
	for line := range strings.Lines(n.text("proc/self/cgroup")) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(line, ":")
		if controllers != "" && !slices.Contains(strings.Split(controllers, ","), "cpu") {
			continue
		}
		for root := "sys/fs/cgroup/" + controllers; ; group = path.Dir(group) {
			if q := n.quotaOf(path.Join(root, group)); q > 0 && (least == 0 || q < least) {
				least = q
			}
			if group == "/" || group == "." || group == "" {
				break
			}
		}
	}
	return least
}

// quotaOf reads the limit of one control group, of version 2 or 1: microseconds of CPU time in each period.
func (n *node) quotaOf(group string) int {
	fields := strings.Fields(n.text(group + "/cpu.max"))
	if len(fields) != 2 {
		fields = []string{n.text(group + "/cpu.cfs_quota_us"), n.text(group + "/cpu.cfs_period_us")}
	}
	time, err1 := strconv.Atoi(fields[0])
	period, err2 := strconv.Atoi(fields[1])
	if err1 != nil || err2 != nil || time <= 0 || period <= 0 {
		return 0
	}
	return max(1, time/period)
}

// process returns the name and the parent of a process.
func (n *node) process(pid int) (name string, parent int) {
	stat := n.text("proc/" + strconv.Itoa(pid) + "/stat") // "7 (a name) S 1 ..."
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return "", 0
	}
	if fields := strings.Fields(stat[end+1:]); len(fields) > 1 {
		parent, _ = strconv.Atoi(fields[1])
	}
	return stat[open+1 : end], parent
}

// launchers are the programs, by the first 15 letters, whose children are the ranks of a node.
var launchers = []string{"mpirun", "mpiexec", "orterun", "orted", "prterun", "prted", "prte", "mpiexec.hydra", "hydra_pmi_proxy", "slurmstepd"}

// launcher returns the ancestor that started the ranks of this node, and its child that this process is or descends from; 0 if there is none.
func (n *node) launcher() (pid, child int) {
	for child = n.pid; child > 1; child = pid {
		_, pid = n.process(child)
		if name, _ := n.process(pid); slices.Contains(launchers, name) {
			return pid, child
		}
	}
	return 0, 0
}

// ranks returns the CPUs of each rank that the launcher has on this node, this one's too: the children that are called as this one is. (Others
// of its children reach other nodes.)
func (n *node) ranks(launcher, child int) [][]int {
	var masks [][]int
	want, _ := n.process(child)
	entries, _ := fs.ReadDir(n.files, "proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if name, parent := n.process(pid); parent == launcher && name == want {
			masks = append(masks, n.affinity(pid))
		}
	}
	return masks
}

// overlap tells whether two lists of CPUs have one in common.
func overlap(a, b []int) bool {
	return slices.ContainsFunc(a, func(cpu int) bool { return slices.Contains(b, cpu) })
}
