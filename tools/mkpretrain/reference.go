package main

import (
	"fmt"
	"strconv"
)

// reference holds the names that the original programs give to our options.
type reference struct {
	VocabFile   func(string)       `long:"vocab-file" hidden:"true"`
	MaxSeq      func(int)          `long:"max-seq-length" hidden:"true"`
	MaxPerSeq   func(int)          `long:"max-predictions-per-seq" hidden:"true"`
	DupeFactor  func(int)          `long:"dupe-factor" hidden:"true"`
	RandomSeed  func(int64)        `long:"random-seed" hidden:"true"`
	DoLowerCase func(int) error    `long:"do-lower-case" hidden:"true"`
	WholeWord   func(string) error `long:"do-whole-word-mask" hidden:"true" optional:"yes" optional-value:"true"`
}

// newOptions returns the options with their defaults.
func newOptions() *options {
	o := &options{Seq: 128, MaxPred: 20, Dupe: 5, Masked: 0.15, Short: 0.1, Seed: 12345}
	o.VocabFile = func(s string) { o.Vocab = s }
	o.MaxSeq = func(n int) { o.Seq = n }
	o.MaxPerSeq = func(n int) { o.MaxPred = n }
	o.DupeFactor = func(n int) { o.Dupe = n }
	o.RandomSeed = func(n int64) { o.Seed = n }
	o.DoLowerCase = func(n int) error {
		if n != 0 && n != 1 {
			return fmt.Errorf("want 0 or 1, not %d", n)
		}
		o.Cased = n == 0
		return nil
	}
	o.WholeWord = func(s string) (err error) {
		if o.Words, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("want true or false, not %q", s)
		}
		return nil
	}
	return o
}
