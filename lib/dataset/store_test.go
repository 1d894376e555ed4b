package dataset

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"

	"github.com/google/go-cmp/cmp"
)

// files is the files of a site, by path.
type files map[string]string

// site serves files as a good server does, and counts requests in asked.
func site(t *testing.T, f files) (h *host, asked *[]string) {
	asked = &[]string{}
	return newHost(t, func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path)
		text, found := f[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		switch text {
		case "503":
			status(503)(w, r)
		case "endless":
			endless(w, r)
		default:
			serve([]byte(text), `"1"`)(w, r)
		}
	}), asked
}

func newStore(t *testing.T) *Store {
	return &Store{Dir: filepath.Join(t.TempDir(), "data"), Temp: t.TempDir(), Fetcher: &newRecorder().Fetcher}
}

// tree returns the contents of all files below a folder, but for manifests.
func tree(t *testing.T, dir string) files {
	t.Helper()
	found := files{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), "getdata-") {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		found[name] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return found
}

func zipped(t *testing.T, members files) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range members {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(text))
	}
	z.Close()
	return b.String()
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

func tarred(members files) string {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	t.WriteHeader(&tar.Header{Name: "./a/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})
	for name, text := range members {
		t.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o600, Typeflag: tar.TypeReg})
		t.Write([]byte(text))
	}
	t.Close()
	return gzipped(b.String())
}

// bzipped is "hello\n" as bzip2 -c writes it: Go has no writer for bzip2.
var bzipped = func() string {
	data, err := base64.StdEncoding.DecodeString("QlpoOTFBWSZTWcHAgOIAAAFBAAAQAkSgADDNAMNGKZcXckU4UJDBwIDi")
	if err != nil {
		panic(err)
	}
	return string(data)
}()

// small is a set of two plain files and an archive.
func small(base, archive string) Set {
	return Set{Name: "small", Folder: "a/b", Licence: "free", Files: []File{
		{Name: "one.txt", URLs: []string{base + "/one.txt"}, Content: Content{SHA256: sum([]byte("one\n"))}},
		{Name: "two.txt", URLs: []string{base + "/two.txt"}, Content: Content{Format: "text", Records: 2}},
		{Name: "three.zip", URLs: []string{base + "/three.zip"}, Unpack: "zip", Content: Content{SHA256: sum([]byte(archive))},
			Members: []Member{{Path: "x/three.txt", Name: "three.txt"}}},
	}}
}

var smallFiles = files{"a/b/one.txt": "one\n", "a/b/two.txt": "a\nb\n", "a/b/three.txt": "three\n"}

func smallSite(t *testing.T) (Set, *[]string, string) {
	archive := zipped(t, files{"x/three.txt": "three\n", "x/more.txt": "more"})
	h, asked := site(t, files{"/one.txt": "one\n", "/two.txt": "a\nb\n", "/three.zip": archive})
	return small(h.URL, archive), asked, archive
}

