package cli

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Threads is the value of -j; 0, which cannot be given, leaves the number to Env.Threads and Env.Placement.
type Threads int

// UnmarshalFlag reads the value of the option.
func (t *Threads) UnmarshalFlag(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of threads such as 4 (without -j it is chosen)", text)
	}
	*t = Threads(n)
	return nil
}

// Placement is how a program that computes uses the cores of its node.
type Placement struct {
	Threads int   // at least 1
	Pin     []int // a CPU for each thread where the launcher gave this process cores that no other rank has, else nil
	Crowded bool  // more threads than cores, as somebody asked
	Idle    int   // cores that the job leaves idle because the launcher bound its ranks to others; 0 when somebody chose the threads
}

// Placement divides the cores. -j and OMP_NUM_THREADS say how many threads there are; otherwise each physical core that this process may run on
// gets one (a second hardware thread of a core adds nothing to multiplications), and ranks that may run on the same cores share them, so that
// ranks x threads never exceed the cores of the node, nor what Slurm or a control group grants. Call it after MPI has started: then all ranks
// of the node are bound.
//
// Threads are pinned only on cores that are this rank's alone: those that the launcher bound it to, or all of a node that Slurm granted whole to
// one rank. Anywhere else a pinned thread would wait for another program's core while one is idle: on a busy machine that cost a factor of four
// to eleven.
func (e *Env) Placement() Placement {
	n, launched := e.here(), e.Launched()
	own, all := n.cores(n.affinity(0)), n.cores(n.affinity(1)) // process 1 is not bound
	ranks, sharers := 1, 1
	if launcher, child := n.launcher(); launched {
		ranks, sharers = e.LocalRanks(), 0
		if launcher > 0 {
			all = n.cores(n.affinity(launcher))
			sharers = n.sharers(launcher, child, ranks)
		}
	}
	granted := e.granted(n, max(len(own), len(all)))
	p := Placement{Threads: e.askedThreads()}
	if p.Threads == 0 {
		p.Threads = max(1, min(len(own)/max(sharers, 1), granted/ranks, e.taskCores(n, len(own))))
		if launched && len(own) < len(all) {
			p.Idle = max(0, granted-ranks*p.Threads)
		}
	}
	p.Crowded = p.Threads > max(1, len(own)) || p.Threads*ranks > granted
	whole := positive(e.Getenv("SLURM_CPUS_ON_NODE")) >= len(n.affinity(1)) && p.Threads == len(own)
	if launched && sharers == 1 && !p.Crowded && (len(own) < len(all) || whole) {
		for i := range p.Threads {
			p.Pin = append(p.Pin, own[i*len(own)/p.Threads])
		}
	}
	return p
}

// Threads returns how many threads a program that does not multiply uses: -j, else OMP_NUM_THREADS, else one for each hardware thread that
// this process may run on and is granted, shared with the other ranks of the node where they see the same ones. It also keeps Go to so many
// cores: each of a program's stages may start as many goroutines, and the garbage collector has some of its own. Programs that multiply ask
// for a Placement instead: their threads are C's, and a goroutine that loads data must not wait for the core of one that calls them.
func (e *Env) Threads() int {
	n := e.dataThreads()
	runtime.GOMAXPROCS(min(n, runtime.NumCPU()))
	return n
}

func (e *Env) dataThreads() int {
	if n := e.askedThreads(); n > 0 {
		return n
	}
	n := e.here()
	own, ranks := len(n.affinity(0)), e.LocalRanks()
	if own < len(n.affinity(1)) {
		ranks = 1
	}
	if q := n.quota(); q > 0 && q < own {
		own = q
	}
	return max(1, own/ranks)
}

// askedThreads returns the threads that the user asked for, 0 if for none. OMP_NUM_THREADS may be a list, one number for each depth of nesting.
func (e *Env) askedThreads() int {
	if e.threads > 0 {
		return e.threads
	}
	outermost, _, _ := strings.Cut(e.Getenv("OMP_NUM_THREADS"), ",")
	n, _ := strconv.Atoi(strings.TrimSpace(outermost))
	return max(n, 0)
}

