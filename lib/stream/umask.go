package stream

import (
	"os"
	"syscall"
)

// umask returns the process's file creation mask; reading it means setting it for a moment.
func umask() os.FileMode {
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	return os.FileMode(mask)
}
