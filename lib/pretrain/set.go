package pretrain

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"hpcbert/lib/fault"
	"hpcbert/lib/hdf5"
	"hpcbert/lib/wordpiece"
)

// Set is the training shards of a folder.
type Set struct {
	Dir          string
	Files        []string // paths, sorted
	Rows         []int    // rows of each file
	Seq, MaxPred int

	// VocabSize comes from vocab.txt, 0 when there is none. The loader refuses ids beyond it; a caller that knows the model's
	// vocabulary may set it before the loader is made.
	VocabSize   int
	VocabPath   string
	VocabSHA256 string
	Manifest    *Manifest // nil when there is none
}

// OpenSet finds the training shards of a folder, the files with "training" in their names that end in .hdf5 or .h5, and checks that
// they have one shape, and the sizes, counts and vocabulary of the folder's manifest if it has one.
func OpenSet(dir string) (*Set, error) { return openSet(dir, "training") }

// OpenTestSet is OpenSet for the shards with "test" in their names.
func OpenTestSet(dir string) (*Set, error) { return openSet(dir, "test") }

// OpenFiles makes a set of these shards, whatever their names, with the vocabulary in the folder of the first.
func OpenFiles(files []string) (*Set, error) {
	s := &Set{Dir: filepath.Dir(files[0]), Files: files}
	return s, s.read()
}

// read reads the sizes of the files, and the vocabulary.
func (s *Set) read() error {
	for _, name := range s.Files {
		if err := s.addShape(name); err != nil {
			return err
		}
	}
	return s.readVocabulary()
}

func openSet(dir, kind string) (*Set, error) {
	s := &Set{Dir: dir}
	if err := s.find(kind); err != nil {
		return nil, err
	}
	if err := s.read(); err != nil {
		return nil, err
	}
	manifest, err := readManifest(dir, ManifestName)
	if err != nil {
		return nil, err
	}
	s.Manifest = manifest
	if manifest == nil {
		return s, nil
	}
	if err := s.checkManifest(kind); err != nil {
		err = fmt.Errorf("check %s: %w", filepath.Join(dir, ManifestName), err)
		if fault.HintOf(err) != "" {
			return nil, err
		}
		return nil, fault.WithHint(err, "run mkpretrain again with the same options to complete the folder, or with --force to make it anew")
	}
	return s, nil
}

// TotalRows returns the number of rows of all files.
func (s *Set) TotalRows() int {
	n := 0
	for _, rows := range s.Rows {
		n += rows
	}
	return n
}

