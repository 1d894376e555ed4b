// Package sentence cuts text into sentences with Punkt (Kiss and Strunk, Unsupervised Multilingual Sentence Boundary Detection, 2006),
// equal to NLTK 3.8's tokenizer with boundary realignment, or with rules that mend its known faults.
package sentence

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

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

var english = sync.OnceValues(func() (*Punkt, error) { return parseJSON(data.MustAsset("data/english.json")) })

// English returns the model for English that NLTK uses, from the module github.com/neurosnap/sentences.
func English() (*Punkt, error) { return english() }

// parseJSON reads the form of github.com/neurosnap/sentences. A pair is written "first,second", and either word may hold commas itself: it
// stands for every pair that it can be.
func parseJSON(text []byte) (*Punkt, error) {
	var model struct{ AbbrevTypes, Collocations, SentStarters, OrthoContext map[string]int }
	if err := json.Unmarshal(text, &model); err != nil {
		return nil, err
	}
	p := newPunkt()
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
		for i, c := range pair {
			if c == ',' {
				p.collocate(pair[:i], pair[i+1:])
			}
		}
	}
	return p, p.check("AbbrevTypes", "OrthoContext")
}

func newPunkt() *Punkt {
	return &Punkt{words: make(map[string]word), collocations: make(map[string]bool)}
}

func (p *Punkt) set(typ string, change func(*word)) {
	w := p.words[typ]
	change(&w)
	p.words[typ] = w
}

func (p *Punkt) collocate(first, second string) {
	p.collocations[first+","+second] = true
	p.set(first, func(w *word) { w.collocates = true })
}

// check refuses a model without abbreviations, or without anything known of case, which came from the parts so called.
func (p *Punkt) check(abbreviations, ortho string) error {
	var missing []string
	found := map[string]bool{}
	for _, w := range p.words {
		found[abbreviations] = found[abbreviations] || w.abbreviation
		found[ortho] = found[ortho] || w.ortho != 0
	}
	for _, part := range []string{abbreviations, ortho} {
		if !found[part] {
			missing = append(missing, "no "+part)
		}
	}
	if missing != nil {
		return fmt.Errorf("%s in it", strings.Join(missing, " and "))
	}
	return nil
}
