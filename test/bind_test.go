package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machine is a made-up node: what lscpu, numactl, nvidia-smi and ibstat say there.
type machine struct {
	topology string // lines of lscpu -p=CPU,CORE,NODE
	allowed  string // physcpubind of numactl --show; empty: no numactl on the node
	gpus     int
	ib       string // devices
}

// topology numbers CPUs as most machines do: the first hardware threads of all cores, node by node, then the second ones.
func topology(nodes, cores, threads int) string {
	var lines strings.Builder
	for cpu := range nodes * cores * threads {
		core := cpu % (nodes * cores)
		fmt.Fprintf(&lines, "%d,%d,%d\n", cpu, core, core/cores)
	}
	return lines.String()
}

// every lists CPUs from first to last.
func every(first, last int) string {
	var list []string
	for cpu := first; cpu <= last; cpu++ {
		list = append(list, fmt.Sprint(cpu))
	}
	return strings.Join(list, ",")
}

// folder makes programs that speak for the machine, beside those that bind.sh needs, and returns the only folder of PATH.
func (m machine) folder(t *testing.T) string {
	dir := t.TempDir()
	program := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/bash\n"+text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	program("lscpu", "cat <<'EOF'\n# CPU,Core,Node\n"+m.topology+"EOF\n")
	if m.allowed != "" {
		program("numactl", `if [ "$1" = --show ]; then echo "physcpubind: `+m.allowed+` "; exit; fi
while [ "$1" != -- ]; do echo "$1"; shift; done
shift; exec "$@"`)
	}
	if m.gpus > 0 {
		program("nvidia-smi", fmt.Sprintf(`for ((i = 0; i < %d; i++)); do echo "GPU $i: Tesla (UUID: GPU-$i)"; done`, m.gpus))
	}
	if m.ib != "" {
		program("ibstat", "printf '%s\\n' "+m.ib)
	}
	must(t, "cd "+dir+"; for p in bash sed awk sort tr cut paste cat realpath env; do ln -s $(command -v $p) $p; done")
	return dir
}

