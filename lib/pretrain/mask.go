package pretrain

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"hpcbert/lib/wordpiece"
)

// draws is a source of random numbers.
type draws interface {
	random() float64        // in [0, 1)
	below(n int) int        // in [0, n)
	shuffleSmall(x []int32) // lists of at most maxInstanceIDs
}

// masker chooses the tokens of rows that are to be predicted (spec: pretraining 1.6).
type masker struct {
	draws draws
	vocab *wordpiece.Vocabulary
	prob  float64 // share of a row's tokens
	most  int     // tokens of a row

	words    []int32               // what is masked together: the first position, and in the low wordBits the number of pieces
	original [maxInstanceIDs]int32 // ids before they were masked, by position

	continues []bool // by id: the piece continues a word; nil when every piece is masked alone
}

// wordBits hold the number of a word's pieces.
const wordBits = 10

// mask chooses the tokens to predict, replaces them in ids, and appends their positions and original ids, ascending. A word with more
// pieces than are still to be chosen is passed over.
func (m *masker) mask(ids, positions, labels []int32) (allPositions, allLabels []int32) {
	m.candidates(ids)
	m.draws.shuffleSmall(m.words)
	left := m.toPredict(len(ids))
	var chosen [maxInstanceIDs / 64]uint64
	for _, w := range m.words {
		if left == 0 {
			break
		}
		pieces := int(w & (1<<wordBits - 1))
		if pieces > left {
			continue
		}
		left -= pieces
		for p := w >> wordBits; pieces > 0; p++ {
			if m.special(ids[p]) {
				continue
			}
			chosen[p/64] |= 1 << (p % 64)
			m.original[p] = ids[p]
			m.replace(ids, p)
			pieces--
		}
	}
	for k, word := range chosen {
		for ; word != 0; word &= word - 1 {
			p := int32(64*k + bits.TrailingZeros64(word))
			positions, labels = append(positions, p), append(labels, m.original[p])
		}
	}
	return positions, labels
}

// candidates lists the words of ids that may be masked. As in the original, a piece that continues a word belongs to the one before it
// even where B begins with it.
func (m *masker) candidates(ids []int32) {
	m.words = slices.Grow(m.words[:0], len(ids))[:len(ids)]
	n := 0
	for p, id := range ids {
		if m.special(id) {
			continue
		}
		if m.continues != nil && n > 0 && m.continues[id] {
			m.words[n-1]++
			continue
		}
		m.words[n] = int32(p<<wordBits | 1)
		n++
	}
	m.words = m.words[:n]
}

// special tells [CLS] and [SEP], which are never masked.
func (m *masker) special(id int32) bool { return id == m.vocab.Cls || id == m.vocab.Sep }

// continuations tells by id which pieces continue a word.
func continuations(vocab *wordpiece.Vocabulary) []bool {
	list := make([]bool, vocab.Size())
	for id, token := range vocab.Tokens {
		list[id] = strings.HasPrefix(token, "##")
	}
	return list
}

// toPredict returns how many of n tokens are to be predicted; halves are rounded to even.
func (m *masker) toPredict(n int) int {
	return min(m.most, max(1, int(math.RoundToEven(float64(n)*m.prob))))
}

// replace puts [MASK] for four fifths of the ids, leaves a tenth, and puts any id for the rest.
func (m *masker) replace(ids []int32, p int32) {
	switch {
	case m.draws.random() < 0.8:
		ids[p] = m.vocab.Mask
	case m.draws.random() < 0.5:
	default:
		ids[p] = int32(m.draws.below(m.vocab.Size()))
	}
}
