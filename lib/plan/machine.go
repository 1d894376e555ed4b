package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Machine is what a recipe runs on, and how: as in configs/machine.
type Machine struct {
	Source          string        `json:"source"` // where the numbers come from
	Name            string        `json:"name"`
	Nodes           int           `json:"nodes"`
	Devices         int           `json:"devices_per_node"` // GPUs, or sockets: one rank each
	Device          string        `json:"device"`
	DeviceMemoryGiB float64       `json:"device_memory_gib,omitempty"` // 0: not said
	Precision       string        `json:"precision"`
	HalfAllreduce   bool          `json:"half_allreduce"`       // gradients travel in 16 bits
	Overlapped      bool          `json:"allreduce_overlapped"` // with the last backward pass; else after the accumulation
	DeviceLink      string        `json:"device_link"`          // between devices of a node, a name of Links
	NodeLink        string        `json:"node_link"`            // between nodes
	NodeLinks       int           `json:"node_links"`           // of that kind in each node
	Phases          map[int]Phase `json:"phases"`
}

// Phase is how a machine runs one phase.
type Phase struct {
	Sequences    int     `json:"sequences_per_update_per_device"`
	Accumulation int     `json:"accumulation"` // micro-batches of an update
	SaveEvery    int     `json:"save_every,omitempty"`
	Model        string  `json:"measured_model,omitempty"` // shape that the speeds are of
	Measured     []Speed `json:"measured,omitempty"`
}

// ReadMachine reads and checks a machine file. Keys that it does not know are errors.
func ReadMachine(name string) (*Machine, error) {
	m := &Machine{}
	return m, read("machine", name, m, m.Check)
}

// Check tells what is wrong with a machine.
func (m *Machine) Check() error {
	errs := []error{
		given("source", m.Source),
		given("name", m.Name),
		between("nodes", m.Nodes, 1, 1<<20),
		between("devices_per_node", m.Devices, 1, 1<<12),
		number("device_memory_gib", m.DeviceMemoryGiB, m.DeviceMemoryGiB >= 0, "0 or more"),
		oneOf("precision", m.Precision, precisions),
		checkLink("device_link", m.DeviceLink),
		checkLink("node_link", m.NodeLink),
		between("node_links", m.NodeLinks, 1, 64),
		between("phases", len(m.Phases), 1, 2),
	}
	for _, n := range slices.Sorted(maps.Keys(m.Phases)) {
		if err := cmp.Or(between("number", n, 1, 2), m.Phases[n].check()); err != nil {
			errs = append(errs, fmt.Errorf("phase %d: %w", n, err))
		}
	}
	return cmp.Or(errs...)
}

func (p Phase) check() error {
	errs := []error{
		between("sequences_per_update_per_device", p.Sequences, 1, 1<<30),
		between("accumulation", p.Accumulation, 1, max(1, p.Sequences)),
		between("save_every", p.SaveEvery, 0, 1<<31-1),
	}
	if p.Accumulation > 0 && p.Sequences%p.Accumulation != 0 {
		errs = append(errs, fmt.Errorf("accumulation: %d micro-batches of %d sequences are not equal", p.Accumulation, p.Sequences))
	}
	for _, s := range p.Measured {
		errs = append(errs, given("measured_model", p.Model), between("measured nodes", s.Nodes, 1, 1<<20), between("measured devices_per_node", s.Devices, 0, 1<<12),
			number("measured sequences_per_s", s.SequencesPerSecond, s.SequencesPerSecond > 0, "above 0"))
	}
	return cmp.Or(errs...)
}

// Batch returns the batch that the machine's own number of nodes makes.
func (p Phase) Batch(m *Machine) Batch {
	return FromReference(p.Sequences, p.Accumulation, m.Nodes, m.Devices)
}

// Rows returns the measured speeds as rows to fit.
func (p Phase) Rows(m *Machine) []Row { return Rows(p.Measured, p.Batch(m)) }