// sharers returns how many ranks of the node may run on some core of this one, itself included; 0 if that cannot be told.
func (n *node) sharers(launcher, child, ranks int) int {
	masks := n.ranks(launcher, child)
	if len(masks) != ranks {
		return 0
	}
	own, count := n.affinity(0), 0
	for _, mask := range masks {
		if overlap(own, mask) {
			count++
		}
	}
	return count
}

// granted returns how many of so many cores the job may use on this node: Slurm's allocation and the quota of the control groups count, also
// where nothing binds processes to it.
func (e *Env) granted(n *node, cores int) int {
	if q := n.quota(); q > 0 {
		cores = min(cores, q)
	}
	if cpus, err := strconv.Atoi(e.Getenv("SLURM_CPUS_ON_NODE")); err == nil && e.Launched() {
		cores = min(cores, n.wholeCores(cpus))
	}
	return max(1, cores)
}

// taskCores returns how many of so many cores srun grants each of its tasks. mpirun's ranks are not Slurm's tasks.
func (e *Env) taskCores(n *node, cores int) int {
	cpus, err := strconv.Atoi(e.Getenv("SLURM_CPUS_PER_TASK"))
	if err != nil || !e.Launched() || e.Getenv("OMPI_COMM_WORLD_SIZE") != "" {
		return max(1, cores)
	}
	return n.wholeCores(cpus)
}

// wholeCores returns how many physical cores so many of Slurm's CPUs are, which are hardware threads.
func (n *node) wholeCores(cpus int) int {
	all := n.affinity(1)
	if cores := len(n.cores(all)); cores > 0 && cores < len(all) {
		cpus = cpus * cores / len(all)
	}
	return max(1, cpus)
}

// LocalRanks returns how many ranks of the job share this node, by the launcher's variables; 1 without a launcher.
func (e *Env) LocalRanks() int {
	if !e.Launched() {
		return 1
	}
	node, _ := strconv.Atoi(e.Getenv("SLURM_NODEID"))
	for _, count := range []int{
		positive(e.Getenv("OMPI_COMM_WORLD_LOCAL_SIZE")), positive(e.Getenv("MPI_LOCALNRANKS")),
		slurmCount(e.Getenv("SLURM_STEP_TASKS_PER_NODE"), node), slurmCount(e.Getenv("SLURM_TASKS_PER_NODE"), node),
		positive(e.Getenv("SLURM_NTASKS_PER_NODE")),
	} {
		if count > 0 {
			return count
		}
	}
	return 1
}

func positive(text string) int {
	n, _ := strconv.Atoi(text)
	return max(n, 0)
}

// slurmCount reads the number of a node in Slurm's lists: "2(x3),1" is 2, 2, 2, 1. It returns 0 for a node that is not there.
func slurmCount(list string, node int) int {
	for part := range strings.SplitSeq(list, ",") {
		count, times, repeated := strings.Cut(part, "(x")
		nodes := 1
		if repeated {
			nodes = positive(strings.TrimSuffix(times, ")"))
		}
		if node -= nodes; node < 0 {
			return positive(count)
		}
	}
	return 0
}

// here is the node under this process.
func (e *Env) here() *node {
	if e.node == nil {
		e.node = thisNode()
	}
	return e.node
}

// ISA returns the instruction set that HPCBERT_ISA forces, "" when it is not set.
func (e *Env) ISA() string { return e.Getenv("HPCBERT_ISA") }

// Host returns the name of this node.
func (e *Env) Host() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown host"
	}
	return name
}

// launcherRank returns the rank that the launcher gave this process, 0 without a launcher.
func (e *Env) launcherRank() int {
	for _, name := range []string{"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"} {
		if n, err := strconv.Atoi(e.Getenv(name)); err == nil {
			return n
		}
	}
	return 0
}

// Launched tells whether an MPI launcher started this process.
func (e *Env) Launched() bool {
	for _, name := range []string{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "PMI_SIZE", "PMIX_RANK"} {
		if e.Getenv(name) != "" {
			return true
		}
	}
	return false
}
