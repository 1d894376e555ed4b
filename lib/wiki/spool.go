package wiki

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"

	"hpcbert/lib/stream"

	"github.com/klauspost/compress/s2"
)

// Spool keeps the pages of a dump that can be read only once, compressed, in a temporary file without a name: whatever ends the process
// leaves nothing behind.
type Spool struct {
	name   string // of the dump
	dir    string
	file   *os.File
	pack   *s2.Writer // zstd would save a quarter of the file, in time that decompression and extraction need
	in     *bufio.Reader
	record []byte
	sites  []*Site
	texts  texts
	passed Counts // of the dump's other pages
}

// NewSpool makes an empty spool in dir.
func NewSpool(dir string) (*Spool, error) {
	f, err := os.CreateTemp(dir, ".wikiextract-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("spool the dump: %w", err)
	}
	s := &Spool{dir: dir, file: f, pack: s2.NewWriter(f, s2.WriterConcurrency(2))}
	if err := os.Remove(f.Name()); err != nil {
		s.Close()
		return nil, s.failed(err)
	}
	return s, nil
}

func (s *Spool) failed(err error) error {
	return stream.DiskFull(fmt.Errorf("spool the dump into folder %s: %w", s.dir, err))
}

// write appends a page: its site, namespace, id, title and text.
func (s *Spool) write(p *Page) error {
	if len(s.sites) == 0 || s.sites[len(s.sites)-1] != p.site {
		s.sites = append(s.sites, p.site)
	}
	b := binary.AppendUvarint(s.record[:0], uint64(len(s.sites)-1))
	b = binary.AppendVarint(b, int64(p.Namespace))
	for _, field := range []string{p.ID, p.Title} {
		b = append(binary.AppendUvarint(b, uint64(len(field))), field...)
	}
	s.record = binary.AppendUvarint(b, uint64(len(p.raw)))
	_, err := s.pack.Write(s.record)
	if err == nil {
		_, err = s.pack.Write(p.raw)
	}
	if err != nil {
		return s.failed(err)
	}
	return nil
}

// flush ends writing.
func (s *Spool) flush() error {
	if err := s.pack.Close(); err != nil {
		return s.failed(err)
	}
	return nil
}

// rewind begins reading.
func (s *Spool) rewind() error {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return s.failed(err)
	}
	s.in = bufio.NewReaderSize(s2.NewReader(s.file), 1<<18)
	return nil
}

// Next returns the next page, io.EOF after the last one.
func (s *Spool) Next() (*Page, error) {
	site, err := binary.ReadUvarint(s.in)
	if err == io.EOF {
		return nil, io.EOF
	}
	if err != nil || site >= uint64(len(s.sites)) {
		return nil, s.damaged(err)
	}
	p := &Page{site: s.sites[site], from: &s.texts}
	namespace, err := binary.ReadVarint(s.in)
	p.Namespace = int(namespace)
	for _, field := range []*string{&p.ID, &p.Title} {
		if err == nil {
			s.record, err = s.field(s.record)
			*field = string(s.record)
		}
	}
	if err == nil {
		p.raw, err = s.field(s.texts.take())
	}
	if err != nil {
		return nil, s.damaged(err)
	}
	return p, nil
}

// field reads a field into room, or a larger one.
func (s *Spool) field(room []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(s.in)
	if err != nil {
		return nil, err
	}
	if n > maxToken {
		return nil, io.ErrUnexpectedEOF
	}
	room = slices.Grow(room[:0], int(n))[:n]
	_, err = io.ReadFull(s.in, room)
	return room, err
}

func (s *Spool) damaged(err error) error {
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return s.failed(fmt.Errorf("read back: %w", err))
}

// Close frees the disk.
func (s *Spool) Close() error {
	s.pack.Close() // again, unless writing failed: it ends the writer's goroutine
	return s.file.Close()
}
