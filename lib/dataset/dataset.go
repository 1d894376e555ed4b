// Package dataset fetches public data sets and weights: verified, unpacked and whole, or not at all.
package dataset

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hpcbert/lib/fault"
)

// Catalogue is what can be fetched, and from where.
type Catalogue struct {
	Sets []Set `json:"sets"`
}

// Set is files that belong together.
type Set struct {
	Name    string   `json:"name"`
	Also    []string `json:"also,omitempty"` // other names that people give it
	What    string   `json:"what"`
	Source  string   `json:"source"`  // page of those who publish it
	Licence string   `json:"licence"` // as they state it
	Sums    string   `json:"sums"`    // who publishes the checksums
	Folder  string   `json:"folder"`  // below the output folder

	Files  []File `json:"files,omitempty"`
	Derive string `json:"derive,omitempty"` // what is made of the files: "mrpc"

	Mirrors []string `json:"mirrors,omitempty"` // of Wikimedia dumps: their files are found when asked for

	Unavailable string `json:"unavailable,omitempty"` // why nobody can fetch it
	Instead     string `json:"instead,omitempty"`     // what to do
}

// File is one download.
type File struct {
	Name    string   `json:"name"`
	URLs    []string `json:"urls"` // of the same bytes, tried in this order
	Unpack  string   `json:"unpack,omitempty"`
	Members []Member `json:"members,omitempty"` // what is taken out of the archive
	Content

	most int64 // bytes that it may have where Size is not known; 0 = any number
}

// Member is a file inside an archive.
type Member struct {
	Path string `json:"path"` // there; not used with gz and bz2, which hold one file
	Name string `json:"name"` // here
	Content
}

// Content tells how a file is known to be the right one. Fields that are not known are empty.
type Content struct {
	Size    int64  `json:"size,omitempty"` // bytes
	SHA256  string `json:"sha256,omitempty"`
	SHA1    string `json:"sha1,omitempty"`
	MD5     string `json:"md5,omitempty"`
	Format  string `json:"format,omitempty"`  // squad, json, text, html, safetensors, zip, gzip, bzip2
	Records int    `json:"records,omitempty"` // questions of squad, lines of text
}

// summed tells whether a checksum is known.
func (c Content) summed() bool { return c.SHA256 != "" || c.SHA1 != "" || c.MD5 != "" }

// Size returns the bytes to download, as far as they are known.
func (s Set) Size() int64 {
	var n int64
	for _, f := range s.Files {
		n += f.Size
	}
	return n
}

// refusal is the error of a set that is unavailable.
func (s Set) refusal() error { return fault.WithHint(errors.New(s.Unavailable), "%s", s.Instead) }

//go:embed catalogue.json
var builtIn []byte

// Load returns the built-in catalogue and the sets of a file, "" for none, which come first: the first of a name is found.
func Load(file string) (*Catalogue, error) {
	c, err := ours()
	if err != nil || file == "" {
		return c, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	own, err := parse(text, file)
	if err != nil {
		return nil, err
	}
	own.Sets = append(own.Sets, c.Sets...)
	return own, nil
}

// ours returns the catalogue that comes with the program.
func ours() (*Catalogue, error) { return parse(builtIn, "built-in catalogue") }

// parse reads a catalogue; name stands in errors.
func parse(data []byte, name string) (*Catalogue, error) {
	var c Catalogue
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	for _, s := range c.Sets {
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("read %s: set %q: %w", name, s.Name, err)
		}
	}
	return &c, nil
}

// Find returns the set of that name.
func (c *Catalogue) Find(name string) (Set, error) {
	i := slices.IndexFunc(c.Sets, func(s Set) bool { return s.Name == name || slices.Contains(s.Also, name) })
	if i < 0 {
		return Set{}, fault.WithHint(fault.Usagef("no set %q", name), "getdata list prints the names")
	}
	return c.Sets[i], nil
}

