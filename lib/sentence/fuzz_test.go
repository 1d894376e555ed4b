package sentence

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// slowly is NLTK's procedure as its expressions and loops tell it, character by character, without a thought for speed. It asks breaks, which
// has its own golden texts, about each context.
func slowly(p *Punkt, text string) []string {
	chars := []rune(text)
	space := func(i int) bool {
		r := chars[i]
		return r <= ' ' && strings.ContainsRune("\t\n\v\f\r\x1c\x1d\x1e\x1f ", r) || isWideSpace(r)
	}
	type match struct{ from, at, end, next int } // word's start, mark, end of the context, next token
	var matches []match
	previous := match{from: 0, at: 0}
	found := false
	for i, r := range chars {
		if !strings.ContainsRune(".?!", r) || i+1 == len(chars) {
			continue
		}
		m := match{from: previous.from, at: i, end: i + 2, next: -1}
		if !strings.ContainsRune(`)";}]*:@'({[?!`, chars[i+1]) {
			j := i + 1
			for j < len(chars) && space(j) {
				j++
			}
			if j == i+1 || j == len(chars) {
				continue
			}
			m.next = j
			for m.end = j; m.end < len(chars) && !space(m.end); {
				m.end++
			}
		}
		for j := i - 1; j > previous.at; j-- { // a blank right behind the word before does not count
			if strings.ContainsRune(" \t\n\r\v\f", chars[j]) {
				m.from = j + 1
				break
			}
		}
		if found && previous.at <= m.from {
			matches = append(matches, previous)
		}
		previous, found = m, true
	}
	if found {
		matches = append(matches, previous)
	}
	var spans [][2]int
	start := 0
	for _, m := range matches {
		s := splitter{punkt: p}
		if s.breaks(string(chars[m.from:m.end])) {
			spans = append(spans, [2]int{start, m.at + 1})
			start = m.at + 1
			if m.next >= 0 {
				start = m.next
			}
		}
	}
	end := len(chars)
	for end > start && space(end-1) {
		end--
	}
	return realigned(chars, append(spans, [2]int{start, end}))
}

// realigned moves the closers at the beginning of sentences, with the white space before them, to those before.
func realigned(chars []rune, spans [][2]int) []string {
	var out []string
	for i := range spans {
		from, to := spans[i][0], spans[i][1]
		if i+1 < len(spans) {
			next := &spans[i+1]
			for n := next[0] + 1; n <= next[1] && strings.ContainsRune(`"')]}`, chars[n-1]); n++ {
				rest := string(chars[n:next[1]])
				if blanks := utf8.RuneCountInString(rest[:skipSpace(rest, 0)]); rest == "" || strings.HasPrefix(rest, "--") || blanks > 0 {
					to, next[0] = n, n+blanks
					break
				}
			}
		}
		if from < to {
			out = append(out, string(chars[from:to]))
		}
	}
	return out
}

func FuzzSplit(f *testing.F) {
	for _, text := range []string{"Dr. A. B. left...! \"So,\" he said.) Then 3. it ended.\u2003'Yes.' -- no", "a.\u00a0B. . . . C?!\")] d!--e", "U.S. \x1cThe.)\n(x). y", "…”. “A.” b"} {
		f.Add(text)
	}
	p := englishModel(f)
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			p.Split(text) // need only end
			return
		}
		if want, got := slowly(p, text), p.Split(text); !slices.Equal(want, got) {
			t.Errorf("Split(%q)\n got %q\nwant %q", text, got, want)
		}
		checkNothingLost(t, text, p.Split(text))
		checkNothingLost(t, text, p.SplitImproved(text))
	})
}

// checkNothingLost: sentences are the text without the white space between them.
func checkNothingLost(t *testing.T, text string, sentences []string) {
	t.Helper()
	blank := func(s string) string { return strings.Join(strings.Fields(strings.Map(noControl, s)), "") }
	if blank(strings.Join(sentences, "")) != blank(text) {
		t.Errorf("%q becomes %q: characters are lost or made", text, sentences)
	}
}

// noControl makes blanks of the separators that are white space to Python and not to Go.
func noControl(r rune) rune {
	if 0x1c <= r && r <= 0x1f {
		return ' '
	}
	return r
}
