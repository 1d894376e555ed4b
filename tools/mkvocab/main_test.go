package main

import (
	"fmt"
	"strings"
	"testing"

	"hpcbert/lib/cli/clitest"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var o options
	return clitest.Run(program, &o, o.run, stdin, args...)
}

func TestVocabulary(t *testing.T) {
	const specials = "[PAD] [UNK] [CLS] [SEP] [MASK] "
	cases := []struct {
		name, text string
		args       []string
		want       string
	}{
		{"characters, alone and within words, pieces", "Hug hug hug, pug pug", []string{"--min-count", "2"}, specials + ", g h p u ##g ##h ##p ##u ##ug hug pug"},
		{"cased", "Hug hug", []string{"--cased", "--min-count", "2"}, specials + "H g h u ##H ##g ##h ##u ##ug"},
		{"accents", "\u00e9\u00e9 \u00c9\u00c9", []string{"--size", "8"}, specials + "e ##e ee"},
		{"size", "hug hug pug pug pug", []string{"--size", "14"}, specials + "g h p u ##g ##h ##p ##u ##ug"},
		{"rare pieces", "hug hug pug", []string{"--min-count", "3"}, specials + "g h p u ##g ##h ##p ##u ##ug"},
		{"unused", "a", []string{"--unused", "2"}, specials + "[unused0] [unused1] a"},
		{"alphabet: a word with another character is left out", "aa aa ab", []string{"--alphabet", "1"}, specials + "a ##a aa"},
		{"ideographs stand alone", "\u4e2d\u6587 \u4e2d\u6587", nil, specials + "\u4e2d \u6587"},
		{"special pieces in the text", "[MASK] [MASK] a", nil, specials + "a"},
		{"equally good pieces: the first characters first", "ab cd ab cd", []string{"--size", "14"}, specials + "a b c d ##a ##b ##c ##d ab"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := run(c.text, c.args...)
			if got := strings.Join(strings.Fields(stdout), " "); status != 0 || got != c.want {
				t.Errorf("exit %d: %s, want %s\n%s", status, got, c.want, stderr)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	cases := []struct {
		name, stdin string
		args        []string
		status      int
		says        string
	}{
		{"size", "a", []string{"--size", "5"}, 2, "option --size: 5 pieces, want 6 to 2097152"},
		{"count", "a", []string{"--min-count", "0"}, 2, "option --min-count: 0 times, want 1 or more"},
		{"alphabet", "a", []string{"--alphabet", "0"}, 2, "option --alphabet: 0 characters, want 1 or more"},
		{"unused", "a", []string{"--unused", "-1"}, 2, "option --unused: -1 pieces, want 0 or more"},
		{"too small for the alphabet", "abcdefgh", []string{"--size", "10"}, 1, "21 special pieces and characters do not fit into a vocabulary of 10"},
		{"documents", `{"text": "a"}`, nil, 1, "looks like JSON documents\nmkvocab: hint: run segment first"},
		{"no words", "\n\u200b\n", nil, 1, "no word in 2 lines of input"},
		{"not UTF-8", "caf\xe9", nil, 1, "line 1: byte 4 is not UTF-8"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			clitest.Refused(t, run, c.stdin, c.args, c.status, c.says)
		})
	}
}

// Neither the threads nor the order of the text may matter.
func TestSameBytes(t *testing.T) {
	var forth, back strings.Builder
	const n = 20_000
	line := func(i int) string { return fmt.Sprintf("word%d other%d and %x\n", i%977, i%1009, i*i) }
	for i := range n {
		forth.WriteString(line(i))
		back.WriteString(line(n - 1 - i))
	}
	_, want, _ := run(forth.String(), "-j1", "--size", "3000")
	if strings.Count(want, "\n") != 3000 {
		t.Fatalf("%d pieces", strings.Count(want, "\n"))
	}
	for _, text := range []string{forth.String(), back.String()} {
		for _, j := range []string{"-j2", "-j5"} {
			if _, got, stderr := run(text, j, "--size", "3000"); got != want {
				t.Errorf("%s: other pieces\n%s", j, stderr)
			}
		}
	}
}

// The hint to a smaller --min-count is given only where there is one.
func TestHintOfSize(t *testing.T) {
	for count, want := range map[string]string{"1": "hint: more text gives", "2": "hint: more text, or a smaller --min-count, gives"} {
		if status, _, stderr := run("hug hug pug", "--min-count", count); status != 0 || !strings.Contains(stderr, want) {
			t.Errorf("--min-count %s: exit %d: %s", count, status, stderr)
		}
	}
}
