package plan

import "fmt"

// Batch is how the sequences of an update are divided over nodes and their devices.
type Batch struct {
	Global  int // sequences of an update
	Micro   int // sequences computed at once on a device
	Nodes   int
	Devices int // of a node
}

// FromReference returns the batch that the reference makes of its flags --train_batch_size and --gradient_accumulation_steps, which are of one
// device: it computes micro-batches of their quotient, and an update has the first times the number of devices.
func FromReference(trainBatch, accumulation, nodes, devices int) Batch {
	return Batch{Global: trainBatch * nodes * devices, Micro: trainBatch / max(1, accumulation), Nodes: nodes, Devices: devices}
}

// Reference returns the two flags that make the reference run this batch, and whether there are any: devices must have equal shares, of whole
// micro-batches.
func (b Batch) Reference() (trainBatch, accumulation int, exact bool) {
	return b.Share(), b.Accumulation(), b.Global%b.Ranks() == 0 && b.Share()%b.Micro == 0
}

// Ranks returns the number of devices of all nodes.
func (b Batch) Ranks() int { return b.Nodes * b.Devices }

// Share returns the sequences of an update on the device that has most of them.
func (b Batch) Share() int { return ceilDiv(b.Global, b.Ranks()) }

// Accumulation returns the micro-batches of an update on that device; the last one may be smaller.
func (b Batch) Accumulation() int { return ceilDiv(b.Share(), b.Micro) }

// Check tells what is wrong with a batch.
func (b Batch) Check() error {
	switch {
	case b.Global < 1 || b.Micro < 1 || b.Nodes < 1 || b.Devices < 1:
		return fmt.Errorf("batch: %d sequences in micro-batches of %d on %d x %d devices: all must be at least 1", b.Global, b.Micro, b.Nodes, b.Devices)
	case b.Global < b.Ranks():
		return fmt.Errorf("batch: an update of %d sequences leaves some of %d devices without any", b.Global, b.Ranks())
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
