package plan

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// reference is a row of the original's scripts/configs/pretrain_config.sh or configurations.yml, one for each phase that it has. Micro-batches
// are those that its documentation names.
type reference struct {
	file           string
	precision      string
	half           bool
	nodes, devices int
	phase          int
	batch, k       int // --train_batch_size, --gradient_accumulation_steps
	micro          int
	saveEvery      int
}

var references = []reference{
	{"dgxa100_8gpu_fp16", "fp16", true, 1, 8, 1, 8192, 128, 64, 200},
	{"dgxa100_8gpu_fp16", "fp16", true, 1, 8, 2, 4096, 256, 16, 200},
	{"dgxa100_8gpu_tf32", "tf32", false, 1, 8, 1, 8192, 128, 64, 200},
	{"dgxa100_8gpu_tf32", "tf32", false, 1, 8, 2, 4096, 512, 8, 200},
	{"dgx2_16gpu_fp16", "fp16", true, 1, 16, 1, 4096, 64, 64, 200},
	{"dgx2_16gpu_fp16", "fp16", true, 1, 16, 2, 2048, 128, 16, 200},
	{"dgx2_16gpu_fp32", "fp32", false, 1, 16, 1, 4096, 128, 32, 200},
	{"dgx2_16gpu_fp32", "fp32", false, 1, 16, 2, 2048, 256, 8, 200},
	{"dgx1_8gpu_fp16", "fp16", true, 1, 8, 1, 8192, 512, 16, 200},
	{"dgx1_8gpu_fp16", "fp16", true, 1, 8, 2, 4096, 512, 8, 200},
	{"dgx1_8gpu_fp32", "fp32", false, 1, 8, 1, 8192, 1024, 8, 200},
	{"dgx1_8gpu_fp32", "fp32", false, 1, 8, 2, 4096, 1024, 4, 200},
	{"dgx1", "fp16", true, 1, 8, 1, 8192, 512, 16, 2500},
	{"dgx1_4x8x16x128", "fp16", true, 4, 8, 1, 2048, 128, 16, 2500},
	{"dgx1_16x8x16x32", "fp16", true, 16, 8, 1, 512, 32, 16, 2500},
	{"dgx2", "fp16", true, 1, 16, 1, 4096, 64, 64, 2500},
	{"dgx2_4x16x64x16", "fp16", true, 4, 16, 1, 1024, 16, 64, 2500},
	{"dgx2_16x16x64x4", "fp16", true, 16, 16, 1, 256, 4, 64, 2500},
	{"dgx2_64x16x64", "fp16", true, 64, 16, 1, 64, 1, 64, 2500},
	{"dgx1_1x8x4x1024", "fp16", true, 1, 8, 2, 4096, 1024, 4, 1000},
	{"dgx1_4x8x4x256", "fp16", true, 4, 8, 2, 1024, 256, 4, 1000},
	{"dgx1_16x8x4x64", "fp16", true, 16, 8, 2, 256, 64, 4, 1000},
	{"dgx2_1x16x8x256", "fp16", true, 1, 16, 2, 2048, 256, 8, 1000},
	{"dgx2_4x16x8x64", "fp16", true, 4, 16, 2, 512, 64, 8, 1000},
	{"dgx2_16x16x8x16", "fp16", true, 16, 16, 2, 128, 16, 8, 1000},
	{"dgx2_64x16x8x4", "fp16", true, 64, 16, 2, 32, 4, 8, 1000},
}

var globalBatch = map[int]int{1: 65536, 2: 32768}

func TestBatchesAreTheReferences(t *testing.T) {
	for _, want := range references {
		b := FromReference(want.batch, want.k, want.nodes, want.devices)
		if b.Global != globalBatch[want.phase] || b.Micro != want.micro || b.Check() != nil {
			t.Errorf("%s phase %d: %+v", want.file, want.phase, b)
		}
		batch, k, exact := (Batch{Global: globalBatch[want.phase], Micro: want.micro, Nodes: want.nodes, Devices: want.devices}).Reference()
		if batch != want.batch || k != want.k || !exact {
			t.Errorf("%s phase %d: --train_batch_size %d --gradient_accumulation_steps %d, %v; want %d and %d", want.file, want.phase, batch, k, exact, want.batch, want.k)
		}
	}
}