func TestGet(t *testing.T) {
	set, asked, archive := smallSite(t)
	s := newStore(t)
	m, kept, err := s.Get(t.Context(), set)
	if err != nil || kept || m.Bytes() != 14 || len(*asked) != 3 {
		t.Fatalf("%v, kept %v, requests %q, %v", m, kept, *asked, err)
	}
	if diff := cmp.Diff(smallFiles, tree(t, s.Dir)); diff != "" {
		t.Error(diff)
	}
	var known []bool
	for _, e := range m.Files {
		known = append(known, e.Known)
	}
	if !slices.Equal(known, []bool{true, false, true}) {
		t.Errorf("known checksums: %v", known)
	}
	// The second time nothing is fetched; archives are kept when asked.
	if _, kept, err = s.Get(t.Context(), set); err != nil || !kept || len(*asked) != 3 {
		t.Errorf("kept %v, requests %q, %v", kept, *asked, err)
	}
	s.Keep, s.Force = true, true
	if _, _, err = s.Get(t.Context(), set); err != nil || len(*asked) != 6 || tree(t, s.Dir)["a/b/three.zip"] != archive {
		t.Errorf("requests %q, %v", *asked, err)
	}
	// A tree fetched with the archives serves a site without network.
	other := newStore(t)
	if other.From, err = addressOf(s.Dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err = other.Get(t.Context(), set); err != nil || len(*asked) != 6 {
		t.Errorf("requests %q, %v", *asked, err)
	}
	if diff := cmp.Diff(smallFiles, tree(t, other.Dir)); diff != "" {
		t.Error(diff)
	}
}

// Whatever an earlier run left or others did, the set is right at the end, or the error says why not.
func TestGetAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(t *testing.T, s *Store, set Set)
		fault  string
		asked  int
	}{
		{"killed before the first rename", func(t *testing.T, s *Store, set Set) {
			put(t, s.workName(set), "one.txt", "one\n")
			put(t, s.workName(set), "two.txt.part", "a\n")
		}, "", 2},
		{"killed between the renames", func(t *testing.T, s *Store, set Set) { put(t, s.Folder(set), "one.txt", "one\n") }, "", 2},
		{"killed before the manifest", func(t *testing.T, s *Store, set Set) {
			whole(t, s, set)
			os.Remove(s.manifestName(set))
		}, "", 2},
		{"a file is cut", func(t *testing.T, s *Store, set Set) {
			whole(t, s, set)
			put(t, s.Folder(set), "two.txt", "a\n")
		}, "", 2},
		{"a file is gone", func(t *testing.T, s *Store, set Set) {
			whole(t, s, set)
			os.Remove(filepath.Join(s.Folder(set), "three.txt"))
		}, "", 2},
		{"the manifest is broken", func(t *testing.T, s *Store, set Set) {
			whole(t, s, set)
			put(t, s.Folder(set), "getdata-small.json", "{")
		}, "", 2},
		{"the catalogue wants another file", func(t *testing.T, s *Store, set Set) {
			set.Files = slices.Clone(set.Files)
			set.Files[0].SHA256 = ""
			set.Files[0].URLs = set.Files[1].URLs
			whole(t, s, set)
		}, "", 3},
		{"a file of somebody else", func(t *testing.T, s *Store, set Set) { put(t, s.Folder(set), "two.txt", "mine") }, "two.txt exists and is another file", 3},
		{"a file of somebody else, forced", func(t *testing.T, s *Store, set Set) {
			put(t, s.Folder(set), "two.txt", "mine")
			s.Force = true
		}, "", 3},
		{"another run is at work", func(t *testing.T, s *Store, set Set) {
			f, err := lockFolder(s.workName(set))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
		}, "another run is at work in", 0},
		{"broken download of an earlier run", func(t *testing.T, s *Store, set Set) { put(t, s.workName(set), "three.zip", "PK") }, "", 3},
		{"the folder's place is taken", func(t *testing.T, s *Store, set Set) { put(t, s.Dir, "a", "file") }, "not a directory", 0},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			set, asked, _ := smallSite(t)
			s := newStore(t)
			c.before(t, s, set)
			*asked = nil
			_, _, err := s.Get(t.Context(), set)
			if len(*asked) != c.asked {
				t.Errorf("requests %q, want %d", *asked, c.asked)
			}
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("got %v", err)
				}
				return
			}
			if diff := cmp.Diff(smallFiles, tree(t, s.Dir)); diff != "" || err != nil {
				t.Error(err, diff)
			}
			if _, err := s.Check(t.Context(), set); err != nil {
				t.Error(err)
			}
		})
	}
}

func whole(t *testing.T, s *Store, set Set) {
	t.Helper()
	if _, _, err := s.Get(t.Context(), set); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// A set that fails leaves no file of it in its folder, and what it has for the next run.
func TestGetFails(t *testing.T) {
	archive := zipped(t, files{"x/other.txt": "other"})
	for _, c := range []struct {
		name  string
		site  files
		fault string
	}{
		{"second file missing", files{"/one.txt": "one\n"}, "fetch two.txt: "},
		{"second file of too few lines", files{"/one.txt": "one\n", "/two.txt": "a\n"}, "the file has 1 records, want 2"},
		{"second file is no text", files{"/one.txt": "one\n", "/two.txt": "\x00\x01\n\n"}, "not a whole text file"},
		{"member missing", files{"/one.txt": "one\n", "/two.txt": "a\nb\n", "/three.zip": archive}, "unpack three.zip: open x/three.txt: file does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _ := site(t, c.site)
			s := newStore(t)
			_, _, err := s.Get(t.Context(), small(h.URL, archive))
			if err == nil || !strings.Contains(err.Error(), c.fault) || fault.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(filepath.Join(s.Dir, "a")); err == nil {
				t.Error("the set's folder was made")
			}
			if text, _ := os.ReadFile(filepath.Join(s.Dir, ".getdata-small", "one.txt")); string(text) != "one\n" {
				t.Error("the first file was not kept for the next run")
			}
		})
	}
}

