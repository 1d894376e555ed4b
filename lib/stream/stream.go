// Package stream opens and creates the files that programs read and write: "-" is standard input or output, compression is
// recognised by its magic bytes and chosen by the suffix of the output, and an output appears whole or not at all.
package stream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hpcbert/lib/bzip2"
	"hpcbert/lib/fault"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const bufferSize = 1 << 18

// Reader is an open input, decompressed. Its errors name the file.
type Reader struct {
	Name string // as the user wrote it; "standard input" for "-"

	ctx   context.Context
	file  *os.File      // nil for standard input
	plain bool          // not compressed
	bzip2 *bzip2.Reader // nil for other compressions
	body  io.Reader
	close func()
}

// Open opens name for reading; "" and "-" mean stdin. Input that starts with the magic bytes of gzip, bzip2 or zstd is decompressed,
// concatenated members as one stream. Reads end with the context's error once ctx is done, also while stdin blocks.
func Open(ctx context.Context, name string, stdin io.Reader) (*Reader, error) {
	return OpenThreads(ctx, name, stdin, 1)
}

// OpenThreads is Open with so many threads for decompression, of which bzip2 alone makes use.
func OpenThreads(ctx context.Context, name string, stdin io.Reader, threads int) (*Reader, error) {
	r := &Reader{Name: name, ctx: ctx, close: func() {}}
	var raw io.Reader
	if name == "" || name == "-" {
		r.Name = "standard input"
		raw = newAsyncReader(ctx, stdin)
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		if info, err := f.Stat(); err == nil && info.IsDir() {
			f.Close()
			return nil, fmt.Errorf("read %s: is a directory", name)
		}
		r.file, raw = f, f
	}
	buffered := bufio.NewReaderSize(raw, bufferSize)
	if err := r.decompress(buffered, threads); err != nil {
		r.Close()
		return nil, fmt.Errorf("read %s: %w", r.Name, err)
	}
	return r, nil
}

func (r *Reader) decompress(in *bufio.Reader, threads int) error {
	magic, err := in.Peek(6)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return truncated(err)
		}
		r.body = z
	case bytes.HasPrefix(magic, []byte("BZh")):
		z := bzip2.NewReader(in, threads)
		r.body, r.bzip2, r.close = z, z, func() { z.Close() }
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in)
		if err != nil {
			return truncated(err)
		}
		r.body, r.close = z, z.Close
	case bytes.Equal(magic, []byte("\xfd7zXZ\x00")):
		return fault.WithHint(errors.New("is compressed with xz, which is not read here"), "decompress it first, for example with xz -dc FILE |")
	default:
		r.body, r.plain = in, true
	}
	return nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.body.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s: %w", r.Name, truncated(err))
	}
	return n, err
}

// Close releases the input.
func (r *Reader) Close() error {
	r.close()
	if r.file != nil {
		return r.file.Close()
	}
	return nil
}

// Size returns the size of the (compressed) input in bytes, 0 when unknown.
func (r *Reader) Size() int64 {
	if r.file != nil {
		if info, err := r.file.Stat(); err == nil && info.Mode().IsRegular() {
			return info.Size()
		}
	}
	return 0
}

// Plain tells whether the input is a regular file that is not compressed: positions in the stream are positions in the file.
func (r *Reader) Plain() bool {
	if r.file == nil || !r.plain {
		return false
	}
	info, err := r.file.Stat()
	return err == nil && info.Mode().IsRegular()
}

// Trailing tells, at the end of the input, whether something behind its compressed data was ignored.
func (r *Reader) Trailing() bool { return r.bzip2 != nil && r.bzip2.Trailing() }

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.WithHint(err, "the compressed input is cut off: fetch or write it again")
	case errors.Is(err, bzip2.ErrCorrupt):
		return fault.WithHint(err, "fetch or write the compressed input again")
	}
	return err
}

// asyncReader lets a blocked read of a pipe or terminal end with the context.
type asyncReader struct {
	ctx    context.Context
	blocks chan block
	rest   []byte
	err    error
}

type block struct {
	data []byte
	err  error
}