func TestBatchesThatDoNotDivide(t *testing.T) {
	for _, c := range []struct {
		batch        Batch
		share, accum int
		exact        bool
		wrong        string
	}{
		{Batch{Global: 10, Micro: 2, Nodes: 2, Devices: 2}, 3, 2, false, ""}, // 3, 2, 3, 2
		{Batch{Global: 12, Micro: 4, Nodes: 2, Devices: 1}, 6, 2, false, ""}, // 4 and 2
		{Batch{Global: 12, Micro: 8, Nodes: 3, Devices: 1}, 4, 1, false, ""},
		{Batch{Global: 4, Micro: 1, Nodes: 2, Devices: 2}, 1, 1, true, ""},
		{Batch{Global: 3, Micro: 1, Nodes: 2, Devices: 2}, 1, 1, false, "leaves some of 4 devices without any"},
		{Batch{Global: 3, Micro: 1, Nodes: 1}, 0, 0, false, "at least 1"},
	} {
		err := c.batch.Check()
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%+v: %v", c.batch, err)
		}
		if c.batch.Devices == 0 {
			continue
		}
		if _, _, exact := c.batch.Reference(); c.batch.Share() != c.share || c.batch.Accumulation() != c.accum || exact != c.exact {
			t.Errorf("%+v: share %d, accumulation %d, exact %v", c.batch, c.batch.Share(), c.batch.Accumulation(), exact)
		}
	}
}

const configs = "../../configs/"

