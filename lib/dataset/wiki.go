package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Wiki says which Wikipedia dump is wanted.
type Wiki struct {
	Language string // as in the address of the Wikipedia: "en", "simple", "zh-min-nan"
	Date     string // YYYYMMDD, or "latest" for the newest whole one
}

var (
	language = regexp.MustCompile(`^[a-z][a-z0-9_-]{1,20}$`)
	dayLink  = regexp.MustCompile(`href="(?:[^"]*/)?(20\d{6})/"`)
	dumpFile = regexp.MustCompile(`-pages-articles(?:-multistream)?(\d*)\.xml(?:-p(\d+)p\d+)?\.bz2$`)
)

// dumpJobs are the parts of a dump that hold all articles, best first: one file, then several.
var dumpJobs = []string{"articlesmultistreamdumprecombine", "articlesmultistreamdump", "articlesdumprecombine", "articlesdump"}

// Check refuses what cannot be a dump.
func (w Wiki) Check() error {
	if !language.MatchString(w.Language) {
		return fault.WithHint(fault.Usagef("language %q", w.Language), "as in the address of the Wikipedia: en, de, simple, zh-min-nan")
	}
	if _, err := time.Parse("20060102", w.Date); err != nil && w.Date != "latest" {
		return fault.WithHint(fault.Usagef("date %q is neither YYYYMMDD nor latest", w.Date), "dumps are dated the 1st and the 20th of a month")
	}
	return nil
}

// database is the name of the Wikipedia in the dumps.
func (w Wiki) database() string {
	if w.Language == "be-tarask" {
		return "be_x_oldwiki"
	}
	return strings.ReplaceAll(w.Language, "-", "_") + "wiki"
}

// files is what a mirror has of a dump, as far as its status does not say more.
func (w Wiki) files(mirror string) (files []File) {
	day := w.Date
	if day == "latest" {
		day = "YYYYMMDD"
	}
	for _, name := range []string{"dumpstatus.json", w.database() + "-" + day + "-pages-articles-multistream*.xml*.bz2"} {
		name = w.database() + "/" + day + "/" + name
		files = append(files, File{Name: name, URLs: []string{mirror + "/" + name}})
	}
	return files
}

// resolve returns the set of a dump's files, with the checksums that the dump publishes, for a set of mirrors; without files when a dump of
// that date is here.
func (s *Store) resolve(ctx context.Context, set Set) (Set, error) {
	w := s.Wiki
	if len(set.Mirrors) == 0 || len(set.Files) > 0 {
		return set, nil
	}
	if s.From != "" {
		set.Mirrors = []string{s.From}
	}
	days := []string{w.Date}
	if w.Date != "latest" {
		named := set
		named.Name = w.database() + "-" + w.Date
		if m, err := s.Manifest(named); err != nil || m != nil && !s.Force {
			return named, err // here already: no network is needed
		}
	} else {
		index, err := s.document(ctx, set, File{Name: w.database() + "-index.html", Content: Content{Format: "html"}}, w.database()+"/")
		if not := (absent{}); errors.As(err, &not) && s.From == "" {
			err = fault.WithHint(err, "is %q the language as in the address of the Wikipedia? There: en, de, simple, zh-min-nan", w.Language)
		}
		if err != nil {
			return Set{}, err
		}
		if days = findDays(index); len(days) == 0 {
			return Set{}, fault.WithHint(fmt.Errorf("the list of dumps of %s names no date", w.database()), "give one with --date YYYYMMDD")
		}
	}
	found, err := s.dump(ctx, set, days[0])
	for _, day := range days[1:] {
		var not absent
		if !errors.As(err, &not) {
			break
		}
		s.Fetcher.Warn("%v: trying the dump of %s", err, day)
		found, err = s.dump(ctx, set, day)
	}
	return found, err
}

// dump asks for the files of one dump. The error is absent if it is not there, or not whole yet.
func (s *Store) dump(ctx context.Context, set Set, day string) (Set, error) {
	database := s.Wiki.database()
	status, err := s.document(ctx, set, File{Name: database + "-" + day + "-dumpstatus.json", Content: Content{Format: "json"}}, database, day, "dumpstatus.json")
	if err != nil {
		return Set{}, err
	}
	return dumpOf(set, database, day, status)
}

