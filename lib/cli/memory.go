package cli

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// AvailableMemory returns the bytes that processes here can still take without swapping: what the kernel says is available, and what every
// control group above this process leaves; the largest number when nothing tells.
func AvailableMemory() int64 { return availableMemory("/") }

// availableMemory reads the files of proc and sys below root.
func availableMemory(root string) int64 {
	least := int64(math.MaxInt64)
	if room, ok := numberBehind(filepath.Join(root, "proc/meminfo"), "MemAvailable:"); ok {
		least = room << 10 // given in KiB
	}
	groups, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(groups)) {
		controllers, path, _ := strings.Cut(strings.TrimSpace(line[strings.Index(line, ":")+1:]), ":")
		files, mount := cgroup2, filepath.Join(root, "sys/fs/cgroup")
		if controllers != "" {
			if !strings.Contains(","+controllers+",", ",memory,") {
				continue
			}
			files, mount = cgroup1, filepath.Join(mount, "memory")
		}
		for folder := filepath.Join(mount, path); len(folder) >= len(mount); folder = filepath.Dir(folder) {
			least = min(least, files.room(folder))
		}
	}
	return least
}

// groupFiles are the names of a control group's files in one of the two versions.
type groupFiles struct {
	limit, used    string
	inactive, idle string // of memory.stat: pages of files, which the kernel takes back when memory is short
}

var (
	cgroup1 = groupFiles{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"}
	cgroup2 = groupFiles{"memory.max", "memory.current", "inactive_file", "active_file"}
)

// room returns what a group leaves; the largest number when it has no limit or does not exist.
func (g groupFiles) room(folder string) int64 {
	limit, limited := number(filepath.Join(folder, g.limit))
	used, known := number(filepath.Join(folder, g.used))
	if !limited || !known {
		return math.MaxInt64
	}
	for _, name := range []string{g.inactive, g.idle} {
		pages, _ := numberBehind(filepath.Join(folder, "memory.stat"), name)
		used -= pages
	}
	return max(0, limit-max(0, used))
}

// number returns the number that a file consists of.
func number(file string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// numberBehind returns the number that follows a word at the start of a line.
func numberBehind(file, word string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == word {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// Size is an option's value in bytes: "1000000", "512M", "1.5GiB". Units are binary.
type Size int64

// UnmarshalFlag reads the value of an option.
func (s *Size) UnmarshalFlag(text string) error {
	digits := strings.TrimRight(text, "KMGTiBkmgtb")
	shift := map[string]int{"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}
	unit := strings.ToUpper(text[len(digits):])
	if len(unit) > 1 { // KB or KiB
		unit = strings.TrimSuffix(unit[:1]+strings.TrimPrefix(unit[1:], "I"), "B")
	}
	bits, known := shift[unit]
	n, err := strconv.ParseFloat(digits, 64)
	if n *= float64(int64(1) << bits); err != nil || !known || !(n >= 0 && n < 1<<62) {
		return fmt.Errorf("%q is not a size such as 512M or 1.5G", text)
	}
	*s = Size(n)
	return nil
}
