package plan

import (
	"cmp"
	"math"
	"slices"
)

// Tuning is how a task is fine-tuned, as in configs/glue and configs/squad.
type Tuning struct {
	Source       string  `json:"source"`               // where the numbers come from
	Task         string  `json:"task"`                 // the task's name
	GlobalBatch  int     `json:"global_batch"`         // sequences of an update over all devices
	Capacity     int     `json:"capacity"`             // sequences that a device computes at once, at most
	Devices      []int   `json:"devices"`              // numbers of devices that the source has it for
	LearningRate float64 `json:"learning_rate"`        // peak of the schedule
	Warmup       float64 `json:"warmup"`               // share of the updates
	Epochs       float64 `json:"epochs"`               // times through the data
	MaxLength    int     `json:"max_length,omitempty"` // tokens of a sequence; 0 = the program's default
	Precision    string  `json:"precision"`
	Seed         uint64  `json:"seed"`
}

// ReadTuning reads and checks a configuration of fine-tuning. Keys that it does not know are errors.
func ReadTuning(name string) (*Tuning, error) {
	t := &Tuning{Precision: precisions[0]}
	return t, read("recipe", name, t, t.Check)
}

// Check tells what is wrong with a configuration.
func (t *Tuning) Check() error {
	return cmp.Or(
		given("source", t.Source),
		given("task", t.Task),
		between("global_batch", t.GlobalBatch, 1, 1<<30),
		between("capacity", t.Capacity, 1, 1<<30),
		between("devices", len(t.Devices), 1, 1<<10),
		between("the least of devices", slices.Min(append([]int{1 << 30}, t.Devices...)), 1, 1<<20),
		number("learning_rate", t.LearningRate, t.LearningRate > 0 && t.LearningRate <= math.MaxFloat32, "above 0"),
		number("warmup", t.Warmup, t.Warmup >= 0 && t.Warmup < 1, "from 0 to below 1"),
		number("epochs", t.Epochs, t.Epochs > 0 && t.Epochs <= 1e6, "above 0"),
		between("max_length", t.MaxLength, 0, 1<<16),
		oneOf("precision", t.Precision, precisions),
	)
}

// Batch divides the global batch over so many devices as the reference does: an update has the fewest micro-batches, a power of two, that fit
// into a device.
func (t *Tuning) Batch(devices int) Batch {
	share := ceilDiv(t.GlobalBatch, devices)
	accumulation := 1
	for share/accumulation > t.Capacity {
		accumulation *= 2
	}
	return Batch{Global: t.GlobalBatch, Micro: ceilDiv(share, accumulation), Nodes: 1, Devices: devices}
}
