package glue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Example is one line of a file.
type Example struct {
	Name  string  // "dev-7"
	Index string  // the first column of a Test
	A, B  string  // B is "" where there is no second text
	Class int32   // of the label
	Value float32 // of a label that is a number
}

// Set is the examples of a split.
type Set struct {
	Split    Split
	Path     string
	Examples []Example
	Ragged   int // lines left out because columns are missing, where that is known of the published data
}

// Read reads a split: UTF-8, a tab between columns, quotation marks plain text. A byte order mark and the CRs of CR LF are dropped, any
// known compression is undone. Errors name the file and the line.
func (t *Task) Read(ctx context.Context, path string, s Split) (*Set, error) {
	in, err := stream.Open(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	set := &Set{Split: s, Path: path}
	if err := t.readLines(in, set); err != nil {
		return nil, err
	}
	if len(set.Examples) == 0 {
		return nil, fmt.Errorf("read %s: no examples", path)
	}
	return set, nil
}

func (t *Task) readLines(r io.Reader, set *Set) error {
	in := bufio.NewReader(r)
	for number, blank := 0, 0; ; number++ {
		line, err := in.ReadString('\n')
		if err != nil && (err != io.EOF || line == "") {
			return unlessEnd(err) // names the file
		}
		if number == 0 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" { // at the end they say nothing
			blank++
			continue
		}
		if blank > 0 {
			number -= blank
			err = errors.New("is empty")
		} else if err = t.add(set, number, line); err == nil {
			continue
		}
		return fault.WithHint(fmt.Errorf("read %s: line %d: %w", set.Path, number+1, err), "%s of %s has tabs between its columns: %s", set.Split.File, t.Name, set.Split.columns.form())
	}
}

func unlessEnd(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// add takes in the line of that number, counted from 0.
func (t *Task) add(set *Set, number int, line string) error {
	c := set.Split.columns
	if !utf8.ValidString(line) {
		return errors.New("is not UTF-8")
	}
	fields := strings.Split(line, "\t")
	if number == 0 && !c.headless {
		return t.checkHeader(c, fields)
	}
	if short := len(fields) < c.width(); short && c.ragged {
		set.Ragged++
		return nil
	} else if short {
		return fmt.Errorf("%d column(s), at least %d are needed", len(fields), c.width())
	}
	e := Example{Name: fmt.Sprintf("%s-%d", set.Split.Name, number), Index: fields[0], A: fields[c.a]}
	if c.name != numbered {
		e.Name = set.Split.Name + "-" + fields[c.name]
	}
	if c.b != none {
		e.B = fields[c.b]
	}
	if c.label != none {
		if err := t.label(&e, c.of(fields)); err != nil {
			return err
		}
	}
	set.Examples = append(set.Examples, e)
	return nil
}

// checkHeader refuses a file whose first line is an example: it would be lost.
func (t *Task) checkHeader(c columns, fields []string) error {
	_, notNumber := strconv.Atoi(fields[0])
	example := c.label == none && notNumber == nil // a file without labels begins with its examples' numbers
	if c.label != none && len(fields) >= c.width() {
		example = t.label(new(Example), c.of(fields)) == nil
	}
	if example {
		return errors.New("is an example, not the names of the columns")
	}
	return nil
}

// width is the number of columns that a line must have.
func (c columns) width() int {
	n := max(c.a, c.b, c.label) + 1
	if c.label == last {
		n++ // behind the texts
	}
	return n
}

// of returns the label's column.
func (c columns) of(fields []string) string {
	if c.label == last {
		return fields[len(fields)-1]
	}
	return fields[c.label]
}

// form says what a file looks like.
func (c columns) form() string {
	text := "a line of column names, then "
	if c.headless {
		text = ""
	}
	text += fmt.Sprintf("a text in column %d", c.a+1)
	if c.b != none {
		text += fmt.Sprintf(", a second one in column %d", c.b+1)
	}
	switch c.label {
	case none:
		return text
	case last:
		return text + ", the label in the last column"
	}
	return text + fmt.Sprintf(", the label in column %d", c.label+1)
}

// label puts a label into an example.
func (t *Task) label(e *Example, text string) error {
	if t.Regression() {
		x, err := strconv.ParseFloat(text, 32)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("label %q: is not a number", text)
		}
		e.Value = float32(x)
		return nil
	}
	class := slices.Index(t.Labels, text)
	if class < 0 {
		return fmt.Errorf("label %q: is none of %s", text, strings.Join(t.Labels, ", "))
	}
	e.Class = int32(class)
	return nil
}
