package main

import (
	"fmt"

	"hpcbert/lib/bert"
	"hpcbert/lib/fault"
	"hpcbert/lib/plan"
	"hpcbert/lib/stream"
)

// network makes the links and what goes over them.
func (o *options) network(cfg *bert.Config, m *plan.Machine) (plan.Network, error) {
	device, node, count := "shared", "10gbe", 1
	width, overlap := 4, trunk(cfg)
	if m != nil {
		device, node, count = m.DeviceLink, m.NodeLink, m.NodeLinks
		if m.HalfAllreduce {
			width = 2
		}
		if !m.Overlapped {
			overlap = 0
		}
	}
	if o.Shard {
		overlap /= 2 // the other half of the traffic sends the updated weights round
	}
	if o.DeviceLink != "" {
		device = o.DeviceLink
	}
	if o.NodeLink != "" {
		node, count = o.NodeLink, 1
	}
	if o.NodeLinks > 0 {
		count = o.NodeLinks
	}
	if o.Overlap != nil {
		overlap = *o.Overlap
	}
	net := plan.Network{Bytes: float64(width * cfg.ArenaLen()), OverlapPart: overlap}
	var err error
	if net.DeviceLink, err = plan.FindLink(device, 1); err != nil {
		return net, fault.Usagef("--device-link: %w", err)
	}
	if net.NodeLink, err = plan.FindLink(node, count); err != nil {
		return net, fault.Usagef("--node-link: %w", err)
	}
	if o.Latency != nil {
		net.NodeLink.Latency = *o.Latency * 1e-6
	}
	if o.Bandwidth != nil {
		net.NodeLink.Bandwidth = *o.Bandwidth * 1e9 / plan.Reached // what is given is what is had
	}
	return net, nil
}

// trunk is the share of the gradients that are final before the backward pass ends: all but those of the embeddings.
func trunk(cfg *bert.Config) float64 {
	embeddings := (cfg.VocabSize + cfg.MaxPositionEmbeddings + cfg.TypeVocabSize) * cfg.HiddenSize
	return 1 - float64(embeddings)/float64(cfg.ArenaLen())
}

func printLinks(out *stream.Writer) {
	fmt.Fprintln(out, "name     latency us  GB/s each way  source")
	for _, l := range plan.Links {
		fmt.Fprintf(out, "%-8s %10.1f %14.3f  %s\n", l.Name, 1e6*l.Latency, 1e-9*l.Bandwidth, l.Source)
	}
}
