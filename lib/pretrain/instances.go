// Package pretrain makes BERT's pre-training examples from sentences, stores them in HDF5 shards, and feeds them to training.
package pretrain

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/python"
	"hpcbert/lib/wordpiece"
)

const maxInstanceIDs = 512 // BERT's positions; the reference refuses longer instances

// Options say how examples are made. The names in JSON are those of the manifest.
type Options struct {
	Seq          int     `json:"max_seq_length"`
	MaxPred      int     `json:"max_predictions_per_seq"`
	Dupe         int     `json:"dupe_factor"`
	MaskedLMProb float64 `json:"masked_lm_prob"`
	ShortSeqProb float64 `json:"short_seq_prob"`
	Seed         int64   `json:"random_seed"`
	LowerCase    bool    `json:"do_lower_case"`
	WholeWords   bool    `json:"do_whole_word_mask"` // all pieces of a word are masked or none
}

// Check refuses options that make no examples.
func (o Options) Check() error {
	switch {
	case o.Seq < 5:
		return fault.Usagef("sequences of %d tokens are too short: at least 5 are needed, three of them special", o.Seq)
	case o.Seq > maxInstanceIDs:
		return fault.Usagef("sequences of %d tokens are too long: BERT has %d positions", o.Seq, maxInstanceIDs)
	case o.MaxPred < 1:
		return fault.Usagef("at most %d masked tokens a sequence leave nothing to learn", o.MaxPred)
	case o.MaxPred >= o.Seq:
		return fault.Usagef("%d masked tokens a sequence are not fewer than its %d tokens", o.MaxPred, o.Seq)
	case o.Dupe < 1:
		return fault.Usagef("a dupe factor of %d makes no examples", o.Dupe)
	case !(o.MaskedLMProb > 0 && o.MaskedLMProb <= 1):
		return fault.Usagef("masked-LM probability %v is not in (0, 1]", o.MaskedLMProb)
	case !(o.ShortSeqProb >= 0 && o.ShortSeqProb <= 1):
		return fault.Usagef("short-sequence probability %v is not in [0, 1]", o.ShortSeqProb)
	}
	return nil
}

// Documents are the tokenized sentences of a shard.
type Documents struct {
	Name      string // of the input, for errors
	Sentences int

	list [][][]int32 // documents, sentences, ids
}

// Len returns the number of documents that hold at least one token.
func (d *Documents) Len() int { return len(d.list) }

// readDocuments reads and tokenizes a sentence stream as the reference does: lines end in LF, CR or CR LF and are stripped, an empty
// one starts a new document, sentences and documents without tokens are dropped.
func readDocuments(r io.Reader, name string, tok *wordpiece.Tokenizer) (*Documents, error) {
	in := corpus.NewSentenceReader(r, name)
	encoder := tok.Acquire()
	defer tok.Release(encoder)
	d := &Documents{Name: name}
	var arena []int32
	for {
		lines, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		d.begin()
		for _, line := range lines {
			for part := range strings.SplitSeq(line, "\r") {
				if cap(arena)-len(arena) < len(part)+1 { // no sentence has more pieces than bytes
					arena = make([]int32, 0, max(1<<18, len(part)+1))
				}
				start := len(arena)
				arena = encoder.Encode(arena, part)
				d.add(part, arena[start:len(arena):len(arena)])
			}
		}
	}
	d.list = slices.DeleteFunc(d.list, func(doc [][]int32) bool { return len(doc) == 0 })
	if len(d.list) == 0 {
		return nil, fault.WithHint(fmt.Errorf("read %s: no sentences", name), "a shard holds one sentence a line, as segment and shard write it")
	}
	return d, nil
}

func (d *Documents) begin() { d.list = append(d.list, nil) }

func (d *Documents) add(line string, ids []int32) {
	switch last := len(d.list) - 1; {
	case len(ids) > 0:
		d.list[last] = append(d.list[last], ids)
		d.Sentences++
	case python.Strip(line) == "":
		d.begin()
	}
}

// Instances are the examples of a shard, without padding.
type Instances struct {
	Options Options

	tokens    []int32 // ids of all instances, one after the other
	positions []int32 // masked positions of all instances
	labels    []int32 // and the original ids there
	rows      []instance
}

type instance struct {
	ids, tokens  int // start in Instances.tokens, number of them
	first        int // tokens of [CLS] A [SEP]
	mask, masked int // start in positions and labels, number of masked tokens
	randomNext   bool
}

// Len returns the number of instances.
func (x *Instances) Len() int { return len(x.rows) }

// Masked returns the number of masked tokens.
func (x *Instances) Masked() int { return len(x.positions) }

// Tokens returns the number of tokens, padding not counted.
func (x *Instances) Tokens() int { return len(x.tokens) }

// RandomNext returns how many instances pair a sequence with a random one.
func (x *Instances) RandomNext() int {
	n := 0
	for _, r := range x.rows {
		if r.randomNext {
			n++
		}
	}
	return n
}

// maker makes instances; its random draws come in the reference's order.
type maker struct {
	*Instances
	masker
	rng  *twister
	docs *Documents

	chunk [][]int32 // sentences collected for the next instance
}

