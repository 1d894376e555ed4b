package stream

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// What a killed run left is removed; what a living one writes, and what only looks alike, is not.
func TestAbandonedTemporariesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	held, err := Temporary(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	heldFolder, err := TemporaryFolder(dir, "shard")
	if err != nil {
		t.Fatal(err)
	}
	defer heldFolder.Close()
	keep := []string{filepath.Base(held.Name()), filepath.Base(heldFolder.Name()), ".out.mine.tmp", ".other.1-0.tmp", ".out.1-0"}
	for _, name := range []string{".out.mine.tmp", ".other.1-0.tmp", ".out.1-0", ".out.1-0.tmp", ".out.77.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, ".shard-5.tmp", "deep"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "out"), []byte("whole")); err != nil {
		t.Fatal(err)
	}
	folder, err := TemporaryFolder(dir, "shard")
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	want := append(keep, "out", filepath.Base(folder.Name()))
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
}

// Writers of one name at the same time do not take each other's temporaries for left behind.
func TestManyWritersOfOneName(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	failed := make(chan error)
	for range 8 {
		go func() {
			for range 50 {
				w, err := Create(name, nil)
				if err == nil {
					w.WriteString("whole")
					err = w.Commit()
				}
				if err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range 8 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "whole" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestMessagesNameTheOutputNotItsTemporary(t *testing.T) {
	dir := t.TempDir()
	_, err := Create(filepath.Join(dir, "none", "out"), nil)
	if want := "create " + dir + "/none/out: in folder " + dir + "/none: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if _, err := TemporaryFolder(filepath.Join(dir, "none"), "shard"); err == nil || strings.Contains(err.Error(), ".tmp") {
		t.Errorf("error %v", err)
	}
}