// placedDump returns the set of the dump that is wanted, without its files; for latest, of the newest one that is in the store's folder.
func (s *Store) placedDump(set Set) Set {
	prefix := s.Wiki.database() + "-"
	set.Name = prefix + s.Wiki.Date
	if s.Wiki.Date == "latest" {
		names, _ := stream.InFolder(s.Folder(set), manifestPrefix+prefix+"20??????"+manifestSuffix) // sorted; the pattern is a good one
		if len(names) > 0 {
			last := filepath.Base(names[len(names)-1])
			set.Name = strings.TrimSuffix(strings.TrimPrefix(last, manifestPrefix), manifestSuffix)
		}
	}
	return set
}

// mostDocument is far above the megabyte of a large dump's status.
const mostDocument = 64 << 20

// document fetches a small file and returns its text.
func (s *Store) document(ctx context.Context, set Set, f File, path ...string) ([]byte, error) {
	f.most = mostDocument
	for _, mirror := range set.Mirrors {
		f.URLs = append(f.URLs, below(mirror, path...))
	}
	if err := s.inFrom(strings.Join(path, "/"), f.URLs); err != nil {
		return nil, absent{err}
	}
	dir, err := os.MkdirTemp(s.Temp, "getdata-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	part := filepath.Join(dir, "document")
	if err := s.Fetcher.Fetch(ctx, f, part); err != nil {
		return nil, err
	}
	return os.ReadFile(part)
}

// findDays returns the dates of dumps in a list of folders, newest first, a handful.
func findDays(index []byte) (days []string) {
	for _, m := range dayLink.FindAllSubmatch(index, -1) {
		days = append(days, string(m[1]))
	}
	slices.Sort(days)
	days = slices.Compact(days)
	slices.Reverse(days)
	return days[:min(len(days), 5)]
}

type dumpStatus struct {
	Jobs map[string]struct {
		Status string `json:"status"`
		Files  map[string]struct {
			Size int64  `json:"size"`
			SHA1 string `json:"sha1"`
			MD5  string `json:"md5"`
		} `json:"files"`
	} `json:"jobs"`
}

// dumpOf reads a dump's status.
func dumpOf(set Set, database, day string, status []byte) (Set, error) {
	var dump dumpStatus
	if err := json.Unmarshal(status, &dump); err != nil {
		return Set{}, fmt.Errorf("read dumpstatus.json of %s %s: %w", database, day, err)
	}
	out := set
	out.Name, out.Files = database+"-"+day, nil
	for _, job := range dumpJobs {
		if dump.Jobs[job].Status != "done" {
			continue
		}
		for name, info := range dump.Jobs[job].Files {
			if !plainName(name) || !strings.HasPrefix(name, database+"-"+day+"-") || !dumpFile.MatchString(name) {
				continue
			}
			f := File{Name: name, Content: Content{Size: info.Size, SHA1: info.SHA1, MD5: info.MD5, Format: "bzip2"}}
			for _, mirror := range set.Mirrors {
				f.URLs = append(f.URLs, below(mirror, database, day, name))
			}
			out.Files = append(out.Files, f)
		}
		if len(out.Files) > 0 {
			slices.SortFunc(out.Files, func(a, b File) int { return slices.Compare(partOf(a.Name), partOf(b.Name)) })
			return out, nil
		}
	}
	return Set{}, absent{fault.WithHint(errors.New("the dump "+database+" of "+day+" is not finished, or holds no articles"), "an older one: --date YYYYMMDD")}
}

// partOf returns the number of a dump's part and its first page, by which the parts are in order.
func partOf(name string) []int {
	var numbers []int
	for _, digits := range dumpFile.FindStringSubmatch(name)[1:] {
		n, _ := strconv.Atoi(digits) // absent in a dump of one file
		numbers = append(numbers, n)
	}
	return numbers
}
