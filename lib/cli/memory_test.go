package cli

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestAvailableMemory(t *testing.T) {
	const meminfo = "MemTotal: 2000 kB\nMemFree: 100 kB\nMemAvailable:    1000 kB\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing tells", nil, math.MaxInt64},
		{"the kernel alone", map[string]string{"proc/meminfo": meminfo}, 1000 << 10},
		{"no limit", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/b/memory.current": "5\n"}, 1000 << 10},
		{"limit of the group", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "700000\n",
			"sys/fs/cgroup/a/b/memory.current": "500000\n", "sys/fs/cgroup/a/b/memory.stat": "anon 100000\ninactive_file 300000\nactive_file 100000\n"}, 600000},
		{"limit above the group", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "700000\n",
			"sys/fs/cgroup/a/memory.current": "500000\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 200000},
		{"limit of a container's root", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/not/seen/here\n", "sys/fs/cgroup/memory.max": "9000\n",
			"sys/fs/cgroup/memory.current": "10000\n"}, 0},
		{"version 1", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/job\n0::/\n",
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "300000\n", "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "250000\n",
			"sys/fs/cgroup/memory/job/memory.stat": "active_file 1\ntotal_active_file 50000\n"}, 100000},
		{"more than there is", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/job\n",
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "5\n"}, 1000 << 10},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got := availableMemory(root); got != c.want {
			t.Errorf("%s: %d bytes, expected %d", c.name, got, c.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		text string
		want Size
	}{{"0", 0}, {"1000", 1000}, {"2K", 2048}, {"1.5G", 3 << 29}, {"512MiB", 512 << 20}, {"3gb", 3 << 30}, {"7B", 7}, {"1T", 1 << 40}} {
		var s Size
		if err := s.UnmarshalFlag(c.text); err != nil || s != c.want {
			t.Errorf("%s: %d, %v; expected %d", c.text, s, err, c.want)
		}
	}
	for _, text := range []string{"", "G", "-1", "1X", "1KK", "1e99", "NaN", "1 M", "1iB"} {
		var s Size
		if err := s.UnmarshalFlag(text); err == nil {
			t.Errorf("%q was taken for %d", text, s)
		}
	}
}
