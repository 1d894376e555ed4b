// Bertplan predicts how long a pre-training takes on so many nodes.
//
// Synopsis
//
//	bertplan --recipe RECIPE.json --config MODEL.json [--machine MACHINE.json] [option...]
//	bertplan --links
//
// Bertplan prints a row for each number of --nodes: how the recipe's global batch is divided, the time of a step, sequences a second, the
// efficiency beside as many lone nodes, the hours to the last step, and the memory of a rank.
//
// How fast a device computes comes from one of these:
//
//	--measured FILE            metrics.jsonl of a short run of bertrain on one node: the median of its steps but the first. Two files of
//	                           runs with different global batches also tell what an update costs whatever its size
//	--fit TABLE                rows of nodes, sequences/s and perhaps devices a node, measured anywhere
//	--sequences-per-second X   of one device
//	the machine's file         the files of configs/machine have the published speeds of BERT large
//
// The time of a step is the time of a sequence times the sequences of the device that has most, plus what an update costs, plus what is seen of
// the all-reduce. The all-reduce takes latency + bytes / bandwidth for each of its messages (a ring or a tree, whichever is faster, among the devices
// of a node, then between the nodes, whose devices share the links). A part of it, --overlap, runs beside the backward pass of the last
// micro-batch. Beyond that, computing is slower by a fixed share as soon as there is more than one device, or more than one node: the two
// slowdowns, which come from --fit or from --slowdown. Without either they are 0, and the prediction is the best that can happen.
//
// Fitted on the first two rows of each of the reference's twenty scaling tables, this predicts all their other rows within 5 %.
//
// What the model leaves out: checkpoints, evaluation, starting and stopping; data that come late; micro-batches that compute less well
// because they are smaller; links shared with other jobs, switches with less bandwidth than their ports; nodes of different speed. Sequences are taken to be as long as those measured. A slowdown that grows with the number of nodes is not in it, so do not
// trust a row with many more nodes than were measured.
//
// Output: a table, or with --json a line for each row with the keys nodes, ranks, batch_per_rank, accumulation, step_seconds, compute_seconds,
// allreduce_seconds, exposed_seconds, sequences_per_s, efficiency, hours and memory_bytes.
//
// Memory is what bertrain plans for the first rank on this CPU, with the copy of what it saves, without the data in memory. With --shard-optimizer
// each rank has its part of the moments; then half of the all-reduce, that of the updated weights, hides behind nothing.
//
// Exit status: 0 predicted; 1 failed; 2 wrong usage.
package main

import (
	"context"
	_ "embed"
	"math"
	"path/filepath"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "bertplan",
	Source:  source,
	Summary: "predicts time, efficiency and memory of a pre-training on many nodes",
	Help: `Prints a row for each number of nodes. How fast a device computes comes from a short run on one node (--measured), a table of yours (--fit), --sequences-per-second or the machine's file.

An update takes the time of its sequences on a device, and what is seen of the all-reduce: latency + bytes / bandwidth of each message of a ring or a tree, in the node, then between nodes, less --overlap. With several nodes computing is slower by a share that --fit finds and --slowdown sets.

Left out: checkpoints, start, late data, small micro-batches computing less well, busy links, slow nodes, a slowdown that grows with the nodes: do not trust rows far beyond what was measured. Memory is bertrain's for a rank, without data (bertplan itself: some megabytes).`,
	Examples: `
  bertplan --recipe configs/recipe/phase1.json --config configs/model/large.json --machine configs/machine/dgx2.json --nodes 1,4,16,64
  bertplan --recipe configs/recipe/node_phase1.json --config configs/model/base.json --measured out/metrics.jsonl --node-link 25gbe
  bertplan --recipe configs/recipe/phase1.json --config configs/model/large.json --devices 8 --fit mine.txt --node-link hdr --node-links 4 --json`,
}

