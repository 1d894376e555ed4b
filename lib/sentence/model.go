package sentence

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// LoadFile reads a model of another language. It is a JSON file of the module github.com/neurosnap/sentences: an object of AbbrevTypes,
// Collocations ("first,second"), SentStarters and OrthoContext, each an object of numbers. Or it is a folder of NLTK's punkt_tab:
// abbrev_types.txt and sent_starters.txt with a word a line, collocations.tab with two words a line, ortho_context.tab with a word and a
// number a line.
func LoadFile(ctx context.Context, name string) (*Punkt, error) {
	p, err := loadFile(ctx, name)
	if err != nil {
		return nil, fault.WithHint(fmt.Errorf("read the Punkt model %s: %w", name, err),
			"models are JSON files such as data/german.json of github.com/neurosnap/sentences, and folders such as punkt_tab/german of NLTK's data")
	}
	return p, nil
}

func loadFile(ctx context.Context, name string) (*Punkt, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return loadFolder(ctx, name)
	}
	text, err := readAll(ctx, name)
	if err != nil {
		return nil, err
	}
	return parseJSON(text)
}

func readAll(ctx context.Context, name string) ([]byte, error) {
	f, err := stream.Open(ctx, name, nil)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func loadFolder(ctx context.Context, folder string) (*Punkt, error) {
	p := newPunkt()
	for _, file := range []struct {
		name    string
		columns int
		take    func(column []string) error
	}{
		{"ortho_context.tab", 2, func(column []string) error {
			bits, err := strconv.Atoi(column[1])
			p.set(column[0], func(w *word) { w.ortho = uint8(bits) })
			return err
		}},
		{"abbrev_types.txt", 1, func(column []string) error {
			p.set(column[0], func(w *word) { w.abbreviation = true })
			return nil
		}},
		{"sent_starters.txt", 1, func(column []string) error {
			p.set(column[0], func(w *word) { w.starter = true })
			return nil
		}},
		{"collocations.tab", 2, func(column []string) error {
			p.collocate(column[0], column[1])
			return nil
		}},
	} {
		if err := readTable(ctx, filepath.Join(folder, file.name), file.columns, file.take); err != nil {
			return nil, err
		}
	}
	return p, p.check("abbreviations", "orthographic contexts")
}

// readTable gives the columns of each line of a file to take.
func readTable(ctx context.Context, name string, columns int, take func(column []string) error) error {
	text, err := readAll(ctx, name)
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		column := strings.Split(line, "\t")
		if len(column) != columns {
			return fmt.Errorf("%s: line %d: %d columns, want %d", filepath.Base(name), n, len(column), columns)
		}
		if err := take(column); err != nil {
			return fmt.Errorf("%s: line %d: %w", filepath.Base(name), n, err)
		}
	}
	return nil
}
