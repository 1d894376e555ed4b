package shard

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Set is the files of one run in one folder: [NAME_]training_I.txt, [NAME_]test_I.txt and [NAME_]shards.json, which is written last.
type Set struct {
	Dir, Name string
	Options   Options

	temporary *os.File // a folder, locked
	made      bool     // Dir, by us
}

// Manifest is what shards.json holds.
type Manifest struct {
	Options
	Articles  int        `json:"articles"`
	Sentences int64      `json:"sentences"`
	Files     []FileInfo `json:"files"`
}

// FileInfo describes a shard.
type FileInfo struct {
	File      string `json:"file"`
	Articles  int    `json:"articles"`
	Sentences int64  `json:"sentences"`
	SHA256    string `json:"sha256,omitempty"` // in hex, once written
}

// Create prepares to write the set: it makes the folder and a hidden one inside for everything unfinished. A set of other options, or
// an unfinished one, is refused unless force. Callers defer Close.
func Create(dir, name string, o Options, force bool) (*Set, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if name != "" && (strings.ContainsRune(name, '/') || strings.HasPrefix(name, ".")) {
		return nil, fault.Usagef("set name %q, want no slash in it and no dot at its beginning", name)
	}
	s := &Set{Dir: dir, Name: name, Options: o}
	if !force {
		if err := s.checkOld(); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(dir, 0o777); err == nil {
		s.made = true
	} else if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
		s.made = true
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	temporary, err := stream.TemporaryFolder(dir, "shard")
	if err != nil {
		s.Close()
		return nil, fault.WithHint(err, "choose a folder you may write to")
	}
	s.temporary = temporary
	return s, nil
}

// Spool is the hidden folder for what Scan must copy, and for unfinished shards.
func (s *Set) Spool() string { return s.temporary.Name() }

// Close removes what is unfinished, and the folder if the set made it and left nothing in it.
func (s *Set) Close() error {
	var err error
	if s.temporary != nil {
		err = os.RemoveAll(s.Spool())
		s.temporary.Close()
	}
	if s.made {
		os.Remove(s.Dir) // fails, as it should, when the shards are there
	}
	return err
}

func prefix(name string) string {
	if name == "" {
		return ""
	}
	return name + "_"
}

func (s *Set) manifestName() string { return manifestName(s.Dir, s.Name) }

// listName is the end of the name of a set's manifest.
const listName = "shards.json"

func manifestName(dir, name string) string { return filepath.Join(dir, prefix(name)+listName) }

func readManifest(dir, name string) (*Manifest, error) {
	text, err := os.ReadFile(manifestName(dir, name))
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read %s: %w", manifestName(dir, name), err)
	}
	return &m, nil
}

// old returns the names of the set's shards already in the folder.
func (s *Set) old() ([]string, error) {
	names, err := shardNames(s.Dir, s.Name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return names, err
}

// shardNames returns the names of files in dir that a set called name would give its shards.
func shardNames(dir, name string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), prefix(name))
		number, isTrain := strings.CutPrefix(rest, "training_")
		if !isTrain {
			var isTest bool
			number, isTest = strings.CutPrefix(rest, "test_")
			ours = ours && isTest
		}
		number, isText := strings.CutSuffix(number, ".txt")
		if ours && isText && number != "" && strings.Trim(number, "0123456789") == "" {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (s *Set) checkOld() error {
	old, err := s.old()
	if err != nil || len(old) == 0 {
		return err
	}
	m, err := readManifest(s.Dir, s.Name)
	switch {
	case err != nil:
		return fault.WithHint(fmt.Errorf("folder %s holds %s and %d more shards, not known to be whole: %w", s.Dir, old[0], len(old)-1, err),
			"choose another folder or --name, or replace them with --force")
	case m.Options != s.Options:
		return fault.WithHint(fmt.Errorf("folder %s holds shards of other options: %v", s.Dir, m.Options),
			"choose another folder or --name, or replace them with --force")
	}
	return nil
}

// Describe tells what the files of a set called name hold, training shards first.
func Describe(name string, c *Corpus, p *Placement) []FileInfo {
	var files []FileInfo
	describe := func(kind string, shards [][]int32) {
		for i, articles := range shards {
			f := FileInfo{File: fmt.Sprintf("%s%s_%d.txt", prefix(name), kind, i), Articles: len(articles)}
			for _, a := range articles {
				f.Sentences += int64(c.articles.at(a).sentences)
			}
			files = append(files, f)
		}
	}
	describe("training", p.Train)
	describe("test", p.Test)
	return files
}

// Write writes the shards with the given number of goroutines and replaces the set in the folder. Before all shards are whole and on
// disk, the folder stays as it is.
func (s *Set) Write(ctx context.Context, c *Corpus, p *Placement, threads int, report func(shards int64)) (*Manifest, error) {
	m := &Manifest{Options: s.Options, Articles: c.articles.n, Sentences: c.Total, Files: Describe(s.Name, c, p)}
	shards := slices.Concat(p.Train, p.Test)
	if err := s.writeShards(ctx, c, shards, m.Files, threads, report); err != nil {
		return nil, stream.DiskFull(err)
	}
	return m, s.commit(m)
}

func (s *Set) writeShards(ctx context.Context, c *Corpus, shards [][]int32, files []FileInfo, threads int, report func(shards int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		done  int64
		next  = make(chan int)
	)
	for range threads {
		group.Go(func() {
			r := &reader{corpus: c}
			defer r.close()
			for i := range next {
				sum, err := r.writeShard(ctx, filepath.Join(s.Spool(), files[i].File), shards[i])
				if err != nil {
					cancel(err)
					continue
				}
				files[i].SHA256 = sum
				mu.Lock()
				done++
				if report != nil {
					report(done)
				}
				mu.Unlock()
			}
		})
	}
	for i := 0; i < len(shards) && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}

// windowBytes of articles are fetched at a time: enough to read the disk in its order, little enough to hold for each thread.
const windowBytes = 16 << 20

// writeShard returns the SHA-256 of what it wrote.
func (r *reader) writeShard(ctx context.Context, name string, articles []int32) (string, error) {
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<18)
	for len(articles) > 0 {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, size := 0, int64(0)
		for n < len(articles) {
			length := int64(r.corpus.articles.at(articles[n]).length)
			if n > 0 && size+length > windowBytes {
				break
			}
			size += length
			n++
		}
		texts, err := r.fetch(articles[:n])
		if err != nil {
			return "", err
		}
		for _, text := range texts {
			writeArticle(w, text)
		}
		articles = articles[n:]
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), f.Close()
}

// writeArticle writes lines as they are, but for carriage returns at their ends, and a blank line. The error waits in w.
func writeArticle(w *bufio.Writer, text []byte) {
	if bytes.Contains(text, []byte("\r\n")) {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	w.Write(bytes.TrimRight(text, "\r\n"))
	w.WriteString("\n\n")
}

// commit gives the shards their names. The manifest goes first and comes last, so that a set without one is known to be unfinished.
func (s *Set) commit(m *Manifest) error {
	old, err := s.old()
	if err != nil {
		return err
	}
	if err := os.Remove(s.manifestName()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range old {
		if err := os.Remove(filepath.Join(s.Dir, name)); err != nil {
			return err
		}
	}
	for _, f := range m.Files {
		if err := os.Rename(filepath.Join(s.Spool(), f.File), filepath.Join(s.Dir, f.File)); err != nil {
			return err
		}
	}
	if err := stream.SyncDir(s.Dir); err != nil {
		return err
	}
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return stream.WriteFile(s.manifestName(), append(b, '\n'))
}
