package kernels

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// instructionSets are those that the CPU's operations are written for, best first.
var instructionSets = []string{"avx512bf16", "avx512", "avx2", "neon", "plain"}

// openHere opens the CPU with each instruction set that the tests run on here: all that it has, or the one that HPCBERT_ISA names, which it
// must have. why tells of the others.
func openHere(t *testing.T) (devices map[string]*Device, why map[string]string) {
	t.Helper()
	forced := os.Getenv("HPCBERT_ISA")
	devices, why = map[string]*Device{}, map[string]string{}
	for _, isa := range instructionSets {
		dev, err := Open("cpu", Options{Threads: 2, ISA: isa})
		switch {
		case forced != "" && isa != forced:
			why[isa] = "HPCBERT_ISA=" + forced
		case err == nil:
			devices[isa] = dev
		case forced != "":
			t.Fatal(err)
		default:
			why[isa] = strings.TrimPrefix(err.Error(), fmt.Sprintf("instruction set %q: ", isa))
		}
	}
	if len(devices) == 0 {
		t.Fatalf("HPCBERT_ISA=%s names no instruction set", forced)
	}
	return devices, why
}

// TestInstructionSets says what the other tests run on (make test shows it), and wants the best of it when none is named.
func TestInstructionSets(t *testing.T) {
	devices, why := openHere(t)
	var ran, not []string
	for _, isa := range instructionSets {
		dev := devices[isa]
		if dev == nil {
			not = append(not, fmt.Sprintf("%s (%s)", isa, why[isa]))
			continue
		}
		ran = append(ran, isa)
		if dev.Name() != "cpu-"+isa {
			t.Errorf("%s is called %s", isa, dev.Name())
		}
	}
	t.Logf("kernels tested on %s; not on %s", strings.Join(ran, ", "), strings.Join(not, ", "))
	if best := onThreads(t, 1); best.name != "cpu-"+ran[0] {
		t.Errorf("%s is chosen, not %s", best.name, ran[0])
	}
}
