package kernels

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// buildPool compiles the pool and its check by themselves, with the C compiler that this package needs anyway.
func buildPool(t testing.TB, flags ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "pool_check")
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "gcc"
	}
	args := append(flags, "-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-o", program, "testdata/pool_check.c", "pool.c", "memory.c", "-lpthread")
	if out, err := exec.Command(compiler, args...).CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skipf("skipped: %v", err) // the test program runs in an emulator
	} else if err != nil && len(flags) > 1 {
		t.Skipf("skipped: %s %s: %s", compiler, strings.Join(flags, " "), out)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestPool wants every item done once, whatever the threads, their sleep and the caller's thread.
func TestPool(t *testing.T) {
	if out, err := exec.Command(buildPool(t, "-O2")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPoolHasNoRaces runs the same under the thread sanitizer. The fences order looks at sleepers, not data, so that it need not know them.
func TestPoolHasNoRaces(t *testing.T) {
	program := buildPool(t, "-O1", "-fsanitize=thread", "-Wno-tsan")
	out, err := exec.Command("setarch", "-R", program).CombinedOutput() // older sanitizers want addresses in their usual places
	if bytes.Contains(out, []byte("unexpected memory mapping")) || bytes.Contains(out, []byte("failed to set personality")) {
		t.Skipf("skipped: the thread sanitizer does not run here: %s", out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// BenchmarkForkJoin measures an operation without work.
func BenchmarkForkJoin(b *testing.B) {
	program := buildPool(b, "-O2")
	for threads := 2; threads <= runtime.NumCPU(); threads *= 2 {
		b.Run(fmt.Sprint(threads), func(b *testing.B) {
			for b.Loop() {
				out, err := exec.Command(program, "bench", fmt.Sprint(threads)).Output()
				var awake, asleep float64
				if _, scanned := fmt.Sscan(string(out), &awake, &asleep); err != nil || scanned != nil {
					b.Fatal(err, scanned)
				}
				b.ReportMetric(awake, "ns/awake")
				b.ReportMetric(asleep, "ns/asleep")
			}
		})
	}
}

// TestZeroAndCopyTouchNothingElse uses sizes around an item of memory.c, starts that no vector likes, and one beyond the caches.
func TestZeroAndCopyTouchNothingElse(t *testing.T) {
	const item, beyond = 256 << 10 / 4, 64 << 20 / 4
	m, r := onThreads(t, 3), rand.New(rand.NewPCG(1, 0))
	for _, c := range []struct{ first, n int }{{0, 1}, {3, 5}, {1, item - 1}, {0, item}, {1, item + 1}, {7, 5*item + 3}, {0, beyond + 9}, {1, beyond}} {
		x, y := normal(r, c.first+c.n+9, 5, 1), make([]float32, c.first+c.n+9)
		from, to := tensor(t, m, x), tensor(t, m, y)
		m.Copy(to.Slice(c.first, c.first+c.n), from.Slice(c.first, c.first+c.n))
		m.Zero(from.Slice(c.first, c.first+c.n))
		zeroed, copied := values[float32](t, m, from), values[float32](t, m, to)
		for i := range x {
			wantZeroed, wantCopied := x[i], float32(0)
			if i >= c.first && i < c.first+c.n {
				wantZeroed, wantCopied = 0, x[i]
			}
			if zeroed[i] != wantZeroed || copied[i] != wantCopied {
				t.Fatalf("elements %d to %d: element %d is %v cleared, %v copied, expected %v and %v", c.first, c.first+c.n, i, zeroed[i], copied[i], wantZeroed, wantCopied)
			}
		}
	}
}

// resident returns the bytes of x that have memory, by the system's account.
func resident(t *testing.T, x Tensor) int {
	t.Helper()
	page := os.Getpagesize()
	seen := make([]byte, (x.n*x.dtype.Size()+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(x.ptr), uintptr(x.n*x.dtype.Size()), uintptr(unsafe.Pointer(&seen[0]))); errno != 0 {
		t.Fatal(errno)
	}
	return bytes.Count(seen, []byte{1}) * page
}

// TestMemoryIsHugeAndTouchedByItsUser wants an allocation aligned and untouched, then, cleared, in huge pages but for its ends.
func TestMemoryIsHugeAndTouchedByItsUser(t *testing.T) {
	const huge, size = 2 << 20, 65<<20 + 12
	m := onThreads(t, 2)
	x, err := m.dev.Alloc(Float32, size/4)
	if err != nil {
		t.Fatal(err)
	}
	defer m.dev.Free(x)
	if uintptr(x.ptr)%huge != 0 {
		t.Errorf("at %p: not at a multiple of a huge page", x.ptr)
	}
	if got := resident(t, x); got != 0 {
		t.Errorf("%d bytes have memory before anybody wrote", got)
	}
	m.Zero(x)
	if got := resident(t, x); got < size {
		t.Errorf("%d bytes of %d have memory after clearing", got, size)
	}
	mode, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil || strings.Contains(string(mode), "[never]") || os.Getpagesize() != 4096 {
		t.Skip("skipped: this system has no transparent huge pages")
	}
	if got := hugeBytes(t, uintptr(x.ptr)); got < size/huge*huge*3/4 { // a fragmented memory may lack some
		t.Errorf("%d bytes of %d in huge pages", got, size)
	}
}

// hugeBytes returns AnonHugePages of the mapping that holds an address.
func hugeBytes(t *testing.T, address uintptr) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var kilobytes int
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= address && address < to
		}
		if n, _ := fmt.Sscanf(line, "AnonHugePages: %d kB", &kilobytes); n == 1 && inside {
			return kilobytes << 10
		}
	}
	t.Fatal("no mapping holds the address")
	return 0
}

// TestPagesLieWithTheirThreads clears an array on two threads, the second pinned to another NUMA node, and wants that one's half there.
func TestPagesLieWithTheirThreads(t *testing.T) {
	remote := cpuOfAnotherNode()
	if remote < 0 {
		t.Skip("skipped: this process may run on one NUMA node only")
	}
	dev, err := Open("cpu", Options{Threads: 2, Pin: []int{-1, remote}})
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // its affinity is changed; the thread ends with this test
	if err := unix.SchedSetaffinity(0, cpuSet(firstCPU())); err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, dev)
	const pages = 64 << 20 / 4096
	x, err := dev.Alloc(Float32, pages*1024)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Free(x)
	m.Zero(x)
	addresses, nodes := make([]uintptr, pages), make([]int32, pages)
	for i := range addresses {
		addresses[i] = uintptr(x.ptr) + uintptr(i)*4096
	}
	if _, _, errno := unix.Syscall6(unix.SYS_MOVE_PAGES, 0, pages, uintptr(unsafe.Pointer(&addresses[0])), 0, uintptr(unsafe.Pointer(&nodes[0])), 0); errno != 0 {
		t.Skipf("skipped: move_pages: %v", errno)
	}
	near, far := nodes[0], 0
	for _, n := range nodes[pages/2:] {
		if n != near {
			far++
		}
	}
	if far < pages/4 { // a thread that is early helps the other
		t.Errorf("%d of the second half's %d pages lie on the second thread's node", far, pages/2)
	}
}

func firstCPU() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil {
		for cpu := range 1024 {
			if set.IsSet(cpu) {
				return cpu
			}
		}
	}
	return -1
}

func cpuSet(cpu int) *unix.CPUSet {
	var set unix.CPUSet
	set.Set(cpu)
	return &set
}

// cpuOfAnotherNode returns a CPU of this process on another node than its first, -1 if there is none.
func cpuOfAnotherNode() int {
	nodeOf := func(cpu int) string {
		nodes, _ := filepath.Glob(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/node*", cpu))
		return strings.Join(nodes, "")[strings.LastIndexByte(strings.Join(nodes, ""), '/')+1:]
	}
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return -1
	}
	for cpu, first := 0, nodeOf(firstCPU()); cpu < 1024; cpu++ {
		if set.IsSet(cpu) && nodeOf(cpu) != first {
			return cpu
		}
	}
	return -1
}
