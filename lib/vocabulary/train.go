// Package vocabulary trains WordPiece vocabularies.
package vocabulary

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"hpcbert/lib/fault"
)

const (
	maxWord = 100 // characters: a longer word is unknown to the tokenizer, whatever the vocabulary
	prefix  = "##"
)

// Specials are the pieces that every vocabulary begins with.
var Specials = []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}

// Options of Train.
type Options struct {
	Size     int   // pieces of the vocabulary
	MinCount int64 // a piece of several characters must occur so often
	Alphabet int   // characters at most, the most frequent ones; words with others are left to [UNK]
	Unused   int   // pieces [unused0], [unused1], ... behind the special ones, for words to come
}

// symbol is the number of a piece.
type symbol = int32

type pair struct{ left, right symbol }

// place is where a pair stands.
type place struct {
	count int64
	words []int32 // those that hold it, and perhaps some that held it
}

// trainer joins, again and again, the two neighbouring pieces that stand together most often (Sennrich, Haddow and Birch 2016), as Hugging
// Face's trainer of WordPiece does it.
type trainer struct {
	pieces  []string
	numbers map[string]symbol
	words   [][]symbol
	counts  []int64 // of words
	places  map[pair]*place
	queue   queue
}

// Train returns a vocabulary for words that occur so often. It depends on nothing else: equally good pieces are taken in the order in which
// their parts were found. A vocabulary may have fewer pieces than asked for.
func Train(ctx context.Context, words map[string]int64, o Options) ([]string, error) {
	t := &trainer{numbers: map[string]symbol{}, places: map[pair]*place{}}
	for _, piece := range Specials {
		t.piece(piece)
	}
	for i := range o.Unused {
		t.piece(fmt.Sprintf("[unused%d]", i))
	}
	t.load(words, o.Alphabet)
	if len(t.pieces) > o.Size {
		return nil, fault.WithHint(fmt.Errorf("%d special pieces and characters do not fit into a vocabulary of %d", len(t.pieces), o.Size), "make it larger, or limit the alphabet")
	}
	t.index()
	for len(t.pieces) < o.Size && len(t.queue) > 0 && t.queue[0].count >= o.MinCount {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t.step()
	}
	return t.pieces, nil
}

// piece returns the number of a piece, a new one if need be.
func (t *trainer) piece(text string) symbol {
	n, found := t.numbers[text]
	if !found {
		n = symbol(len(t.pieces))
		t.numbers[text] = n
		t.pieces = append(t.pieces, text)
	}
	return n
}

// load takes the words of the alphabet as lists of characters.
func (t *trainer) load(words map[string]int64, limit int) {
	known := alphabet(words, limit)
	for _, c := range known {
		t.piece(c.text)
	}
	for _, c := range known {
		if c.inside {
			t.piece(prefix + c.text)
		}
	}
	order := make([]string, 0, len(words))
	for word := range words {
		if usable(word) && !strings.ContainsFunc(word, func(r rune) bool { _, found := t.numbers[string(r)]; return !found }) {
			order = append(order, word)
		}
	}
	slices.Sort(order)
	var arena []symbol
	for _, word := range order {
		start := len(arena)
		for i, r := range word {
			if i == 0 {
				arena = append(arena, t.numbers[string(r)])
			} else {
				arena = append(arena, t.numbers[prefix+string(r)])
			}
		}
		t.words = append(t.words, arena[start:len(arena):len(arena)])
		t.counts = append(t.counts, words[word])
	}
}

// usable tells whether a word is one that pieces can make up.
func usable(word string) bool {
	return utf8.RuneCountInString(word) <= maxWord && !slices.Contains(Specials, word)
}

// character is one of the alphabet.
type character struct {
	text   string
	count  int64
	inside bool // stands in words of several characters
}

// alphabet returns the most frequent characters of words, in the order of their code points.
func alphabet(words map[string]int64, limit int) []character {
	found := map[rune]*character{}
	for word, count := range words {
		if !usable(word) {
			continue
		}
		inside := utf8.RuneCountInString(word) > 1
		for _, r := range word {
			c := found[r]
			if c == nil {
				c = &character{text: string(r)}
				found[r] = c
			}
			c.count += count
			c.inside = c.inside || inside
		}
	}
	list := make([]character, 0, len(found))
	for _, c := range found {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b character) int {
		return cmp.Or(cmp.Compare(b.count, a.count), strings.Compare(a.text, b.text))
	})
	list = list[:min(limit, len(list))]
	slices.SortFunc(list, func(a, b character) int { return strings.Compare(a.text, b.text) })
	return list
}

// index finds the pairs of all words.
func (t *trainer) index() {
	for i := range t.words {
		t.count(i, 1, nil)
	}
	for p, where := range t.places {
		t.queue = append(t.queue, candidate{p, where.count})
	}
	heap.Init(&t.queue)
}

// count adds a word's pairs, sign times, to their counts, and the word to the places of those that may keep.
func (t *trainer) count(word int, sign int64, keep func(pair) bool) {
	symbols := t.words[word]
	for i := 1; i < len(symbols); i++ {
		p := pair{symbols[i-1], symbols[i]}
		where := t.places[p]
		if where == nil {
			where = new(place)
			t.places[p] = where
		}
		where.count += sign * t.counts[word]
		if n := len(where.words); (keep == nil || keep(p)) && (n == 0 || where.words[n-1] != int32(word)) {
			where.words = append(where.words, int32(word))
		}
	}
}

// step joins the most frequent pair wherever it stands.
func (t *trainer) step() {
	best := heap.Pop(&t.queue).(candidate)
	where := t.places[best.pair]
	if where == nil || where.count <= 0 {
		return
	}
	if where.count != best.count { // joined elsewhere since it was queued
		heap.Push(&t.queue, candidate{best.pair, where.count})
		return
	}
	joined := t.piece(t.pieces[best.left] + strings.TrimPrefix(t.pieces[best.right], prefix))
	changed := map[pair]bool{}
	for _, word := range where.words {
		if !holds(t.words[word], best.pair) {
			continue
		}
		t.count(int(word), -1, func(pair) bool { return false })
		t.words[word] = join(t.words[word], best.pair, joined)
		t.count(int(word), 1, func(p pair) bool {
			if p.left != joined && p.right != joined {
				return false
			}
			changed[p] = true
			return true
		})
	}
	delete(t.places, best.pair)
	for p := range changed {
		heap.Push(&t.queue, candidate{p, t.places[p].count})
	}
}

func holds(word []symbol, p pair) bool {
	for i := 1; i < len(word); i++ {
		if word[i-1] == p.left && word[i] == p.right {
			return true
		}
	}
	return false
}

// join replaces, from the left, each p in a word by one symbol.
func join(word []symbol, p pair, joined symbol) []symbol {
	n := 0
	for i := 0; i < len(word); i++ {
		s := word[i]
		if i+1 < len(word) && s == p.left && word[i+1] == p.right {
			s = joined
			i++
		}
		word[n] = s
		n++
	}
	return word[:n]
}

// candidate is a pair to join, with the count it had when it was queued; it may have fewer since.
type candidate struct {
	pair
	count int64
}

// queue is a heap, the best candidate first.
type queue []candidate

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(c any)   { *q = append(*q, c.(candidate)) }

func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right)) < 0
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	*q = (*q)[:last]
	return c
}
