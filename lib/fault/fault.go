// Package fault gives errors the two things a user needs beside the text: a hint what to do, and the kind that decides the exit status.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what an error means for the exit status of a program.
type Kind int

const (
	Failed    Kind = iota // the work failed: exit 1
	Usage                 // wrong usage, nothing touched: exit 2
	Answer                // a check answered no: exit 3
	Stopped               // saved and stopped as asked: exit 0
	Elsewhere             // another rank failed and tells why: exit 1, nothing printed
)

type fault struct {
	err  error
	hint string
	kind Kind
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// WithHint adds a hint, printed on its own line after the error.
func WithHint(err error, format string, a ...any) error {
	return &fault{err: err, hint: fmt.Sprintf(format, a...), kind: KindOf(err)}
}

// Usagef is an error of wrong usage.
func Usagef(format string, a ...any) error {
	return &fault{err: fmt.Errorf(format, a...), kind: Usage}
}

// Answerf is the error of a check that answered no.
func Answerf(format string, a ...any) error {
	return &fault{err: fmt.Errorf(format, a...), kind: Answer}
}

// Stoppedf reports an orderly early end: everything is saved.
func Stoppedf(format string, a ...any) error {
	return &fault{err: fmt.Errorf(format, a...), kind: Stopped}
}

// ErrElsewhere is what the other ranks of a job return when one has failed.
var ErrElsewhere error = &fault{err: errors.New("another rank failed"), kind: Elsewhere}

// KindOf returns the kind of the outermost fault in err's chain, Failed when there is none.
func KindOf(err error) Kind {
	var f *fault
	if errors.As(err, &f) {
		return f.kind
	}
	return Failed
}

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var f *fault
		if !errors.As(err, &f) {
			return ""
		}
		if f.hint != "" {
			return f.hint
		}
		err = f.err
	}
	return ""
}