func TestMachineFilesAreTheReferences(t *testing.T) {
	recipes := map[int]*Recipe{}
	for phase, name := range map[int]string{1: "phase1", 2: "phase2"} {
		r, err := ReadRecipe(configs + "recipe/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		recipes[phase] = r
	}
	phases := map[string]int{}
	for _, want := range references {
		m, err := ReadMachine(configs + "machine/" + want.file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		phases[want.file]++
		p := m.Phases[want.phase]
		if m.Nodes != want.nodes || m.Devices != want.devices || m.HalfAllreduce != want.half || m.Overlapped != (want.k == 1) || p.Sequences != want.batch || p.Accumulation != want.k {
			t.Errorf("%s phase %d: %+v", want.file, want.phase, m)
		}
		r, err := recipes[want.phase].On(m)
		if err != nil || r.Precision != want.precision || r.MicroBatch != want.micro || r.SaveEvery != want.saveEvery {
			t.Errorf("%s phase %d: %+v, %v", want.file, want.phase, r, err)
		}
	}
	files, err := filepath.Glob(configs + "machine/*.json")
	if err != nil || len(files) != len(phases) || len(files) != 20 {
		t.Errorf("%d machine files, %d of them known: %v", len(files), len(phases), err)
	}
	for _, name := range files {
		m, err := ReadMachine(name)
		if err != nil || len(m.Phases) != phases[strings.TrimSuffix(filepath.Base(name), ".json")] {
			t.Errorf("%s: %v: %+v", name, err, m)
		}
	}
}

// TestRecipesOfTheReference holds the numbers of its pretrain_config.sh.
func TestRecipesOfTheReference(t *testing.T) {
	for _, want := range []Recipe{
		{Phase: 1, SequenceLength: 128, MaxPredictions: 20, GlobalBatch: 65536, LearningRate: 6e-3, Warmup: 0.2843, Steps: 7038},
		{Phase: 2, SequenceLength: 512, MaxPredictions: 80, GlobalBatch: 32768, LearningRate: 4e-3, Warmup: 0.128, Steps: 1563},
	} {
		got, err := ReadRecipe(configs + "recipe/phase" + string(rune('0'+want.Phase)) + ".json")
		if err != nil {
			t.Fatal(err)
		}
		want.Source, want.MicroBatch, want.Precision = got.Source, got.MicroBatch, "fp32"
		want.Schedule, want.Optimizer, want.SaveEvery, want.Seed = "polynomial", "lamb", 200, 42
		if *got != want {
			t.Errorf("%+v, want %+v", *got, want)
		}
	}
}

func TestAllRecipesAreLegal(t *testing.T) {
	files, err := filepath.Glob(configs + "recipe/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, name := range files {
		if _, err := ReadRecipe(name); err != nil {
			t.Error(err)
		}
	}
}

const recipe = `{"source": "a test", "phase": 1, "sequence_length": 128, "max_predictions": 20, "global_batch": 64, "micro_batch": 8,
	"learning_rate": 6e-3, "warmup": 0.1, "steps": 10, "save_every": 5}`

const machine = `{"source": "a test", "name": "two", "nodes": 2, "devices_per_node": 4, "device": "socket", "precision": "fp32", "device_link": "shared",
	"node_link": "10gbe", "node_links": 1, "phases": {"1": {"sequences_per_update_per_device": 8, "accumulation": 2}}}`

// with returns a JSON object with other values of some keys; nil takes a key away.
func with(t *testing.T, object string, changes map[string]any) string {
	t.Helper()
	var keys map[string]any
	if err := json.Unmarshal([]byte(object), &keys); err != nil {
		t.Fatal(err)
	}
	maps.Copy(keys, changes)
	maps.DeleteFunc(keys, func(_ string, value any) bool { return value == nil })
	data, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.json")
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRecipesAreChecked(t *testing.T) {
	for key, wrong := range map[string][]any{
		"source": {nil, " "}, "phase": {nil, 0, 3, 1.5, "1"}, "sequence_length": {nil, 2, 1 << 17}, "max_predictions": {nil, 0, 129},
		"global_batch": {nil, 0, -1, 1 << 31}, "micro_batch": {nil, 0, 65}, "learning_rate": {nil, 0, -1, 1e39, "6e-3"}, "warmup": {-0.1, 1},
		"steps": {nil, 0, 1 << 33}, "save_every": {-1}, "schedule": {"step"}, "optimizer": {"sgd"}, "precision": {"fp8", ""}, "seed": {-1},
		"dropout": {-0.1, 1}, "learning-rate": {1}, "stepps": {10},
	} {
		for _, value := range wrong {
			name := file(t, with(t, recipe, map[string]any{key: value}))
			if _, err := ReadRecipe(name); err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "read recipe "+name) {
				t.Errorf("%s = %v: %v", key, value, err)
			}
		}
	}
	for text, want := range map[string]string{"": "EOF", "[]": "array", recipe + "{}": "behind the object", recipe[:40]: "EOF"} {
		if _, err := ReadRecipe(file(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	r, err := ReadRecipe(file(t, recipe))
	if err != nil || r.Precision != "fp32" || r.Schedule != "polynomial" || r.Optimizer != "lamb" || r.Seed != 42 || r.Dropout != nil {
		t.Errorf("defaults: %+v, %v", r, err)
	}
}

func TestMachinesAreChecked(t *testing.T) {
	phase := func(key string, value any) map[string]any {
		p := map[string]any{"sequences_per_update_per_device": 8, "accumulation": 2, key: value}
		return map[string]any{"1": p}
	}
	measured := func(s Speed) map[string]any {
		phases := phase("measured", []Speed{s})
		phases["1"].(map[string]any)["measured_model"] = "large"
		return phases
	}
	for _, c := range []struct {
		key   string
		value any
		want  string
	}{
		{"source", nil, "source"}, {"name", "", "name"}, {"nodes", 0, "nodes: 0"}, {"devices_per_node", nil, "devices_per_node"}, {"device_memory_gib", -1, "device_memory_gib"},
		{"precision", "half", "precision"}, {"device_link", "wire", `device_link: link "wire"`}, {"node_link", nil, "node_link"}, {"node_links", 0, "node_links"},
		{"gpus", 8, `unknown field "gpus"`}, {"phases", map[string]any{}, "phases"}, {"phases", map[string]any{"3": nil}, "phase 3: number: 3"},
		{"phases", phase("accumulation", 0), "phase 1: accumulation: 0"}, {"phases", phase("accumulation", 3), "3 micro-batches of 8 sequences"},
		{"phases", phase("batch", 3), `unknown field "batch"`}, {"phases", phase("save_every", -1), "save_every"},
		{"phases", phase("measured", []Speed{{Nodes: 1, SequencesPerSecond: 10}}), "measured_model: is missing"},
		{"phases", measured(Speed{0, 0, 1}), "measured nodes: 0"}, {"phases", measured(Speed{1, 0, -1}), "sequences_per_s: -1"},
	} {
		if _, err := ReadMachine(file(t, with(t, machine, map[string]any{c.key: c.value}))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %v: %v", c.key, c.value, err)
		}
	}
	if _, err := ReadMachine("none.json"); err == nil || !strings.Contains(err.Error(), "read machine none.json: ") {
		t.Error(err)
	}
}

func TestRecipeOnMachine(t *testing.T) {
	m, err := ReadMachine(file(t, with(t, machine, map[string]any{"precision": "bf16"})))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		changes map[string]any
		want    string
	}{
		{"as the machine", nil, ""},
		{"another global batch", map[string]any{"global_batch": 128}, "machine two makes updates of 64 sequences (8 on each of 2 x 4 devices), the recipe of 128"},
		{"another phase", map[string]any{"phase": 2}, "machine two: says nothing of phase 2"},
	} {
		r, err := ReadRecipe(file(t, with(t, recipe, c.changes)))
		if err != nil {
			t.Fatal(err)
		}
		on, err := r.On(m)
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && (on.MicroBatch != 4 || on.Precision != "bf16" || on.SaveEvery != 5 || r.MicroBatch != 8 || r.Precision != "fp32") {
			t.Errorf("%s: %+v from %+v", c.name, on, r)
		}
	}
}

func TestLinksHaveSources(t *testing.T) {
	var names []string
	for _, l := range Links {
		if l.Source == "" || !(l.Latency > 0 && l.Bandwidth > 0) {
			t.Errorf("%+v", l)
		}
		names = append(names, l.Name)
	}
	if slices.Sort(names); len(slices.Compact(names)) != len(Links) {
		t.Errorf("a name stands twice: %v", names)
	}
}

func TestSpeedsAreRead(t *testing.T) {
	for text, want := range map[string][]Speed{
		"nodes sequences/s\n1 10\n4\t39.5\n":     {{1, 0, 10}, {4, 0, 39.5}},
		"# mine\n1,10,8 # one\n\n2, 19.5, 8\r\n": {{1, 8, 10}, {2, 8, 19.5}},
		"1 1e3":                                  {{1, 0, 1000}},
	} {
		if got, err := ReadSpeeds(strings.NewReader(text), "t"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "no rows", "nodes speed\n": "no rows", "1 10\nfour 40\n": "line 2", "1\n": "line 1: 1 numbers", "1 2 3 4": "4 numbers", "0 10": "above 0", "1 0": "above 0",
		"1 NaN": "above 0", "1 10 0": "above 0", "1.5 10": "line 1",
	} {
		if got, err := ReadSpeeds(strings.NewReader(text), "t"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestRowsAreOfTheBatch(t *testing.T) {
	b := Batch{Global: 64, Micro: 8, Nodes: 7, Devices: 4}
	got := Rows([]Speed{{1, 0, 32}, {2, 8, 16}}, b)
	if want := []Row{{Batch{64, 8, 1, 4}, 2}, {Batch{64, 8, 2, 8}, 4}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
