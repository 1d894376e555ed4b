package wiki

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// function appends the result of a parser function, {{name:first|second|...}}, to dst; there is at least one argument. Those of
// MediaWiki and its ParserFunctions extension that make text are here; those that tell the time, links to the wiki's machinery and Lua
// modules (#invoke) are not, and vanish as unknown templates do.
type function func(x *expander, dst []byte, args []argument) []byte

// functions is asked for by parserFunction; a variable would be an initialization cycle.
func functions(name string) function {
	switch name {
	case "#if":
		return ifFunction
	case "#ifeq":
		return ifeqFunction
	case "#switch":
		return switchFunction
	case "#expr":
		return exprFunction
	case "#ifexpr":
		return ifexprFunction
	case "#iferror":
		return iferrorFunction
	case "#ifexist":
		return ifexistFunction
	case "#tag":
		return tagFunction
	case "#titleparts":
		return titlepartsFunction
	case "#invoke":
		return nothing
	case "lc":
		return onText(bytes.ToLower)
	case "uc":
		return onText(bytes.ToUpper)
	case "lcfirst":
		return onText(onFirst(unicode.ToLower))
	case "ucfirst":
		return onText(onFirst(unicode.ToUpper))
	case "formatnum", "#formatdate", "#dateformat", "noexternallanglinks":
		return onText(func(b []byte) []byte { return b })
	case "urlencode", "anchorencode":
		return onText(func(b []byte) []byte { return []byte(url.QueryEscape(string(b))) })
	case "fullurl", "canonicalurl", "localurl": // they stand in external links, whose text matters alone
		return onText(func(b []byte) []byte { return []byte("//" + url.PathEscape(string(b))) })
	case "ns":
		return onText(namespaceName)
	case "padleft":
		return func(x *expander, dst []byte, args []argument) []byte { return pad(x, dst, args, true) }
	case "padright":
		return func(x *expander, dst []byte, args []argument) []byte { return pad(x, dst, args, false) }
	case "plural":
		return pluralFunction
	case "grammar":
		return func(x *expander, dst []byte, args []argument) []byte { return x.appendNth(dst, args, 1) }
	}
	return nil
}

// parserFunction returns the function that a call's name begins with, nil when there is none, and where its first argument begins.
func parserFunction(name []byte) (fn function, argument int) {
	colon := bytes.IndexByte(name[:min(len(name), 200)], ':')
	if colon < 0 {
		return nil, 0
	}
	word := bytes.TrimSpace(withoutSubst(name[:colon+1]))
	if len(word) < 2 || len(word) > 24 {
		return nil, 0
	}
	return functions(strings.ToLower(string(word[:len(word)-1]))), colon + 1
}

// withoutSubst takes the words for substitution and their like from the begin of a call's name.
func withoutSubst(name []byte) []byte {
	for {
		word, rest, found := bytes.Cut(name, []byte(":"))
		if !found || len(rest) == 0 || len(word) > 16 {
			return name
		}
		switch string(bytes.ToLower(bytes.TrimSpace(word))) {
		case "subst", "safesubst", "msg", "msgnw", "raw":
			name = bytes.TrimSpace(rest)
		default:
			return name
		}
	}
}

// variable returns the text of a variable.
func (x *expander) variable(name []byte) (string, bool) {
	if len(name) > 24 {
		return "", false
	}
	word := string(name)
	if strings.HasSuffix(word, "EE") { // for addresses
		word = word[:len(word)-1]
	}
	switch word {
	case "PAGENAME", "BASEPAGENAME", "SUBPAGENAME", "ROOTPAGENAME", "ARTICLEPAGENAME", "SUBJECTPAGENAME":
		_, page := x.pageTitle()
		return string(appendGuarded(nil, []byte(page))), true
	case "FULLPAGENAME":
		title, _ := x.pageTitle()
		return string(appendGuarded(nil, []byte(title))), true
	case "SITENAME":
		return x.site.Name, true
	case "NAMESPACENUMBER":
		title, _ := x.pageTitle()
		number, _ := x.site.namespace(title)
		return strconv.Itoa(number), true
	case "CONTENTLANGUAGE", "CONTENTLANG":
		return x.site.Language, true
	case "!":
		return "|", true
	case "=":
		return "=", true
	}
	return "", false
}

