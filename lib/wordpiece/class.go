package wordpiece

import (
	"sync"
	"unicode"
)

// class says what the basic step does with a character.
type class uint8

const (
	drop      class = 1 << iota // vanishes without splitting: categories C (unassigned too), U+0000, U+FFFD
	space                       // splits: Zs, TAB, LF, CR, and the line and paragraph separators
	ideograph                   // a word of its own
	punct                       // a piece of its own: ASCII signs and category P
	mark                        // Mn, removed after decomposition when lower-casing
	cased                       // Unicode Cased, for the final sigma
	ignorable                   // Unicode Case_Ignorable, for the final sigma
)

// classes holds the class of every code point. It is derived from Go's Unicode tables and never changes.
var classes = sync.OnceValue(buildClasses)

func buildClasses() []class {
	t := make([]class, unicode.MaxRune+1)
	for i := range t {
		t[i] = drop
	}
	for _, assigned := range []*unicode.RangeTable{unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z} {
		each(assigned, func(r rune) { t[r] = 0 })
	}
	each(unicode.Z, func(r rune) { t[r] = space })
	for _, r := range "\t\n\r" {
		t[r] = space
	}
	t[unicode.ReplacementChar] = drop
	for _, block := range [][2]rune{{0x4E00, 0x9FFF}, {0x3400, 0x4DBF}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
		{0x2B820, 0x2CEAF}, {0xF900, 0xFAFF}, {0x2F800, 0x2FA1F}} {
		for r := block[0]; r <= block[1]; r++ {
			t[r] |= ideograph
		}
	}
	set := func(flag class) func(rune) { return func(r rune) { t[r] |= flag } }
	each(unicode.P, set(punct))
	for _, r := range "$+<=>^`|~" {
		t[r] |= punct
	}
	each(unicode.Mn, set(mark))
	for _, table := range []*unicode.RangeTable{unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase} {
		each(table, set(cased))
	}
	for _, table := range []*unicode.RangeTable{unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk} {
		each(table, set(ignorable))
	}
	for _, r := range "':.\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a" { // word break MidLetter, MidNumLet, Single_Quote
		t[r] |= ignorable
	}
	return t
}

func each(table *unicode.RangeTable, f func(rune)) {
	for _, r := range table.R16 {
		for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
			f(c)
		}
	}
	for _, r := range table.R32 {
		for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
			f(c)
		}
	}
}
