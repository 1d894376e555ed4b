package corpus

import (
	"bytes"
	"context"
	"errors"
	"io"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// isJSON tells whether a line begins JSON; a brace alone is also plain text.
func isJSON(line []byte) bool {
	rest, brace := bytes.CutPrefix(line, []byte("{"))
	rest = bytes.TrimSpace(rest)
	return brace && (len(rest) == 0 || rest[0] == '"' || rest[0] == '}')
}

func isFrameStart(line []byte) bool {
	return bytes.HasPrefix(line, []byte("<doc ")) || bytes.HasPrefix(line, []byte("<doc>"))
}

// isDump tells whether a line begins a MediaWiki dump, or a part of one.
func isDump(line []byte) bool {
	for _, start := range []string{"<mediawiki", "<?xml", "<page>"} {
		if bytes.HasPrefix(line, []byte(start)) {
			return true
		}
	}
	return false
}

// notDump refuses a stream whose first line, given, begins a MediaWiki dump.
func (l *lineReader) notDump(line []byte) error {
	if isDump(bytes.TrimSpace(line)) {
		return fault.WithHint(l.errorf("looks like a MediaWiki dump"), "run wikiextract first")
	}
	return nil
}

// sentences refuses a stream whose first line, given, is not of sentences. It asks for more than a brace or a bracket: sentences may
// begin with them.
func (l *lineReader) sentences(line []byte) error {
	line = bytes.TrimSpace(line)
	switch {
	case isJSON(line) && len(line) == 1:
		return fault.WithHint(l.errorf("looks like JSON"), "sentences are wanted, as segment and shard write them to .txt files")
	case isJSON(line):
		return fault.WithHint(l.errorf("looks like JSON documents"), "run segment first")
	case isFrameStart(line):
		return fault.WithHint(l.errorf("looks like <doc> documents"), "run segment first")
	}
	return l.notDump(line)
}

// CheckSentences reads the begin of a file and refuses what is not a stream of sentences. Empty ones pass.
func CheckSentences(ctx context.Context, name string) error {
	in, err := stream.Open(ctx, name, nil)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := NewSentenceReader(in, name).begin(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
