package train

import (
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"slices"
	"sort"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/optim"
)

// Plan is the memory of one rank, in bytes.
type Plan struct {
	bert.Memory
	Optimizer int64 // moments
	Scratch   int64 // of the kernels, which touch it when they need it
	Snapshot  int64 // copy of what is being saved
	Data      int64 // shards in memory, samples and batches
	Available int64 // on this node, for the Ranks that share it; the largest number when it is not known
	Ranks     int
}

// Total returns what the rank takes.
func (p Plan) Total() int64 { return p.Memory.Total() + p.Optimizer + p.Scratch + p.Snapshot + p.Data }

// microBatch is the most sequences that this rank ever computes at once.
func (t *Trainer) microBatch() int {
	return min(t.opt.MicroBatch, largestShare(t.opt.GlobalBatch, t.comm.Size()))
}

// plan counts the memory for micro-batches of so many sequences.
func (t *Trainer) plan(cfg *bert.Config, micro int, mode bert.Mode) (Plan, error) {
	params := t.task.Params(cfg)
	first, end := t.part(bert.ArenaLen(params))
	plan, err := planRank(t.dev, cfg, t.limits(cfg, micro), mode, params, end-first, t.snapshots(), t.heads()...)
	plan.Data = t.task.Bytes(t.opt.GlobalBatch, largestShare(t.opt.GlobalBatch, t.comm.Size()))
	return plan, err
}

// planRank counts the memory of a rank that has moments of so many elements, and may copy what it saves, but for the data.
func planRank(dev *kernels.Device, cfg *bert.Config, lim bert.Limits, mode bert.Mode, params []bert.Param, moments int, copies bool, heads ...bert.Head) (Plan, error) {
	model, err := bert.Plan(dev, cfg, lim, mode, heads...)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Memory: model, Optimizer: optim.Bytes(moments, len(params)) + optim.SquaresBytes(len(params)), Scratch: dev.StreamBytes()}
	if copies {
		plan.Snapshot = 4 * int64(snapshotLen(params))
	}
	return plan, nil
}

// PlanFirst counts, but for the data, the memory of the first of so many ranks, the one that may copy what is saved. With shard each has a
// part of the moments.
func PlanFirst(dev *kernels.Device, cfg *bert.Config, lim bert.Limits, mode bert.Mode, ranks int, shard, copies bool) (Plan, error) {
	moments := cfg.ArenaLen()
	if shard {
		moments = partsOf(moments, ranks)[1]
	}
	lim.Late = mostLate(cfg.VocabSize, lim.Tokens, ranks)
	return planRank(dev, cfg, lim, mode|bert.PreTraining, cfg.Params(), moments, copies)
}

// fit sets the plan, tells of it, and refuses one that some node has no room for, on all ranks alike. The ranks of a node have equal parts
// of what the least of them found available, before any of them took its own.
func (t *Trainer) fit(cfg *bert.Config) error {
	plan, err := t.plan(cfg, t.microBatch(), t.mode())
	if err := comm.Together(t.comm, err); err != nil {
		return err
	}
	if plan.Available, plan.Ranks, err = shareNode(t.comm, t.opt.Memory); err != nil {
		return err
	}
	t.Plan = plan
	t.opt.Planned(plan)
	room := plan.Available / int64(plan.Ranks)
	largest := make([]int64, t.comm.Size()) // micro-batch that fits, of each rank
	largest[t.comm.Rank()] = int64(t.largestMicroBatch(cfg, t.mode(), room))
	if err := t.comm.AllreduceInt64(largest); err != nil {
		return err
	}
	if plan.Total() > room {
		err = t.tooLarge(cfg, plan, room, int(slices.Min(largest)))
	}
	return comm.Together(t.comm, err)
}

// shareNode tells how much memory is available on this node, where this rank found so much, and how many ranks share it.
func shareNode(c comm.Comm, found int64) (available int64, ranks int, err error) {
	h := fnv.New64a()
	io.WriteString(h, c.Host())
	host, rank, size := int64(h.Sum64()>>1), c.Rank(), c.Size()
	hosts, free := make([]int64, size), make([]int64, size)
	hosts[rank], free[rank] = host, found
	if err := c.AllreduceInt64(hosts); err != nil {
		return 0, 0, err
	}
	if err := c.AllreduceInt64(free); err != nil {
		return 0, 0, err
	}
	available = math.MaxInt64
	for i := range hosts {
		if hosts[i] == host {
			available = min(available, free[i])
			ranks++
		}
	}
	return available, ranks, nil
}

// largestMicroBatch returns the most sequences, up to those asked for, that a rank has room for; 0 when not even one fits.
func (t *Trainer) largestMicroBatch(cfg *bert.Config, mode bert.Mode, room int64) int {
	return sort.Search(t.microBatch(), func(i int) bool {
		plan, err := t.plan(cfg, i+1, mode)
		return err != nil || plan.Total() > room
	})
}

func (t *Trainer) tooLarge(cfg *bert.Config, plan Plan, room int64, largest int) error {
	wanted := t.microBatch()
	err := fmt.Errorf("rank %d on %s: micro-batches of %d sequences need %s of memory, each of the node's %d rank(s) can have %s", t.comm.Rank(), t.comm.Host(),
		wanted, cli.Bytes(plan.Total()), plan.Ranks, cli.Bytes(room))
	if largest > 0 {
		return fault.WithHint(fmt.Errorf("%w; micro-batch %d is the largest that fits", err, largest), "give --micro-batch %d%s", largest, t.alternative(cfg, room))
	}
	hint := "take fewer ranks on a node, or nodes with more memory"
	if other := t.alternative(cfg, room); other != "" {
		hint += other
	}
	return fault.WithHint(fmt.Errorf("%w; no micro-batch fits", err), "%s", hint)
}

// alternative tells what else would make room.
func (t *Trainer) alternative(cfg *bert.Config, room int64) (text string) {
	mode := t.mode() | bert.CheckpointActivations
	if n := t.largestMicroBatch(cfg, mode, room); n > 0 && mode != t.mode() {
		text = fmt.Sprintf("; with --checkpoint-activations micro-batches of %d fit", n)
	}
	if n := t.largestMicroBatch(cfg, t.mode(), room+t.Plan.Snapshot); n > 0 && t.snapshots() {
		text += fmt.Sprintf("; with --save-sync micro-batches of %d fit", n)
	}
	return text
}

// keys are the plan in the run's line of metrics.jsonl, in bytes.
func (p Plan) keys() map[string]any {
	return map[string]any{"memory_bytes": p.Total(), "memory_parameters": p.Weights, "memory_gradients": p.Gradients, "memory_optimizer": p.Optimizer,
		"memory_packed_weights": p.Packed, "memory_activations": p.Activations, "memory_scratch": p.Scratch, "memory_snapshot": p.Snapshot, "memory_data": p.Data}
}
