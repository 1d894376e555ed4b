package plan

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// Link is a connection in the alpha-beta model: a message of n bytes takes Latency + n / (Bandwidth * Reached).
type Link struct {
	Name      string
	Latency   float64 // seconds of a message of no length, library included
	Bandwidth float64 // bytes a second in each direction
	Source    string
}

// Reached is the share of a link's line rate that the large messages of an all-reduce get; NCCL's and MPI's own benchmarks show 0.75 to 0.9.
const Reached = 0.8

// Latencies. NCCL's tuning table (src/graph/tuning.cc of 2.10, ring, protocol Simple) has three; the others are the order of magnitude that
// MPI benchmarks show: tens of microseconds through the kernel's TCP, about one between processes of a node.
const (
	latencyNVLink  = 3.4e-6
	latencyPCIe    = 5.7e-6
	latencyNetwork = 9.6e-6
	latencyTCP     = 30e-6
	latencyShared  = 1e-6
)

const gigabyte = 1e9

// Links are the connections known by name.
var Links = []Link{
	{"1gbe", latencyTCP, 0.125 * gigabyte, "IEEE 802.3ab, TCP"},
	{"10gbe", latencyTCP, 1.25 * gigabyte, "IEEE 802.3ae, TCP"},
	{"25gbe", latencyTCP, 3.125 * gigabyte, "IEEE 802.3by, TCP"},
	{"100gbe", latencyNetwork, 12.5 * gigabyte, "IEEE 802.3bj, RDMA"},
	{"edr", latencyNetwork, 12.5 * gigabyte, "InfiniBand EDR 4x, 100 Gbit/s"},
	{"hdr", latencyNetwork, 25 * gigabyte, "InfiniBand HDR 4x, 200 Gbit/s"},
	{"ndr", latencyNetwork, 50 * gigabyte, "InfiniBand NDR 4x, 400 Gbit/s"},
	{"pcie3", latencyPCIe, 15.75 * gigabyte, "PCI Express 3.0 x16"},
	{"pcie4", latencyPCIe, 31.5 * gigabyte, "PCI Express 4.0 x16"},
	{"pcie5", latencyPCIe, 63 * gigabyte, "PCI Express 5.0 x16"},
	{"nvlink2", latencyNVLink, 150 * gigabyte, "V100: 6 links of 25 GB/s"},
	{"nvlink3", latencyNVLink, 300 * gigabyte, "A100: 12 links of 25 GB/s"},
	{"nvlink4", latencyNVLink, 450 * gigabyte, "H100: 18 links of 25 GB/s"},
	{"shared", latencyShared, 10 * gigabyte, "processes of one node through memory: rough, measure yours"},
}

// FindLink returns count links of that name, used together.
func FindLink(name string, count int) (Link, error) {
	var names []string
	for _, l := range Links {
		if l.Name == name {
			l.Bandwidth *= float64(count)
			return l, nil
		}
		names = append(names, l.Name)
	}
	return Link{}, fmt.Errorf("link %q is none of %s", name, strings.Join(names, ", "))
}

func checkLink(key, name string) error {
	if _, err := FindLink(name, 1); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// Allreduce returns the seconds of summing so many bytes over n members, by the better of a ring (Patarasuk and Yuan 2009) and a pipelined
// double binary tree (Sanders, Speck and Träff 2009).
func (l Link) Allreduce(size float64, n int) float64 {
	if n < 2 {
		return 0
	}
	steps, depth, whole := float64(n-1), float64(bits.Len(uint(n-1))), size/(l.Bandwidth*Reached)
	ring := 2*steps*l.Latency + 2*steps/float64(n)*whole
	tree := 2*depth*l.Latency + 2*whole
	return math.Min(ring, tree)
}
