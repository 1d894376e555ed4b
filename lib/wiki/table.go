package wiki

import "bytes"

// dropTables takes away {| tables |}, nested ones too. A table that never ends goes as far as its lines look like a table.
func (c *Cleaner) dropTables(dst, s []byte) []byte {
	c.tables = c.tables[:0]
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
			c.tables = append(c.tables, len(dst))
			dst, done = append(dst, "{|"...), i+1
		case i+1 < len(s) && s[i+1] == '}':
			dst, done = append(dst, s[done:i]...), i+2
			if last := len(c.tables) - 1; last >= 0 {
				dst, c.tables = dst[:c.tables[last]], c.tables[:last]
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
	for _, at := range c.tables {
		if at < done {
			continue
		}
		dst = append(dst, s[done:at]...)
		done = at + tableLike(s[at:])
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
