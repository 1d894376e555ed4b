package shard

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hpcbert/lib/fault"
)

// Files returns the text shards that args name. A folder means the files of its sets, all of them and no others: what each [NAME_]shards.json
// lists must be there, and any other .txt file beside it is refused. A folder without such a list means its .txt files but for vocab.txt,
// which lies beside HDF5 shards; warn is told that nobody knows whether they are all.
func Files(args []string, warn func(text string)) ([]string, error) {
	var files []string
	for _, name := range args {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fault.WithHint(err, "text shards are wanted, as shard writes them")
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		names, err := filesIn(name, warn)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			files = append(files, filepath.Join(name, n))
		}
	}
	return files, nil
}

// filesIn returns the names of the text shards in a folder, sorted.
func filesIn(dir string, warn func(text string)) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found, lists []string
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, ".") || e.IsDir() || name == "vocab.txt":
		case strings.HasSuffix(name, ".txt"):
			found = append(found, name)
		case name == listName || strings.HasSuffix(name, "_"+listName):
			lists = append(lists, name)
		}
	}
	switch {
	case len(lists) > 0:
		return found, checkLists(dir, lists, found)
	case len(found) == 0:
		return nil, fault.WithHint(fmt.Errorf("read %s: no .txt file in the folder", dir), "give the folder that shard has written, or name files of sentences")
	}
	warn(fmt.Sprintf("folder %s has no %s, which shard writes last: its %d .txt files are taken for all", dir, listName, len(found)))
	return found, nil
}

// checkLists compares the files found with those listed.
func checkLists(dir string, lists, found []string) error {
	var listed, problems []string
	for _, list := range lists {
		m, err := readManifest(dir, strings.TrimSuffix(strings.TrimSuffix(list, listName), "_"))
		if err != nil {
			return fault.WithHint(err, "the list of the shards is damaged: shard --force writes the set anew")
		}
		for _, f := range m.Files {
			listed = append(listed, f.File)
			if !slices.Contains(found, f.File) {
				problems = append(problems, fmt.Sprintf("%s is missing, of which %s tells", f.File, list))
			}
		}
	}
	for _, name := range found {
		if !slices.Contains(listed, name) {
			problems = append(problems, name+" is in no "+listName)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fault.WithHint(fmt.Errorf("folder %s does not hold the shards that were written to it:\n%s", dir, strings.Join(problems, "\n")),
		"run shard again, move what does not belong there, or name the files themselves instead of the folder")
}
