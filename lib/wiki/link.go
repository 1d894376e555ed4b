package wiki

import (
	"bytes"
	"strings"
)

// link is an opening bracket that nothing has closed yet.
type link struct {
	at       int // in the output, of the bracket
	label    int // in the output: behind the first pipe, or behind the address; 0 while there is none
	external bool
}

// replaceLinks puts the text of links in their place. Links into other namespaces (files, categories) and other wikis vanish with
// their captions; brackets without a partner vanish at the end of the paragraph, an unfinished file link with the rest of its line.
func (c *Cleaner) replaceLinks(dst, s []byte) []byte {
	c.links = c.links[:0]
	done, opening := 0, -1
	for i := 0; i < len(s); i++ {
		if len(c.links) == 0 { // then nothing matters but brackets
			if opening < i {
				opening = i + indexOrEnd(s[i:], '[')
			}
			i += indexOrEnd(s[i:opening], ']')
		}
		if i == len(s) {
			break
		}
		if !linkBytes[s[i]] {
			continue
		}
		var next int
		switch s[i] {
		case '[':
			dst = append(dst, s[done:i]...)
			dst, next = c.openLink(dst, s, i)
		case ']':
			dst = append(dst, s[done:i]...)
			dst, next = c.closeLink(dst, s, i)
		case '|':
			top := len(c.links) - 1
			if top < 0 || c.links[top].external || c.links[top].label != 0 {
				continue
			}
			dst = append(dst, s[done:i+1]...)
			c.links[top].label, next = len(dst), i+1
		case '\n':
			if len(c.links) == 0 {
				continue
			}
			dst = append(dst, s[done:i]...)
			dst = c.endLine(dst, i+1 < len(s) && s[i+1] == '\n')
			dst, next = append(dst, '\n'), i+1
		default:
			continue
		}
		done, i = next, next-1
	}
	dst = append(dst, s[done:]...)
	return c.endLine(dst, true)
}

var linkBytes = [256]bool{'[': true, ']': true, '|': true, '\n': true}

// indexOrEnd returns the place of the first c, the length of s when there is none.
func indexOrEnd(s []byte, c byte) int {
	if i := bytes.IndexByte(s, c); i >= 0 {
		return i
	}
	return len(s)
}

const usualLink = 300 // bytes; nothing is looked for farther away, again and again where brackets stay open

// wholeLink treats the internal link that starts s when it ends in its line and holds no other one, as most do. It returns how much of s that
// took, 0 for other links.
func (c *Cleaner) wholeLink(dst, s []byte) ([]byte, int) {
	body := s[2:min(len(s), usualLink)]
	end := bytes.IndexByte(body, ']')
	if end < 0 || end+1 == len(body) || body[end+1] != ']' || bytes.IndexByte(body[:end], '[') >= 0 || bytes.IndexByte(body[:end], '\n') >= 0 {
		return dst, 0
	}
	body = body[:end]
	text := c.linkText(body, bytes.IndexByte(body, '|'))
	dst = append(dst, text...)
	taken := end + 4
	if len(text) == 0 {
		taken += skipBlanks(dst, s[taken:])
	}
	return dst, taken
}

// openLink treats the '[' at s[i] and returns where the input goes on.
func (c *Cleaner) openLink(dst, s []byte, i int) ([]byte, int) {
	rest := s[i:]
	if len(c.links) == deepest {
		return append(dst, '['), i + 1
	}
	if len(rest) > 1 && rest[1] == '[' && !(len(rest) > 2 && rest[2] == '[') {
		if dst, n := c.wholeLink(dst, rest); n > 0 {
			return dst, i + n
		}
		c.links = append(c.links, link{at: len(dst)})
		return append(dst, "[["...), i + 2
	}
	n := addressLength(rest[1:])
	if n == 0 {
		return append(dst, '['), i + 1
	}
	at := len(dst)
	dst = append(dst, rest[:1+n]...)
	next := i + 1 + n
	for next < len(s) && (s[next] == ' ' || s[next] == '\t') {
		next++
	}
	dst = append(dst, ' ')
	c.links = append(c.links, link{at: at, label: len(dst), external: true})
	return dst, next
}

// closeLink treats the ']' at s[i] and returns where the input goes on.
func (c *Cleaner) closeLink(dst, s []byte, i int) ([]byte, int) {
	top := len(c.links) - 1
	switch {
	case top >= 0 && c.links[top].external:
		l := c.links[top]
		c.links = c.links[:top]
		return append(dst[:l.at], dst[l.label:]...), i + 1
	case i+1 == len(s) || s[i+1] != ']':
		return append(dst, ']'), i + 1
	case top < 0:
		return dst, i + 2
	}
	l := c.links[top]
	c.links = c.links[:top]
	dst = c.finishLink(dst, l)
	next := i + 2
	if len(dst) == l.at {
		next += skipBlanks(dst, s[next:])
	}
	return dst, next
}

// finishLink replaces the internal link that ends dst by its text.
func (c *Cleaner) finishLink(dst []byte, l link) []byte {
	return append(dst[:l.at], c.linkText(dst[l.at+2:], l.label-1-(l.at+2))...)
}

// linkText returns what is seen of an internal link, given what stands between its brackets and the place of its first bar, negative without.
func (c *Cleaner) linkText(body []byte, bar int) []byte {
	target, label := body, body
	if bar >= 0 {
		target, label = body[:bar], body[bar+1:]
	}
	switch {
	case bytes.IndexByte(target, ':') >= 0 && c.site.leavesArticles(string(target)):
		return nil
	case bar < 0 && len(label) > 0 && label[0] == ':':
		label = label[1:]
	}
	return bytes.TrimSpace(label)
}

// endLine gives up links that cannot go on in the next line: all of them at the end of a paragraph, else those that still lack the
// end of their target or address.
func (c *Cleaner) endLine(dst []byte, paragraph bool) []byte {
	for top := len(c.links) - 1; top >= 0; top-- {
		l := c.links[top]
		if !paragraph && !l.external && l.label != 0 {
			break
		}
		c.links = c.links[:top]
		dst = c.giveUp(dst, l)
	}
	return dst
}

// giveUp takes the opening bracket of an unfinished link out of dst.
func (c *Cleaner) giveUp(dst []byte, l link) []byte {
	if l.external {
		return append(dst[:l.at], dst[l.at+1:]...)
	}
	body := dst[l.at+2:]
	if l.label != 0 && c.site.leavesArticles(string(dst[l.at+2:l.label-1])) {
		if line := bytes.IndexByte(body, '\n'); line >= 0 {
			return append(dst[:l.at], body[line:]...)
		}
		return dst[:l.at]
	}
	return append(dst[:l.at], body...)
}

var protocols = []string{"http://", "https://", "//", "ftp://", "ftps://", "mailto:", "news:", "irc://", "ircs://", "gopher://", "telnet://",
	"nntp://", "worldwind://", "svn://", "git://", "mms://", "bitcoin:", "magnet:", "tel:", "urn:", "geo:", "sip:", "xmpp:", "ssh://", "sftp://"}

// addressLength returns the length of the address at the start of s, 0 when there is none.
func addressLength(s []byte) int {
	head := strings.ToLower(string(s[:min(len(s), 12)]))
	for _, p := range protocols {
		if !strings.HasPrefix(head, p) {
			continue
		}
		n := len(p)
		for n < len(s) && s[n] > ' ' && strings.IndexByte("[]<>\"", s[n]) < 0 {
			n++
		}
		if n > len(p) {
			return n
		}
	}
	return 0
}
