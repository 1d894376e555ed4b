package corpus

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"hpcbert/lib/stream"
)

// blockBytes of text are handed on at a time: a block and what is made of it stay in a core's cache.
const blockBytes = 1 << 16

// Block is a part of a text, of whole lines; only the last line of a file may lack its newline.
type Block struct {
	Name  string // of the file
	First int    // number of its first line, from 1
	Lines int
	Text  string // valid until the function that MapBlocks gave the result to has returned

	memory []byte // under Text
}

// CheckSentences refuses the first block of a file when that holds no sentences but documents or a dump, as those who read sentences do.
func (b Block) CheckSentences() error {
	if b.First > 1 {
		return nil
	}
	l := lineReader{name: b.Name}
	for line := range strings.Lines(b.Text) {
		l.n++
		if strings.TrimSpace(line) != "" {
			return l.sentences([]byte(line))
		}
	}
	return nil
}

// Blocks reads the lines of several files, one file after the other, in blocks.
type Blocks struct {
	ctx     context.Context
	stdin   io.Reader
	threads int      // that decompress
	names   []string // not yet opened
	lines   int      // read so far

	file *stream.Reader // nil between files
	line int            // of this file, read so far
	rest []byte         // read, but without the end of its line
	end  bool           // no more to read

	mu   sync.Mutex
	free [][]byte // memory for blocks to come, so that none is thrown away
}

// OpenBlocks prepares to read the named files (see stream.OpenThreads; none means standard input). A missing file is an error now.
func OpenBlocks(ctx context.Context, names []string, stdin io.Reader, threads int) (*Blocks, error) {
	if err := CheckFiles(names); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = []string{"-"}
	}
	return &Blocks{ctx: ctx, stdin: stdin, names: names, threads: threads}, nil
}

// Next returns the next block and io.EOF after the last of the last file. Lines may have any length. Lines that
// are not text, and the mark of a writer that failed, are errors that name file and line.
func (in *Blocks) Next() (Block, error) {
	for {
		if in.file == nil {
			if len(in.names) == 0 {
				return Block{}, io.EOF
			}
			file, err := stream.OpenThreads(in.ctx, in.names[0], in.stdin, in.threads)
			if err != nil {
				return Block{}, err
			}
			in.names, in.file, in.line, in.end = in.names[1:], file, 0, false
		}
		text, err := in.read()
		if err != nil {
			return Block{}, err
		}
		if len(text) > 0 {
			return in.block(text)
		}
		in.Close()
	}
}

// read returns about blockBytes up to the end of a line, nothing at the end of the file.
func (in *Blocks) read() ([]byte, error) {
	text := append(in.memory(), in.rest...)
	searched := 0
	for !in.end {
		n, err := io.ReadFull(in.file, text[len(text):cap(text)])
		text = text[:len(text)+n]
		if in.end = err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !in.end {
			return nil, err
		}
		if end := searched + lastNewline(text[searched:]) + 1; end > searched && !in.end {
			in.rest = append(in.rest[:0], text[end:]...)
			return text[:end], nil
		}
		if len(text) > maxDocument {
			l := lineReader{name: in.file.Name, n: in.line + 1}
			return nil, l.tooLong("the line")
		}
		searched = len(text)
		text = slices.Grow(text, blockBytes) // a longer line
	}
	in.rest = in.rest[:0]
	return text, nil
}

// lastNewline is bytes.LastIndexByte, which looks at one byte at a time, for text with long lines.
func lastNewline(text []byte) int {
	const part = 1 << 10
	for end := len(text); end > 0; end -= part {
		start := max(0, end-part)
		if bytes.IndexByte(text[start:end], '\n') >= 0 {
			return start + bytes.LastIndexByte(text[start:end], '\n')
		}
	}
	return -1
}

func (in *Blocks) memory() []byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := len(in.free)
	if n == 0 {
		return make([]byte, 0, blockBytes)
	}
	m := in.free[n-1]
	in.free = in.free[:n-1]
	return m
}

// recycle takes back the memory of a block that nobody looks at any more.
func (in *Blocks) recycle(b Block) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if cap(b.memory) <= 8*blockBytes {
		in.free = append(in.free, b.memory[:0])
	}
}

func (in *Blocks) block(bytes []byte) (Block, error) {
	text := unsafe.String(unsafe.SliceData(bytes), len(bytes)) // the bytes do not change before recycle
	if in.line == 0 {
		text = strings.TrimPrefix(text, string(byteOrderMark))
	}
	b := Block{Name: in.file.Name, First: in.line + 1, Lines: strings.Count(text, "\n"), Text: text, memory: bytes}
	if !strings.HasSuffix(text, "\n") {
		b.Lines++
	}
	in.line += b.Lines
	in.lines += b.Lines
	if strings.IndexByte(text, 0) < 0 && utf8.ValidString(text) {
		return b, nil
	}
	l := lineReader{name: b.Name, n: b.First}
	for line := range strings.Lines(text) {
		l.line = []byte(strings.TrimSuffix(line, "\n"))
		if err := l.check(); err != nil {
			return Block{}, err
		}
		l.n++
	}
	return b, nil
}

// Lines returns the number of lines read.
func (in *Blocks) Lines() int { return in.lines }

// Close ends reading before the end.
func (in *Blocks) Close() {
	if in.file != nil {
		in.file.Close()
		in.file, in.rest = nil, in.rest[:0]
	}
}

// MapBlocks gives each block of a text to work, in threads goroutines, and what that makes of it to done, in the order of the text and
// from one goroutine. The first error ends all.
func MapBlocks[T any](ctx context.Context, in *Blocks, threads int, work func(Block) (T, error), done func(T) error) error {
	type result struct {
		made T
		of   Block
	}
	worker := func() func(Block) (result, error) {
		return func(b Block) (result, error) {
			made, err := work(b)
			return result{made, b}, err
		}
	}
	return stream.Map(ctx, threads, in.Next, worker, func(r result) error {
		defer in.recycle(r.of)
		return done(r.made)
	})
}
