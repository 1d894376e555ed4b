package wiki

import (
	"bytes"
	"strings"
)

// chooseVariants replaces the marks of wikis whose language is written in more than one way by one of them: -{zh-hans:A; zh-hant:B}- becomes A, -{A}-
// becomes A, and rules that show nothing, -{H|...}-, vanish. What is not meant so, as in "x-{y}-z", stays.
func (c *Cleaner) chooseVariants(dst, s []byte) []byte {
	if !bytes.Contains(s, []byte("-{")) {
		return append(dst, s...)
	}
	var open [16]int // in dst, behind the marks that nothing has closed yet
	depth := 0
	for {
		i := bytes.IndexAny(s, "{}")
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i+1]...)
		switch {
		case s[i] == '{' && len(dst) > 1 && dst[len(dst)-2] == '-' && !bytes.HasPrefix(s[i+1:], []byte("{")):
			if depth == len(open) {
				copy(open[:], open[1:])
				depth--
			}
			open[depth] = len(dst)
			depth++
		case s[i] == '}' && depth > 0 && i+1 < len(s) && s[i+1] == '-':
			depth--
			at := open[depth]
			if text, ok := c.variant(string(dst[at : len(dst)-1])); ok {
				dst = append(dst[:at-2], text...)
				i++
			}
		}
		s = s[i+1:]
	}
}

// variant returns the text of what stands between -{ and }-.
func (c *Cleaner) variant(rule string) (text string, ok bool) {
	flags, rest, flagged := strings.Cut(rule, "|")
	hidden, known := readFlags(flags)
	switch flagged = flagged && known; {
	case !flagged:
		rest = rule
	case hidden:
		return "", true
	}
	chosen, found := "", false
	for alternative := range strings.SplitSeq(rest, ";") {
		code, text, hasCode := strings.Cut(alternative, ":")
		if _, to, oneWay := strings.Cut(code, "=>"); oneWay {
			code = to
		}
		code = strings.TrimSpace(code)
		if !hasCode || !isVariant(code) {
			continue
		}
		if !found || code == "zh-hans" || code == "zh-cn" && !strings.Contains(rest, "zh-hans:") {
			chosen, found = strings.TrimSpace(text), true
		}
	}
	switch {
	case found:
		return chosen, true
	case flagged || variantLanguages[c.site.Language]:
		return rest, true
	}
	return "", false
}

// readFlags tells whether the flags before the bar of a rule make it invisible, and whether they are flags: one capital or sign each, or
// codes of variants.
func readFlags(flags string) (hidden, known bool) {
	for flag := range strings.SplitSeq(flags, ";") {
		switch flag = strings.TrimSpace(flag); flag {
		case "H", "T", "-":
			hidden = true
		case "", "A", "D", "N", "R", "S", "+":
		default:
			if !isVariant(flag) {
				return false, false
			}
		}
	}
	return hidden, true
}

// isVariant tells whether a code names a way to write one of the languages that have several.
func isVariant(code string) bool {
	language, script, _ := strings.Cut(code, "-")
	return variantLanguages[language] && strings.Trim(script, "abcdefghijklmnopqrstuvwxyz-") == ""
}

var variantLanguages = map[string]bool{"zh": true, "sr": true, "sh": true, "kk": true, "ku": true, "uz": true, "tg": true, "iu": true, "ike": true, "gan": true,
	"crh": true, "shi": true, "ban": true, "ks": true, "wuu": true, "tly": true, "mni": true}
