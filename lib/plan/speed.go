package plan

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"hpcbert/lib/fault"
)

// Speed is a measured throughput over all devices.
type Speed struct {
	Nodes              int     `json:"nodes"`
	Devices            int     `json:"devices_per_node,omitempty"` // 0: as the batch says
	SequencesPerSecond float64 `json:"sequences_per_s"`
}

// Rows returns speeds as rows to fit: all of them updates of b's size.
func Rows(speeds []Speed, b Batch) []Row {
	var rows []Row
	for _, s := range speeds {
		r := Row{Batch: b, Seconds: float64(b.Global) / s.SequencesPerSecond}
		r.Nodes = s.Nodes
		if s.Devices > 0 {
			r.Devices = s.Devices
		}
		rows = append(rows, r)
	}
	return rows
}

// ReadSpeeds reads a table: on each line nodes, sequences a second over all of them and, if it is not always the same, devices a node, between blanks,
// tabs or commas. What stands behind # is passed over, a first line without a digit is a heading.
func ReadSpeeds(r io.Reader, name string) ([]Speed, error) {
	var speeds []Speed
	in := bufio.NewScanner(r)
	for number := 1; in.Scan(); number++ {
		line, _, _ := strings.Cut(in.Text(), "#")
		fields := strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(" \t,;\r", c) })
		if len(fields) == 0 || number == 1 && !strings.ContainsAny(line, "0123456789") {
			continue
		}
		s, err := parseSpeed(fields)
		if err != nil {
			return nil, fault.WithHint(fmt.Errorf("read %s: line %d: %w", name, number, err), "expected nodes, sequences/s and perhaps devices a node: \"4 3089.76\"")
		}
		speeds = append(speeds, s)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(speeds) == 0 {
		return nil, fmt.Errorf("read %s: no rows", name)
	}
	return speeds, nil
}

func parseSpeed(fields []string) (s Speed, err error) {
	if len(fields) < 2 || len(fields) > 3 {
		return s, fmt.Errorf("%d numbers", len(fields))
	}
	s.Nodes, err = strconv.Atoi(fields[0])
	if err == nil {
		s.SequencesPerSecond, err = strconv.ParseFloat(fields[1], 64)
	}
	if err == nil && len(fields) == 3 {
		s.Devices, err = strconv.Atoi(fields[2])
	}
	if err == nil && (s.Nodes < 1 || s.Devices < 0 || len(fields) == 3 && s.Devices == 0 || !(s.SequencesPerSecond > 0)) {
		err = errors.New("all numbers must be above 0")
	}
	return s, err
}
