package wiki

import (
	"bytes"
	"strings"
)

// brace is a run of two or more opening braces that nothing has closed yet.
type brace struct {
	at int // in the output, of the first brace
	n  int // braces left
}

// dropTemplates takes away {{templates}} and {{{parameters}}}, innermost first; what has no partner stays. Variables that stand for
// text of their own become that text.
func (c *Cleaner) dropTemplates(dst, s []byte) []byte {
	c.braces = c.braces[:0]
	done := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '{' && s[i] != '}' {
			continue
		}
		n := runLength(s[i:])
		if n < 2 {
			continue
		}
		dst = append(dst, s[done:i]...)
		if s[i] == '{' {
			c.braces = append(c.braces, brace{len(dst), n})
			dst = append(dst, s[i:i+n]...)
			done = i + n
		} else {
			dst, done = c.closeBraces(dst, s, i, n)
		}
		i = max(i+n, done) - 1
	}
	return append(dst, s[done:]...)
}

// closeBraces matches the n closing braces at s[i] with the open ones and returns where the input goes on.
func (c *Cleaner) closeBraces(dst, s []byte, i, n int) ([]byte, int) {
	end, dropped := i+n, false
	for n >= 2 && len(c.braces) > 0 {
		top := &c.braces[len(c.braces)-1]
		used := min(n, top.n, 3)
		at := top.at + top.n - used
		value := c.variable(dst[at+used:], used)
		dst = append(dst[:at], value...)
		n -= used
		if top.n -= used; top.n < 2 {
			c.braces = c.braces[:len(c.braces)-1]
		}
		dropped = value == ""
	}
	dst = append(dst, s[end-n:end]...)
	if dropped && n == 0 {
		if q := runLength(s[end:]); q >= 2 && s[end] == '\'' && q <= 5 && trailingQuotes(dst) == q {
			return dst[:len(dst)-q], end + q // ''{{lang|...}}'' leaves no pair of quotes round nothing
		}
	}
	return dst, end
}

// variable returns the text of a variable, "" for templates and parameters.
func (c *Cleaner) variable(inner []byte, braces int) string {
	if braces != 2 || len(inner) > 16 {
		return ""
	}
	switch strings.TrimSpace(string(inner)) {
	case "PAGENAME", "FULLPAGENAME", "BASEPAGENAME", "SUBPAGENAME":
		return string(appendGuarded(nil, []byte(c.title)))
	case "!":
		return "|"
	case "=":
		return "="
	}
	return ""
}

// runLength returns how often the first byte of s is repeated there.
func runLength(s []byte) int {
	n := 0
	for n < len(s) && s[n] == s[0] {
		n++
	}
	return n
}

func trailingQuotes(b []byte) int { return len(b) - len(bytes.TrimRight(b, "'")) }

// dropTables takes away {| tables |}, nested ones too. A table that never ends goes as far as its lines look like a table.
func (c *Cleaner) dropTables(dst, s []byte) []byte {
	c.braces = c.braces[:0]
	done := 0
	for {
		i := bytes.IndexByte(s[done:], '|')
		if i < 0 {
			break
		}
		i += done
		switch {
		case i > 0 && s[i-1] == '{' && i-1 >= done && (i+1 == len(s) || s[i+1] != '}'):
			dst = append(dst, s[done:i-1]...)
			c.braces = append(c.braces, brace{at: len(dst)})
			dst, done = append(dst, "{|"...), i+1
		case i+1 < len(s) && s[i+1] == '}':
			dst, done = append(dst, s[done:i]...), i+2
			if last := len(c.braces) - 1; last >= 0 {
				dst, c.braces = dst[:c.braces[last].at], c.braces[:last]
				done += skipBlanks(dst, s[done:])
			}
		default:
			dst, done = append(dst, s[done:i+1]...), i+1
		}
	}
	dst = append(dst, s[done:]...)
	return c.dropUnclosedTables(dst)
}

// dropUnclosedTables works in place on what dropTables left open.
func (c *Cleaner) dropUnclosedTables(s []byte) []byte {
	dst, done := s[:0], 0
	for _, table := range c.braces {
		if table.at < done {
			continue
		}
		dst = append(dst, s[done:table.at]...)
		done = table.at + tableLike(s[table.at:])
	}
	return append(dst, s[done:]...)
}

// tableLike returns how much of s looks like a table: up to a heading, or up to a blank line that no row or caption follows.
func tableLike(s []byte) int {
	at := 0
	for {
		i := bytes.IndexByte(s[at:], '\n')
		if i < 0 {
			return len(s)
		}
		at += i
		next := s[at+1:]
		blank := len(next) > 0 && next[0] == '\n'
		next = bytes.TrimLeft(next, " \n")
		if bytes.HasPrefix(next, []byte("==")) || blank && (len(next) == 0 || next[0] != '|' && next[0] != '!' && next[0] != '{') {
			return at
		}
		at++
	}
}