// SHA256 returns a hash of the files' hashes in the manifest, "" when there is none: it names the data.
func (s *Set) SHA256() string {
	if s.Manifest == nil {
		return ""
	}
	h := sha256.New()
	for _, path := range s.Files {
		io.WriteString(h, s.Manifest.Find(filepath.Base(path)).SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Suits refuses sequences of another length than seq, and those with more predictions than maxPred, as somebody says; 0 = whatever. warn is told
// where there can never be as many predictions.
func (s *Set) Suits(seq, maxPred int, says string, warn func(format string, a ...any)) error {
	switch {
	case seq > 0 && seq != s.Seq:
		return fault.WithHint(fault.Usagef("%s: sequences of %d tokens, %s wants %d", s.Dir, s.Seq, says, seq),
			"the length comes from the data: make them with mkpretrain --seq %d, or name the folder of the other phase", seq)
	case maxPred > 0 && maxPred < s.MaxPred:
		return fault.WithHint(fault.Usagef("%s: sequences of up to %d predictions, %s wants %d", s.Dir, s.MaxPred, says, maxPred), "make the data with mkpretrain --max-pred %d", maxPred)
	case maxPred > s.MaxPred:
		warn("%s: sequences of up to %d predictions, %s allows %d", s.Dir, s.MaxPred, says, maxPred)
	}
	return nil
}

func (s *Set) find(kind string) error {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return fault.WithHint(err, "a folder of HDF5 shards is wanted, as mkpretrain writes it")
	}
	others := 0
	for _, e := range entries {
		switch name := e.Name(); {
		case !isKind(name, kind) || strings.HasPrefix(name, ".") || e.IsDir():
		case strings.HasSuffix(name, ".hdf5") || strings.HasSuffix(name, ".h5"):
			s.Files = append(s.Files, filepath.Join(s.Dir, name))
		default:
			others++
		}
	}
	sort.Strings(s.Files)
	switch {
	case len(s.Files) > 0:
		return nil
	case others > 0:
		return fault.WithHint(fmt.Errorf("%s has no %s shards ending in .hdf5 or .h5, but %d other files of that name", s.Dir, kind, others),
			"mkpretrain makes HDF5 shards of text shards")
	}
	return fault.WithHint(fmt.Errorf("%s has no %s shards: no file with %q in its name ends in .hdf5 or .h5", s.Dir, kind, kind), "mkpretrain makes such shards")
}

// isKind tells by its name whether a file is of that kind; one of training is never a test file, whatever its corpus is called.
func isKind(name, kind string) bool {
	if training := strings.Contains(name, "training"); training || kind == "training" {
		return training && kind == "training"
	}
	return strings.Contains(name, kind)
}

// addShape reads the sizes of one more file.
func (s *Set) addShape(name string) error {
	f, err := hdf5.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, seq, maxPred, err := shardShape(f)
	if err != nil {
		return fault.WithHint(err, "this is not a pre-training shard: remove it from the folder, or make it with mkpretrain")
	}
	if len(s.Rows) == 0 {
		s.Seq, s.MaxPred = seq, maxPred
	}
	if seq != s.Seq || maxPred != s.MaxPred {
		return fault.WithHint(fmt.Errorf("%s has sequences of %d tokens and %d predictions, but %s of %d and %d", name, seq, maxPred, s.Files[0], s.Seq, s.MaxPred),
			"keep shards of different --seq or --max-pred in folders of their own")
	}
	s.Rows = append(s.Rows, rows)
	return nil
}

func (s *Set) readVocabulary() error {
	err := s.loadVocabulary(filepath.Join(s.Dir, vocabularyName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// UseVocabulary takes another file than the folder's vocab.txt; it has to be the vocabulary that the manifest, if there is one, names.
func (s *Set) UseVocabulary(path string) error {
	if err := s.loadVocabulary(path); err != nil {
		return err
	}
	if s.Manifest != nil && s.VocabSHA256 != s.Manifest.Vocabulary.SHA256 {
		return fault.WithHint(fmt.Errorf("%s is not the vocabulary that the shards of %s were made with (SHA-256 %.12s, not %.12s)", path, s.Dir, s.VocabSHA256,
			s.Manifest.Vocabulary.SHA256), "give that vocabulary, or make the shards anew with mkpretrain --vocab %s", path)
	}
	return nil
}

func (s *Set) loadVocabulary(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	v, err := wordpiece.Load(f, path)
	if err != nil {
		return err
	}
	s.VocabPath, s.VocabSize, s.VocabSHA256 = path, v.Size(), v.SHA256
	return nil
}

// checkManifest compares names, sizes and row counts; the hashes are left to mkpretrain, which compares them when it is run again.
func (s *Set) checkManifest(kind string) error {
	m := s.Manifest
	if !m.Complete {
		return errors.New("the shards are not complete: mkpretrain was interrupted or is still at work")
	}
	if s.VocabPath == "" {
		return fmt.Errorf("%s is missing", vocabularyName)
	}
	if s.VocabSHA256 != m.Vocabulary.SHA256 {
		return fmt.Errorf("%s is not the vocabulary that the shards were made with (SHA-256 %.12s, not %.12s)", s.VocabPath, s.VocabSHA256, m.Vocabulary.SHA256)
	}
	for i, path := range s.Files {
		e := m.Find(filepath.Base(path))
		if e == nil {
			return fault.WithHint(fmt.Errorf("%s is not in the manifest", path), "if it is left over from an earlier set, remove it; else run mkpretrain again with its text, too")
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() != e.Bytes || s.Rows[i] != e.Rows {
			return fmt.Errorf("%s has %d rows in %d bytes, not %d in %d", path, s.Rows[i], info.Size(), e.Rows, e.Bytes)
		}
	}
	for _, e := range m.Shards {
		path := filepath.Join(s.Dir, e.File)
		if _, err := os.Stat(path); err != nil && isKind(e.File, kind) {
			return fmt.Errorf("%s is missing", path)
		}
	}
	return nil
}