// makeIn makes the instances of a shard (spec: pretraining 1.6) in the memory of others that are needed no more. The documents are shuffled
// in place.
func makeIn(ctx context.Context, x *Instances, docs *Documents, vocab *wordpiece.Vocabulary, o Options) (*Instances, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	x.Options = o
	rng := newTwister(o.Seed)
	m := &maker{Instances: x, rng: rng, docs: docs, masker: masker{draws: rng, vocab: vocab, prob: o.MaskedLMProb, most: o.MaxPred}}
	if o.WholeWords {
		m.continues = continuations(vocab)
	}
	m.reserve()
	list := docs.list
	shuffle(m.rng, list)
	for range o.Dupe {
		for d := range list {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			m.document(d)
		}
	}
	shuffle(m.rng, m.rows)
	return m.Instances, nil
}

// reserve makes room for about what the documents will yield: growing slices of this size by copying doubles the peak of memory.
func (m *maker) reserve() {
	tokens := 0
	for _, doc := range m.docs.list {
		for _, sentence := range doc {
			tokens += len(sentence)
		}
	}
	tokens = tokens * m.Options.Dupe * 5 / 4 // specials and random seconds
	m.tokens = slices.Grow(m.tokens[:0], tokens)
	m.rows = slices.Grow(m.rows[:0], tokens*10/9/m.Options.Seq+m.Options.Dupe*m.docs.Len())
	masked := int(float64(tokens) * min(m.Options.MaskedLMProb*1.02, 1))
	m.positions, m.labels = slices.Grow(m.positions[:0], masked), slices.Grow(m.labels[:0], masked)
}

// document appends the instances of document d.
func (m *maker) document(d int) {
	longest := m.Options.Seq - 3
	target := longest
	if m.rng.random() < m.Options.ShortSeqProb {
		target = m.rng.between(2, longest)
	}
	doc := m.docs.list[d]
	m.chunk = m.chunk[:0]
	length := 0
	for i := 0; i < len(doc); i++ {
		m.chunk = append(m.chunk, doc[i])
		length += len(doc[i])
		if i < len(doc)-1 && length < target {
			continue
		}
		i -= m.pair(d, target)
		m.chunk, length = m.chunk[:0], 0
	}
}

// pair makes one instance of the sentences in m.chunk and returns how many of them it did not use.
func (m *maker) pair(d, target int) (unused int) {
	end := 1
	if len(m.chunk) >= 2 {
		end = m.rng.between(1, len(m.chunk)-1)
	}
	a, b := m.chunk[:end], m.chunk[end:]
	randomNext := len(m.chunk) == 1 || m.rng.random() < 0.5
	if randomNext {
		b, randomNext = m.randomSecond(d, target-length(a))
		unused = len(m.chunk) - end
	}
	m.emit(a, b, randomNext)
	return unused
}

// length returns the number of tokens of sentences.
func length(sentences [][]int32) int {
	n := 0
	for _, s := range sentences {
		n += len(s)
	}
	return n
}

// randomSecond returns sentences from a random place of a random document, as many as hold the tokens wanted, and whether that is another
// document than d: after ten tries, or with a lone document, the same one is taken and counts as the true next.
func (m *maker) randomSecond(d, want int) (sentences [][]int32, other bool) {
	list := m.docs.list
	r := d
	for try := 0; try < 10 && (try == 0 || r == d); try++ {
		r = m.rng.between(0, len(list)-1)
	}
	sentences = list[r][m.rng.between(0, len(list[r])-1):]
	n := 0
	for i, sentence := range sentences {
		if n += len(sentence); n >= want {
			sentences = sentences[:i+1]
			break
		}
	}
	return sentences, r != d
}

// span is a part of a row of tokens.
type span struct{ start, end int }

func (s span) len() int { return s.end - s.start }

// truncate drops tokens from the front or back of the longer of a and b, b when they are equal, until both fit into longest.
func truncate(rng *twister, a, b span, longest int) (span, span) {
	for a.len()+b.len() > longest {
		front := rng.half()
		if a.len() > b.len() {
			a.start, a.end = a.start+front, a.end-1+front
		} else {
			b.start, b.end = b.start+front, b.end-1+front
		}
	}
	return a, b
}

// appendSpan appends a part of the tokens of sentences.
func appendSpan(to []int32, sentences [][]int32, part span) []int32 {
	for _, s := range sentences {
		if part.end <= 0 {
			break
		}
		if part.start < len(s) {
			to = append(to, s[max(part.start, 0):min(part.end, len(s))]...)
		}
		part.start, part.end = part.start-len(s), part.end-len(s)
	}
	return to
}

// emit appends the instance of a and b.
func (m *maker) emit(a, b [][]int32, randomNext bool) {
	ofA, ofB := truncate(m.rng, span{0, length(a)}, span{0, length(b)}, m.Options.Seq-3)
	n := ofA.len() + ofB.len() + 3
	row := instance{ids: len(m.tokens), tokens: n, first: ofA.len() + 2, mask: len(m.positions), randomNext: randomNext}
	m.tokens = appendSpan(append(m.tokens, m.vocab.Cls), a, ofA)
	m.tokens = appendSpan(append(m.tokens, m.vocab.Sep), b, ofB)
	m.tokens = append(m.tokens, m.vocab.Sep)
	m.positions, m.labels = m.mask(m.tokens[row.ids:], m.positions, m.labels)
	row.masked = len(m.positions) - row.mask
	m.rows = append(m.rows, row)
}
