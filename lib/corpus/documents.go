package corpus

import (
	"context"
	"io"
	"os"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Documents reads the documents of several files, one after the other.
type Documents struct {
	ctx   context.Context
	stdin io.Reader
	form  Form
	names []string // not yet opened
	lines int      // of the files already read

	file   *stream.Reader // nil between files
	reader *DocumentReader
}

// OpenDocuments prepares to read the named files (see stream.Open; none means standard input) in the given form, which Auto detects
// for each by itself. A missing file is an error now, not after hours of work on those before it.
func OpenDocuments(ctx context.Context, names []string, stdin io.Reader, form Form) (*Documents, error) {
	if err := CheckFiles(names); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = []string{"-"}
	}
	return &Documents{ctx: ctx, stdin: stdin, form: form, names: names}, nil
}

// CheckFiles tells early whether inputs are missing; "-" never is.
func CheckFiles(names []string) error {
	for _, name := range names {
		if name == "-" || name == "" {
			continue
		}
		if _, err := os.Stat(name); err != nil {
			return fault.WithHint(err, "nothing was read or written; without FILE standard input is read")
		}
	}
	return nil
}

// Next returns the next document, io.EOF after the last of the last file.
func (in *Documents) Next() (Document, error) {
	for {
		if in.file == nil {
			if len(in.names) == 0 {
				return Document{}, io.EOF
			}
			file, err := stream.Open(in.ctx, in.names[0], in.stdin)
			if err != nil {
				return Document{}, err
			}
			in.names, in.file, in.reader = in.names[1:], file, NewFormReader(file, file.Name, in.form)
		}
		d, err := in.reader.Next()
		if err != io.EOF {
			return d, err
		}
		in.lines += in.reader.Line()
		in.Close()
	}
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
