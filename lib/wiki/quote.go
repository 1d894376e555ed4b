package wiki

import "bytes"

// quote is a run of two or more apostrophes in a line: marks of italics and bold.
type quote struct {
	at, n        int  // n of the whole run
	italic, bold bool // what it switches
}

// replaceQuotes takes bold marks away and turns italic marks into double quotes, line by line.
func (c *Cleaner) replaceQuotes(dst, s []byte) []byte {
	for len(s) > 0 {
		i := bytes.Index(s, []byte("''"))
		if i < 0 {
			return append(dst, s...)
		}
		start := bytes.LastIndexByte(s[:i], '\n') + 1
		end := len(s)
		if n := bytes.IndexByte(s[i:], '\n'); n >= 0 {
			end = i + n
		}
		dst = append(dst, s[:start]...)
		dst = c.quoteLine(dst, s[start:end])
		s = s[end:]
	}
	return dst
}

func (c *Cleaner) quoteLine(dst, line []byte) []byte {
	c.findQuotes(line)
	done, open := 0, false
	loud := false // between two neighbours of five: they only make text stand out, and no quotes are written for them
	for i, q := range c.quotes {
		dst = append(dst, line[done:q.at]...)
		done = q.at + q.n
		marks := 0
		if q.italic {
			marks += 2
		}
		if q.bold {
			marks += 3
		}
		dst = append(dst, line[q.at:q.at+q.n-marks]...)
		switch {
		case !q.italic:
		case loud:
			loud = false
		case !open && c.isLoud(i) && c.isLoud(i+1):
			loud = true
		case open:
			open = false
			if lastByte(dst) != '"' {
				dst = append(dst, '"')
			}
		default:
			open = true
			if done == len(line) || line[done] != '"' {
				dst = append(dst, '"')
			}
		}
	}
	return append(dst, line[done:]...)
}

// isLoud tells whether run i is five apostrophes.
func (c *Cleaner) isLoud(i int) bool {
	return i < len(c.quotes) && c.quotes[i].italic && c.quotes[i].bold
}

// findQuotes lists the runs of a line and what each switches, as MediaWiki reads them.
func (c *Cleaner) findQuotes(line []byte) {
	c.quotes = c.quotes[:0]
	italics, bolds := 0, 0
	for at := 0; ; {
		i := bytes.Index(line[at:], []byte("''"))
		if i < 0 {
			break
		}
		at += i
		q := quote{at: at, n: runLength(line[at:])}
		q.italic = q.n == 2 || q.n >= 5
		q.bold = q.n >= 3
		if q.italic {
			italics++
		}
		if q.bold {
			bolds++
		}
		c.quotes = append(c.quotes, q)
		at += q.n
	}
	if italics%2 == 1 && bolds%2 == 1 {
		c.splitBold(line)
	}
}

// splitBold makes one bold mark an apostrophe and an italic mark, as in "l”'amour”": the first one behind a letter.
func (c *Cleaner) splitBold(line []byte) {
	chosen := -1
	for i, q := range c.quotes {
		if q.n != 3 {
			continue
		}
		if chosen < 0 {
			chosen = i
		}
		if q.at > 0 && line[q.at-1] != ' ' {
			chosen = i
			break
		}
	}
	if chosen >= 0 {
		c.quotes[chosen].bold, c.quotes[chosen].italic = false, true
	}
}
