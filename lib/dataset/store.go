package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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
	Keep    bool   // archives too
	Force   bool   // fetch anew, replace whatever is there

	Progress func(file string, done int64) // bytes of the set that are here; may be nil
}

// Manifest tells what a set's files are and where they came from. It is written last: with it the set is whole.
type Manifest struct {
	Set     string  `json:"set"`
	Source  string  `json:"source"`
	Licence string  `json:"licence"`
	Files   []Entry `json:"files"`
}

// Entry is one file of a set.
type Entry struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Known  bool   `json:"checksum_known"` // it, or the archive that it is from, had a published checksum
}

// Bytes returns the size of all files.
func (m *Manifest) Bytes() (n int64) {
	for _, e := range m.Files {
		n += e.Bytes
	}
	return n
}

// Folder is where a set's files are.
func (s *Store) Folder(set Set) string { return filepath.Join(s.Dir, filepath.FromSlash(set.Folder)) }

func (s *Store) manifestName(set Set) string {
	return filepath.Join(s.Folder(set), "getdata-"+set.Name+".json")
}

// workName is a hidden folder for what is not whole yet.
func (s *Store) workName(set Set) string { return filepath.Join(s.Dir, ".getdata-"+set.Name) }

// Manifest returns a set's manifest, nil when the set is not here or not whole: a file is missing,
// has another size, or the catalogue wants another one.
func (s *Store) Manifest(set Set) (*Manifest, error) {
	data, err := os.ReadFile(s.manifestName(set))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if json.Unmarshal(data, m) != nil {
		return nil, nil
	}
	for _, e := range m.Files {
		if size, err := sizeOf(filepath.Join(s.Folder(set), e.Name)); err != nil || size != e.Bytes {
			return nil, nil
		}
	}
	for _, f := range set.Files {
		if f.Unpack == "" && !slices.ContainsFunc(m.Files, func(e Entry) bool { return e.Name == f.Name && (f.SHA256 == "" || e.SHA256 == f.SHA256) }) {
			return nil, nil
		}
	}
	return m, nil
}

// Check compares a set that is here with its manifest.
func (s *Store) Check(ctx context.Context, set Set) (*Manifest, error) {
	m, err := s.Manifest(set)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fault.WithHint(fault.Answerf("%s is not whole in %s", set.Name, s.Folder(set)), "the same command without --check fetches what is missing")
	}
	for _, e := range m.Files {
		name := filepath.Join(s.Folder(set), e.Name)
		sum, _, err := stream.SHA256(ctx, name)
		if err != nil {
			return nil, err
		}
		if sum != e.SHA256 {
			return nil, fault.WithHint(fault.Answerf("%s: its sha256 is %s, it was %s when fetched", name, sum, e.SHA256), "--force fetches it anew")
		}
	}
	return m, nil
}

// Get fetches a set unless it is here; kept tells that it was.
func (s *Store) Get(ctx context.Context, set Set) (m *Manifest, kept bool, err error) {
	if set.Unavailable != "" {
		return nil, false, set.Refusal()
	}
	if m, err := s.Manifest(set); err != nil || m != nil && !s.Force {
		return m, true, err
	}
	if err := os.MkdirAll(s.Dir, 0o777); err != nil {
		return nil, false, fault.WithHint(err, "-o names a folder, which is made if its parent can be written to")
	}
	lock, err := lockFolder(s.workName(set))
	if err != nil {
		return nil, false, fmt.Errorf("fetch %s: %w", set.Name, err)
	}
	defer lock.Close()
	if err := s.checkRoom(set); err != nil {
		return nil, false, err
	}
	work := &work{Store: s, set: set, dir: s.workName(set), ready: filepath.Join(s.workName(set), "ready")}
	m, err = work.run(ctx)
	return m, false, err
}

// lockFolder makes a folder and holds it until the file returned is closed.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if errors.Is(stream.Lock(f), unix.EWOULDBLOCK) {
		f.Close()
		return nil, fault.WithHint(fmt.Errorf("another run is at work in %s", dir), "wait for it to end")
	}
	return f, nil
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

// work is one set on its way.
type work struct {
	*Store
	set   Set
	dir   string // downloads
	ready string // files that are checked and wait for their place
}

