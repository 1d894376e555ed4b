// Package python cuts and writes text as Python does, for results that must equal those of programs in Python. wordpiece.Lower is its str.lower().
package python

import (
	"strings"
	"unicode"
)

// IsSpace tells whether str.split() cuts at r: Unicode's white space and four separators that Go does not count.
func IsSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

// IsWord tells whether r is of a word, \w in a regular expression.
func IsWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || r == '_' }

// Fields is str.split().
func Fields(s string) []string { return strings.FieldsFunc(s, IsSpace) }

// Strip is str.strip().
func Strip(s string) string { return strings.TrimFunc(s, IsSpace) }
