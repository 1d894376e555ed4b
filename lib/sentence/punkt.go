// Package sentence cuts text into sentences with Punkt (Kiss and Strunk, Unsupervised Multilingual Sentence Boundary Detection, 2006),
// equal to NLTK 3.8's tokenizer with boundary realignment.
package sentence

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"hpcbert/lib/fault"

	"github.com/neurosnap/sentences/data"
)

// Punkt is a trained model. It may be used by many goroutines at once.
type Punkt struct {
	words map[string]word
	// collocations holds "first,second": pairs that a period between them does not part.
	collocations map[string]bool
}

// word is what the model knows of a word type (lower case, numbers folded).
type word struct {
	ortho        uint8 // where the type was seen, by case
	abbreviation bool  // without its last period
	starter      bool  // often begins sentences
	collocates   bool  // first of a collocation
}

// Bits of word.ortho.
const (
	beginUpper   = 1 << 1
	middleUpper  = 1 << 2
	unknownUpper = 1 << 3
	beginLower   = 1 << 4
	middleLower  = 1 << 5
	unknownLower = 1 << 6

	anyUpper = beginUpper | middleUpper | unknownUpper
	anyLower = beginLower | middleLower | unknownLower
)

var english = sync.OnceValues(func() (*Punkt, error) { return parse(data.MustAsset("data/english.json")) })

// English returns the model for English that NLTK uses, from the module github.com/neurosnap/sentences.
func English() (*Punkt, error) { return english() }

// Load reads a model in the JSON form of the module github.com/neurosnap/sentences, which has eighteen languages: an object of
// AbbrevTypes, Collocations ("first,second"), SentStarters and OrthoContext, each an object of numbers.
func Load(r io.Reader) (*Punkt, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return parse(b)
}

func parse(b []byte) (*Punkt, error) {
	var model struct{ AbbrevTypes, Collocations, SentStarters, OrthoContext map[string]int }
	if err := json.Unmarshal(b, &model); err != nil {
		return nil, fault.WithHint(fmt.Errorf("read a Punkt model: %w", err), "models are JSON files such as data/german.json of github.com/neurosnap/sentences")
	}
	if len(model.AbbrevTypes) == 0 || len(model.OrthoContext) == 0 {
		return nil, fault.WithHint(fmt.Errorf("read a Punkt model: no AbbrevTypes or no OrthoContext in it"), "models are JSON files such as data/german.json of github.com/neurosnap/sentences")
	}
	p := &Punkt{words: make(map[string]word, len(model.OrthoContext)), collocations: make(map[string]bool)}
	for typ, bits := range model.OrthoContext {
		p.set(typ, func(w *word) { w.ortho = uint8(bits) })
	}
	for typ := range model.AbbrevTypes {
		p.set(typ, func(w *word) { w.abbreviation = true })
	}
	for typ := range model.SentStarters {
		p.set(typ, func(w *word) { w.starter = true })
	}
	for pair := range model.Collocations {
		p.collocations[pair] = true
		for i, c := range pair { // either type may hold commas itself
			if c == ',' {
				p.set(pair[:i], func(w *word) { w.collocates = true })
			}
		}
	}
	return p, nil
}

func (p *Punkt) set(typ string, change func(*word)) {
	w := p.words[typ]
	change(&w)
	p.words[typ] = w
}
