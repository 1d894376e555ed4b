package cli

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Cores returns how many cores this process may run on, after what a launcher bound it to.
func Cores() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil || set.Count() == 0 {
		return 1
	}
	return set.Count()
}

// LocalRanks returns how many ranks of the job share this node, by the launcher's variables; 1 without a launcher.
func (e *Env) LocalRanks() int {
	if !e.Launched() {
		return 1
	}
	for _, name := range []string{"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"} {
		if n, err := strconv.Atoi(e.Getenv(name)); err == nil && n > 0 {
			return n
		}
	}
	return 1
}

// Threads returns the threads to use: -j, else OMP_NUM_THREADS, else the cores bound to this process, shared with the other ranks of
// the node where they see the same cores.
func (e *Env) Threads() int {
	if e.threads > 0 {
		return e.threads
	}
	if n, err := strconv.Atoi(e.Getenv("OMP_NUM_THREADS")); err == nil && n > 0 {
		return n
	}
	cores := Cores()
	if ranks := e.LocalRanks(); ranks > 1 && cores >= OnlineCores() {
		cores /= ranks
	}
	return max(cores, 1)
}

// IdleCores returns how many cores of the node this job leaves idle because the launcher bound it to others, unless somebody chose the threads.
func (e *Env) IdleCores() int {
	if Cores() >= OnlineCores() || e.threads > 0 || e.Getenv("OMP_NUM_THREADS") != "" {
		return 0
	}
	return max(0, OnlineCores()-e.LocalRanks()*e.Threads())
}

// OnlineCores returns the cores of the node.
func OnlineCores() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(1, &set) != nil || set.Count() == 0 { // process 1 is not bound
		return Cores()
	}
	return set.Count()
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
