package vocabulary

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plainTrain counts all pairs anew for each piece.
func plainTrain(words map[string]int64, pieces []string, size int) []string {
	number := map[string]int{}
	for i, p := range pieces {
		number[p] = i
	}
	split := map[string][]string{}
	for word := range words {
		for i, r := range word {
			split[word] = append(split[word], map[bool]string{true: "", false: prefix}[i == 0]+string(r))
		}
	}
	for len(pieces) < size {
		counts := map[[2]string]int64{}
		for word, s := range split {
			for i := 1; i < len(s); i++ {
				counts[[2]string{s[i-1], s[i]}] += words[word]
			}
		}
		var best [2]string
		for p, n := range counts {
			m := counts[best]
			if n > m || n == m && (number[p[0]] < number[best[0]] || p[0] == best[0] && number[p[1]] < number[best[1]]) {
				best = p
			}
		}
		if counts[best] == 0 {
			break
		}
		joined := best[0] + strings.TrimPrefix(best[1], prefix)
		if _, found := number[joined]; !found {
			number[joined] = len(pieces)
			pieces = append(pieces, joined)
		}
		for word, s := range split {
			var out []string
			for i := 0; i < len(s); i++ {
				if i+1 < len(s) && s[i] == best[0] && s[i+1] == best[1] {
					out = append(out, joined)
					i++
				} else {
					out = append(out, s[i])
				}
			}
			split[word] = out
		}
	}
	return pieces
}

func TestEqualsPlainVersion(t *testing.T) {
	for seed := range 20 {
		words := map[string]int64{}
		state := uint64(seed)*2654435761 + 1
		next := func(n uint64) uint64 { state = state*6364136223846793005 + 1442695040888963407; return state >> 33 % n }
		for range 60 {
			var word strings.Builder
			for range 1 + next(9) {
				word.WriteByte("aab"[next(3)])
			}
			words[word.String()] += int64(1 + next(5))
		}
		o := Options{Size: 80, MinCount: 1, Alphabet: 100}
		got, err := Train(t.Context(), words, o)
		if err != nil {
			t.Fatal(err)
		}
		start := len(Specials)
		for start < len(got) && len(strings.TrimPrefix(got[start], prefix)) == 1 {
			start++
		}
		if diff := cmp.Diff(plainTrain(words, append([]string(nil), got[:start]...), o.Size), got); diff != "" {
			t.Errorf("seed %d: %s", seed, diff)
		}
	}
}

func TestLongWords(t *testing.T) {
	words := map[string]int64{strings.Repeat("ab", 51): 1000, "cd": 2}
	got, err := Train(t.Context(), words, Options{Size: 100, MinCount: 2, Alphabet: 100})
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint(append(append([]string(nil), Specials...), "c", "d", "##c", "##d", "cd")); fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}
