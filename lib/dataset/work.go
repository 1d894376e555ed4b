package dataset

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// work is one set on its way.
type work struct {
	*Store
	set   Set
	dir   string // downloads
	ready string // files that are checked and wait for their place
}

// removeEmpty removes the work folders if nothing is in them that a later run can use.
func (w *work) removeEmpty() {
	os.Remove(w.ready)
	os.Remove(w.dir)
}

// run fetches the set; progress may be nil.
func (w *work) run(ctx context.Context, progress Progress) (*Manifest, error) {
	if err := os.MkdirAll(w.ready, 0o777); err != nil {
		return nil, err
	}
	m := &Manifest{Set: w.set.Name, Source: w.set.Source, Licence: w.set.Licence}
	before := int64(0)
	defer func() { w.Fetcher.Progress = nil }()
	for _, f := range w.set.Files {
		if progress != nil {
			w.Fetcher.Progress = func(done, _ int64) { progress.Set((before+done)/1000, f.Name) }
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
			m.Files = append(m.Files, Entry{Name: name, Known: f.summed()})
		}
		for i, member := range f.Members {
			m.Files[len(m.Files)-len(names)+i].Known = f.summed() || member.summed()
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
	for _, e := range m.Files {
		if !e.Known {
			w.Fetcher.Warn("%s: no checksum is published for %s, only its size and form are checked: its sha256 is %s", m.Set, e.Name, e.SHA256)
		}
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
		if placed := filepath.Join(w.Folder(w.set), f.Name); f.summed() && f.Content.Verify(ctx, placed) == nil {
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
		if err := unpack(ctx, f, whole, w.ready); err != nil {
			if !f.summed() {
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
	ours := w.placedBefore(w.set)
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