func TestUnavailable(t *testing.T) {
	c, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	set, err := c.Find("bookscorpus")
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	if _, _, err = s.Get(t.Context(), set); err == nil || !strings.Contains(fault.HintOf(err), "BOOKS=FOLDER") {
		t.Errorf("got %v, hint %s", err, fault.HintOf(err))
	}
}

// Runs that come to their end and begin at the same time never hold a folder that another one has removed.
func TestLockFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "work")
	var wait sync.WaitGroup
	var held atomic.Int64
	for range 4 {
		wait.Go(func() {
			for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
				f, err := lockFolder(dir)
				if err != nil {
					if !strings.Contains(err.Error(), "another run is at work") {
						t.Error(err)
					}
					continue
				}
				held.Add(1)
				if !stream.HasName(f) {
					t.Error("the folder held is gone")
				}
				os.Remove(dir)
				f.Close()
			}
		})
	}
	wait.Wait()
	if held.Load() < 10 {
		t.Errorf("held %d times", held.Load())
	}
}

// A set of which nothing came leaves nothing.
func TestGetLeavesNothing(t *testing.T) {
	h := newHost(t, status(404))
	s := newStore(t)
	_, _, err := s.Get(t.Context(), small(h.URL, ""))
	if _, there := os.Stat(s.Dir); err == nil || there == nil {
		t.Errorf("got %v, the folder: %v", err, there)
	}
}

