package stream

import (
	"io/fs"
	"os"
	"path/filepath"
)

// InFolder returns the paths of what is in the folder dir under names that fit a pattern, sorted; none of a folder that cannot be read. Unlike
// for filepath.Glob the folder's own name is no pattern. The error is a bad pattern.
func InFolder(dir, pattern string) ([]string, error) {
	names, err := fs.Glob(os.DirFS(filepath.Clean(dir)), pattern)
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
	}
	return names, err
}
