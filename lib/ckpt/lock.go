package ckpt

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"hpcbert/lib/fault"

	"golang.org/x/sys/unix"
)

// Lock makes the folder if it is missing and keeps other runs out of it until the returned file is closed, or the process ends. A file
// system that knows no locks gives none.
func Lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, notWritable(err)
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

// Writable tells why files cannot be made in a folder, before anything is tried.
func Writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return notWritable(fmt.Errorf("write to folder %s: %w", dir, err))
	}
	return nil
}

func notWritable(err error) error {
	if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES) {
		return fault.WithHint(err, "give a folder that you may write")
	}
	return err
}
