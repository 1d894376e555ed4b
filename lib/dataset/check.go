package dataset

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"path/filepath"
	"unicode/utf8"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"

	"github.com/klauspost/compress/gzip"
)

const wrongHint = "the source has changed, or something on the way alters it: try again later; --from DIR or URL names another source"

// Verify checks that the file has this content: its size, and its strongest known checksum, or without one its format and records.
func (c Content) Verify(ctx context.Context, name string) error {
	err := c.verify(ctx, name)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fault.WithHint(fmt.Errorf("%s: %w", filepath.Base(name), err), wrongHint)
	}
	return nil
}

func (c Content) verify(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch size := info.Size(); {
	case size == 0:
		return errors.New("the file is empty")
	case c.Size > 0 && size != c.Size:
		return fmt.Errorf("the file has %d bytes, want %d", size, c.Size)
	case c.summed():
		return c.checkSum(stream.Stoppable(ctx, f))
	}
	return c.checkFormat(ctx, f, info.Size())
}

func (c Content) checkSum(r io.Reader) error {
	for _, known := range []struct {
		name, want string
		h          hash.Hash
	}{{"sha256", c.SHA256, sha256.New()}, {"sha1", c.SHA1, sha1.New()}, {"md5", c.MD5, md5.New()}} {
		if known.want == "" {
			continue
		}
		if _, err := io.Copy(known.h, r); err != nil {
			return err
		}
		if got := hex.EncodeToString(known.h.Sum(nil)); got != known.want {
			return fmt.Errorf("its %s is %s, want %s", known.name, got, known.want)
		}
		return nil
	}
	return nil
}

// checkFormat finds files that are cut off, or something else.
func (c Content) checkFormat(ctx context.Context, f *os.File, size int64) error {
	in, records, err := stream.Stoppable(ctx, f), 0, error(nil)
	switch c.Format {
	case "squad":
		records, err = countQuestions(in)
	case "text":
		records, err = countLines(in)
	case "json":
		err = checkJSON(in)
	case "safetensors":
		err = checkTensors(in, size)
	case "zip":
		_, err = zip.NewReader(f, size)
	case "gzip":
		err = checkGzip(in)
	case "bzip2":
		err = checkBzip2(f, size)
	}
	if err != nil {
		return fmt.Errorf("not a whole %s file: %w", c.Format, err)
	}
	if c.Records > 0 && records != c.Records {
		return fmt.Errorf("the file has %d records, want %d", records, c.Records)
	}
	return nil
}

func countQuestions(r io.Reader) (int, error) {
	var set struct {
		Data []struct {
			Paragraphs []struct {
				Questions []struct {
					ID string `json:"id"`
				} `json:"qas"`
			} `json:"paragraphs"`
		} `json:"data"`
	}
	if err := json.NewDecoder(r).Decode(&set); err != nil {
		return 0, truncated(err)
	}
	n := 0
	for _, article := range set.Data {
		for _, p := range article.Paragraphs {
			n += len(p.Questions)
		}
	}
	if n == 0 {
		return 0, errors.New("it holds no question")
	}
	return n, nil
}

func checkJSON(r io.Reader) error {
	var any json.RawMessage
	return truncated(json.NewDecoder(r).Decode(&any))
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// countLines counts lines of UTF-8 text; the last one may lack its end.
func countLines(r io.Reader) (int, error) {
	in, lines, last := bufio.NewReaderSize(r, 1<<16), 0, byte('\n')
	for {
		line, err := in.ReadSlice('\n')
		if bytes.IndexByte(line, 0) >= 0 || len(line) < 1<<16 && !utf8.Valid(line) {
			return 0, errors.New("it is not text in UTF-8")
		}
		if len(line) > 0 {
			last = line[len(line)-1]
		}
		if last == '\n' && len(line) > 0 {
			lines++
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF {
			if last != '\n' {
				lines++
			}
			return lines, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// checkTensors reads the head of a safetensors file: its length, then JSON that tells where each tensor ends.
func checkTensors(r io.Reader, size int64) error {
	var length uint64
	if err := binary.Read(r, binary.LittleEndian, &length); err != nil {
		return truncated(err)
	}
	if length > math.MaxInt32 || int64(length)+8 > size {
		return errors.New("its head is longer than the file")
	}
	head := make([]byte, length)
	if _, err := io.ReadFull(r, head); err != nil {
		return truncated(err)
	}
	var tensors map[string]struct {
		Offsets []int64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(head, &tensors); err != nil {
		return err
	}
	end := int64(0)
	for _, t := range tensors {
		if len(t.Offsets) == 2 {
			end = max(end, t.Offsets[1])
		}
	}
	if want := 8 + int64(length) + end; want != size || end == 0 {
		return fmt.Errorf("its tensors end at byte %d of %d", want, size)
	}
	return nil
}

func checkGzip(r io.Reader) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return truncated(err)
	}
	_, err = io.Copy(io.Discard, z)
	return truncated(err)
}

// endOfBzip2 stands, at any bit, before the last four bytes of a bzip2 file.
const endOfBzip2 = 0x177245385090

// checkBzip2 looks at both ends of the file: unpacking a dump takes hours.
func checkBzip2(f io.ReaderAt, size int64) error {
	const tail = 11 // bytes: the mark of 48 bits, a checksum of 32, and up to 7 bits more
	var head, end [8]byte
	if size < tail+3 {
		return io.ErrUnexpectedEOF
	}
	if _, err := f.ReadAt(head[:3], 0); err != nil {
		return err
	}
	if string(head[:3]) != "BZh" {
		return errors.New("it does not begin with BZh")
	}
	if _, err := f.ReadAt(end[1:], size-tail); err != nil {
		return err
	}
	for rest := range 8 {
		if binary.BigEndian.Uint64(end[:])>>rest&(1<<48-1) == endOfBzip2 {
			return nil
		}
	}
	return io.ErrUnexpectedEOF
}
