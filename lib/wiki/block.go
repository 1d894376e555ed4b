package wiki

import "bytes"

// block returns what a template's text comes to when it is one table or one <div> from end to end, as infoboxes and navigation boxes are: an
// empty one, since all that it may contain is removed later. Other texts it returns as they are.
func (p *braceParser) block(text []byte) []byte {
	text, whole := bytes.TrimSpace(text), text
	switch {
	case bytes.HasPrefix(text, []byte("{|")) && bytes.HasSuffix(text, []byte("|}")) && p.encloses(text, tableEdge):
		return []byte("{||}")
	case bytes.HasPrefix(text, []byte("<div")) && bytes.HasSuffix(text, []byte("</div>")) && p.encloses(text, divEdge):
		return []byte("<div></div>")
	}
	return whole
}

// encloses tells whether what edge finds at the start of text ends with the text and not before. Calls and parameters, whose value is not
// known, are taken to end what they begin.
func (p *braceParser) encloses(text []byte, edge func(s []byte) (change, length int)) bool {
	nodes := p.parse(text)
	depth, next := 0, 0
	for i := 0; i < len(text); {
		if next < len(nodes) && int(nodes[next].start) == i {
			i, next = int(nodes[next].end), int(nodes[next].after)
			continue
		}
		change, length := edge(text[i:])
		depth += change
		i += length
		if depth == 0 && i < len(text) {
			return false
		}
	}
	return depth == 0
}

func tableEdge(s []byte) (change, length int) {
	switch {
	case bytes.HasPrefix(s, []byte("{|")):
		return 1, 2
	case bytes.HasPrefix(s, []byte("|}")):
		return -1, 2
	}
	return 0, 1
}

func divEdge(s []byte) (change, length int) {
	if s[0] != '<' {
		return 0, 1
	}
	t, ok := parseTag(s, 0)
	switch {
	case !ok:
		return 0, 1
	case t.name != "div" || t.empty:
		return 0, t.end
	case t.closing:
		return -1, t.end
	}
	return 1, t.end
}
