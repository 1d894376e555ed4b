// Package plan says what a pre-training run will be before it starts: recipes (what to train), machines (on what), the arithmetic of batches
// between them, and how long a step takes on so many nodes.
//
// A program with --recipe and --machine reads both, lets the machine say how, and makes the batch for the ranks that it has:
//
//	recipe, err := plan.ReadRecipe("configs/recipe/phase1.json")
//	machine, err := plan.ReadMachine("configs/machine/dgx1_4x8x16x128.json")
//	recipe, err = recipe.On(machine)                  // precision, micro-batch and checkpoint interval of the machine
//	batch, err := recipe.Batch(nodes, devices)        // shares, accumulation; batch.Reference has the original's two flags
//
// The global batch is the recipe's, whatever the number of nodes: other nodes mean other shares, not another training.
package plan

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"hpcbert/lib/fault"
)

// Recipe is what to train: one phase. Its JSON keys are the names of its fields in small letters, as in configs/recipe.
type Recipe struct {
	Source         string   `json:"source"`             // where the numbers come from
	Phase          int      `json:"phase"`              // 1, or 2: goes on from phase 1
	SequenceLength int      `json:"sequence_length"`    // tokens, padding included
	MaxPredictions int      `json:"max_predictions"`    // masked tokens of a sequence
	GlobalBatch    int      `json:"global_batch"`       // sequences of an update over all devices
	MicroBatch     int      `json:"micro_batch"`        // sequences computed at once on a device
	LearningRate   float64  `json:"learning_rate"`      // peak of the schedule
	Warmup         float64  `json:"warmup"`             // share of the steps
	Schedule       string   `json:"schedule,omitempty"` // polynomial (default), linear, cosine, constant
	Optimizer      string   `json:"optimizer,omitempty"`
	Steps          int      `json:"steps"`      // updates; the schedule's length
	SaveEvery      int      `json:"save_every"` // updates between checkpoints; 0 = at the end
	Seed           uint64   `json:"seed"`
	Precision      string   `json:"precision,omitempty"` // fp32 (default), tf32, bf16, fp16
	Dropout        *float64 `json:"dropout,omitempty"`   // default: the model shape's
}

var (
	precisions = []string{"fp32", "tf32", "bf16", "fp16"}
	schedules  = []string{"polynomial", "linear", "cosine", "constant"}
	optimizers = []string{"lamb", "nvlamb", "adamw", "bertadam"}
)

// ReadRecipe reads and checks a recipe. Keys that it does not know are errors.
func ReadRecipe(name string) (*Recipe, error) {
	r := &Recipe{Schedule: schedules[0], Optimizer: optimizers[0], Precision: precisions[0], Seed: 42}
	return r, read("recipe", name, r, r.Check)
}

// Check tells what is wrong with a recipe.
func (r *Recipe) Check() error {
	return cmp.Or(
		given("source", r.Source),
		between("phase", r.Phase, 1, 2),
		between("sequence_length", r.SequenceLength, 3, 1<<16),
		between("max_predictions", r.MaxPredictions, 1, r.SequenceLength),
		between("global_batch", r.GlobalBatch, 1, 1<<30),
		between("micro_batch", r.MicroBatch, 1, r.GlobalBatch),
		number("learning_rate", r.LearningRate, r.LearningRate > 0 && r.LearningRate <= math.MaxFloat32, "above 0"),
		number("warmup", r.Warmup, r.Warmup >= 0 && r.Warmup < 1, "from 0 to below 1"),
		between("steps", r.Steps, 1, 1<<31-1),
		between("save_every", r.SaveEvery, 0, 1<<31-1),
		oneOf("schedule", r.Schedule, schedules),
		oneOf("optimizer", r.Optimizer, optimizers),
		oneOf("precision", r.Precision, precisions),
		r.checkDropout(),
	)
}

func (r *Recipe) checkDropout() error {
	if r.Dropout == nil {
		return nil
	}
	return number("dropout", *r.Dropout, *r.Dropout >= 0 && *r.Dropout < 1, "from 0 to below 1")
}

// On returns the recipe as the machine runs it: with its precision, micro-batch and checkpoint interval. A machine whose own number of
// nodes makes another global batch than the recipe's is for another recipe.
func (r *Recipe) On(m *Machine) (*Recipe, error) {
	p, ok := m.Phases[r.Phase]
	if !ok {
		return nil, fault.WithHint(fault.Usagef("machine %s: says nothing of phase %d", m.Name, r.Phase), "give a machine file with batches for phase %d, or leave the machine out and say how on the command line", r.Phase)
	}
	if made := p.Batch(m); made.Global != r.GlobalBatch {
		return nil, fault.WithHint(fault.Usagef("machine %s makes updates of %d sequences (%d on each of %d x %d devices), the recipe of %d", m.Name, made.Global,
			p.Sequences, m.Nodes, m.Devices, r.GlobalBatch), "a machine file is of the recipes with its global batch: give the other one, or leave the machine out")
	}
	on := *r
	on.Precision, on.MicroBatch = m.Precision, p.Sequences/p.Accumulation
	if p.SaveEvery > 0 {
		on.SaveEvery = p.SaveEvery
	}
	return &on, nil
}

// Batch divides the recipe's global batch over so many nodes with so many devices each.
func (r *Recipe) Batch(nodes, devices int) (Batch, error) {
	b := Batch{Global: r.GlobalBatch, Micro: r.MicroBatch, Nodes: nodes, Devices: devices}
	return b, b.Check()
}

// read fills value, which holds the defaults, from a JSON file and checks it.
func read(what, name string, value any, check func() error) error {
	data, err := os.ReadFile(name)
	if err == nil {
		err = decode(data, value)
	}
	if err == nil {
		err = check()
	}
	if err != nil {
		return fmt.Errorf("read %s %s: %w", what, name, err)
	}
	return nil
}

func decode(data []byte, value any) error {
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	if err := in.Decode(value); err != nil {
		return err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind the object")
	}
	return nil
}

func given(key, value string) error {
	if strings.TrimSpace(value) == "" {
		return fmt.Errorf("%s: is missing", key)
	}
	return nil
}

func between(key string, value, low, high int) error {
	if value < low || value > high {
		return fmt.Errorf("%s: %d is not between %d and %d", key, value, low, high)
	}
	return nil
}

func number(key string, value float64, legal bool, want string) error {
	if !legal {
		return fmt.Errorf("%s: %v is not %s", key, value, want)
	}
	return nil
}

func oneOf(key, value string, legal []string) error {
	if !slices.Contains(legal, value) {
		return fmt.Errorf("%s: %q is none of %s", key, value, strings.Join(legal, ", "))
	}
	return nil
}