// Pick returns the sets of these names, without names all.
func (c *Catalogue) Pick(names []string) (sets []Set, err error) {
	if len(names) == 0 {
		return c.Sets, nil
	}
	for _, name := range names {
		set, err := c.Find(name)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// Write prints the sets of these names, or all: name, bytes to download, licence, what it is.
func (c *Catalogue) Write(out io.Writer, names []string) error {
	sets, err := c.Pick(names)
	if err != nil {
		return err
	}
	for _, s := range sets {
		if err := writeRow(out, s.Name, bytesOf(s.Size()), s.Licence, s.What); err != nil {
			return err
		}
	}
	return nil
}

// WriteFiles prints the files of the sets of these names, or all, as a folder for Store.From holds them: set, file, bytes, first address.
func (c *Catalogue) WriteFiles(out io.Writer, names []string, w Wiki) error {
	sets, err := c.Pick(names)
	if err != nil {
		return err
	}
	for _, s := range sets {
		files := s.Files
		if len(s.Mirrors) > 0 {
			s.Folder, files = "", w.files(s.Mirrors[0])
		}
		for _, f := range files {
			if err := writeRow(out, s.Name, path.Join(s.Folder, f.Name), bytesOf(f.Size), f.URLs[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

func bytesOf(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func writeRow(out io.Writer, columns ...string) error {
	if _, err := fmt.Fprintln(out, strings.Join(columns, "\t")); err != nil {
		return fmt.Errorf("write standard output: %w", err)
	}
	return nil
}

var (
	unpackers = []string{"", "zip", "tar.gz", "gz", "bz2"}
	formats   = []string{"", "squad", "json", "text", "html", "safetensors", "zip", "gzip", "bzip2"}
	derived   = []string{"", "mrpc"}
)

// check refuses what would write outside of the set's folder, or could not be done.
func (s Set) check() error {
	if s.Name == "" || !plainName(s.Name) {
		return fmt.Errorf("it needs a name without slashes")
	}
	if s.Unavailable != "" {
		return nil
	}
	if !filepath.IsLocal(s.Folder) {
		return fmt.Errorf("folder %q is not below the output folder", s.Folder)
	}
	if !slices.Contains(derived, s.Derive) {
		return fmt.Errorf("derive %q is not known", s.Derive)
	}
	if len(s.Files) == 0 && len(s.Mirrors) == 0 {
		return fmt.Errorf("it has no files")
	}
	for _, f := range s.Files {
		if err := f.check(); err != nil {
			return fmt.Errorf("file %q: %w", f.Name, err)
		}
	}
	return nil
}

func (f File) check() error {
	switch {
	case !plainName(f.Name):
		return fmt.Errorf("its name must be one without slashes")
	case len(f.URLs) == 0:
		return fmt.Errorf("it has no urls")
	case !slices.Contains(unpackers, f.Unpack):
		return fmt.Errorf("unpack %q is not known", f.Unpack)
	case f.Unpack == "" && len(f.Members) > 0, f.Unpack != "" && len(f.Members) == 0:
		return fmt.Errorf("members go with unpack")
	case (f.Unpack == "gz" || f.Unpack == "bz2") && len(f.Members) > 1:
		return fmt.Errorf("%s holds one member", f.Unpack)
	}
	for _, address := range f.URLs {
		if _, err := addressOf(address); err != nil || !strings.Contains(address, "://") {
			return fmt.Errorf("url %q is not an http, https or file address", address)
		}
	}
	for _, c := range f.contents() {
		if !slices.Contains(formats, c.Format) {
			return fmt.Errorf("format %q is not known", c.Format)
		}
	}
	for _, m := range f.Members {
		if !plainName(m.Name) {
			return fmt.Errorf("member %q: its name must be one without slashes", m.Name)
		}
	}
	return nil
}

func (f File) contents() []Content {
	all := []Content{f.Content}
	for _, m := range f.Members {
		all = append(all, m.Content)
	}
	return all
}

func plainName(name string) bool {
	return name != "" && path.Base(name) == name && !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "/\\\x00")
}
