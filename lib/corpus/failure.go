package corpus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"hpcbert/lib/fault"
)

// A pipe cannot tell its reader whether the writer came to its end or failed. So a program that fails ends its stream with a mark, which
// the readers of this package refuse: a document stream with a line {"error":"..."}, a sentence stream with a line of NUL and words.
// Neither is possible in a whole stream.
const sentenceMark = "\x00failed: "

// failedBefore is the failure of the program that wrote the stream.
type failedBefore struct{ what string }

func (f failedBefore) Error() string { return "the program before failed: " + f.what }

func (l *lineReader) failedBefore(what string) error {
	return fault.WithHint(l.errorf("%w", failedBefore{what}), "the input is not whole: mend what failed there and run all again")
}

// documentMark returns the last line of a document stream that program could not write whole because of an error, or of what ended ctx.
func documentMark(ctx context.Context, program string) func(error) []byte {
	return func(err error) []byte {
		line, _ := json.Marshal(map[string]string{"error": cause(ctx, program, err)})
		return append(line, '\n')
	}
}

// SentenceMark is documentMark for a sentence stream.
func SentenceMark(ctx context.Context, program string) func(error) []byte {
	return func(err error) []byte {
		return []byte(sentenceMark + strings.Join(strings.Fields(cause(ctx, program, err)), " ") + "\n")
	}
}

// cause names the first program of the pipeline that failed, and why.
func cause(ctx context.Context, program string, err error) string {
	var before failedBefore
	if errors.As(err, &before) {
		return before.what
	}
	if ended := context.Cause(ctx); ended != nil {
		err = ended
	}
	return program + ": " + err.Error()
}

// checkMark refuses a line that is the mark of a sentence stream.
func (l *lineReader) checkMark() error {
	if what, ok := bytes.CutPrefix(l.line, []byte(sentenceMark)); ok {
		return l.failedBefore(string(what))
	}
	return nil
}
