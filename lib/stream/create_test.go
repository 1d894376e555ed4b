package stream

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A name that is no plain file must be written in place: renaming onto it would destroy the device or pipe.
func TestCreateWritesPipesInPlace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(name, os.O_RDWR, 0) // both ends, so that no open blocks
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if err := WriteFile(name, []byte("text")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := pipe.Read(got); err != nil || string(got) != "text" {
		t.Errorf("read %q, %v", got, err)
	}
	if info, err := os.Lstat(name); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the pipe is gone: %v, %v", info, err)
	}
}

// CloseMarked marks what a program reads, not what was committed, what vanishes, or a terminal.
func TestCloseMarked(t *testing.T) {
	write := func(name string, stdout io.Writer, commit bool, failure error) {
		w, err := Create(name, stdout)
		if err != nil {
			t.Fatal(err)
		}
		w.WriteString("text\n")
		if commit {
			w.Commit()
		}
		w.CloseMarked(&failure, func(err error) []byte { return []byte(err.Error() + "\n") })
	}
	var failed, whole, late bytes.Buffer
	write("-", &failed, false, errors.New("mark"))
	write("-", &whole, true, nil)
	write("-", &late, true, errors.New("mark"))
	if failed.String() != "text\nmark\n" || whole.String() != "text\n" || late.String() != "text\n" {
		t.Errorf("failed %q, whole %q, failed after the commit %q", &failed, &whole, &late)
	}
	name := filepath.Join(t.TempDir(), "out")
	write(name, nil, false, errors.New("mark"))
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("a failed file is there: %v", err)
	}
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("skipped: no terminal: %v", err)
	}
	defer terminal.Close()
	w, err := Create("-", terminal)
	if err != nil || !w.term {
		t.Errorf("a terminal is not known as one: %v", err)
	}
}

func TestCreateRefusesFolders(t *testing.T) {
	dir := t.TempDir()
	if _, err := Create(dir, nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("got %v", err)
	}
}

func TestFullDeviceIsAnError(t *testing.T) {
	before, err := os.Stat("/dev/full")
	if err != nil {
		t.Skip("skipped: no /dev/full here")
	}
	if err := WriteFile("/dev/full", []byte("text")); err == nil {
		t.Error("no error")
	}
	if after, err := os.Stat("/dev/full"); err != nil || !os.SameFile(before, after) {
		t.Errorf("the device is gone: %v", err)
	}
}

func TestOutputsHaveTheModeOfTheUmask(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	old := syscall.Umask(0o027)
	err := WriteFile(name, []byte("text"))
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestTemporariesOfOthersAreLeftAlone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	first, err := Temporary(name)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := Temporary(name)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if first.Name() == second.Name() {
		t.Errorf("both are %s", first.Name())
	}
}
