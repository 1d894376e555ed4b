package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"

	"golang.org/x/sync/errgroup"
)

// Check reads the set called name in dir with the given number of goroutines and tells whether its files are what was written: all there
// and no others, of the articles, sentences and hashes that shards.json says. An answer no is an error of kind fault.Answer that says why.
func Check(ctx context.Context, dir, name string, threads int, report func(shards int)) (*Manifest, error) {
	found, err := shardNames(dir, name)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.WithHint(fault.Answerf("folder %s has no %s: %d shards, not known to be whole", dir, filepath.Base(manifestName(dir, name)), len(found)),
			"was shard stopped while it gave the files their names? run it again; --name checks a set that has one")
	}
	if err != nil {
		return nil, fault.Answerf("%w", err)
	}
	problems := m.problems(found)
	files := make([]string, len(m.Files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(threads)
	for i, f := range m.Files {
		if slices.Contains(found, f.File) {
			group.Go(func() (err error) {
				files[i], err = f.problem(ctx, dir)
				return err
			})
		}
		if report != nil {
			report(i + 1)
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	problems = append(problems, slices.DeleteFunc(files, func(s string) bool { return s == "" })...)
	if len(problems) > 0 {
		return nil, fault.WithHint(fault.Answerf("the set in %s is not whole:\n%s", dir, strings.Join(problems, "\n")), "run shard again with --force, or fetch the files again")
	}
	return m, nil
}

// problems compares the manifest with itself and with the names of the files found.
func (m *Manifest) problems(found []string) []string {
	var problems []string
	var articles int
	var sentences int64
	var names []string
	for _, f := range m.Files {
		articles += f.Articles
		sentences += f.Sentences
		names = append(names, f.File)
		if !slices.Contains(found, f.File) {
			problems = append(problems, f.File+" is missing")
		}
	}
	for _, name := range found {
		if !slices.Contains(names, name) {
			problems = append(problems, name+" is not of this set")
		}
	}
	if len(m.Files) != m.Train+m.Test || articles != m.Articles || sentences != m.Sentences {
		problems = append(problems, fmt.Sprintf("shards.json tells of %d files, %d articles and %d sentences, its list of %d, %d and %d",
			m.Train+m.Test, m.Articles, m.Sentences, len(m.Files), articles, sentences))
	}
	return problems
}

// problem reads the shard and says what is wrong with it, or nothing.
func (f FileInfo) problem(ctx context.Context, dir string) (string, error) {
	in, err := stream.Open(ctx, filepath.Join(dir, f.File), nil)
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum := sha256.New()
	sentences := corpus.NewSentenceReader(io.TeeReader(in, sum), f.File)
	have := FileInfo{File: f.File}
	for {
		e, err := sentences.NextExtent()
		if err == io.EOF {
			break
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			return err.Error(), nil
		}
		have.Articles++
		have.Sentences += int64(e.Sentences)
	}
	have.SHA256 = hex.EncodeToString(sum.Sum(nil))
	switch {
	case have.Articles != f.Articles || have.Sentences != f.Sentences:
		return fmt.Sprintf("%s has %d articles of %d sentences, want %d of %d", f.File, have.Articles, have.Sentences, f.Articles, f.Sentences), nil
	case f.SHA256 != "" && have.SHA256 != f.SHA256:
		return f.File + " holds other text than was written: its SHA-256 is " + have.SHA256, nil
	}
	return "", nil
}
