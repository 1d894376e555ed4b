package wiki

import (
	"bytes"
	"strconv"
)

// Bounds of the expansion of one page; what exceeds them expands to nothing, as in MediaWiki.
const (
	maxDepth = 60       // calls and parameters inside each other
	maxWork  = 32 << 20 // bytes looked at
	maxKept  = 1 << 20  // bytes of expansions for later pages
)

// expander replaces {{calls}} and {{{parameters}}} by what they stand for. Arguments are expanded when a template asks for them, once.
type expander struct {
	site      *Site
	templates *Templates
	title     string

	parser   braceParser
	stripper stripper // for what #tag makes
	page     markup
	depth    int
	work     int // left
	args     []argument
	values   []byte // of arguments

	kept     map[*template]expansion // see bare
	keptSize int
	titled   bool // the title was asked for
}

// frame is a text under expansion with the arguments of the call that led to it; the page has none.
type frame struct {
	*markup
	args   []argument
	of     *template
	caller *frame
}

// argument is a part of a call, between two bars.
type argument struct {
	in             *frame // where it stands; nil when value is all there is
	start, end     int
	first          int // the first node at or behind start
	equals, second int // place of the first '=', -1 without; the first node behind it
	name           []byte
	value          []byte
	known          bool // value is there
}

// expandPage appends the wikitext s of a page with its calls expanded.
func (x *expander) expandPage(dst, s []byte) []byte {
	if !bytes.Contains(s, []byte("{{")) {
		return append(dst, s...)
	}
	x.page = markup{s, x.parser.parse(s)}
	x.args, x.values = x.args[:0], x.values[:0]
	x.depth, x.work = 0, maxWork+2*len(s)
	return x.expand(dst, &frame{markup: &x.page}, 0, len(s), 0)
}

// expand appends text[lo:hi] of f; i is its first node.
func (x *expander) expand(dst []byte, f *frame, lo, hi, i int) []byte {
	x.work -= hi - lo
	for i < len(f.nodes) && int(f.nodes[i].start) < hi {
		n := &f.nodes[i]
		if n.kind == linkNode {
			i++
			continue
		}
		dst = append(dst, f.text[lo:n.start]...)
		before := len(dst)
		dst = x.expandNode(dst, f, i)
		lo, i = int(n.end), int(n.after)
		if len(dst) == before && lo < hi && f.text[lo] == '\'' { // ''{{lang|...}}'' leaves no pair of quotes round nothing
			if q := runLength(f.text[lo:hi]); q >= 2 && q <= 5 && trailingQuotes(dst) == q {
				dst, lo = dst[:before-q], lo+q
			}
		}
	}
	return append(dst, f.text[lo:hi]...)
}

func trailingQuotes(b []byte) int { return len(b) - len(bytes.TrimRight(b, "'")) }

func (x *expander) expandNode(dst []byte, f *frame, i int) []byte {
	if x.depth == maxDepth || x.work < 0 {
		return dst
	}
	x.depth++
	start := len(dst)
	if f.nodes[i].kind == parameterNode {
		dst = x.parameter(dst, f, i)
		x.depth--
		return dst
	}
	dst = x.call(dst, f, i)
	x.depth--
	if start > 0 && start < len(dst) && dst[start-1] != '\n' && beginsBlock(dst[start:]) {
		dst = append(dst, 0)
		copy(dst[start+1:], dst[start:])
		dst[start] = '\n'
	}
	return dst
}

// beginsBlock tells whether the text of a template begins what only a line can begin with: MediaWiki puts it on a line of its own.
func beginsBlock(s []byte) bool {
	switch s[0] {
	case ':', ';', '*', '#':
		return true
	}
	return bytes.HasPrefix(s, []byte("{|"))
}

// trimmed appends text[lo:hi] of f expanded, without blanks around it.
func (x *expander) trimmed(dst []byte, f *frame, lo, hi, i int) []byte {
	start := len(dst)
	return trimFrom(x.expand(dst, f, lo, hi, i), start)
}

// trimFrom takes the blanks around dst[start:] away.
func trimFrom(dst []byte, start int) []byte {
	text := bytes.TrimSpace(dst[start:])
	return append(dst[:start], text...)
}

// parameter appends the value of {{{name|default}}}; one without either is nothing.
func (x *expander) parameter(dst []byte, f *frame, i int) []byte {
	lo, hi := f.nodes[i].inner()
	bar, next := x.find(f, lo, hi, i+1, '|')
	start := len(dst)
	dst = x.trimmed(dst, f, lo, bar, i+1)
	for k := len(f.args) - 1; k >= 0; k-- { // the last of a name counts
		if bytes.Equal(f.args[k].name, dst[start:]) {
			return x.appendValue(dst[:start], &f.args[k])
		}
	}
	dst = dst[:start]
	if bar == hi {
		return dst
	}
	end, _ := x.find(f, bar+1, hi, next, '|')
	return x.expand(dst, f, bar+1, end, next)
}

// find returns the first c in text[lo:hi] outside of the nodes, hi when there is none, and the first node behind it; i is the first
// node at or behind lo.
func (x *expander) find(f *frame, lo, hi, i int, c byte) (at, next int) {
	for {
		gap := hi
		if i < len(f.nodes) {
			gap = min(hi, int(f.nodes[i].start))
		}
		if at := bytes.IndexByte(f.text[lo:gap], c); at >= 0 {
			return lo + at, i
		}
		if gap == hi {
			return hi, i
		}
		lo, i = int(f.nodes[i].end), int(f.nodes[i].after)
	}
}

