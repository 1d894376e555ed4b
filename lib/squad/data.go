// Package squad makes of SQuAD's questions what a model reads, of the model's scores the answers, and marks the answers: as Google's and NVIDIA's
// run_squad.py and the official evaluation scripts do, to the last digit (spec finetuning 1).
package squad

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Data is a SQuAD file.
type Data struct {
	Name      string // of the file
	Version   string // "1.1", "v2.0" or what else stands there
	Questions []*Question
}

// Question is one question about a context.
type Question struct {
	ID, Text   string
	Context    *Context
	Gold       []Gold // right answers; nil where the file does not say
	Impossible *bool  // whether the context has no answer; nil where the file does not say
}

// Gold is a right answer.
type Gold struct {
	Text  string
	Start int // first character, in code points of the context; -1 where the file does not say
}

// Context is a text that several questions may be about.
type Context struct {
	Words  []string // between white space
	starts []int32  // first code point of each
	length int      // code points
}

// newContext cuts a context into words as SQuAD is read.
func newContext(text string) *Context { return cut(text, isContextSpace) }

// isContextSpace: no-break spaces but the narrow one, and other white space, stay in words.
func isContextSpace(r rune) bool {
	return r == ' ' || r == '\t' || r == '\r' || r == '\n' || r == '\u202f'
}

func cut(text string, isSpace func(rune) bool) *Context {
	c := &Context{}
	start := -1 // of the word at work
	for i, r := range text {
		switch {
		case isSpace(r) && start >= 0:
			c.Words = append(c.Words, text[start:i])
			start = -1
		case !isSpace(r) && start < 0:
			c.starts = append(c.starts, int32(c.length))
			start = i
		}
		c.length++
	}
	if start >= 0 {
		c.Words = append(c.Words, text[start:])
	}
	return c
}

// wordAt returns the word that a code point is of; white space is of the word before it, and of the last one before the first, as an index of -1
// is in Python.
func (c *Context) wordAt(char int) int {
	i, begins := slices.BinarySearch(c.starts, int32(char))
	if begins {
		return i
	}
	return (i - 1 + len(c.Words)) % len(c.Words)
}

// Read reads a SQuAD file, which may be compressed; "-" is stdin. Errors name the place.
func Read(ctx context.Context, name string, stdin io.Reader) (*Data, error) {
	var file struct {
		Version string
		Data    []struct {
			Title      string
			Paragraphs []paragraph
		}
	}
	name, err := readJSON(ctx, name, stdin, &file)
	if err != nil {
		return nil, err
	}
	if file.Data == nil {
		return nil, fault.WithHint(fmt.Errorf("read %s: no key \"data\"", name), "a SQuAD file is {\"version\": ..., \"data\": [{\"paragraphs\": [{\"context\": ..., \"qas\": [...]}]}]}")
	}
	d := &Data{Name: name, Version: file.Version}
	for _, article := range file.Data {
		for i, p := range article.Paragraphs {
			if err := d.add(p); err != nil {
				return nil, fmt.Errorf("read %s: article %q, paragraph %d: %w", name, article.Title, i+1, err)
			}
		}
	}
	if len(d.Questions) == 0 {
		return nil, fmt.Errorf("read %s: no questions", name)
	}
	return d, nil
}

type paragraph struct {
	Context *string
	QAs     []struct {
		ID, Question *string
		Answers      []struct {
			Text  *string
			Start *int `json:"answer_start"`
		}
		Impossible *bool `json:"is_impossible"`
	}
}

// add takes in the questions of a paragraph.
func (d *Data) add(p paragraph) error {
	if p.Context == nil {
		return errors.New("no key \"context\"")
	}
	c := newContext(*p.Context)
	for i, qa := range p.QAs {
		if qa.ID == nil || qa.Question == nil {
			return fmt.Errorf("question %d: no key \"id\" or \"question\"", i+1)
		}
		q := &Question{ID: *qa.ID, Text: *qa.Question, Context: c, Impossible: qa.Impossible}
		if qa.Answers != nil {
			q.Gold = []Gold{}
		}
		for _, a := range qa.Answers {
			if a.Text == nil {
				return fmt.Errorf("question %s: an answer without the key \"text\"", q.ID)
			}
			g := Gold{Text: *a.Text, Start: -1}
			if a.Start != nil {
				g.Start = *a.Start
			}
			q.Gold = append(q.Gold, g)
		}
		d.Questions = append(d.Questions, q)
	}
	return nil
}

// readJSON reads a file of one JSON value into v and returns its name for messages.
func readJSON(ctx context.Context, name string, stdin io.Reader, v any) (string, error) {
	in, err := stream.Open(ctx, name, stdin)
	if err != nil {
		return name, err
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		return in.Name, err
	}
	if at := invalidUTF8(text); at < len(text) {
		return in.Name, fmt.Errorf("read %s: %s: not UTF-8", in.Name, place(text, at))
	}
	err = json.Unmarshal(text, v)
	syntax, kind := new(json.SyntaxError), new(json.UnmarshalTypeError)
	switch {
	case errors.As(err, &syntax):
		return in.Name, fmt.Errorf("read %s: %s: %w", in.Name, place(text, int(syntax.Offset)-1), err)
	case errors.As(err, &kind):
		return in.Name, fmt.Errorf("read %s: %s: %s where something else is expected", in.Name, place(text, int(kind.Offset)-1), kind.Value)
	case err != nil:
		return in.Name, fmt.Errorf("read %s: %w", in.Name, err)
	}
	return in.Name, nil
}

// invalidUTF8 returns where a text ceases to be UTF-8.
func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return len(text)
	}
	for at := 0; ; {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			return at
		}
		at += n
	}
}

// place names the place behind so many bytes.
func place(text []byte, offset int) string {
	before := text[:max(0, min(offset, len(text)))]
	return fmt.Sprintf("line %d, column %d", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n'))
}
