package wiki

import (
	"bytes"
	"cmp"
	"slices"
)

// markup is wikitext whose {{calls}} and {{{parameters}}} are found, with the links among them, whose pipes part no arguments.
type markup struct {
	text  []byte
	nodes []node // by their starts
}

type nodeKind uint8

const (
	callNode nodeKind = iota
	parameterNode
	linkNode
)

// node is text[start:end] with its braces. Nodes nest: those from the next one up to after stand inside.
type node struct {
	kind       nodeKind
	start, end int32
	after      int32
}

// inner returns the bounds of the text between the braces.
func (n *node) inner() (lo, hi int) {
	braces := 2
	if n.kind == parameterNode {
		braces = 3
	}
	return int(n.start) + braces, int(n.end) - braces
}

// opening is a run of two or more opening braces, or of brackets, that nothing has closed yet.
type opening struct {
	at   int
	n    int // left
	link bool
}

// braceParser keeps its memory from text to text.
type braceParser struct {
	nodes  []node
	open   []opening
	around []int32
}

// parse finds the nodes of s; they hold until the next call. What has no partner is text: an unclosed link inside a call does not keep
// the call open, an unclosed call does not keep calls inside it from being found.
func (p *braceParser) parse(s []byte) []node {
	p.nodes, p.open = p.nodes[:0], p.open[:0]
	for i := 0; i < len(s); {
		if len(p.open) == 0 { // nothing else matters outside of braces
			next := bytes.IndexByte(s[i:], '{')
			if next < 0 {
				break
			}
			i += next
		} else if !pairs[s[i]] {
			i++
			continue
		}
		n := runLength(s[i:])
		switch {
		case n < 2:
		case s[i] == '{':
			p.open = append(p.open, opening{at: i, n: n})
		case s[i] == '}':
			p.close(i, n)
		case s[i] == '[':
			p.open = append(p.open, opening{at: i, link: true})
		default:
			p.closeLinks(i, n)
		}
		i += n
	}
	slices.SortFunc(p.nodes, func(a, b node) int { return cmp.Compare(a.start, b.start) })
	p.nest()
	return p.nodes
}

var pairs = [256]bool{'{': true, '}': true, '[': true, ']': true}

// closeLinks matches the n closing brackets at i with the open ones.
func (p *braceParser) closeLinks(i, n int) {
	for top := len(p.open) - 1; n >= 2 && top >= 0 && p.open[top].link; top-- {
		i, n = i+2, n-2
		p.nodes = append(p.nodes, node{kind: linkNode, start: int32(p.open[top].at), end: int32(i)})
		p.open = p.open[:top]
	}
}

// close matches the n closing braces at i with the open ones.
func (p *braceParser) close(i, n int) {
	for n >= 2 {
		top := len(p.open) - 1
		for top >= 0 && p.open[top].link {
			top--
		}
		if top < 0 {
			return
		}
		p.open = p.open[:top+1]
		o := &p.open[top]
		used := min(n, o.n, 3)
		o.n -= used
		n -= used
		kind := callNode
		if used == 3 {
			kind = parameterNode
		}
		p.nodes = append(p.nodes, node{kind: kind, start: int32(o.at + o.n), end: int32(i + used)})
		i += used
		if o.n < 2 {
			p.open = p.open[:top]
		}
	}
}

// nest sets after of the nodes, which are sorted by start.
func (p *braceParser) nest() {
	around := p.around[:0] // the nodes that the next one stands in
	for i := range p.nodes {
		for len(around) > 0 && p.nodes[around[len(around)-1]].end <= p.nodes[i].start {
			p.nodes[around[len(around)-1]].after = int32(i)
			around = around[:len(around)-1]
		}
		around = append(around, int32(i))
	}
	for _, i := range around {
		p.nodes[i].after = int32(len(p.nodes))
	}
	p.around = around
}

// runLength returns how often the first byte of s is repeated there.
func runLength(s []byte) int {
	n := 0
	for n < len(s) && s[n] == s[0] {
		n++
	}
	return n
}
