// Package wordpiece turns text into the ids of BERT's vocabulary: the basic step (cleaning, lower-casing, accents, punctuation)
// and the greedy longest match of word pieces, as BERT's first published tokenizer does them.
package wordpiece

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"hpcbert/lib/fault"
)

// Vocabulary is the list of pieces in id order. It does not change once loaded.
type Vocabulary struct {
	Name   string   // the file it was read from
	Tokens []string // by id
	SHA256 string   // of the file's bytes, in hex

	Unk, Cls, Sep, Mask int32

	ids       map[string]int32
	continues []uint8 // by id, 1 for a piece that begins with ##
}

// MaxSize is the number of pieces that a vocabulary may have.
const MaxSize = 1 << idBits

// Load reads a vocabulary file: one piece a line, the id is the line number from 0. Lines may end in CR LF. Errors name the file
// and the line.
func Load(r io.Reader, name string) (*Vocabulary, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read vocabulary %s: %w", name, err)
	}
	sum := sha256.Sum256(data)
	v := &Vocabulary{Name: name, SHA256: hex.EncodeToString(sum[:]), ids: map[string]int32{}}
	text := strings.TrimSuffix(string(bytes.TrimPrefix(data, []byte("\ufeff"))), "\n")
	if text == "" {
		return nil, v.fault("no word pieces")
	}
	for line := range strings.SplitSeq(text, "\n") {
		if err := v.add(line); err != nil {
			return nil, err
		}
	}
	for i, token := range []string{"[UNK]", "[CLS]", "[SEP]", "[MASK]"} {
		id := v.ID(token)
		if id < 0 {
			return nil, v.fault("no %s", token)
		}
		*[]*int32{&v.Unk, &v.Cls, &v.Sep, &v.Mask}[i] = id
	}
	return v, nil
}

func (v *Vocabulary) add(line string) error {
	number := len(v.Tokens) + 1
	if !utf8.ValidString(line) {
		return v.fault("line %d is not UTF-8", number)
	}
	token := strings.TrimSpace(line)
	if token == "" { // a piece that is white space itself can never match, but holds its id
		token = strings.TrimSuffix(line, "\r")
	}
	if token == "" {
		return v.fault("line %d is empty", number)
	}
	if number > MaxSize {
		return v.fault("more than %d pieces", MaxSize)
	}
	if first, twice := v.ids[token]; twice {
		return v.fault("line %d: %q is already in line %d", number, token, first+1)
	}
	v.ids[token] = int32(len(v.Tokens))
	v.Tokens = append(v.Tokens, token)
	v.continues = append(v.continues, 0)
	if len(token) > 2 && token[:2] == "##" {
		v.continues[number-1] = 1
	}
	return nil
}

func (v *Vocabulary) fault(format string, a ...any) error {
	err := fmt.Errorf("vocabulary %s: %s", v.Name, fmt.Sprintf(format, a...))
	return fault.WithHint(err, "a vocabulary is a text file with one word piece a line, among them [PAD] [UNK] [CLS] [SEP] [MASK]")
}

// ID returns the id of a piece, -1 for one that is not in the vocabulary.
func (v *Vocabulary) ID(token string) int32 {
	if id, ok := v.ids[token]; ok {
		return id
	}
	return -1
}

// Count returns the number of words that pieces make, those that do not begin with "##", and that of the unknown ones among them.
func (v *Vocabulary) Count(ids []int32) (words, unknown int) {
	words = len(ids)
	for _, id := range ids {
		words -= int(v.continues[id])
		if id == v.Unk {
			unknown++
		}
	}
	return words, unknown
}

// Size returns the number of pieces.
func (v *Vocabulary) Size() int { return len(v.Tokens) }

// Capitals returns the part of the pieces that hold a capital letter, special tokens such as [MASK] not counted among them: 0.29 in BERT's
// cased English vocabulary, 0.16 in the multilingual cased one, next to none where the text was put in lower case.
func (v *Vocabulary) Capitals() float64 {
	n := 0
	for _, piece := range v.Tokens {
		if special := strings.HasPrefix(piece, "[") && strings.HasSuffix(piece, "]"); !special && strings.ContainsFunc(piece, unicode.IsUpper) {
			n++
		}
	}
	return float64(n) / float64(len(v.Tokens))
}

// Cased tells whether the vocabulary is of text that was not put in lower case.
func (v *Vocabulary) Cased() bool { return v.Capitals() >= 0.05 }

// TokenizerConfig is Hugging Face's tokenizer_config.json. Its tokenizer puts text in lower case where nobody says otherwise.
func TokenizerConfig(lowerCase bool) []byte {
	return fmt.Appendf(nil, "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": %t}\n", lowerCase)
}

// Decode joins pieces to text as Hugging Face does: blanks between words, none before punctuation and in English contractions. What
// tokenizing dropped, such as capitals, accents and the original white space, does not come back.
func (v *Vocabulary) Decode(ids []int32) (string, error) {
	var b strings.Builder
	for i, id := range ids {
		if id < 0 || int(id) >= len(v.Tokens) {
			return "", fmt.Errorf("id %d is not in vocabulary %s, which has %d pieces", id, v.Name, len(v.Tokens))
		}
		piece, continues := strings.CutPrefix(v.Tokens[id], "##")
		if i > 0 && !continues {
			b.WriteByte(' ')
		}
		if i == 0 {
			piece = v.Tokens[id]
		}
		b.WriteString(piece)
	}
	text := b.String()
	for _, rule := range contractions {
		text = strings.ReplaceAll(text, rule[0], rule[1])
	}
	return text, nil
}

// contractions are replaced one after the other.
var contractions = [][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}}
