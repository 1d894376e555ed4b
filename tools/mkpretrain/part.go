package main

import (
	"fmt"
	"strconv"
	"strings"
)

// part is the value of --part: one of several processes.
type part struct{ number, of int }

// UnmarshalFlag reads "3/8".
func (p *part) UnmarshalFlag(text string) error {
	number, of, _ := strings.Cut(text, "/")
	var err error
	if p.number, err = strconv.Atoi(number); err == nil {
		p.of, err = strconv.Atoi(of)
	}
	if err != nil || p.number < 1 || p.number > p.of {
		return fmt.Errorf("%q is not a part such as 3/8", text)
	}
	return nil
}