// call appends what a {{call}} stands for: the result of a function, the text of a variable or a template; unknown ones are nothing.
func (x *expander) call(dst []byte, f *frame, i int) []byte {
	lo, hi := f.nodes[i].inner()
	bar, next := x.find(f, lo, hi, i+1, '|')
	name := f.text[lo:bar]
	if i+1 < len(f.nodes) && int(f.nodes[i+1].start) < bar {
		name = f.text[lo:f.nodes[i+1].start]
	}
	if fn, colon := parserFunction(name); fn != nil {
		return x.apply(dst, fn, x.split(f, lo+colon, hi, i+1))
	}
	start := len(dst)
	dst = x.trimmed(dst, f, lo, bar, i+1)
	name = withoutSubst(dst[start:])
	if fn, colon := parserFunction(name); fn != nil {
		first := argument{value: x.keep(bytes.TrimSpace(name[colon:])), known: true, equals: -1}
		return x.apply(dst[:start], fn, x.more(f, first, bar, hi, next))
	}
	if text, ok := x.variable(name); ok {
		return append(dst[:start], text...)
	}
	t := x.templates.find(x.site, name)
	dst = dst[:start]
	switch {
	case t == nil || calls(f, t):
		return dst
	case bar == hi && x.depth == 1:
		return x.bare(dst, f, t)
	}
	base := len(x.args)
	args := x.more(f, argument{equals: -1}, bar, hi, next)[1:]
	x.nameArguments(args)
	dst = x.expand(dst, &frame{t.markup(), args, t, f}, 0, len(t.text), 0)
	x.args = x.args[:base]
	return dst
}

// bare appends a template that a page calls without arguments, as navigation boxes and stub notes are: the same text on every page, unless it
// asks for the page's title. It is expanded once and kept.
func (x *expander) bare(dst []byte, page *frame, t *template) []byte {
	if kept, ok := x.kept[t]; ok && x.work >= kept.work {
		x.work -= kept.work
		return append(dst, kept.text...)
	}
	start, before := len(dst), x.work
	x.titled = false
	dst = x.expand(dst, &frame{t.markup(), nil, t, page}, 0, len(t.text), 0)
	size := len(dst) - start + perTemplate
	if x.titled || x.work < 0 || size > maxKept {
		return dst
	}
	if x.keptSize += size; x.kept == nil || x.keptSize > maxKept {
		x.kept, x.keptSize = make(map[*template]expansion), size
	}
	x.kept[t] = expansion{bytes.Clone(dst[start:]), before - x.work}
	return dst
}

// expansion is what a template without arguments comes to, and the work it was.
type expansion struct {
	text []byte
	work int
}

// calls tells whether a frame is inside a call of t already.
func calls(f *frame, t *template) bool {
	for ; f != nil; f = f.caller {
		if f.of == t {
			return true
		}
	}
	return false
}

func (x *expander) apply(dst []byte, fn function, args []argument) []byte {
	base := len(x.args) - len(args)
	dst = fn(x, dst, args)
	x.args = x.args[:base]
	return dst
}

// split returns the arguments in text[lo:hi], at least one; i is the first node. They are the last of x.args.
func (x *expander) split(f *frame, lo, hi, i int) []argument {
	base := len(x.args)
	for {
		a := argument{in: f, start: lo, first: i, equals: -1}
		a.end, i = x.find(f, lo, hi, i, '|')
		if at, second := x.find(f, lo, a.end, a.first, '='); at < a.end {
			a.equals, a.second = at, second
		}
		x.work -= a.end - a.start
		x.args = append(x.args, a)
		if a.end == hi {
			return x.args[base:]
		}
		lo = a.end + 1
	}
}

// more returns first and the arguments behind the bar at bar, if there is one.
func (x *expander) more(f *frame, first argument, bar, hi, i int) []argument {
	base := len(x.args)
	x.args = append(x.args, first)
	if bar < hi {
		x.split(f, bar+1, hi, i)
	}
	return x.args[base:]
}

// nameArguments gives a template's arguments their names; those without get numbers.
func (x *expander) nameArguments(args []argument) {
	number := 0
	for k := range args {
		a := &args[k]
		if a.equals < 0 {
			number++
			start := len(x.values)
			x.values = strconv.AppendInt(x.values, int64(number), 10)
			a.name = x.values[start:]
			continue
		}
		a.name = bytes.TrimSpace(a.in.text[a.start:a.equals])
		if a.first != a.second {
			var buffer [64]byte
			a.name = x.keep(x.trimmed(buffer[:0], a.in, a.start, a.equals, a.first))
		}
	}
}

// keep copies b to where it stays until the page is done.
func (x *expander) keep(b []byte) []byte {
	start := len(x.values)
	x.values = append(x.values, b...)
	return x.values[start:len(x.values):len(x.values)]
}

// appendValue appends what a template's argument stands for: of a named one without the blanks around it.
func (x *expander) appendValue(dst []byte, a *argument) []byte {
	if !a.known {
		start := len(dst)
		if a.equals < 0 {
			dst = x.expand(dst, a.in, a.start, a.end, a.first)
		} else {
			dst = x.trimmed(dst, a.in, a.equals+1, a.end, a.second)
		}
		a.value, a.known = x.keep(dst[start:]), true
		return dst
	}
	x.work -= len(a.value)
	return append(dst, a.value...)
}

// appendWhole appends what a function's argument stands for, without blanks around it.
func (x *expander) appendWhole(dst []byte, a *argument) []byte {
	if a.known {
		return append(dst, a.value...)
	}
	return x.trimmed(dst, a.in, a.start, a.end, a.first)
}
