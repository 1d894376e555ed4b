package pretrain

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Names of the files beside the shards of a folder.
const (
	ManifestName   = "manifest.json"
	vocabularyName = "vocab.txt"
)

// Manifest tells how the shards of a folder were made and what they hold.
type Manifest struct {
	Version    string          `json:"version"` // of the program
	Options    Options         `json:"options"`
	VarySeed   bool            `json:"seed_per_shard"` // the shard's number was added to the seed
	Vocabulary VocabularyEntry `json:"vocabulary"`
	Complete   bool            `json:"complete"` // false while shards are still being made
	Shards     []ShardEntry    `json:"shards"`   // by file name
}

// VocabularyEntry identifies the vocabulary of the ids.
type VocabularyEntry struct {
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

// ShardEntry tells what a shard holds and what it was made from.
type ShardEntry struct {
	File        string `json:"file"`
	Bytes       int64  `json:"bytes"`
	SHA256      string `json:"sha256"`
	Rows        int    `json:"rows"` // sequences
	Tokens      int    `json:"tokens"`
	Masked      int    `json:"masked_tokens"`
	RandomNext  int    `json:"random_next"`
	Documents   int    `json:"documents"`
	Sentences   int    `json:"sentences"`
	Input       string `json:"input"` // base name
	InputSHA256 string `json:"input_sha256"`
}

// readManifest reads a manifest in a folder of shards, of all or of a part; nil when there is none.
func readManifest(dir, name string) (*Manifest, error) {
	name = filepath.Join(dir, name)
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.WithHint(err, "%s must be a folder that can be read", dir)
	}
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fault.WithHint(fmt.Errorf("read %s: %w", name, err), "the manifest is damaged: make the shards again with mkpretrain --force")
	}
	return m, nil
}

// Write writes the manifest into the folder dir.
func (m *Manifest) Write(dir string) error { return m.write(dir, ManifestName) }

func (m *Manifest) write(dir, name string) error {
	slices.SortFunc(m.Shards, func(a, b ShardEntry) int { return cmp.Compare(a.File, b.File) })
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return stream.WriteFile(filepath.Join(dir, name), append(data, '\n'))
}

// Find returns the entry of a shard, nil when there is none.
func (m *Manifest) Find(file string) *ShardEntry {
	for i := range m.Shards {
		if m.Shards[i].File == file {
			return &m.Shards[i]
		}
	}
	return nil
}

// Set adds an entry or replaces the one of the same file.
func (m *Manifest) Set(e ShardEntry) {
	if old := m.Find(e.File); old != nil {
		*old = e
		return
	}
	m.Shards = append(m.Shards, e)
}

// differs says in what the way of making shards differs between m, as stored, and today's want; "" when in nothing.
func (m *Manifest) differs(want *Manifest) string {
	a, b := m.Options, want.Options
	for _, c := range []struct {
		option     string
		then, here any
	}{
		{"--seq", a.Seq, b.Seq}, {"--max-pred", a.MaxPred, b.MaxPred}, {"--dupe", a.Dupe, b.Dupe}, {"--masked-lm-prob", a.MaskedLMProb, b.MaskedLMProb},
		{"--short-seq-prob", a.ShortSeqProb, b.ShortSeqProb}, {"--seed", a.Seed, b.Seed}, {"--do-lower-case", a.LowerCase, b.LowerCase},
		{"--whole-word-masking", a.WholeWords, b.WholeWords}, {"--seed-per-shard", m.VarySeed, want.VarySeed},
	} {
		if c.then != c.here {
			return fmt.Sprintf("made with %s %v, not %v", c.option, c.then, c.here)
		}
	}
	if m.Vocabulary != want.Vocabulary {
		return fmt.Sprintf("made with another vocabulary of %d pieces (SHA-256 %.12s, not %.12s)", m.Vocabulary.Size, m.Vocabulary.SHA256, want.Vocabulary.SHA256)
	}
	return ""
}
