package plan

import (
	"fmt"
	"math"
	"testing"
)

// table is one column of the throughput tables in the README of the reference: sequences/s over all devices.
type table struct {
	name       string
	phase      int
	micro      int
	half       bool
	devices    int // of a node; 0: one node, the rows are of so many devices
	deviceLink string
	nodeLinks  int
	rows       [][2]float64 // nodes or devices, sequences/s
}

var tables = []table{
	{"DGX-2H, 128, fp16", 1, 64, true, 16, "nvlink2", 8, [][2]float64{{1, 3379.2}, {4, 12709.88}, {16, 51937.28}, {64, 188088.32}}},
	{"DGX-2H, 512, fp16", 2, 8, true, 16, "nvlink2", 8, [][2]float64{{1, 625.66}, {4, 2386.38}, {16, 9932.8}, {64, 37478.4}}},
	{"DGX-1 16 GB, 128, fp16", 1, 16, true, 8, "nvlink2", 4, [][2]float64{{1, 874.24}, {4, 3089.76}, {16, 12144.64}}},
	{"DGX-1 16 GB, 512, fp16", 2, 4, true, 8, "nvlink2", 4, [][2]float64{{1, 195.93}, {4, 700.16}, {16, 2746.368}}},

	{"A100, 128, fp16", 1, 64, true, 0, "nvlink3", 1, [][2]float64{{1, 415}, {4, 1618}, {8, 3231}}},
	{"A100, 128, TF32", 1, 54, false, 0, "nvlink3", 1, [][2]float64{{1, 234}, {4, 910}, {8, 1777}}},
	{"A100, 512, fp16", 2, 16, true, 0, "nvlink3", 1, [][2]float64{{1, 78}, {4, 308}, {8, 620}}},
	{"A100, 512, TF32", 2, 8, false, 0, "nvlink3", 1, [][2]float64{{1, 41}, {4, 159}, {8, 318}}},
	{"DGX-2, 128, fp16", 1, 16, true, 0, "nvlink2", 1, [][2]float64{{1, 173}, {4, 669}, {8, 1324}, {16, 2557}}},
	{"DGX-2, 128, fp32", 1, 8, false, 0, "nvlink2", 1, [][2]float64{{1, 42}, {4, 166}, {8, 330}, {16, 658}}},
	{"DGX-2, 512, fp16", 2, 4, true, 0, "nvlink2", 1, [][2]float64{{1, 36}, {4, 137}, {8, 273}, {16, 551}}},
	{"DGX-2, 512, fp32", 2, 2, false, 0, "nvlink2", 1, [][2]float64{{1, 10}, {4, 37}, {8, 75}, {16, 150}}},
	{"DGX-1 32 GB, 128, fp16", 1, 16, true, 0, "nvlink2", 1, [][2]float64{{1, 158}, {4, 625}, {8, 1203}}},
	{"DGX-1 32 GB, 128, fp32", 1, 8, false, 0, "nvlink2", 1, [][2]float64{{1, 40}, {4, 157}, {8, 317}}},
	{"DGX-1 32 GB, 512, fp16", 2, 4, true, 0, "nvlink2", 1, [][2]float64{{1, 33}, {4, 130}, {8, 262}}},
	{"DGX-1 32 GB, 512, fp32", 2, 2, false, 0, "nvlink2", 1, [][2]float64{{1, 9}, {4, 35}, {8, 72}}},
	{"DGX-1 16 GB, 128, fp16", 1, 16, true, 0, "nvlink2", 1, [][2]float64{{1, 164}, {4, 615}, {8, 1236}}},
	{"DGX-1 16 GB, 128, fp32", 1, 8, false, 0, "nvlink2", 1, [][2]float64{{1, 40}, {4, 155}, {8, 313}}},
	{"DGX-1 16 GB, 512, fp16", 2, 4, true, 0, "nvlink2", 1, [][2]float64{{1, 34}, {4, 131}, {8, 263}}},
	{"DGX-1 16 GB, 512, fp32", 2, 2, false, 0, "nvlink2", 1, [][2]float64{{1, 9}, {4, 35}, {8, 71}}},
}

const largeParameters = 336232258 // of BERT large, as the reference counts

