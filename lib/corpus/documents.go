package corpus

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Documents reads the documents of several files, one after the other.
type Documents struct {
	Warn func(text string) // unless nil, is told what was done with odd input

	ctx     context.Context
	stdin   io.Reader
	form    Form
	threads int     // that decompress
	files   []input // not yet opened
	lines   int     // of the files already read

	file   *stream.Reader // nil between files
	reader *DocumentReader
}

// input is a file to read. In a folder, plain text is a book.
type input struct {
	name     string
	inFolder bool
}

// OpenDocuments prepares to read the named files (see stream.OpenThreads; none means standard input) in the given form, which Auto detects
// for each by itself. A folder stands for the files in it and below, in the order of their paths: with the forms Auto and File those
// whose names end in .txt, or .txt.gz and the like, each of which is one document unless it begins as JSON or frames do; with other
// forms all that are not hidden. A missing file is an error now, not after hours of work on those before it.
func OpenDocuments(ctx context.Context, names []string, stdin io.Reader, form Form, threads int) (*Documents, error) {
	if err := CheckFiles(names); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = []string{"-"}
	}
	in := &Documents{ctx: ctx, stdin: stdin, form: form, threads: threads}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || !info.IsDir() { // "-" is not there
			in.files = append(in.files, input{name: name})
			continue
		}
		if err := in.addFolder(name); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func (in *Documents) addFolder(folder string) error {
	before := len(in.files)
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != folder && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
		case in.wants(e):
			in.files = append(in.files, input{path, true})
		}
		return nil
	})
	if err == nil && len(in.files) == before {
		what := "no .txt file"
		if !in.booksOnly() {
			what = "no file"
		}
		err = fault.WithHint(fmt.Errorf("%s in folder %s", what, folder), "files of other names must be given themselves")
	}
	return err
}

func (in *Documents) booksOnly() bool { return in.form == Auto || in.form == File }

// wants tells whether a file of a folder is read.
func (in *Documents) wants(e fs.DirEntry) bool {
	name := e.Name()
	for _, packed := range []string{".gz", ".bz2", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	return !e.IsDir() && (!in.booksOnly() || strings.HasSuffix(name, ".txt"))
}

// Names returns the files still to be read, those of folders by themselves.
func (in *Documents) Names() []string {
	names := make([]string, len(in.files))
	for i, f := range in.files {
		names[i] = f.name
	}
	return names
}

// CheckFiles tells early whether inputs are missing; "-" never is.
func CheckFiles(names []string) error {
	for _, name := range names {
		if name == "-" || name == "" {
			continue
		}
		if _, err := os.Stat(name); err != nil {
			return fault.WithHint(err, "no input was read; without FILE standard input is")
		}
	}
	return nil
}

// Next returns the next document, io.EOF after the last of the last file.
func (in *Documents) Next() (Document, error) {
	for {
		if in.file == nil {
			if len(in.files) == 0 {
				return Document{}, io.EOF
			}
			if err := in.open(in.files[0]); err != nil {
				return Document{}, err
			}
			in.files = in.files[1:]
		}
		d, err := in.reader.Next()
		if err != io.EOF {
			return d, err
		}
		in.lines += in.reader.Line()
		in.Close()
	}
}

func (in *Documents) open(next input) error {
	file, err := stream.OpenThreads(in.ctx, next.name, in.stdin, in.threads)
	if err != nil {
		return err
	}
	in.file, in.reader = file, NewFormReader(file, file.Name, in.form)
	in.reader.Warn = in.Warn
	if next.inFolder {
		in.reader.plain = File
	}
	return nil
}

// Lines returns the number of lines in the files read to their end.
func (in *Documents) Lines() int { return in.lines }

// Close ends reading before the end.
func (in *Documents) Close() {
	if in.file != nil {
		in.file.Close()
		in.file = nil
	}
}
