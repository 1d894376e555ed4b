package main

import "hpcbert/lib/fault"

// maskOptions say which tokens are to be predicted.
type maskOptions struct {
	Dynamic    bool `long:"dynamic-masking" description:"new masks in each epoch"`
	WholeWords bool `long:"whole-word-masking" hidden:"true" description:"with --dynamic-masking: all pieces of a word or none"`
}

func (o *maskOptions) check() error {
	if o.WholeWords && !o.Dynamic {
		return fault.Usagef("--whole-word-masking goes with --dynamic-masking")
	}
	return nil
}
