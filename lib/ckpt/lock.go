package ckpt

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"hpcbert/lib/fault"
)

// Lock makes the folder if it is missing and keeps other runs out of it until the returned file is closed, or the process ends. A file
// system that knows no locks gives none.
func Lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, fault.WithHint(fmt.Errorf("%s: another run is at work in this folder", dir), "wait for its end, or give another output folder")
	}
	return f, nil
}