type options struct {
	cli.Common
	Recipe     string   `long:"recipe" value-name:"FILE" description:"what to train"`
	Config     string   `long:"config" value-name:"FILE" description:"model shape, as config.json"`
	Machine    string   `long:"machine" value-name:"FILE" description:"devices, links, batches, perhaps speeds"`
	Nodes      string   `long:"nodes" value-name:"LIST" description:"1,2,4 (default: powers of two to 64)"`
	Devices    int      `long:"devices" value-name:"N" description:"GPUs or sockets a node, a rank each"`
	Measured   []string `long:"measured" value-name:"FILE" description:"metrics.jsonl of one node (repeatable)"`
	Fit        string   `long:"fit" value-name:"TABLE" description:"rows of nodes and sequences/s, - is stdin"`
	Speed      float64  `long:"sequences-per-second" value-name:"X" description:"of one device"`
	Update     *float64 `long:"update-seconds" value-name:"X" description:"of an update whatever its size"`
	Slowdown   *float64 `long:"slowdown" value-name:"X" description:"share lost with several nodes, as 0.05"`
	Overlap    *float64 `long:"overlap" value-name:"X" description:"share of the all-reduce beside computing"`
	MicroBatch int      `long:"micro-batch" value-name:"N" description:"(default: the recipe's or machine's)"`
	DeviceLink string   `long:"device-link" value-name:"NAME" description:"in a node (default: shared)"`
	NodeLink   string   `long:"node-link" value-name:"NAME" description:"between nodes (default: 10gbe)"`
	NodeLinks  int      `long:"node-links" value-name:"N" description:"of them in a node (default: 1)"`
	Latency    *float64 `long:"latency" value-name:"US" description:"of the node link, in microseconds"`
	Bandwidth  *float64 `long:"bandwidth" value-name:"GB/S" description:"of all node links of a node"`
	Recompute  bool     `long:"checkpoint-activations" description:"less memory"`
	Shard      bool     `long:"shard-optimizer" description:"moments in parts, one on each rank: less memory"`
	VocabSize  int      `long:"vocab-size" value-name:"N" default:"30522" description:"where the shape has none"`
	Links      bool     `long:"links" description:"print the links known by name"`
	JSON       bool     `long:"json" description:"rows as JSON lines"`
	Output     string   `short:"o" long:"output" value-name:"FILE" description:"(default: standard output)"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.Close()
	if o.Links {
		printLinks(out)
		return out.Commit()
	}
	f, err := o.prepare(ctx, env)
	if err != nil {
		return err
	}
	rows, err := f.rows(o.Nodes)
	if err != nil {
		return err
	}
	write := printTable
	if o.JSON {
		write = printJSON
	}
	if err := write(out, rows); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	f.warnOfMemory(env, rows)
	env.Summaryf("%s: %d steps of %d sequences on %d to %d node(s)", filepath.Base(o.Recipe), f.recipe.Steps, f.recipe.GlobalBatch, rows[0].Nodes, rows[len(rows)-1].Nodes)
	return nil
}

func (o *options) check(args []string) error {
	sources := 0
	for _, given := range []bool{len(o.Measured) > 0, o.Fit != "", o.Speed != 0} {
		if given {
			sources++
		}
	}
	switch {
	case len(args) > 0:
		return fault.Usagef("unexpected argument %q", args[0])
	case o.Links:
		return nil
	case o.Recipe == "" || o.Config == "":
		return fault.Usagef("--recipe and --config are needed")
	case sources > 1:
		return fault.Usagef("--measured, --fit and --sequences-per-second exclude each other")
	case sources == 0 && o.Machine == "":
		return fault.WithHint(fault.Usagef("nothing says how fast a device computes"), "give --measured, --fit or --sequences-per-second, or a --machine with speeds")
	case o.Speed < 0 || math.IsNaN(o.Speed) || math.IsInf(o.Speed, 0):
		return fault.Usagef("--sequences-per-second %g: must be above 0", o.Speed)
	case o.Devices < 0 || o.MicroBatch < 0 || o.NodeLinks < 0 || o.VocabSize < 1:
		return fault.Usagef("--devices, --micro-batch, --node-links and --vocab-size must be at least 1")
	}
	for name, x := range map[string]*float64{"--update-seconds": o.Update, "--slowdown": o.Slowdown, "--latency": o.Latency} {
		if x != nil && !(*x >= 0 && *x < math.MaxFloat32) {
			return fault.Usagef("%s %g: must not be negative", name, *x)
		}
	}
	if o.Overlap != nil && !(*o.Overlap >= 0 && *o.Overlap <= 1) {
		return fault.Usagef("--overlap %g: must be from 0 to 1", *o.Overlap)
	}
	if o.Bandwidth != nil && !(*o.Bandwidth > 0) {
		return fault.Usagef("--bandwidth %g: must be above 0", *o.Bandwidth)
	}
	_, err := parseNodes(o.Nodes)
	return err
}
