package cli

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// EndWithReader ends the run, silently as cat and sort do, when standard output is a pipe and its reader goes, also while there is nothing to
// write. A program that writes its data to output ("" and "-" are standard output) calls it before it reads.
func (e *Env) EndWithReader(output string) {
	f, ok := e.Stdout.(*os.File)
	if !ok || output != "" && output != "-" {
		return
	}
	if info, err := f.Stat(); err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return
	}
	go func() { // as long as the process, or the pipe
		if readerGone(f.Fd()) {
			e.cancel(caughtSignal{syscall.SIGPIPE})
		}
	}()
}

// readerGone waits until nobody can read from a pipe, and tells whether that has happened.
func readerGone(pipe uintptr) bool {
	for {
		watched := []unix.PollFd{{Fd: int32(pipe)}} // errors are told unasked
		_, err := unix.Poll(watched, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false
		default:
			return watched[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	}
}