// What lies ready need not be in the folder; one file more, and the copy of a missing one is not begun.
func TestFromFolder(t *testing.T) {
	set, _, archive := smallSite(t)
	s := newStore(t)
	from := t.TempDir()
	if err := s.SetFrom(from); err != nil {
		t.Fatal(err)
	}
	put(t, from, "one.txt", "one\n")
	put(t, filepath.Join(from, "a", "b"), "three.zip", archive)
	if _, _, err := s.Get(t.Context(), set); err == nil || err.Error() != from+" has no two.txt" {
		t.Errorf("got %v", err)
	}
	if left := tree(t, s.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	put(t, s.workName(set), "two.txt", "a\nb\n")
	whole(t, s, set)
	if diff := cmp.Diff(smallFiles, tree(t, s.Dir)); diff != "" {
		t.Error(diff)
	}
	unreadable := newStore(t)
	unreadable.From = "file://" + from
	os.Mkdir(filepath.Join(from, "two.txt"), 0o777)
	if _, _, err := unreadable.Get(t.Context(), set); err == nil {
		t.Error("a folder in the place of a file: no error")
	}
}

func TestNoRoom(t *testing.T) {
	s := newStore(t)
	_, _, err := s.Get(t.Context(), Set{Name: "huge", Folder: "huge", Files: []File{{Name: "f", URLs: []string{"http://localhost/f"}, Content: Content{Size: 1 << 60}}}})
	if err == nil || !strings.Contains(err.Error(), "it needs 1152921504606846976 more bytes") {
		t.Errorf("got %v", err)
	}
}

func TestCheck(t *testing.T) {
	set, _, _ := smallSite(t)
	s := newStore(t)
	if _, err := s.Check(t.Context(), set); fault.KindOf(err) != fault.Answer {
		t.Errorf("nothing there: %v", err)
	}
	whole(t, s, set)
	if _, err := s.Check(t.Context(), set); err != nil {
		t.Error(err)
	}
	put(t, s.Folder(set), "one.txt", "oNe\n")
	if _, err := s.Check(t.Context(), set); fault.KindOf(err) != fault.Answer || !strings.Contains(err.Error(), "one.txt: its sha256 is") {
		t.Errorf("one changed byte: %v", err)
	}
}

func TestUnpack(t *testing.T) {
	tarball := tarred(files{"./a/x.txt": "hello\n", "../../out.txt": "out"})
	one := []Member{{Path: "a/x.txt", Name: "x.txt", Content: Content{SHA256: sum([]byte("hello\n"))}}}
	cutZip := zipped(t, files{"a/x.txt": "hello\n"})
	stored := strings.Replace(storedZip(t), "hello", "jello", 1)
	for _, c := range []struct {
		name, kind, archive string
		members             []Member
		fault               string
	}{
		{"zip", "zip", zipped(t, files{"a/x.txt": "hello\n", "../out.txt": "out"}), one, ""},
		{"tar.gz", "tar.gz", tarball, one, ""},
		{"gz", "gz", gzipped("hello\n"), one, ""},
		{"bz2", "bz2", bzipped, one, ""},
		{"member of other content", "zip", zipped(t, files{"a/x.txt": "jello\n"}), one, "x.txt: its sha256 is"},
		{"empty member", "zip", zipped(t, files{"a/x.txt": ""}), []Member{{Path: "a/x.txt", Name: "x.txt"}}, "x.txt: the file is empty"},
		{"wrong checksum in the zip", "zip", stored, []Member{{Path: "a/x.txt", Name: "x.txt"}}, "x.txt: zip: checksum error"},
		{"zip without the member", "zip", zipped(t, files{"x.txt": "hello\n"}), one, "file does not exist"},
		{"member is a folder", "zip", zipped(t, files{"a/x.txt/y": "hello\n"}), one, "x.txt"},
		{"tar.gz without the member", "tar.gz", tarred(files{"x.txt": "hello\n"}), one, "a/x.txt is not in it"},
		{"member is a link", "tar.gz", tarball, []Member{{Path: "a/link", Name: "link"}}, "a/link is not in it"},
		{"zip that fills the disk", "zip", zipped(t, files{"a/x.txt": strings.Repeat("0", 4<<20)}), []Member{{Path: "a/x.txt", Name: "x.txt"}}, "x.txt: it unpacks to more than"},
		{"gz that fills the disk", "gz", gzipped(strings.Repeat("0", 4<<20)), []Member{{Name: "x.txt"}}, "x.txt: it unpacks to more than"},
		{"tar.gz that fills the disk", "tar.gz", tarred(files{"a/x.txt": strings.Repeat("0", 8<<20)}), []Member{{Path: "a/x.txt", Name: "x.txt"}}, "x.txt: it unpacks to more than"},
		{"member longer than its size", "zip", zipped(t, files{"a/x.txt": "hello\n"}), []Member{{Path: "a/x.txt", Name: "x.txt", Content: Content{Size: 5}}}, "x.txt: it unpacks to more than 5 bytes"},
		{"member from outside", "zip", zipped(t, files{"../x.txt": "hello\n"}), []Member{{Path: "../x.txt", Name: "x.txt"}}, "invalid"},
		{"cut zip", "zip", cutZip[:len(cutZip)-10], one, "not a valid zip file"},
		{"cut tar.gz", "tar.gz", tarball[:len(tarball)/2], one, "unexpected EOF"},
		{"cut gz", "gz", gzipped("hello\n")[:12], one, "unexpected EOF"},
		{"cut bz2", "bz2", bzipped[:20], one, "unexpected EOF"},
		{"no zip", "zip", page, one, "not a valid zip file"},
		{"no tar.gz", "tar.gz", page, one, "invalid header"},
		{"no gz", "gz", page, one, "invalid header"},
		{"no bz2", "bz2", page, one, "it does not begin as bzip2 does"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, "archive", c.archive)
			to := filepath.Join(dir, "to", "here")
			if err := os.MkdirAll(to, 0o777); err != nil {
				t.Fatal(err)
			}
			err := unpack(t.Context(), File{Name: "f", Unpack: c.kind, Members: c.members}, filepath.Join(dir, "archive"), to)
			want := files{"here/x.txt": "hello\n"}
			if c.fault != "" {
				want = files{}
				if err == nil || !strings.Contains(err.Error(), c.fault) || fault.HintOf(err) == "" {
					t.Errorf("got %v, want %q", err, c.fault)
				}
			} else if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(want, tree(t, filepath.Join(dir, "to"))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// storedZip is a zip whose member is not compressed.
func storedZip(t *testing.T) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateHeader(&zip.FileHeader{Name: "a/x.txt", Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("hello\n"))
	z.Close()
	return b.String()
}

func TestUnpackStops(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "archive", gzipped("hello\n"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := unpack(ctx, File{Name: "f", Unpack: "gz", Members: []Member{{Name: "x"}}}, filepath.Join(dir, "archive"), dir)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Without a checksum the format decides: what is cut off or something else is found.
func TestFormats(t *testing.T) {
	tensors := func(head string, data int) string {
		return string([]byte{byte(len(head)), 0, 0, 0, 0, 0, 0, 0}) + head + strings.Repeat("x", data)
	}
	const squad = `{"data":[{"paragraphs":[{"qas":[{"id":"1"},{"id":"2"}]}]}]}`
	for _, c := range []struct {
		format, text string
		records      int
		fault        string
	}{
		{"squad", squad, 2, ""}, {"squad", squad, 3, "2 records, want 3"}, {"squad", squad[:50], 2, "unexpected EOF"}, {"squad", `{"data":[]}`, 0, "no question"}, {"squad", page, 0, "invalid character"},
		{"json", squad, 0, ""}, {"json", squad[:50], 0, "unexpected EOF"}, {"json", "hello", 0, "invalid character"},
		{"text", "a\nb\n", 2, ""}, {"text", "a\nb", 2, ""}, {"text", "a\nb\n", 3, "2 records, want 3"}, {"text", "a\x00b\n", 1, "not text"}, {"text", "\xff\xfe\n", 1, "not text"},
		{"text", strings.Repeat("long ", 50000) + "\nb\n", 2, ""},
		{"zip", zipped(t, files{"a": "b"}), 0, ""}, {"zip", zipped(t, files{"a": "b"})[:50], 0, "not a valid zip"},
		{"gzip", gzipped("hello"), 0, ""}, {"gzip", gzipped("hello")[:15], 0, "unexpected EOF"}, {"gzip", page, 0, "invalid header"},
		{"bzip2", bzipped, 0, ""}, {"bzip2", bzipped[:len(bzipped)-1], 0, "unexpected EOF"}, {"bzip2", page, 0, "does not begin with BZh"}, {"bzip2", "BZh9", 0, "unexpected EOF"},
		{"safetensors", tensors(`{"a":{"data_offsets":[0,5]}}`, 5), 0, ""}, {"safetensors", tensors(`{"a":{"data_offsets":[0,5]}}`, 4), 0, "end at byte 41 of 40"},
		{"safetensors", "abc", 0, "unexpected EOF"}, {"safetensors", page, 0, "longer than the file"}, {"safetensors", tensors(`{}`, 0), 0, "end at byte 10 of 10"},
		{"", "whatever", 0, ""}, {"", "", 0, "the file is empty"},
	} {
		name := filepath.Join(t.TempDir(), "file")
		put(t, filepath.Dir(name), "file", c.text)
		err := Content{Format: c.format, Records: c.records}.Verify(t.Context(), name)
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s %.30q: got %v, want %q", c.format, c.text, err, c.fault)
		}
	}
}

// Real dumps end as checkBzip2 wants it, and no more without their last byte.
func TestRealBzip2(t *testing.T) {
	dumps, _ := filepath.Glob(filepath.Join(os.Getenv("HPCBERT_DATA"), "wiki/dumps/*.bz2"))
	if len(dumps) == 0 {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	for _, name := range dumps {
		if err := (Content{Format: "bzip2"}).Verify(t.Context(), name); err != nil {
			t.Error(err)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		put(t, dir, "cut", string(data[:len(data)-1]))
		if (Content{Format: "bzip2"}).Verify(t.Context(), filepath.Join(dir, "cut")) == nil {
			t.Errorf("%s: cut off, but not found", name)
		}
	}
}

func TestSums(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	put(t, filepath.Dir(name), "file", "hello\n") // sums by sha256sum, sha1sum, md5sum
	for _, c := range []struct {
		content Content
		fault   string
	}{
		{Content{SHA256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", SHA1: "wrong"}, ""},
		{Content{SHA1: "f572d396fae9206628714fb2ce00f72e94f2258f"}, ""},
		{Content{MD5: "b1946ac92492d2347c6235b4d2611184"}, ""},
		{Content{SHA1: "f572d396fae9206628714fb2ce00f72e94f2258e"}, "its sha1 is f572d396fae9206628714fb2ce00f72e94f2258f, want"},
		{Content{MD5: "b1946ac92492d2347c6235b4d2611185"}, "its md5 is"},
		{Content{Size: 7}, "the file has 6 bytes, want 7"},
	} {
		if err := c.content.Verify(t.Context(), name); c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%+v: got %v", c.content, err)
		}
	}
}

// The built-in catalogue is whole: every file has a checksum, its own or those of its members, and https addresses.
func TestBuiltIn(t *testing.T) {
	c, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	folders := map[string]bool{}
	for _, s := range c.Sets {
		if s.Unavailable != "" {
			continue
		}
		if s.What == "" || s.Source == "" || s.Licence == "" || s.Sums == "" || folders[s.Folder] {
			t.Errorf("%s: what, source, licence or sums is missing, or its folder is another set's", s.Name)
		}
		folders[s.Folder] = true
		for _, f := range s.Files {
			summed := len(f.Members) > 0
			for _, m := range f.Members {
				summed = summed && m.summed()
			}
			if !summed && !f.summed() {
				t.Errorf("%s: %s has no checksum", s.Name, f.Name)
			}
			for _, content := range f.contents() {
				if n := len(content.SHA256); n != 0 && n != 64 {
					t.Errorf("%s: %s has a sha256 of %d digits", s.Name, f.Name, n)
				}
			}
			for _, address := range f.URLs {
				if !strings.HasPrefix(address, "https://") {
					t.Errorf("%s: %s", s.Name, address)
				}
			}
		}
	}
	for _, name := range []string{"wiki", "squad", "mrpc", "sst2", "bert-base-uncased", "bookscorpus"} {
		if _, err := c.Find(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Find("nothing"); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}

func TestBadCatalogues(t *testing.T) {
	for _, c := range []struct{ text, fault string }{
		{`{`, "unexpected end of JSON"},
		{`{"sets":[{"name":"../x"}]}`, "a name without slashes"},
		{`{"sets":[{"name":"x","folder":"../up","files":[]}]}`, "not below the output folder"},
		{`{"sets":[{"name":"x","folder":"/etc"}]}`, "not below the output folder"},
		{`{"sets":[{"name":"x","folder":"x"}]}`, "it has no files"},
		{`{"sets":[{"name":"x","folder":"x","derive":"y","files":[]}]}`, `derive "y" is not known`},
		{`{"sets":[{"name":"x","folder":"x","files":[{"name":"a/b","urls":["http://h/"]}]}]}`, "one without slashes"},
		{`{"sets":[{"name":"x","folder":"x","files":[{"name":".b","urls":["http://h/"]}]}]}`, "one without slashes"},
		{`{"sets":[{"name":"x","folder":"x","files":[{"name":"b"}]}]}`, "it has no urls"},
		{`{"sets":[{"name":"x","folder":"x","files":[{"name":"b","urls":["b"]}]}]}`, "is not an http, https or file address"},
		{`{"sets":[{"name":"x","folder":"x","files":[{"name":"b","urls":["http://h/"],"unpack":"rar"}]}]}`, `unpack "rar" is not known`},
		{`{"sets":[{"name":"x","folder":"x","files":[{"name":"b","urls":["http://h/"],"format":"doc"}]}]}`, `format "doc" is not known`},
		{`{"sets":[{"name":"x","folder":"x","files":[{"name":"b","urls":["http://h/"],"unpack":"zip"}]}]}`, "members go with unpack"},
		{`{"sets":[{"name":"x","folder":"x","files":[{"name":"b","urls":["http://h/"],"unpack":"gz","members":[{"name":"c"},{"name":"d"}]}]}]}`, "gz holds one member"},
		{`{"sets":[{"name":"x","folder":"x","files":[{"name":"b","urls":["http://h/"],"unpack":"zip","members":[{"path":"c","name":"../c"}]}]}]}`, "one without slashes"},
	} {
		if _, err := parse([]byte(c.text), "x.json"); err == nil || !strings.Contains(err.Error(), c.fault) || !strings.HasPrefix(err.Error(), "read x.json: ") {
			t.Errorf("%s: got %v, want %q", c.text, err, c.fault)
		}
	}
}

// MRPC's train.tsv and dev.tsv are those that GLUE's own script makes.
func TestRealMRPC(t *testing.T) {
	data := os.Getenv("HPCBERT_DATA")
	if data == "" {
		t.Skip("skipped: HPCBERT_DATA is not set")
	}
	c, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	set, err := c.Find("mrpc")
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	if s.From, err = addressOf(filepath.Join(data, "glue", "MRPC")); err != nil {
		t.Fatal(err)
	}
	whole(t, s, set)
	for _, name := range []string{"train.tsv", "dev.tsv", "msr_paraphrase_train.txt"} {
		got, _, err := stream.SHA256(t.Context(), filepath.Join(s.Folder(set), name))
		want, _, _ := stream.SHA256(t.Context(), filepath.Join(data, "glue", "MRPC", name))
		if err != nil || got != want {
			t.Errorf("%s differs, %v", name, err)
		}
	}
	test, err := os.ReadFile(filepath.Join(s.Folder(set), "test.tsv"))
	if err != nil || bytes.Count(test, []byte("\n")) != 1726 || !bytes.HasPrefix(test, []byte("index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1089874\t1089925\tPCCW 's chief")) {
		t.Errorf("test.tsv begins %.100q, %v", test, err)
	}
}

func TestMRPCColumns(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "dev_ids.tsv", "1\t2\n")
	put(t, dir, "msr_paraphrase_train.txt", "a\tb\tc\td\te\n1\t1\t2\tx\n")
	if err := deriveMRPC(dir, dir); err == nil || !strings.Contains(err.Error(), "line 2: 4 columns, want 5") {
		t.Errorf("got %v", err)
	}
}

// dump is dumpstatus.json of a dump, its jobs by name: status and files.
func dump(t *testing.T, jobs map[string]any) string {
	text, err := json.Marshal(map[string]any{"version": "0.8", "jobs": jobs})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func job(status string, sizes map[string]int) map[string]any {
	f := map[string]any{}
	for name, size := range sizes {
		f[name] = map[string]any{"size": size, "url": "/x/" + name, "sha1": "f572d396fae9206628714fb2ce00f72e94f2258f", "md5": "b1946ac92492d2347c6235b4d2611184"}
	}
	return map[string]any{"status": status, "files": f}
}

func TestWiki(t *testing.T) {
	const list = `<a href="../">../</a><a href="20261001/">20261001/</a><a href="/enwiki/20261101/">x</a><a href="latest/">latest</a><a href="20261120/">y</a>`
	const stem = "enwiki-20261101-pages-articles-multistream"
	parts := map[string]int{stem + "1.xml-p1p9.bz2": 6, stem + "10.xml-p90p99.bz2": 6, stem + "2.xml-p20p29.bz2": 6, stem + "2.xml-p10p19.bz2": 6,
		stem + "-index1.txt-p1p9.bz2": 6, "../" + stem + "3.xml-p30p39.bz2": 6, "enwiki-20261101-pages-meta-current.xml.bz2": 6}
	ordered := []string{stem + "1.xml-p1p9.bz2", stem + "2.xml-p10p19.bz2", stem + "2.xml-p20p29.bz2", stem + "10.xml-p90p99.bz2"}
	running := dump(t, map[string]any{"articlesmultistreamdump": job("in-progress", nil)})
	done := dump(t, map[string]any{"articlesmultistreamdump": job("done", parts), "articlesdump": job("done", map[string]int{"enwiki-20261101-pages-articles.xml.bz2": 6})})
	single := dump(t, map[string]any{"articlesmultistreamdump": job("done", parts), "articlesmultistreamdumprecombine": job("done", map[string]int{stem + ".xml.bz2": 6})})
	for _, c := range []struct {
		name, date string
		site       files
		want       []string
		fault      string
	}{
		{"newest that is whole", "latest", files{"/enwiki/": list, "/enwiki/20261120/dumpstatus.json": running, "/enwiki/20261101/dumpstatus.json": done}, ordered, ""},
		{"newest has no status yet", "latest", files{"/enwiki/": list, "/enwiki/20261101/dumpstatus.json": done}, ordered, ""},
		{"of a date, one file", "20261101", files{"/enwiki/20261101/dumpstatus.json": single}, []string{stem + ".xml.bz2"}, ""},
		{"of a date, not finished", "20261120", files{"/enwiki/20261120/dumpstatus.json": running}, nil, "the dump enwiki of 20261120 is not finished"},
		{"of a date that is not there", "20200101", files{}, nil, "404 Not Found"},
		{"no such language", "latest", files{"/dewiki/": list}, nil, "enwiki/: the server answers 404 Not Found"},
		{"no list", "latest", files{}, nil, "404 Not Found"},
		{"list without dates", "latest", files{"/enwiki/": "<html>nothing</html>"}, nil, "names no date"},
		{"status is cut off", "20261101", files{"/enwiki/20261101/dumpstatus.json": done[:50]}, nil, "not a whole json file: unexpected EOF"},
		{"newest cannot be told now", "latest", files{"/enwiki/": list, "/enwiki/20261120/dumpstatus.json": "503", "/enwiki/20261101/dumpstatus.json": done}, nil, "503 Service Unavailable"},
		{"none is whole", "latest", files{"/enwiki/": list, "/enwiki/20261120/dumpstatus.json": running, "/enwiki/20261101/dumpstatus.json": running, "/enwiki/20261001/dumpstatus.json": running}, nil, "enwiki of 20261001 is not finished"},
		{"status without end", "20261101", files{"/enwiki/20261101/dumpstatus.json": "endless"}, nil, "more than 67108864 bytes come"},
		{"status is a web page", "20261101", files{"/enwiki/20261101/dumpstatus.json": page}, nil, "a web page comes instead"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			h, _ := site(t, c.site)
			s := newStore(t)
			s.Wiki = Wiki{"en", c.date}
			set, err := s.resolve(t.Context(), Set{Name: "wiki", Folder: "wiki", Mirrors: []string{h.URL}})
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) || fault.HintOf(err) == "" {
					t.Errorf("got %v", err)
				}
				return
			}
			var names []string
			for _, f := range set.Files {
				names = append(names, f.Name)
				if want := []string{h.URL + "/enwiki/20261101/" + f.Name}; !slices.Equal(f.URLs, want) || f.Size != 6 || f.SHA1 == "" || f.MD5 == "" {
					t.Errorf("%+v", f)
				}
			}
			if diff := cmp.Diff(c.want, names); err != nil || diff != "" || set.Name != "enwiki-20261101" {
				t.Errorf("%s: %v %s", set.Name, err, diff)
			}
		})
	}
}

// A dump comes from the first mirror that has it, is checked with the sum of its status, and is not asked for again.
func TestGetWiki(t *testing.T) {
	const name = "zh_min_nanwiki-20261101-pages-articles-multistream.xml.bz2"
	status := dump(t, map[string]any{"articlesmultistreamdump": job("done", map[string]int{name: 6})})
	first, _ := site(t, files{"/zh_min_nanwiki/20261101/dumpstatus.json": status})
	second, asked := site(t, files{"/zh_min_nanwiki/20261101/" + name: "hello\n"})
	s, wiki := newStore(t), Set{Name: "wiki", Folder: "wiki", Mirrors: []string{first.URL, second.URL}}
	s.Dir = filepath.Join(s.Dir, "[a]*") // no pattern
	for range 2 {
		s.Wiki = Wiki{"zh-min-nan", "20261101"}
		whole(t, s, wiki)
	}
	if diff := cmp.Diff(files{"wiki/" + name: "hello\n"}, tree(t, s.Dir)); diff != "" || len(*asked) != 1 {
		t.Errorf("requests %q %s", *asked, diff)
	}
	// What is here is checked without the network, also as the latest.
	for _, date := range []string{"20261101", "latest"} {
		s.Wiki.Date, s.Fetcher = date, nil
		if m, err := s.Check(t.Context(), wiki); err != nil || m.Set != "zh_min_nanwiki-20261101" {
			t.Errorf("%s: %v, %v", date, m, err)
		}
	}
	// The folder of a mirror serves a site without network.
	mirror := t.TempDir()
	put(t, filepath.Join(mirror, "zh_min_nanwiki", "20261101"), "dumpstatus.json", status)
	put(t, filepath.Join(mirror, "zh_min_nanwiki", "20261101"), name, "hello\n")
	s = newStore(t)
	s.From, _ = addressOf(mirror)
	s.Wiki = Wiki{"zh-min-nan", "latest"}
	whole(t, s, wiki)
	if diff := cmp.Diff(files{"wiki/" + name: "hello\n"}, tree(t, s.Dir)); diff != "" {
		t.Error(diff)
	}
}

func TestWikiNames(t *testing.T) {
	for _, c := range []struct {
		wiki Wiki
		want string // database; "" = wrong usage
	}{
		{Wiki{"en", "latest"}, "enwiki"}, {Wiki{"zh-min-nan", "20261101"}, "zh_min_nanwiki"}, {Wiki{"be-tarask", "latest"}, "be_x_oldwiki"},
		{Wiki{"", "latest"}, ""}, {Wiki{"../x", "latest"}, ""}, {Wiki{"en", "yesterday"}, ""}, {Wiki{"en", "20261301"}, ""},
	} {
		err := c.wiki.Check()
		if (err == nil) != (c.want != "") || err == nil && c.wiki.database() != c.want || err != nil && fault.KindOf(err) != fault.Usage {
			t.Errorf("%v: %s, %v", c.wiki, c.wiki.database(), err)
		}
	}
}

func ExampleStore_Sources() {
	s := &Store{From: "file:///media/stick/data"}
	fmt.Println(s.Sources(Set{Folder: "squad/v1.1"}, File{Name: "dev-v1.1.json"}).URLs)
	// Output: [file:///media/stick/data/squad/v1.1/dev-v1.1.json file:///media/stick/data/dev-v1.1.json]
}
