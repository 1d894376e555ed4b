package dataset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hpcbert/lib/stream"
)

// derivedNames are the files made of a set, by Set.Derive.
var derivedNames = map[string][]string{"mrpc": {"train.tsv", "dev.tsv", "test.tsv"}}

// deriveMRPC makes GLUE's three files of the original two in dir: the pairs in dev_ids.tsv become dev.tsv, the other ones of the training
// file train.tsv; in test.tsv a row number takes the place of the label.
func deriveMRPC(dir, to string) error {
	dev := map[string]bool{}
	ids, err := os.ReadFile(filepath.Join(dir, "dev_ids.tsv"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(ids)) {
		dev[strings.TrimSpace(line)] = true
	}
	var train, held, test bytes.Buffer
	err = mrpcRows(filepath.Join(dir, "msr_paraphrase_train.txt"), func(i int, line string, fields []string) {
		out := &train
		if i < 0 {
			held.WriteString(line + "\n")
		} else if dev[fields[1]+"\t"+fields[2]] {
			out = &held
		}
		out.WriteString(line + "\n")
	})
	if err != nil {
		return err
	}
	err = mrpcRows(filepath.Join(dir, "msr_paraphrase_test.txt"), func(i int, line string, fields []string) {
		if i < 0 {
			fields[0] = "index"
		} else {
			fields[0] = fmt.Sprint(i)
		}
		test.WriteString(strings.Join(fields, "\t") + "\n")
	})
	if err != nil {
		return err
	}
	for i, text := range []*bytes.Buffer{&train, &held, &test} {
		if err := stream.WriteFile(filepath.Join(to, derivedNames["mrpc"][i]), text.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// mrpcRows calls do for each row, the header as row -1.
func mrpcRows(name string, do func(i int, line string, fields []string)) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	i := -1
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		fields := strings.Split(line, "\t")
		if len(fields) != 5 {
			return fmt.Errorf("read %s: line %d: %d columns, want 5", name, i+2, len(fields))
		}
		do(i, line, fields)
		i++
	}
	return nil
}