func (c table) network(t *testing.T) Network {
	t.Helper()
	width := 4.0
	if c.half {
		width = 2
	}
	device, err := FindLink(c.deviceLink, 1)
	if err != nil {
		t.Fatal(err)
	}
	node, err := FindLink("edr", c.nodeLinks)
	if err != nil {
		t.Fatal(err)
	}
	return Network{Bytes: width * largeParameters, DeviceLink: device, NodeLink: node}
}

func (c table) row(i int) Row {
	b := Batch{Global: globalBatch[c.phase], Micro: c.micro, Nodes: int(c.rows[i][0]), Devices: c.devices}
	if c.devices == 0 {
		b.Nodes, b.Devices = 1, b.Nodes
	}
	return Row{b, float64(b.Global) / c.rows[i][1]}
}

// fit uses the first two rows of a table and no other.
func (c table) fit(t *testing.T) Scaling {
	t.Helper()
	s, err := Fit([]Row{c.row(0), c.row(1)}, c.network(t))
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	return s
}

// TestScalingOfTheReference fits on the smallest row and the next, and predicts the others within 10 %.
func TestScalingOfTheReference(t *testing.T) {
	predicted := 0
	for _, c := range tables {
		s := c.fit(t)
		t.Logf("%s: %.4g ms a sequence, slowdown %.1f %% between devices, %.1f %% between nodes", c.name, 1e3*s.SequenceSeconds, 100*s.DeviceSlowdown, 100*s.NodeSlowdown)
		for i := range c.rows {
			r := c.row(i)
			got := float64(r.Global) / s.Step(r.Batch, c.network(t)).Seconds()
			off := got/c.rows[i][1] - 1
			t.Logf("%8d x %2d: predicted %9.1f, measured %9.1f sequences/s, %+5.1f %%", r.Nodes, r.Devices, got, c.rows[i][1], 100*off)
			limit := 0.1
			if i < 2 {
				limit = 1e-9 // what was fitted
			}
			if !(math.Abs(off) <= limit) {
				t.Errorf("%s: %d x %d: predicted %.1f sequences/s, measured %.1f", c.name, r.Nodes, r.Devices, got, c.rows[i][1])
			}
			if i >= 2 {
				predicted++
			}
		}
	}
	if predicted == 0 {
		t.Error("no row was predicted")
	}
}

// TestHoursOfTheReference predicts both phases of a DGX-2H from the same fits, against the times to train that the reference publishes (both in
// the 19.07 container). Its times for DGX-1 are of a machine with more memory than that of the table.
func TestHoursOfTheReference(t *testing.T) {
	steps := map[int]float64{1: 7038, 2: 1563}
	for nodes, hours := range map[int]float64{1: 58.4, 4: 15.35, 16: 3.94, 64: 1.124} {
		got := 0.0
		for _, c := range tables[:2] {
			b := c.row(0).Batch
			b.Nodes = nodes
			got += steps[c.phase] * c.fit(t).Step(b, c.network(t)).Seconds() / 3600
		}
		t.Logf("%2d nodes: predicted %.3f hours, published %.3f, %+.1f %%", nodes, got, hours, 100*(got/hours-1))
		if !(math.Abs(got/hours-1) <= 0.1) {
			t.Errorf("%d nodes: predicted %.3f hours, published %.3f", nodes, got, hours)
		}
	}
}

// TestAllreduceByHand compares with the formulas worked out on paper for a link of 1 GB/s that reaches 0.8 of it.
func TestAllreduceByHand(t *testing.T) {
	link := Link{Latency: 1e-3, Bandwidth: 1e9}
	for _, c := range []struct {
		bytes float64
		n     int
		want  float64
	}{
		{8e8, 1, 0},
		{8e8, 2, 1.002},  // ring: 2 messages of half: 2 x (1 ms + 0.5 s)
		{8e8, 4, 1.506},  // ring: 6 x (1 ms + 0.25 s)
		{8, 1024, 0.020}, // tree: 10 levels up, 10 down
	} {
		if got := link.Allreduce(c.bytes, c.n); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%g bytes, %d members: %g s, want %g", c.bytes, c.n, got, c.want)
		}
	}
}

