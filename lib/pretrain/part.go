package pretrain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"hpcbert/lib/stream"
)

// Several processes, on machines of their own, can share the work on a folder. They never write the same file: each records its shards in a
// manifest of its own, and a last run without parts takes these into manifest.json.

// partManifests matches the names that manifestName gives to parts, anyManifest these and that of the whole.
const (
	partManifests = "manifest-*-of-*.json"
	anyManifest   = "manifest*.json"
)

func (b *Build) manifestName() string {
	if b.Parts == 0 {
		return ManifestName
	}
	return fmt.Sprintf("manifest-%d-of-%d.json", b.Part, b.Parts)
}

// share returns the inputs that are this process's work.
func (b *Build) share(inputs []string) (own []string) {
	if b.Parts == 0 {
		return inputs
	}
	for i := b.Part - 1; i < len(inputs); i += b.Parts {
		own = append(own, inputs[i])
	}
	return own
}

// read returns the folder's manifest with what all processes have recorded, nil when there is none; with parts only the entries of inputs.
func (b *Build) read(inputs []string) (*Manifest, error) {
	m, err := readManifest(b.Dir, ManifestName)
	if m == nil || err != nil {
		return m, err
	}
	names, err := stream.InFolder(b.Dir, partManifests)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		part, err := readManifest(b.Dir, filepath.Base(name))
		if err != nil {
			return nil, err
		}
		if part == nil || part.differs(m) != "" {
			continue // of other options: its shards were replaced, or will be
		}
		for _, e := range part.Shards {
			m.Set(e)
		}
	}
	if b.Parts > 0 {
		own := map[string]bool{}
		for _, name := range inputs {
			own[OutputName(name)] = true
		}
		m.Shards = slices.DeleteFunc(m.Shards, func(e ShardEntry) bool { return !own[e.File] })
	}
	return m, nil
}

// end writes the manifest for the last time. The set is complete when no other process is at work.
func (b *Build) end() error {
	b.manifest.Complete = b.Parts == 0
	if err := b.manifest.write(b.Dir, b.manifestName()); err != nil || b.Parts > 0 {
		return err
	}
	names, err := stream.InFolder(b.Dir, partManifests)
	for _, name := range names {
		os.Remove(name) // taken over; one that stays does no harm
	}
	return err
}

// removeOthers removes the shards that the folder's manifests tell of, but for those that are made of inputs: what a set made anew leaves of the
// one before. Files that no manifest knows stay.
func removeOthers(dir string, inputs []string) error {
	made := map[string]bool{}
	for _, name := range inputs {
		made[OutputName(name)] = true
	}
	manifests, err := stream.InFolder(dir, anyManifest)
	if err != nil {
		return err
	}
	for _, name := range manifests {
		m, err := readManifest(dir, filepath.Base(name))
		if m == nil || err != nil {
			continue // damaged: it tells of nothing
		}
		for _, e := range m.Shards {
			if made[e.File] || filepath.Base(e.File) != e.File || filepath.Ext(e.File) != ".hdf5" {
				continue
			}
			if err := os.Remove(filepath.Join(dir, e.File)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
