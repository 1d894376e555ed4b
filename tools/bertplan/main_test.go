package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hpcbert/lib/cli/clitest"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

const configs = "../../configs/"

// rowsOf runs the program with --json.
func rowsOf(t *testing.T, stdin string, args ...string) (rows []row, stderr string) {
	t.Helper()
	status, stdout, stderr := run(stdin, append(args, "--json")...)
	if status != 0 {
		t.Fatalf("exit %d: %s", status, stderr)
	}
	for line := range strings.Lines(stdout) {
		var r row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows, stderr
}

// TestMachineFilesPredictTheReference predicts the published throughput of 16 and 64 nodes from the files of configs/machine alone.
func TestMachineFilesPredictTheReference(t *testing.T) {
	for _, c := range []struct {
		phase    int
		machine  string
		measured map[int]float64
	}{
		{1, "dgx1_16x8x16x32", map[int]float64{16: 12144.64}},
		{2, "dgx1_16x8x4x64", map[int]float64{16: 2746.368}},
		{1, "dgx2_64x16x64", map[int]float64{16: 51937.28, 64: 188088.32}},
		{2, "dgx2_64x16x8x4", map[int]float64{16: 9932.8, 64: 37478.4}},
	} {
		rows, _ := rowsOf(t, "", "--recipe", configs+fmt.Sprintf("recipe/phase%d.json", c.phase), "--config", configs+"model/large.json", "--machine", configs+"machine/"+c.machine+".json",
			"--nodes", "16,64")
		for _, r := range rows {
			want := c.measured[r.Nodes]
			if want > 0 && !(math.Abs(r.Speed/want-1) <= 0.1) {
				t.Errorf("%s on %d nodes: %.0f sequences/s, published %.0f", c.machine, r.Nodes, r.Speed, want)
			}
		}
	}
}

const (
	recipe = `{"source": "a test", "phase": 1, "sequence_length": 16, "max_predictions": 2, "global_batch": 64, "micro_batch": 4, "learning_rate": 1e-3, "warmup": 0.1, "steps": 3600}`
	shape  = `{"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 16}`
)

// inputs returns the options that name a small recipe and a small model.
func inputs(t *testing.T) []string {
	return []string{"--recipe", clitest.WriteFile(t, "r.json", recipe), "--config", clitest.WriteFile(t, "m.json", shape)}
}

func TestRowsByHand(t *testing.T) {
	// 16 sequences/s of each of 2 devices, a link that takes no time: 64 sequences take 2 s on one node, 1 s and 10 % on two.
	rows, _ := rowsOf(t, "", append(inputs(t), "--sequences-per-second", "16", "--devices", "2", "--nodes", "1,2", "--latency", "0", "--bandwidth", "1e30", "--device-link", "nvlink4", "--slowdown", "0.1")...)
	if len(rows) != 2 {
		t.Fatal(rows)
	}
	for i, want := range []row{
		{Nodes: 1, Ranks: 2, Share: 32, Accumulation: 8, Compute: 2, Speed: 32, Efficiency: 1, Hours: 2},
		{Nodes: 2, Ranks: 4, Share: 16, Accumulation: 4, Compute: 1.1, Speed: 64 / 1.1, Efficiency: 1 / 1.1, Hours: 1.1},
	} {
		got := rows[i]
		if got.Nodes != want.Nodes || got.Ranks != want.Ranks || got.Share != want.Share || got.Accumulation != want.Accumulation {
			t.Errorf("%+v, want %+v", got, want)
		}
		for _, pair := range [][2]float64{{got.Compute, want.Compute}, {got.Step, want.Compute + got.Exposed}, {got.Speed, want.Speed}, {got.Efficiency, want.Efficiency}, {got.Hours, want.Hours}} {
			if math.Abs(pair[0]/pair[1]-1) > 1e-3 { // but for microseconds of the link in the node
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		if got.Memory <= 0 {
			t.Errorf("memory %d", got.Memory)
		}
	}
}

// Beside all moments, 8 bytes for each parameter, a rank with a part of them has so much less. The parameters are counted by hand.
func TestShardedMoments(t *testing.T) {
	const parameters = 100*(32+1) + 16*32 + 2*32 + 64 + 4*(32*32+32) + 64 + 64*(32+1) + 32*(64+1) + 64 + 2*(32*32+32) + 64 + 2*(32+1)
	base := append(inputs(t), "--sequences-per-second", "16", "--devices", "2", "--nodes", "1,4", "--node-link", "10gbe")
	whole, _ := rowsOf(t, "", base...)
	parts, _ := rowsOf(t, "", append(base, "--shard-optimizer")...)
	for i, ranks := range []float64{2, 8} {
		if got, want := float64(whole[i].Memory-parts[i].Memory), 8*parameters*(1-1/ranks); math.Abs(got/want-1) > 0.01 {
			t.Errorf("%v ranks: %v bytes less, expected %v", ranks, got, want)
		}
		if got, want := parts[i].Exposed, whole[i].Exposed; got < want {
			t.Errorf("%v ranks: %v s of the all-reduce are seen, %v without parts", ranks, got, want)
		}
	}
}

// metricsOf is a file of bertrain: a first step that is slow, then steps of these seconds.
func metricsOf(t *testing.T, global int, seconds float64) string {
	text := fmt.Sprintf(`{"run":"pretraining","ranks":2,"global_batch":%d,"micro_batch":4,"sequence_length":16,"hidden_size":32,"num_hidden_layers":1}`+"\n", global)
	for step, factor := range []float64{9, 1, 0.9, 1.1, 1, 30} {
		text += fmt.Sprintf(`{"step":%d,"loss":9,"seconds":%g}`+"\n", step+1, seconds*factor)
	}
	return clitest.WriteFile(t, "metrics.jsonl", text+`{"step":7,`)
}

func TestMeasuredRuns(t *testing.T) {
	// 0.1 s a sequence and 0.3 s an update, on 2 ranks: 16 sequences take 1.1 s, 64 take 3.5.
	one, two := metricsOf(t, 16, 1.1), metricsOf(t, 64, 3.5)
	base := append(inputs(t), "--nodes", "1,2", "--bandwidth", "1e30", "--latency", "0", "--overlap", "1")
	for _, c := range []struct {
		name    string
		files   []string
		seconds [2]float64
	}{
		{"one run", []string{"--measured", two}, [2]float64{3.5, 1.75}},
		{"two batches tell what an update costs", []string{"--measured", one, "--measured", two}, [2]float64{3.5, 1.9}},
	} {
		rows, stderr := rowsOf(t, "", append(base, c.files...)...)
		for i, want := range c.seconds {
			if got := rows[i]; got.Ranks != 2*(i+1) || math.Abs(got.Step-want) > 1e-3 {
				t.Errorf("%s: %+v, want %g s: %s", c.name, got, want, stderr)
			}
		}
	}
}

func TestFitFromATable(t *testing.T) {
	rows, stderr := rowsOf(t, "nodes speed\n1 64\n2 100\n", append(inputs(t), "--fit", "-", "--node-link", "ndr")...)
	if len(rows) != 7 || math.Abs(rows[0].Speed-64) > 1e-6 || math.Abs(rows[1].Speed-100) > 1e-6 || !strings.Contains(stderr, "2 x 1, updates of 64: measured 100, model 100 sequences/s (+0.0 %)") {
		t.Errorf("%+v: %s", rows, stderr)
	}
}

func TestTable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "plan.txt")
	status, stdout, stderr := run("", append(inputs(t), "--sequences-per-second", "16", "-o", name)...)
	text, err := os.ReadFile(name)
	if status != 0 || stdout != "" || err != nil || strings.Count(string(text), "\n") != 8 || !strings.Contains(string(text), "efficiency") || !strings.Contains(stderr, "--slowdown") {
		t.Errorf("exit %d, %v: %s%s", status, err, text, stderr)
	}
	status, stdout, stderr = run("", "--links")
	if status != 0 || !strings.Contains(stdout, "nvlink2") || !strings.Contains(stdout, "10gbe") {
		t.Errorf("exit %d: %s%s", status, stdout, stderr)
	}
}

func TestRefusals(t *testing.T) {
	machine := configs + "machine/dgx1.json"
	reference := []string{"--recipe", configs + "recipe/phase1.json", "--config", configs + "model/large.json"}
	base := inputs(t)
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"no recipe", []string{"--config", "x"}, 2, "--recipe and --config are needed"},
		{"nothing measured", base, 2, "nothing says how fast"},
		{"two sources", append(base, "--fit", "x", "--sequences-per-second", "3"), 2, "exclude each other"},
		{"negative speed", append(base, "--sequences-per-second", "-3"), 2, "--sequences-per-second -3"},
		{"not a number", append(base, "--sequences-per-second", "NaN"), 2, "--sequences-per-second NaN"},
		{"overlap above 1", append(base, "--sequences-per-second", "3", "--overlap", "1.5"), 2, "--overlap 1.5"},
		{"negative slowdown", append(base, "--sequences-per-second", "3", "--slowdown", "-0.5"), 2, "--slowdown -0.5"},
		{"no bandwidth", append(base, "--sequences-per-second", "3", "--bandwidth", "0"), 2, "--bandwidth 0"},
		{"nodes", append(base, "--sequences-per-second", "3", "--nodes", "1,x"), 2, `"x" is no number of nodes`},
		{"more nodes than sequences", append(base, "--sequences-per-second", "3", "--nodes", "65"), 2, "65 nodes: batch: an update of 64 sequences"},
		{"unknown link", append(base, "--sequences-per-second", "3", "--node-link", "wire"), 2, `--node-link: link "wire" is none of`},
		{"argument", append(base, "more"), 2, `unexpected argument "more"`},
		{"missing recipe", []string{"--recipe", "none.json", "--config", "none.json", "--sequences-per-second", "3"}, 1, "read recipe none.json"},
		{"machine for another recipe", append(base, "--machine", machine), 2, "makes updates of 65536 sequences"},
		{"speeds of another model", append(reference[:2:2], "--config", configs+"model/base.json", "--machine", machine), 1, "has no speeds of base.json"},
		{"run of another model", append(reference[:4:4], "--measured", metricsOf(t, 16, 1)), 1, "its sequence_length is 16, that of the recipe and model is 128"},
		{"no steps yet", append(base, "--measured", clitest.WriteFile(t, "metrics.jsonl", `{"ranks":1,"global_batch":8,"micro_batch":8,"sequence_length":16,"hidden_size":32,"num_hidden_layers":1}`+"\n")), 1, "0 step(s) have seconds"},
		{"bad table", append(base, "--fit", clitest.WriteFile(t, "t.txt", "1 x\n")), 1, "line 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clitest.Refused(t, run, "", c.args, c.status, c.says)
		})
	}
}
