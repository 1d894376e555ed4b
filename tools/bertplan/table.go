package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/plan"
)

// row is a line of the answer.
type row struct {
	Nodes        int     `json:"nodes"`
	Ranks        int     `json:"ranks"`
	Share        int     `json:"batch_per_rank"`
	Accumulation int     `json:"accumulation"`
	Step         float64 `json:"step_seconds"`
	Compute      float64 `json:"compute_seconds"`
	Allreduce    float64 `json:"allreduce_seconds"`
	Exposed      float64 `json:"exposed_seconds"`
	Speed        float64 `json:"sequences_per_s"`
	Efficiency   float64 `json:"efficiency"`
	Hours        float64 `json:"hours"`
	Memory       int64   `json:"memory_bytes"`
}

// mostNodes ends the rows when none are asked for.
const mostNodes = 64

func (f *forecast) rows(list string) ([]row, error) {
	nodes, err := parseNodes(list)
	if err != nil {
		return nil, err
	}
	for n := 1; list == "" && n <= mostNodes && n*f.devices <= max(f.devices, f.recipe.GlobalBatch); n *= 2 {
		nodes = append(nodes, n)
	}
	alone := f.scaling.Step(plan.Batch{Global: f.recipe.GlobalBatch, Micro: f.recipe.MicroBatch, Nodes: 1, Devices: f.devices}, f.network).Seconds()
	var rows []row
	for _, n := range nodes {
		b, err := f.recipe.Batch(n, f.devices)
		if err != nil {
			return nil, fault.Usagef("%d nodes: %w", n, err)
		}
		memory, err := f.memory(b.Ranks())
		if err != nil {
			return nil, err
		}
		s := f.scaling.Step(b, f.network)
		rows = append(rows, row{Nodes: n, Ranks: b.Ranks(), Share: b.Share(), Accumulation: b.Accumulation(), Step: s.Seconds(), Compute: s.Compute, Allreduce: s.Allreduce,
			Exposed: s.Exposed, Speed: float64(b.Global) / s.Seconds(), Efficiency: alone / (float64(n) * s.Seconds()), Hours: float64(f.recipe.Steps) * s.Seconds() / 3600, Memory: memory})
	}
	return rows, nil
}

func printTable(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "nodes\tranks\tbatch/rank\tmicro-batches\tstep s\tcompute s\tall-reduce s\tseen s\tsequences/s\tefficiency\thours\tmemory/rank\t")
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join([]string{fmt.Sprint(r.Nodes), fmt.Sprint(r.Ranks), fmt.Sprint(r.Share), fmt.Sprint(r.Accumulation), fmt.Sprintf("%.4g", r.Step), fmt.Sprintf("%.4g", r.Compute),
			fmt.Sprintf("%.3g", r.Allreduce), fmt.Sprintf("%.3g", r.Exposed), speed(r.Speed), fmt.Sprintf("%.1f %%", 100*r.Efficiency), fmt.Sprintf("%.4g", r.Hours), cli.Bytes(r.Memory), ""}, "\t"))
	}
	return w.Flush()
}

// speed prints whole sequences where there are many.
func speed(x float64) string {
	if x >= 1000 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.4g", x)
}

func printJSON(out io.Writer, rows []row) error {
	lines := json.NewEncoder(out)
	for _, r := range rows {
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// parseNodes reads "1,2,4"; nothing for "".
func parseNodes(list string) ([]int, error) {
	if list == "" {
		return nil, nil
	}
	var nodes []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 || n > 1<<20 {
			return nil, fault.Usagef("--nodes %q: %q is no number of nodes", list, word)
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}