func newAsyncReader(ctx context.Context, r io.Reader) *asyncReader {
	a := &asyncReader{ctx: ctx, blocks: make(chan block, 2)}
	go func() { // ends with the input, or with the process while the input blocks for ever
		for {
			p := make([]byte, bufferSize)
			n, err := r.Read(p)
			select {
			case a.blocks <- block{p[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return a
}

func (a *asyncReader) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		select {
		case b := <-a.blocks:
			a.rest, a.err = b.data, b.err
		case <-a.ctx.Done():
			return 0, a.ctx.Err()
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Writer is an output that appears under its name only when Commit succeeds.
type Writer struct {
	Name string

	buf  *bufio.Writer
	pack io.WriteCloser // nil when not compressed
	file *os.File       // nil for standard output
	done bool
	asIs bool // a device or pipe: written in place
	term bool // standard output is a terminal, or another character device
}

// Create prepares the output name; "" and "-" mean stdout. A name that ends in .gz or .zst is compressed.
// Data goes to a hidden temporary beside the file; a device or pipe of that name is written, never replaced. Callers defer Close and
// end with Commit.
func Create(name string, stdout io.Writer) (*Writer, error) {
	w := &Writer{Name: name}
	if name == "" || name == "-" {
		w.Name = "standard output"
		w.buf = bufio.NewWriterSize(stdout, bufferSize)
		if f, ok := stdout.(*os.File); ok {
			info, err := f.Stat()
			w.term = err == nil && info.Mode()&os.ModeCharDevice != 0
		}
		return w, nil
	}
	if err := checkSuffix(name); err != nil {
		return nil, err
	}
	var f *os.File
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("create %s: is a directory", name)
	case err == nil && !info.Mode().IsRegular():
		w.asIs = true
		f, err = os.OpenFile(name, os.O_WRONLY, 0)
	default:
		f, err = Temporary(name)
	}
	if err != nil {
		return nil, err
	}
	w.file = f
	switch {
	case strings.HasSuffix(name, ".gz"):
		w.pack = gzip.NewWriter(f)
	case strings.HasSuffix(name, ".zst"):
		if w.pack, err = zstd.NewWriter(f); err != nil {
			w.Close()
			return nil, err
		}
	}
	if w.pack != nil {
		w.buf = bufio.NewWriterSize(w.pack, bufferSize)
	} else {
		w.buf = bufio.NewWriterSize(f, bufferSize)
	}
	return w, nil
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.buf.Write(p)
	return n, w.wrap(err)
}

// WriteString writes s.
func (w *Writer) WriteString(s string) (int, error) {
	n, err := w.buf.WriteString(s)
	return n, w.wrap(err)
}

// Flush hands on what was written: for a reader that waits for an answer.
func (w *Writer) Flush() error { return w.wrap(w.buf.Flush()) }

func (w *Writer) wrap(err error) error {
	if err == nil {
		return nil
	}
	return DiskFull(fmt.Errorf("write %s: %w", w.Name, withoutPath(err)))
}

// DiskFull adds a hint to err if a file system without room is its cause.
func DiskFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.WithHint(err, "free some space or write elsewhere")
	}
	return err
}

// Commit flushes, syncs, closes and renames: afterwards the file is there, whole.
func (w *Writer) Commit() error {
	err := w.buf.Flush()
	if w.pack != nil && err == nil {
		err = w.pack.Close()
	}
	if w.file == nil {
		w.done = true
		return w.wrap(err)
	}
	if err == nil && w.asIs {
		err = w.file.Close()
	} else if err == nil {
		err = Finish(w.file, w.Name)
	}
	if err != nil {
		w.Close()
		return w.wrap(err)
	}
	w.done = true
	return nil
}

// CloseMarked is Close for the output of a pipe's programs: deferred, it ends an output that failed, *err tells why, with mark(*err) where it
// cannot be taken back, as standard output and pipes, so that the reader learns that it is not whole; a person at a terminal is told by the
// error message.
func (w *Writer) CloseMarked(err *error, mark func(error) []byte) {
	if *err != nil && !w.done && (w.file == nil || w.asIs) {
		if !w.term {
			w.buf.Write(mark(*err)) // when this fails too, nobody reads any more
		}
		w.buf.Flush()
		if w.pack != nil {
			w.pack.Close()
		}
	}
	w.Close()
}

// Close drops the output unless it was committed.
func (w *Writer) Close() error {
	if w.done || w.file == nil {
		return nil
	}
	w.done = true
	if err := w.file.Close(); w.asIs {
		return err
	}
	return os.Remove(w.file.Name())
}

// WriteFile writes data to name, whole or not at all.
func WriteFile(name string, data []byte) error {
	w, err := Create(name, nil)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit()
}

// SyncDir makes renames in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// checkSuffix refuses names that promise a compression which Create does not know.
func checkSuffix(output string) error {
	if suffix := filepath.Ext(output); suffix == ".bz2" || suffix == ".xz" {
		return fault.WithHint(fault.Usagef("output %q: %s is not written", output, suffix), "can write .gz and .zst")
	}
	return nil
}

// CheckOutput refuses, before anything is opened, an output that is one of the inputs, by inode, or whose suffix Create refuses.
func CheckOutput(output string, inputs ...string) error {
	if err := checkSuffix(output); err != nil {
		return err
	}
	out, err := os.Stat(output)
	if err != nil || !out.Mode().IsRegular() {
		return nil
	}
	for _, in := range inputs {
		if info, err := os.Stat(in); err == nil && os.SameFile(out, info) {
			return fault.Usagef("output %q is also an input", output)
		}
	}
	return nil
}
