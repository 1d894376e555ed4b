package pretrain

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Several processes, on machines of their own, can share the work on a folder. They never write the same file: each records its shards in a
// manifest of its own, and a last run without parts takes these into manifest.json.

// partManifests matches the names that manifestName gives to parts.
const partManifests = "manifest-*-of-*.json"

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
	m, err := ReadManifest(b.Dir)
	if m == nil || err != nil {
		return m, err
	}
	names, err := filepath.Glob(filepath.Join(b.Dir, partManifests))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		part, err := readManifest(b.Dir, filepath.Base(name))
		if err != nil {
			return nil, err
		}
		if part == nil || part.Differs(m) != "" {
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
	names, err := filepath.Glob(filepath.Join(b.Dir, partManifests))
	for _, name := range names {
		os.Remove(name) // taken over; one that stays does no harm
	}
	return err
}
