package sentence

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hpcbert/lib/fault"

	"github.com/neurosnap/sentences/data"
)

// punktTab writes a model as NLTK's save_punkt_params does.
func punktTab(t *testing.T, text []byte) string {
	var model struct{ AbbrevTypes, Collocations, SentStarters, OrthoContext map[string]int }
	if err := json.Unmarshal(text, &model); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, lines := range map[string]map[string]int{
		"abbrev_types.txt": model.AbbrevTypes, "sent_starters.txt": model.SentStarters, "collocations.tab": model.Collocations, "ortho_context.tab": model.OrthoContext,
	} {
		var all []string
		for line, n := range lines {
			switch name {
			case "collocations.tab":
				line = strings.Replace(line, ",", "\t", 1)
			case "ortho_context.tab":
				line = fmt.Sprintf("%s\t%d", line, n)
			}
			all = append(all, line)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(all, "\n")), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestModelsInBothForms(t *testing.T) {
	text := data.MustAsset("data/english.json")
	file := filepath.Join(t.TempDir(), "english.json")
	if err := os.WriteFile(file, text, 0o666); err != nil {
		t.Fatal(err)
	}
	want := englishModel(t)
	if len(want.words) < 20_000 || len(want.collocations) != 37 {
		t.Errorf("%d words, %d collocations", len(want.words), len(want.collocations))
	}
	for _, name := range []string{file, punktTab(t, text)} {
		if got, err := LoadFile(context.Background(), name); err != nil || !reflect.DeepEqual(want, got) {
			t.Errorf("%s: error %v, or another model", name, err)
		}
	}
}

func TestModelFaults(t *testing.T) {
	english := data.MustAsset("data/english.json")
	broken := func(name, text string) string {
		dir := punktTab(t, english)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	file := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(file, []byte(`{"a":1}`), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, says string }{
		{"none", "no such file"},
		{file, "no AbbrevTypes and no OrthoContext in it"},
		{t.TempDir(), "ortho_context.tab: no such file"},
		{broken("ortho_context.tab", "a\t2\nb\n"), "ortho_context.tab: line 2: 1 columns, want 2"},
		{broken("ortho_context.tab", "a\tx\n"), "ortho_context.tab: line 1: strconv"},
		{broken("abbrev_types.txt", ""), "no abbreviations in it"},
	} {
		_, err := LoadFile(context.Background(), c.name)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.HintOf(err), "punkt_tab/german") {
			t.Errorf("error %v, want %q", err, c.says)
		}
	}
}
