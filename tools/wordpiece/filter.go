package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/corpus"
	"hpcbert/lib/stream"
	"hpcbert/lib/wordpiece"
)

// filter does the work of each mode on blocks of lines.
type filter struct {
	tok      *wordpiece.Tokenizer
	out      *stream.Writer
	progress *cli.Progress
	sum      counts
}

type counts struct{ bytes, words, pieces, unknown int64 }

// result is what a block became.
type result struct {
	counts
	lines int
	text  []byte // to write
}

func (f *filter) write(r result) error {
	f.sum.bytes += r.bytes
	f.sum.words += r.words
	f.sum.pieces += r.pieces
	f.sum.unknown += r.unknown
	f.progress.Add(int64(r.lines))
	_, err := f.out.Write(r.text)
	return err
}

// eachLine gives the lines of a block without their ends to f and puts a newline behind what it appends.
func eachLine(b corpus.Block, f func(to []byte, line string) ([]byte, error)) ([]byte, error) {
	out := make([]byte, 0, 2*len(b.Text))
	n := b.First
	for line := range strings.Lines(b.Text) {
		var err error
		if out, err = f(out, strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("read %s: line %d: %w", b.Name, n, err)
		}
		out = append(out, '\n')
		n++
	}
	return out, nil
}

func (f *filter) encode(b corpus.Block) (result, error) {
	return f.list(b, func(to []byte, id int32) []byte { return strconv.AppendInt(to, int64(id), 10) })
}

func (f *filter) pieces(b corpus.Block) (result, error) {
	tokens := f.tok.Vocabulary().Tokens
	return f.list(b, func(to []byte, id int32) []byte { return append(to, tokens[id]...) })
}

// list writes what show makes of the ids of each line, separated by blanks.
func (f *filter) list(b corpus.Block, show func(to []byte, id int32) []byte) (r result, err error) {
	if err := b.CheckSentences(); err != nil {
		return r, err
	}
	e := f.tok.Acquire()
	defer f.tok.Release(e)
	r.lines = b.Lines
	r.text, err = eachLine(b, func(to []byte, line string) ([]byte, error) {
		ids := e.IDs(line)
		r.pieces += int64(len(ids))
		for i, id := range ids {
			if i > 0 {
				to = append(to, ' ')
			}
			to = show(to, id)
		}
		return to, nil
	})
	return r, err
}

func (f *filter) decode(b corpus.Block) (r result, err error) {
	vocab, ids := f.tok.Vocabulary(), []int32(nil)
	r.lines = b.Lines
	r.text, err = eachLine(b, func(to []byte, line string) ([]byte, error) {
		ids = ids[:0]
		for word := range strings.FieldsSeq(line) {
			id, err := strconv.ParseInt(word, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%q is not an id", word)
			}
			ids = append(ids, int32(id))
		}
		r.pieces += int64(len(ids))
		text, err := vocab.Decode(ids)
		return append(to, text...), err
	})
	return r, err
}

// count takes a block as one text: the ends of lines part words as blanks do.
func (f *filter) count(b corpus.Block) (result, error) {
	if err := b.CheckSentences(); err != nil {
		return result{}, err
	}
	e := f.tok.Acquire()
	defer f.tok.Release(e)
	ids := e.IDs(b.Text)
	words, unknown := f.tok.Vocabulary().Count(ids)
	return result{counts: counts{bytes: int64(len(b.Text)), words: int64(words), pieces: int64(len(ids)), unknown: int64(unknown)}, lines: b.Lines}, nil
}

func (f *filter) report(lines int, spent time.Duration) error {
	_, err := fmt.Fprintf(f.out, "lines\t%d\nbytes\t%d\nwords\t%d\npieces\t%d\nunknown\t%d\nMB/s\t%.1f\n", lines, f.sum.bytes, f.sum.words, f.sum.pieces, f.sum.unknown,
		float64(f.sum.bytes)/1e6/spent.Seconds())
	return err
}