// pageTitle returns the page's title, and that without its namespace.
func (x *expander) pageTitle() (full, name string) {
	x.titled = true
	if _, in := x.site.namespace(x.title); !in {
		return x.title, x.title
	}
	_, name, _ = strings.Cut(x.title, ":")
	return x.title, name
}

// appendNth appends an argument without blanks around it, nothing when there is none.
func (x *expander) appendNth(dst []byte, args []argument, n int) []byte {
	if n >= len(args) {
		return dst
	}
	return x.appendWhole(dst, &args[n])
}

// number returns an argument's value as an integer, otherwise when it is none.
func (x *expander) number(dst []byte, args []argument, n, otherwise int) int {
	value, err := strconv.Atoi(string(x.appendNth(dst, args, n)[len(dst):]))
	if err != nil {
		return otherwise
	}
	return value
}

func nothing(_ *expander, dst []byte, _ []argument) []byte { return dst }

// onText makes a function of its first argument.
func onText(f func([]byte) []byte) function {
	return func(x *expander, dst []byte, args []argument) []byte {
		start := len(dst)
		dst = x.appendNth(dst, args, 0)
		return append(dst[:start], f(bytes.Clone(dst[start:]))...)
	}
}

func onFirst(f func(rune) rune) func([]byte) []byte {
	return func(b []byte) []byte {
		r, n := utf8.DecodeRune(b)
		if n == 0 {
			return b
		}
		return append(utf8.AppendRune(nil, f(r)), b[n:]...)
	}
}

func namespaceName(b []byte) []byte {
	switch string(b) {
	case "6":
		return []byte("File")
	case "14":
		return []byte("Category")
	}
	return b
}

func ifFunction(x *expander, dst []byte, args []argument) []byte {
	chosen := 2
	if len(x.appendNth(dst, args, 0)) > len(dst) {
		chosen = 1
	}
	return x.appendNth(dst, args, chosen)
}

func ifeqFunction(x *expander, dst []byte, args []argument) []byte {
	start, chosen := len(dst), 3
	dst = x.appendNth(dst, args, 0)
	middle := len(dst)
	dst = x.appendNth(dst, args, 1)
	if same(dst[start:middle], dst[middle:]) {
		chosen = 2
	}
	return x.appendNth(dst[:start], args, chosen)
}

// same compares as MediaWiki does: numbers by their values.
func same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 || a[0] > '9' || b[0] > '9' {
		return false
	}
	m, err := strconv.ParseFloat(string(a), 64)
	n, err2 := strconv.ParseFloat(string(b), 64)
	return err == nil && err2 == nil && m == n
}

func switchFunction(x *expander, dst []byte, args []argument) []byte {
	start := len(dst)
	dst = x.appendNth(dst, args, 0)
	middle := len(dst)
	found := false
	var otherwise *argument // the value of #default
	for k := 1; k < len(args); k++ {
		a := &args[k]
		end := a.end
		if a.equals >= 0 {
			end = a.equals
		}
		dst = x.trimmed(dst[:middle], a.in, a.start, end, a.first)
		key := dst[middle:]
		switch {
		case found || same(dst[start:middle], key):
			found = true
		case string(key) == "#default":
			otherwise = a
		}
		if found && a.equals >= 0 {
			return x.trimmed(dst[:start], a.in, a.equals+1, a.end, a.second)
		}
	}
	dst = dst[:start]
	if last := &args[len(args)-1]; len(args) > 1 && last.equals < 0 {
		return x.appendWhole(dst, last)
	}
	if otherwise == nil || otherwise.equals < 0 {
		return dst
	}
	return x.trimmed(dst, otherwise.in, otherwise.equals+1, otherwise.end, otherwise.second)
}

