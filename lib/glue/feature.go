package glue

import "hpcbert/lib/wordpiece"

// Feature is what a model reads of an example: [CLS] A [SEP], then B [SEP] when there is one, without padding.
type Feature struct {
	IDs    []int32
	Second int // where B begins; len(IDs) when there is none
}

// ends of a feature that are not text: [CLS], [SEP] behind A, [SEP] behind B.
const (
	endsSingle = 2
	endsPair   = 3
)

// Features returns those of examples, each of at most length tokens, and how many of them are cut. Of a pair the longer text loses its last
// token, B when both are as long, until the two fit. An empty B is no B.
func Features(tokenizer *wordpiece.Tokenizer, examples []Example, length int) (features []Feature, cut int) {
	e := tokenizer.Acquire()
	defer tokenizer.Release(e)
	vocab := tokenizer.Vocabulary()
	features = make([]Feature, len(examples))
	var a, b []int32
	for i := range examples {
		x := &examples[i]
		a, b = e.Encode(a[:0], x.A), e.Encode(b[:0], x.B)
		room := length - endsPair
		if x.B == "" {
			room = length - endsSingle
		}
		n, m := fit(len(a), len(b), room)
		if n < len(a) || m < len(b) {
			cut++
		}
		ids := make([]int32, 0, n+m+endsPair)
		ids = append(append(append(ids, vocab.Cls), a[:n]...), vocab.Sep)
		second := len(ids)
		if m > 0 {
			ids = append(append(ids, b[:m]...), vocab.Sep)
		}
		features[i] = Feature{IDs: ids, Second: second}
	}
	return features, cut
}

// fit returns how much stays of texts of a and b tokens in that room.
func fit(a, b, room int) (int, int) {
	over := max(0, a+b-room)
	level := min(over, max(a-b, b-a)) // taken from the longer one until both are as long
	if a > b {
		a -= level
	} else {
		b -= level
	}
	over -= level
	return a - over/2, b - (over - over/2)
}