// TestBind runs bind.sh on made-up machines. The numbers of DGX machines are those of the reference's formulas: c cores a GPU, the rank's are
// r·c to (r+1)·c-1, siblings come behind all cores.
func TestBind(t *testing.T) {
	all := func(cpus int) string { return strings.ReplaceAll(every(0, cpus-1), ",", " ") }
	dgx1 := machine{topology(2, 20, 2), all(80), 8, "mlx5_0 mlx5_1 mlx5_2 mlx5_10"}
	a100 := machine{topology(8, 16, 2), all(256), 8, ""}
	plain := machine{topology(2, 8, 1), all(16), 0, ""} // without GPUs
	alternating := machine{"0,0,0\n1,1,1\n2,2,0\n3,3,1\n4,0,0\n5,1,1\n6,2,0\n7,3,1\n", all(8), 0, ""}
	flat := machine{"0,0,\n1,1,\n", "0 1", 0, ""}
	none := machine{topology(2, 8, 1), "", 8, ""}
	with := func(m machine, change func(*machine)) machine { change(&m); return m }
	const mpi = "OMPI_COMM_WORLD_LOCAL_RANK=%d OMPI_COMM_WORLD_LOCAL_SIZE=%d "
	ranks := func(rank, size int) string { return fmt.Sprintf(mpi, rank, size) }
	own := filepath.Join(t.TempDir(), "own.sh")
	if err := os.WriteFile(own, []byte("bind_cpu_cores=(0-3 4-7)\nbind_mem=(0 1)\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what        string
		on          machine
		env, flags  string
		status      int
		want, warns string // standard output: numactl's options, then the variables; and part of standard error
	}{
		{"reference DGX-1", dgx1, ranks(3, 8), "--cpu=exclusive", 0, "--physcpubind=" + every(15, 19) + "," + every(55, 59) + " --membind=0 gpu=3 ib=", ""},
		{"value apart from option", dgx1, ranks(3, 8), "--cpu exclusive --mem off", 0, "--physcpubind=" + every(15, 19) + "," + every(55, 59) + " gpu=3 ib=", ""},
		{"second half", dgx1, ranks(7, 8), "--cpu=exclusive,nosmt", 0, "--physcpubind=" + every(35, 39) + " --membind=1 gpu=7 ib=", ""},
		{"whole node", dgx1, ranks(4, 8), "", 0, "--physcpubind=" + every(20, 39) + "," + every(60, 79) + " --membind=1 gpu=4 ib=", ""},
		{"a NUMA node a GPU", a100, ranks(5, 8), "--cpu=exclusive", 0, "--physcpubind=" + every(80, 95) + "," + every(208, 223) + " --membind=5 gpu=5 ib=", ""},
		{"fewer GPUs than NUMA nodes", with(a100, func(m *machine) { m.gpus = 2 }), ranks(1, 2), "--cpu=exclusive,nosmt", 0, "--physcpubind=" + every(64, 127) + " --membind=4,5,6,7 gpu=1 ib=", ""},
		{"no even share of NUMA nodes", with(a100, func(m *machine) { m.gpus = 3 }), ranks(1, 3), "--cpu=exclusive,nosmt", 0, "--physcpubind=" + every(32, 79) + " --membind=2,3,4 gpu=1 ib=", ""},
		{"no GPU, two ranks", plain, ranks(1, 2), "--cpu=exclusive", 0, "--physcpubind=" + every(8, 15) + " --membind=1 gpu= ib=", ""},
		{"no even share of ranks", plain, ranks(1, 3), "--cpu=exclusive", 0, "--physcpubind=" + every(4, 7) + " --membind=0 gpu= ib=", ""},
		{"one rank", plain, ranks(0, 1), "--cpu=exclusive", 0, "--physcpubind=" + every(0, 15) + " --membind=0,1 gpu= ib=", ""},
		{"more ranks than cores", plain, ranks(31, 32), "--cpu=exclusive", 0, "--physcpubind=15 --membind=1 gpu= ib=", ""},
		{"nodes alternate", alternating, ranks(1, 2), "--cpu=exclusive", 0, "--physcpubind=1,3,5,7 --membind=1 gpu= ib=", ""},
		{"nodes alternate, one thread", alternating, ranks(1, 2), "--cpu=exclusive,nosmt", 0, "--physcpubind=1,3 --membind=1 gpu= ib=", ""},
		{"no NUMA", flat, ranks(1, 2), "--cpu=exclusive", 0, "--physcpubind=1 --membind=0 gpu= ib=", ""},
		{"part of the node granted", with(plain, func(m *machine) { m.allowed = "2 3 4 5" }), ranks(0, 1), "", 0, "--physcpubind=2,3,4,5 --membind=0,1 gpu= ib=", ""},
		{"nothing granted there", with(plain, func(m *machine) { m.allowed = "2 3 4 5" }), ranks(1, 2), "", 1, "", "none of the CPUs of NUMA node 1"},
		{"off", dgx1, ranks(3, 8), "--cpu=off --mem=off --gpu=off", 0, "gpu= ib=", "not bound"},
		{"own file", plain, ranks(1, 2), "--cpu=" + own + " --mem=" + own, 0, "--physcpubind=4-7 --membind=1 gpu= ib=", ""},
		{"own file too short", plain, ranks(2, 3), "--cpu=" + own, 1, "", "has an element 2"},
		{"without numactl", none, ranks(1, 8), "--cpu=exclusive", 0, "gpu=1 ib=", "warning: numactl not found"},
		{"InfiniBand", dgx1, ranks(7, 8), "--cpu=off --mem=off --ib=single", 0, "gpu=7 ib==mlx5_10", ""},
		{"InfiniBand, sorted by number", dgx1, ranks(5, 8), "--cpu=off --mem=off --ib=single", 0, "gpu=5 ib==mlx5_2", ""},
		{"InfiniBand, own list", dgx1, ranks(1, 8), "--cpu=off --mem=off --ib=a_1,b_2", 0, "gpu=1 ib==a_1", ""},
		{"no InfiniBand", plain, ranks(0, 1), "--cpu=off --mem=off --ib=single", 0, "gpu= ib=", "no InfiniBand device"},
		{"GPUs chosen by the user", dgx1, ranks(1, 2) + "CUDA_VISIBLE_DEVICES=4,6 ", "--cpu=off --mem=off", 0, "gpu=6 ib=", ""},
		{"GPU given by Slurm", with(dgx1, func(m *machine) { m.gpus = 1 }), "SLURM_LOCALID=5 SLURM_STEP_TASKS_PER_NODE='8(x2)' SLURM_NODEID=1 CUDA_VISIBLE_DEVICES=0 ", "--cpu=exclusive,nosmt", 0,
			"--physcpubind=" + every(25, 29) + " --membind=1 gpu=0 ib=", ""},
		{"mpirun in a job script", plain, "SLURM_LOCALID=0 SLURM_STEP_TASKS_PER_NODE=1 " + ranks(1, 2), "", 0, "--physcpubind=" + every(8, 15) + " --membind=1 gpu= ib=", ""},
		{"srun, another number on the last node", plain, "SLURM_LOCALID=0 SLURM_STEP_TASKS_PER_NODE='4(x3),1' SLURM_NODEID=3 ", "--cpu=exclusive", 0, "--physcpubind=" + every(0, 15) + " --membind=0,1 gpu= ib=", ""},
		{"own launcher", plain, "LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 ", "", 0, "--physcpubind=" + every(8, 15) + " --membind=1 gpu= ib=", ""},
		{"more ranks than GPUs", dgx1, ranks(8, 9), "", 1, "", "rank 8 of this node has no GPU"},
		{"no launcher", plain, "", "", 1, "", "no number of this rank"},
		{"no number of ranks", plain, "LOCAL_RANK=1 ", "", 1, "", "no number of the ranks"},
		{"wrong mode", plain, ranks(0, 1), "--cpu=socket", 2, "", "must be node, exclusive"},
		{"unknown option", plain, ranks(0, 1), "--cluster=x", 2, "", "unknown option"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			clear := "env -u LOCAL_RANK -u OMPI_COMM_WORLD_LOCAL_RANK -u MPI_LOCALRANKID -u SLURM_LOCALID -u CUDA_VISIBLE_DEVICES -u NCCL_IB_HCA "
			r := sh(t, clear+c.env+"PATH="+c.on.folder(t)+" /bin/bash ../sub/bind.sh "+c.flags+` -- bash -c 'echo "gpu=$CUDA_VISIBLE_DEVICES" "ib=$NCCL_IB_HCA"'`)
			if got := strings.Join(strings.Fields(r.stdout), " "); r.status != c.status || got != c.want || !strings.Contains(r.stderr, c.warns) {
				t.Errorf("exit status %d, expected %d; printed\n%s\nexpected\n%s\nand on standard error %q:\n%s", r.status, c.status, got, c.want, c.warns, r.stderr)
			}
		})
	}
}
