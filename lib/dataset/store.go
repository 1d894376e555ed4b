package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"

	"golang.org/x/sys/unix"
)

// Store is the folder that sets are fetched into.
type Store struct {
	Dir     string
	Temp    string // folder for temporary files
	Fetcher *Fetcher
	From    string // base address that takes the place of the catalogue's ones; "" = those
	Wiki    Wiki   // the dump that a set of mirrors means
	Keep    bool   // archives too
	Force   bool   // fetch anew, replace whatever is there

	Begin func(set Set) Progress // is called before a set is fetched; may be nil
}

// Progress is told how many kB of a set are here, and the name of the file on its way.
type Progress interface {
	Set(done int64, file string)
	Finish()
}

// SetFrom takes files from a folder or an address, unless where is "".
func (s *Store) SetFrom(where string) error {
	if where == "" {
		return nil
	}
	base, err := addressOf(where)
	if err != nil {
		return err
	}
	s.From = base
	if folder := s.fromFolder(); folder != "" {
		_, err = os.ReadDir(folder)
	}
	return err
}

// fromFolder is From if it is a folder of this machine, else "".
func (s *Store) fromFolder() string {
	u, err := url.Parse(s.From)
	if err != nil || u.Scheme != "file" {
		return ""
	}
	return u.Path
}

// Folder is where a set's files are.
func (s *Store) Folder(set Set) string { return filepath.Join(s.Dir, filepath.FromSlash(set.Folder)) }

// workName is a hidden folder for what is not whole yet.
func (s *Store) workName(set Set) string { return filepath.Join(s.Dir, ".getdata-"+set.Name) }

// Get fetches a set unless it is here; kept tells that it was.
func (s *Store) Get(ctx context.Context, set Set) (m *Manifest, kept bool, err error) {
	if set.Unavailable != "" {
		return nil, false, set.refusal()
	}
	if set, err = s.resolve(ctx, set); err != nil {
		return nil, false, err
	}
	if m, err := s.Manifest(set); err != nil || m != nil && !s.Force {
		return m, true, err
	}
	if err := s.checkFrom(set); err != nil {
		return nil, false, err
	}
	_, missing := os.Stat(s.Dir)
	if err := os.MkdirAll(s.Dir, 0o777); err != nil {
		return nil, false, fault.WithHint(err, "-o names a folder, which is made if its parent can be written to")
	}
	m, kept, err = s.fetch(ctx, set)
	if err != nil && missing != nil {
		os.Remove(s.Dir) // only if nothing is in it
	}
	return m, kept, err
}

func (s *Store) fetch(ctx context.Context, set Set) (m *Manifest, kept bool, err error) {
	w := &work{Store: s, set: set, dir: s.workName(set), ready: filepath.Join(s.workName(set), "ready")}
	lock, err := lockFolder(w.dir)
	if err != nil {
		return nil, false, fmt.Errorf("fetch %s: %w", set.Name, err)
	}
	defer lock.Close()
	defer w.removeEmpty()
	if m, err := s.Manifest(set); err != nil || m != nil && !s.Force {
		return m, true, err // another run has fetched it meanwhile
	}
	if err := s.checkRoom(set); err != nil {
		return nil, false, err
	}
	var progress Progress
	if s.Begin != nil {
		progress = s.Begin(set)
		defer progress.Finish()
	}
	m, err = w.run(ctx, progress)
	return m, false, err
}

// lockFolder makes a folder and holds it until the file returned is closed.
func lockFolder(dir string) (f *os.File, err error) {
	for range 100 { // each time another run may come to its end, and remove the folder, between two calls
		if err = os.MkdirAll(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if f, err = os.Open(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if errors.Is(stream.Lock(f), unix.EWOULDBLOCK) {
			f.Close()
			return nil, fault.WithHint(fmt.Errorf("another run is at work in %s", dir), "wait for it to end")
		}
		if stream.HasName(f) {
			return f, nil
		}
		f.Close()
		err = fmt.Errorf("lock %s: other runs remove it again and again", dir)
	}
	return nil, err
}

// checkFrom refuses, before anything is made, a folder that lacks a file of the set.
func (s *Store) checkFrom(set Set) error {
	for _, f := range set.Files {
		_, downloaded := os.Stat(filepath.Join(s.workName(set), f.Name))
		_, placed := os.Stat(filepath.Join(s.Folder(set), f.Name))
		if downloaded == nil || placed == nil {
			continue
		}
		if err := s.inFrom(f.Name, s.Sources(set, f).URLs); err != nil {
			return err
		}
	}
	return nil
}

// inFrom refuses a file that From, a folder, has at none of the addresses.
func (s *Store) inFrom(name string, addresses []string) error {
	folder := s.fromFolder()
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		if _, err := os.Stat(u.Path); folder == "" || err == nil {
			return nil
		}
	}
	return fault.WithHint(fmt.Errorf("%s has no %s", folder, name), "getdata list --files shows what is expected")
}

// checkRoom refuses to begin what the disk cannot hold.
func (s *Store) checkRoom(set Set) error {
	var st unix.Statfs_t
	if unix.Statfs(s.Dir, &st) != nil {
		return nil // then the disk tells when it is full
	}
	need := set.Size()
	for _, f := range set.Files {
		if have, err := sizeOf(filepath.Join(s.workName(set), f.Name)); err == nil {
			need -= have
		} else if have, err := sizeOf(filepath.Join(s.workName(set), f.Name+".part")); err == nil {
			need -= have
		}
	}
	if room := int64(st.Bavail) * st.Bsize; need > room {
		return fault.WithHint(fmt.Errorf("fetch %s: it needs %d more bytes, %s has room for %d", set.Name, need, s.Dir, room), "free some space, or write elsewhere with -o")
	}
	return nil
}

// Sources returns a file with the addresses that it will be sought at.
func (s *Store) Sources(set Set, f File) File {
	if s.From != "" && len(set.Mirrors) == 0 {
		f.URLs = []string{below(s.From, set.Folder, f.Name), below(s.From, f.Name)}
	}
	return f
}

// WritePlan prints what Get would fetch: set, file, bytes and addresses.
func (s *Store) WritePlan(ctx context.Context, out io.Writer, set Set) error {
	if set.Unavailable != "" {
		return set.refusal()
	}
	set, err := s.resolve(ctx, set)
	if err != nil {
		return err
	}
	if m, err := s.Manifest(set); err != nil || m != nil && !s.Force {
		return err
	}
	for _, f := range set.Files {
		if err := writeRow(out, set.Name, f.Name, bytesOf(f.Size), strings.Join(s.Sources(set, f).URLs, " ")); err != nil {
			return err
		}
	}
	return nil
}
