package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

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

// The name of a set's manifest is the set's, between these.
const (
	manifestPrefix = "getdata-"
	manifestSuffix = ".json"
)

func (s *Store) manifestName(set Set) string {
	return filepath.Join(s.Folder(set), manifestPrefix+set.Name+manifestSuffix)
}

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
	if set.Unavailable != "" {
		return nil, set.refusal()
	}
	if len(set.Mirrors) > 0 {
		set = s.placedDump(set)
	}
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

// placedBefore returns the files that an earlier manifest of the set names.
func (s *Store) placedBefore(set Set) (names []string) {
	var m Manifest
	data, err := os.ReadFile(s.manifestName(set))
	if err == nil && json.Unmarshal(data, &m) == nil {
		for _, e := range m.Files {
			names = append(names, e.Name)
		}
	}
	return names
}