// expressionError is what #iferror looks for; the tags vanish with all others.
const expressionError = `<strong class="error"></strong>`

func exprFunction(x *expander, dst []byte, args []argument) []byte {
	start := len(dst)
	dst = x.appendNth(dst, args, 0)
	text := string(dst[start:])
	dst = dst[:start]
	if text == "" {
		return dst
	}
	value, err := evaluate(text)
	if err != nil {
		return append(dst, expressionError...)
	}
	return strconv.AppendFloat(dst, value, 'g', 14, 64)
}

func ifexprFunction(x *expander, dst []byte, args []argument) []byte {
	text := string(x.appendNth(dst, args, 0)[len(dst):])
	if text == "" {
		return x.appendNth(dst, args, 2)
	}
	value, err := evaluate(text)
	switch {
	case err != nil:
		return append(dst, expressionError...)
	case value != 0:
		return x.appendNth(dst, args, 1)
	}
	return x.appendNth(dst, args, 2)
}

func iferrorFunction(x *expander, dst []byte, args []argument) []byte {
	start := len(dst)
	dst = x.appendNth(dst, args, 0)
	switch {
	case bytes.Contains(dst[start:], []byte(`class="error"`)):
		return x.appendNth(dst[:start], args, 1)
	case len(args) > 2:
		return x.appendNth(dst[:start], args, 2)
	}
	return dst
}

// ifexistFunction knows of no pages but templates.
func ifexistFunction(x *expander, dst []byte, args []argument) []byte {
	chosen := 2
	name := x.appendNth(dst, args, 0)[len(dst):]
	if number, _ := x.site.namespace(string(name)); number == templateNamespace && x.templates.find(x.site, name) != nil {
		chosen = 1
	}
	return x.appendNth(dst, args, chosen)
}

func tagFunction(x *expander, dst []byte, args []argument) []byte {
	name := x.appendNth(nil, args, 0)
	var text []byte
	text = append(append(append(text, '<'), name...), '>')
	text = x.appendNth(text, args, 1)
	text = append(append(append(text, "</"...), name...), '>')
	return x.stripper.strip(dst, text)
}

func titlepartsFunction(x *expander, dst []byte, args []argument) []byte {
	parts := strings.Split(string(x.appendNth(dst, args, 0)[len(dst):]), "/")
	first := x.number(dst, args, 2, 1)
	switch {
	case first < 0:
		first = max(0, len(parts)+first)
	case first > 0:
		first = min(first-1, len(parts))
	}
	parts = parts[first:]
	switch count := x.number(dst, args, 1, 0); {
	case count < 0:
		parts = parts[:max(0, len(parts)+count)]
	case count > 0:
		parts = parts[:min(count, len(parts))]
	}
	return append(dst, strings.Join(parts, "/")...)
}

func pad(x *expander, dst []byte, args []argument, left bool) []byte {
	text := string(x.appendNth(dst, args, 0)[len(dst):])
	padding := string(x.appendNth(dst, args, 2)[len(dst):])
	if padding == "" {
		padding = "0"
	}
	missing := min(x.number(dst, args, 1, 0), 500) - utf8.RuneCountInString(text)
	if missing <= 0 {
		return append(dst, text...)
	}
	filler := []rune(strings.Repeat(padding, missing))[:missing]
	if left {
		return append(append(dst, string(filler)...), text...)
	}
	return append(append(dst, text...), string(filler)...)
}

func pluralFunction(x *expander, dst []byte, args []argument) []byte {
	chosen := min(2, len(args)-1)
	if x.number(dst, args, 0, 0) == 1 {
		chosen = min(1, len(args)-1)
	}
	if chosen == 0 {
		return dst
	}
	return x.appendNth(dst, args, chosen)
}
