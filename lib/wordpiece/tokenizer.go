package wordpiece

import (
	"sync"
	"unicode/utf8"
)

const maxPieceRunes = 100 // a longer word is unknown

// Options of a Tokenizer.
type Options struct {
	LowerCase bool // uncased: lower-case and strip accents
}

// Tokenizer splits text into word pieces. It may be used by many goroutines at once.
type Tokenizer struct {
	vocab   *Vocabulary
	options Options
	class   []class
	whole   trie                 // pieces that start a word
	rest    trie                 // pieces that continue one, without their "##"
	single  [utf8.RuneSelf]int32 // ids of the ASCII punctuation marks
	tails   [256]tail            // all these but those of special tokens

	mu   sync.Mutex
	idle []*Encoder // warm, waiting for work; no sync.Pool: a collection of garbage must not cost the caches
}

// New returns a tokenizer over vocab.
func New(vocab *Vocabulary, o Options) *Tokenizer {
	t := &Tokenizer{vocab: vocab, options: o, class: classes()}
	rest := map[string]int32{}
	for i, token := range vocab.Tokens {
		if vocab.continues[i] == 1 {
			rest[token[2:]] = int32(i)
		}
	}
	t.whole, t.rest = newTrie(vocab.ids), newTrie(rest)
	for c := range t.single {
		if t.class[c]&punct == 0 {
			continue
		}
		t.single[c] = t.appendPieces(nil, []byte{byte(c)})[0]
		if c != '[' && c != ']' {
			t.tails[c] = 1<<tailCount | tail(t.single[c])
		}
	}
	return t
}

// Vocabulary returns the vocabulary in use.
func (t *Tokenizer) Vocabulary() *Vocabulary { return t.vocab }

// Acquire returns an encoder for one goroutine, which gives it back with Release. There are never more than were in use at once.
func (t *Tokenizer) Acquire() *Encoder {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.idle)
	if n == 0 {
		return newEncoder(t)
	}
	e := t.idle[n-1]
	t.idle = t.idle[:n-1]
	return e
}

// Release takes back an encoder that Acquire returned.
func (t *Tokenizer) Release(e *Encoder) {
	t.mu.Lock()
	t.idle = append(t.idle, e)
	t.mu.Unlock()
}

// Encode appends the ids of text's word pieces to dst. Where many short texts are encoded, an encoder does it faster.
func (t *Tokenizer) Encode(dst []int32, text string) []int32 {
	e := t.Acquire()
	defer t.Release(e)
	return e.Encode(dst, text)
}

// appendPieces appends the ids of one word: the longest piece that matches, again and again; [UNK] when any part of it matches none.
func (t *Tokenizer) appendPieces(dst []int32, word []byte) []int32 {
	if len(word) > maxPieceRunes && utf8.RuneCount(word) > maxPieceRunes {
		return append(dst, t.vocab.Unk)
	}
	start := len(dst)
	for pieces := t.whole; len(word) > 0; pieces = t.rest {
		id, n := pieces.longest(word)
		if n == 0 {
			return append(dst[:start], t.vocab.Unk)
		}
		dst = append(dst, id)
		word = word[n:]
	}
	return dst
}
