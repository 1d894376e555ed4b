package stream

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Temporary creates the hidden temporary file that Finish later turns into name, for writers that need a real file of their own. The file
// is locked (flock) while it is open. Temporaries of that name that nobody holds, left behind by runs that were killed, are removed.
func Temporary(name string) (*os.File, error) {
	dir, prefix := filepath.Dir(name), "."+filepath.Base(name)+"."
	removeAbandoned(dir, prefix)
	for i := 0; ; i++ {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%s%d-%d.tmp", prefix, os.Getpid(), i)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, os.ErrExist) {
			continue // of another goroutine, or of another host's process of that number
		}
		if err != nil {
			return nil, fmt.Errorf("create %s: in folder %s: %w", name, dir, withoutPath(err))
		}
		if hold(f) {
			return f, nil
		}
		f.Close()
	}
}

// TemporaryFolder is Temporary for a folder .NAME-N.tmp in dir. Callers remove it and then close the file, whose name is the folder's.
func TemporaryFolder(dir, name string) (*os.File, error) {
	prefix := "." + name + "-"
	removeAbandoned(dir, prefix)
	for {
		path, err := os.MkdirTemp(dir, prefix+"*.tmp")
		if err != nil {
			return nil, fmt.Errorf("write into folder %s: %w", dir, withoutPath(err))
		}
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // as when hold fails
		}
		if err != nil {
			return nil, err
		}
		if hold(f) {
			return f, nil
		}
		f.Close()
	}
}

// hold locks a new temporary. It fails when another run took it, not yet locked, for one left behind. On a file system without locks
// there is none, and nothing is ever removed.
func hold(f *os.File) bool { return !errors.Is(Lock(f), syscall.EWOULDBLOCK) && HasName(f) }

// HasName tells whether f is still the file of its name.
func HasName(f *os.File) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(have, named)
}

// Lock locks f until it is closed or unlocked; it fails at once when another holds it.
func Lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// Unlock gives up a lock, for libraries that lock the file themselves.
func Unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// removeAbandoned removes the temporaries in dir, prefix and a number and .tmp, whose writers live no more.
func removeAbandoned(dir, prefix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // creating a file here says why
	}
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), prefix)
		number, isTemporary := strings.CutSuffix(number, ".tmp")
		if !ours || !isTemporary || strings.Trim(number, "0123456789-") != "" || !e.IsDir() && !e.Type().IsRegular() {
			continue
		}
		path, flag := filepath.Join(dir, e.Name()), os.O_RDWR // network file systems lock only what is open for writing
		if e.IsDir() {
			flag = os.O_RDONLY
		}
		f, err := os.OpenFile(path, flag, 0)
		if err != nil {
			continue
		}
		if Lock(f) == nil && HasName(f) {
			os.RemoveAll(path)
		}
		f.Close()
	}
}

// Finish makes the temporary f durable, closes it and gives it its name.
func Finish(f *os.File, name string) error {
	if err := f.Sync(); err != nil {
		return withoutPath(err)
	}
	// A second descriptor keeps the lock, so that nobody takes the closed file for abandoned before it has its name.
	if lock, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		defer unix.Close(lock)
	}
	if err := f.Close(); err != nil {
		return withoutPath(err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return withoutPath(err)
	}
	return SyncDir(filepath.Dir(name))
}

// withoutPath takes the name of a temporary, which no user knows, from an error of package os.
func withoutPath(err error) error {
	switch e := err.(type) {
	case *os.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	}
	return err
}
