package glue

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"hpcbert/lib/wordpiece"
)

// Lengths of texts are cut as the original's loop does, one token after the other.
func TestFit(t *testing.T) {
	for a := range 12 {
		for b := range 12 {
			for room := range 24 {
				n, m := a, b
				for n+m > room {
					if n > m {
						n--
					} else {
						m--
					}
				}
				if gotA, gotB := fit(a, b, room); gotA != n || gotB != m {
					t.Errorf("%d and %d tokens in %d: %d and %d, expected %d and %d", a, b, room, gotA, gotB, n, m)
				}
			}
		}
	}
}

func TestFeatures(t *testing.T) {
	vocab, err := wordpiece.Load(strings.NewReader("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\n##e\n"), "vocab.txt")
	if err != nil {
		t.Fatal(err)
	}
	tokenizer := wordpiece.New(vocab, wordpiece.Options{LowerCase: true})
	for _, c := range []struct {
		what, a, b string
		length     int
		ids        []int32
		second     int
		cut        int
	}{
		{"a pair", "A b", "ce d", 10, []int32{2, 5, 6, 3, 7, 9, 8, 3}, 4, 0},
		{"one text", "a b", "", 10, []int32{2, 5, 6, 3}, 4, 0},
		{"as long as there is room", "a b c", "d a", 8, []int32{2, 5, 6, 7, 3, 8, 5, 3}, 5, 0},
		{"the longer text is cut", "a b c d", "d a", 8, []int32{2, 5, 6, 7, 3, 8, 5, 3}, 5, 1},
		{"of two equal ones the second", "a b c", "d a b", 8, []int32{2, 5, 6, 7, 3, 8, 5, 3}, 5, 1},
		{"one text has one token more", "a b c d", "", 5, []int32{2, 5, 6, 7, 3}, 5, 1},
		{"a second text of blanks alone is none, but takes its [SEP] away", "a b c d", " ", 5, []int32{2, 5, 6, 3}, 4, 1},
		{"nothing at all", "", "", 3, []int32{2, 3}, 2, 0},
		{"unknown characters", "я", "b", 8, []int32{2, 1, 3, 6, 3}, 3, 0},
	} {
		got, cut := Features(tokenizer, []Example{{A: c.a, B: c.b}}, c.length)
		want := Feature{IDs: c.ids, Second: c.second}
		if !slices.Equal(got[0].IDs, want.IDs) || got[0].Second != want.Second || cut != c.cut {
			t.Errorf("%s: %v, %d cut; expected %v, %d", c.what, fmt.Sprint(got[0]), cut, want, c.cut)
		}
	}
}
