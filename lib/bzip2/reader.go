// Package bzip2 decompresses bzip2 on several threads. Blocks begin at any bit, and nothing says where: they are found by their magic number
// and decoded before it is known whether it is one.
package bzip2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"strings"
)

const (
	headBits = 32             // "BZh9"
	endBits  = magicBits + 32 // magic and checksum

	// maxChance bounds the magic numbers inside of a block: one in 2^48 bits is expected, many are an attack on the time that they take.
	maxChance = 100
)

// Reader decompresses streams put behind each other as one text. What follows them without being the begin of a stream is ignored, as
// bzip2 does. Errors wrap ErrCorrupt, io.ErrUnexpectedEOF where the input is cut off, or are those of the input.
type Reader struct {
	queue *queue
	own   *decoder // for what the queue's threads do not do; nil before it is needed

	text     text // goes out; nil between blocks
	promised uint32
	err      error // behind the text
	stream   int   // number of the stream, from 1
	block    int   // number of the block in it, from 1
	start    int64 // first bit of the segment that is looked at
	level    int   // of the stream: its blocks hold so many 100,000 bytes at most
	sum      uint32
	trailing bool
}

// text is a decoded block.
type text interface {
	write(p []byte) int // fills p as far as the text goes
	checksum() uint32   // of what was written
}

// NewReader decompresses in with so many threads. With one, Read decodes blocks itself, in 12 MB of memory; more take 9 MB each, and 2 MB for
// each of two blocks that wait. Close ends them.
func NewReader(in io.Reader, threads int) *Reader { return &Reader{queue: newQueue(in, threads)} }

// Trailing tells, at the end, whether something was ignored behind the last stream.
func (r *Reader) Trailing() bool { return r.trailing }

// Close ends the threads. What was not read is lost.
func (r *Reader) Close() error {
	r.queue.close()
	r.text, r.err = nil, os.ErrClosed
	return nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if r.text != nil {
			n := r.text.write(p)
			if n < len(p) {
				r.endBlock()
			}
			if n > 0 {
				return n, nil
			}
		}
		if r.err != nil {
			return 0, r.err
		}
		r.err = r.located(r.next())
	}
}

// located says where an error about what the input holds was found.
func (r *Reader) located(err error) error {
	if !errors.Is(err, ErrCorrupt) && err != io.ErrUnexpectedEOF {
		return err
	}
	return fmt.Errorf("stream %d, block %d, at byte %d of the compressed data: %w", r.stream, r.block, r.start>>3, err)
}

func (r *Reader) endBlock() {
	if sum := r.text.checksum(); sum != r.promised {
		r.err = r.located(corruptf("the checksum of the block is %08x, not %08x", sum, r.promised))
	}
	r.text = nil
}

// next goes on to the next block, or to the begin of a stream. An error is one behind the text that there may be.
func (r *Reader) next() error {
	t, err := r.queue.next()
	if err != nil {
		return err
	}
	r.start = t.start
	switch t.kind {
	case headSegment:
		return r.begin(t.bytes(), t.last)
	case blockSegment:
		return r.decode(t)
	}
	return r.end(t)
}

// begin reads the begin of a stream, which is what stands before the next magic number.
func (r *Reader) begin(head []byte, last bool) error {
	const magic = "BZh"
	valid := strings.HasPrefix(magic, string(head[:min(len(head), len(magic))]))
	if len(head) >= headBits/8 {
		valid = valid && '1' <= head[3] && head[3] <= '9'
	}
	switch {
	case r.stream > 0 && last && len(head) == 0:
		return io.EOF
	case r.stream > 0 && !valid:
		r.trailing = true
		return io.EOF
	case !valid:
		return corruptf("it does not begin as bzip2 does")
	case last && len(head) < (headBits+magicBits)/8:
		return io.ErrUnexpectedEOF
	}
	r.stream++
	r.block, r.sum = 0, 0
	if len(head) != headBits/8 {
		return corruptf("no block follows the begin of the stream")
	}
	r.level = int(head[3] - '0')
	return nil
}

// decode has the text of a block ready.
func (r *Reader) decode(t *task) error {
	r.block++
	text, b, err := r.queue.decoded(t)
	if text == nil {
		text, b, err = r.decodeHere(t)
	}
	for range maxChance {
		if err != errShort || t.last {
			break
		}
		if err := r.queue.join(t); err != nil {
			return err
		}
		text, b, err = r.decodeHere(t)
	}
	switch {
	case err == errShort && t.last:
		return io.ErrUnexpectedEOF
	case err == errShort:
		return corruptf("a block with more than %d magic numbers", maxChance)
	case err != nil:
		return err
	case b.length > r.level*100_000:
		return corruptf("%d bytes where the stream allows %d", b.length, r.level*100_000)
	}
	r.text, r.promised = text, b.sum
	r.sum = bits.RotateLeft32(r.sum, 1) ^ b.sum
	switch rest := t.size - b.size; {
	case rest == 0 && !t.last:
		return nil
	case rest < magicBits && t.last:
		return io.ErrUnexpectedEOF
	}
	return corruptf("behind the block stands neither a block nor the end of the stream")
}

func (r *Reader) decodeHere(t *task) (text, block, error) {
	if r.own == nil {
		r.own = newDecoder()
	}
	b, err := r.own.decode(&t.segment)
	return r.own, b, err
}

// end reads the end of a stream and what stands behind it.
func (r *Reader) end(t *task) error {
	behind := (int64(t.bit()) + endBits + 7) >> 3 // the next stream begins at a byte
	for !t.last && t.size+int64(t.bit()) < behind*8+headBits {
		if err := r.queue.join(t); err != nil {
			return err
		}
	}
	if t.size < endBits {
		return io.ErrUnexpectedEOF
	}
	sum := uint32(binary.BigEndian.Uint64(t.data[magicBits/8:]) << t.bit() >> 32)
	if sum != r.sum {
		return corruptf("the checksum of the stream is %08x, not %08x", r.sum, sum)
	}
	return r.begin(t.bytes()[behind:], t.last)
}