// TestStepByHand works an update out on paper: 2 nodes of 2 devices, 8 sequences each in micro-batches of 3, 3 and 2.
func TestStepByHand(t *testing.T) {
	link := Link{Bandwidth: 1e9 / Reached}
	b := Batch{Global: 32, Micro: 3, Nodes: 2, Devices: 2}
	s := Scaling{SequenceSeconds: 0.1, UpdateSeconds: 0.05, DeviceSlowdown: 0.1, NodeSlowdown: 0.4}
	for _, c := range []struct{ overlap, compute, exposed float64 }{
		{0, 8*0.15 + 0.05, 1}, // 0.5 GB over 2 members at 1 GB/s in each of two levels
		{0.15, 1.25, 0.85},    // 0.15 s of it are hidden
		{0.9, 1.25, 1 - 0.2},  // no longer than the backward pass of the last 2 sequences: 2/3 of 0.3 s
	} {
		got := s.Step(b, Network{Bytes: 5e8, DeviceLink: link, NodeLink: link, OverlapPart: c.overlap})
		if math.Abs(got.Compute-c.compute) > 1e-12 || math.Abs(got.Exposed-c.exposed) > 1e-12 || math.Abs(got.Allreduce-1) > 1e-12 {
			t.Errorf("overlap %g: %+v, want compute %g, exposed %g", c.overlap, got, c.compute, c.exposed)
		}
	}
}

// TestFitFindsWhatMadeTheRows makes rows from known numbers with the formula written out here, and finds the numbers again.
func TestFitFindsWhatMadeTheRows(t *testing.T) {
	const sequence, update, device, node = 0.01, 0.2, 0.05, 0.08
	var rows []Row
	for _, at := range [][3]int{{1, 1, 64}, {1, 1, 256}, {1, 2, 256}, {2, 2, 256}, {8, 2, 512}} {
		b := Batch{Global: at[2], Micro: 8, Nodes: at[0], Devices: at[1]}
		seconds := sequence*float64(at[2])/float64(at[0]*at[1]) + update
		if at[1] > 1 {
			seconds += device * sequence * float64(b.Share())
		}
		if at[0] > 1 {
			seconds += node * sequence * float64(b.Share())
		}
		rows = append(rows, Row{b, seconds})
	}
	free := Link{Bandwidth: 1e30}
	for n, want := range map[int]Scaling{
		1: {SequenceSeconds: rows[0].Seconds / 64}, 2: {sequence, update, 0, 0}, 3: {sequence, update, device, 0}, 4: {sequence, update, device, node}, 5: {sequence, update, device, node},
	} {
		got, err := Fit(rows[:n], Network{DeviceLink: free, NodeLink: free})
		if err != nil || fmt.Sprintf("%.6f", got) != fmt.Sprintf("%.6f", want) {
			t.Errorf("%d rows: %.6f, want %.6f, %v", n, got, want, err)
		}
	}
}

func TestFitWithOverlapExplainsItsRows(t *testing.T) {
	net := Network{Bytes: 4e9, DeviceLink: Link{Bandwidth: 1e9}, NodeLink: Link{Bandwidth: 1e9}, OverlapPart: 0.8}
	var rows []Row
	for nodes, seconds := range map[int]float64{1: 100, 2: 60, 4: 36} {
		rows = append(rows, Row{Batch{Global: 1024, Micro: 64, Nodes: nodes, Devices: 1}, seconds})
	}
	s, err := Fit(rows, net)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if got := s.Step(r.Batch, net).Seconds(); math.Abs(got/r.Seconds-1) > 0.1 {
			t.Errorf("%d nodes: %g s, measured %g, %+v", r.Nodes, got, r.Seconds, s)
		}
	}
}

func TestFitRefuses(t *testing.T) {
	slow := Link{Bandwidth: 1}
	b := Batch{Global: 64, Micro: 8, Nodes: 2, Devices: 1}
	for name, rows := range map[string][]Row{"no rows": nil, "a link that takes longer than the whole update": {{b, 1}}} {
		if s, err := Fit(rows, Network{Bytes: 1e9, DeviceLink: slow, NodeLink: slow}); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	b.Nodes = 1
	faster := b
	faster.Nodes = 2
	s, err := Fit([]Row{{b, 10}, {faster, 4}}, Network{DeviceLink: slow, NodeLink: slow})
	if err != nil || s.NodeSlowdown != 0 || s.SequenceSeconds <= 0 {
		t.Errorf("better than linear: %+v, %v", s, err)
	}
}