func (w *work) run(ctx context.Context) (*Manifest, error) {
	if err := os.MkdirAll(w.ready, 0o777); err != nil {
		return nil, err
	}
	m := &Manifest{Set: w.set.Name, Source: w.set.Source, Licence: w.set.Licence}
	before := int64(0)
	for _, f := range w.set.Files {
		w.Fetcher.Progress = func(done, _ int64) {
			if w.Progress != nil {
				w.Progress(f.Name, before+done)
			}
		}
		if err := w.download(ctx, f); err != nil {
			return nil, err
		}
		before += f.Size
		names, err := w.prepare(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			m.Files = append(m.Files, Entry{Name: name, Known: f.Summed()})
		}
		for i, member := range f.Members {
			m.Files[len(m.Files)-len(names)+i].Known = f.Summed() || member.Summed()
		}
	}
	if w.set.Derive == "mrpc" {
		if err := deriveMRPC(w.ready, w.ready); err != nil {
			return nil, err
		}
		for _, name := range derivedNames[w.set.Derive] {
			m.Files = append(m.Files, Entry{Name: name, Known: true})
		}
	}
	if err := w.place(ctx, m); err != nil {
		return nil, err
	}
	return m, os.RemoveAll(w.dir)
}

// download brings a file into the work folder, unless an earlier run has.
func (w *work) download(ctx context.Context, f File) error {
	whole := filepath.Join(w.dir, f.Name)
	if f.Content.Verify(ctx, whole) == nil && !w.Force {
		return nil
	}
	if f.Unpack == "" && !w.Force {
		if placed := filepath.Join(w.Folder(w.set), f.Name); f.Summed() && f.Content.Verify(ctx, placed) == nil {
			return link(placed, whole)
		}
	}
	part := whole + ".part"
	if w.Force {
		discard(part)
	}
	if err := w.Fetcher.Fetch(ctx, w.Sources(w.set, f), part); err != nil {
		return err
	}
	return os.Rename(part, whole)
}

// prepare makes a download's files ready and returns their names, members of an archive first.
func (w *work) prepare(ctx context.Context, f File) (names []string, err error) {
	whole := filepath.Join(w.dir, f.Name)
	if f.Unpack != "" {
		if err := Unpack(ctx, f, whole, w.ready); err != nil {
			if !f.Summed() {
				os.Remove(whole) // as broken as its contents, for all that is known
			}
			return nil, err
		}
		for _, m := range f.Members {
			names = append(names, m.Name)
		}
	}
	if f.Unpack == "" || w.Keep {
		names = append(names, f.Name)
		return names, link(whole, filepath.Join(w.ready, f.Name))
	}
	return names, nil
}

// link gives a file a second name, or copies it where the file system knows no links.
func link(from, to string) error {
	os.Remove(to)
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := stream.Temporary(to)
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // fails when it has its name
	defer out.Close()
	if _, err := out.ReadFrom(in); err != nil {
		return stream.DiskFull(err)
	}
	return stream.Finish(out, to)
}

// place moves the files to their folder, and writes the manifest. What others put there under these names is not touched, unless forced.
func (w *work) place(ctx context.Context, m *Manifest) error {
	folder := w.Folder(w.set)
	ours := w.placedBefore()
	for i := range m.Files {
		e := &m.Files[i]
		var err error
		if e.SHA256, e.Bytes, err = stream.SHA256(ctx, filepath.Join(w.ready, e.Name)); err != nil {
			return err
		}
		have, _, err := stream.SHA256(ctx, filepath.Join(folder, e.Name))
		if err == nil && have != e.SHA256 && !w.Force && !slices.Contains(ours, e.Name) {
			return fault.WithHint(fmt.Errorf("%s exists and is another file", filepath.Join(folder, e.Name)), "write to another folder (-o), or use --force to replace it")
		}
	}
	if ctx.Err() != nil {
		return ctx.Err() // the last file may not have been compared
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	for _, e := range m.Files {
		if err := os.Rename(filepath.Join(w.ready, e.Name), filepath.Join(folder, e.Name)); err != nil {
			return err
		}
	}
	if err := stream.SyncDir(folder); err != nil {
		return err
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return stream.WriteFile(w.manifestName(w.set), append(data, '\n'))
}

// placedBefore returns the files that an earlier manifest of the set names.
func (w *work) placedBefore() (names []string) {
	var m Manifest
	data, err := os.ReadFile(w.manifestName(w.set))
	if err == nil && json.Unmarshal(data, &m) == nil {
		for _, e := range m.Files {
			names = append(names, e.Name)
		}
	}
	return names
}
