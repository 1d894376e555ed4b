package test

import (
	"path/filepath"
	"strings"
	"testing"
)

// Masks drawn anew depend neither on the ranks nor on where a run goes on, and they are others than those of the shards.
func TestDynamicMasking(t *testing.T) {
	needMPI(t)
	needData(t)
	dir := t.TempDir()
	out := func(name string) string { return filepath.Join(dir, name) }
	const options, last = "--steps 30 --save-every 15 --keep 0 --warmup 0.1 ", "/step-00000030"
	must(t, trainLine(0, out("static"), options))
	must(t, trainLine(0, out("whole"), options+"--dynamic-masking"))
	must(t, trainLine(2, out("ranks"), options+"--dynamic-masking"))
	static, want, ranks := steps(t, out("static")), steps(t, out("whole")), steps(t, out("ranks"))
	differ := 0
	for i := range want {
		if e := relative(ranks[i].Loss, want[i].Loss); e > 1e-5 {
			t.Errorf("step %d: loss %v on two ranks, %v alone", i+1, ranks[i].Loss, want[i].Loss)
		}
		if relative(static[i].Loss, want[i].Loss) > 1e-5 {
			differ++
		}
	}
	if differ < 25 {
		t.Errorf("only %d of 30 losses differ from those with the shards' masks", differ)
	}

	must(t, "mkdir "+out("resumed")+" && cp -r "+out("whole")+"/step-00000015 "+out("whole")+"/metrics.jsonl "+out("resumed"))
	must(t, trainLine(0, out("resumed"), options+"--dynamic-masking"))
	sameFiles(t, out("whole")+last, out("resumed")+last)

	for more, want := range map[string]string{
		"":                                       "masking was dynamic, now it is static",
		"--dynamic-masking --whole-word-masking": "masking was dynamic, now it is dynamic, whole words",
	} {
		if r := sh(t, trainLine(0, out("resumed"), options+more)); r.status != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: exit status %d\n%s", more, r.status, r.stderr)
		}
	}
	must(t, "mkdir "+out("bare")+" && cp $WORK/hdf5/*training*.hdf5 "+out("bare"))
	r := sh(t, trainLine(0, out("refused"), options+"--dynamic-masking --data "+out("bare")+" --config $WORK/small.json"))
	if r.status != 1 || !strings.Contains(r.stderr, "hint: give --vocab FILE") {
		t.Errorf("without a vocabulary: exit status %d\n%s", r.status, r.stderr)
	}
	if r := sh(t, trainLine(0, out("refused"), options+"--whole-word-masking")); r.status != 2 {
		t.Errorf("--whole-word-masking alone: exit status %d\n%s", r.status, r.stderr)
	}
}
