package ckpt

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

	"hpcbert/lib/stream"
)

// doneName is the file that makes a checkpoint count: it is written last and lists the others.
const doneName = "DONE"

// ErrUnfinished is the error of a checkpoint without DONE: its run was killed in the last moment of writing it.
var ErrUnfinished = errors.New("no " + doneName + ": it was not finished")

var stepName = regexp.MustCompile(`^step-(\d{8,})$`)

// part is what DONE says about a file of the checkpoint.
type part struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Draft is a checkpoint being written, in a hidden directory beside its place.
type Draft struct {
	place string
	dir   string
}

// Begin starts the checkpoint of an update in the folder out. Drafts that killed runs left there are removed.
func Begin(out string, step int) (*Draft, error) {
	if err := removeDrafts(out); err != nil {
		return nil, err
	}
	return begin(AtStep(out, step))
}

// BeginFolder starts a checkpoint that is to be the folder dir.
func BeginFolder(dir string) (*Draft, error) {
	d, err := begin(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(d.dir); err != nil { // what a killed run left
		return nil, err
	}
	return begin(d.place)
}

func begin(place string) (*Draft, error) {
	d := &Draft{place: place, dir: filepath.Join(filepath.Dir(place), "."+filepath.Base(place)+".tmp")}
	return d, os.MkdirAll(d.dir, 0o777)
}

func removeDrafts(out string) error {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".step-") && strings.HasSuffix(e.Name(), ".tmp") {
			if err := os.RemoveAll(filepath.Join(out, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Path returns where to write the file name of the checkpoint.
func (d *Draft) Path(name string) string { return filepath.Join(d.dir, name) }

// Discard removes the draft.
func (d *Draft) Discard() error { return os.RemoveAll(d.dir) }

// Commit gives the checkpoint its name and writes DONE. A checkpoint of the same step is replaced.
func (d *Draft) Commit() error {
	parts, err := listParts(d.dir)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(parts, "", " ")
	if err != nil {
		return err
	}
	if err := remove(d.place); err != nil {
		return err
	}
	if err := os.Rename(d.dir, d.place); err != nil {
		return err
	}
	d.dir = d.place
	if err := stream.SyncDir(filepath.Dir(d.place)); err != nil {
		return err
	}
	return stream.WriteFile(filepath.Join(d.place, doneName), append(text, '\n'))
}

func listParts(dir string) (map[string]part, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	parts := map[string]part{}
	for _, e := range entries {
		if parts[e.Name()], err = hashPart(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// hashPart cannot be stopped: a checkpoint that is begun is ended, and a run that is asked to stop has one to go on from.
func hashPart(name string) (p part, err error) {
	p.SHA256, p.Bytes, err = stream.SHA256(context.Background(), name)
	return p, err
}

// Ours tells whether a path is a folder that was written as a checkpoint here, or is meant to be one: Verify can judge it.
func Ours(path string) bool {
	for _, name := range []string{doneName, StateFile} {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return true
		}
	}
	return strings.HasPrefix(filepath.Base(path), "step-")
}

// AtStep returns where a run whose folder is out has the checkpoint of an update.
func AtStep(out string, step int) string {
	return filepath.Join(out, fmt.Sprintf("step-%08d", step))
}

// Verify checks every file of the checkpoint at dir against DONE.
func Verify(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, doneName))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("checkpoint %s: %w", dir, ErrUnfinished)
	}
	if err != nil {
		return err
	}
	var parts map[string]part
	if err := json.Unmarshal(text, &parts); err != nil || len(parts) == 0 {
		return fmt.Errorf("checkpoint %s: %s is damaged", dir, doneName)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", dir, err)
	}
	for _, e := range entries { // a README may be added, but tensors are never read unchecked
		if _, listed := parts[e.Name()]; !listed && filepath.Ext(e.Name()) == ".safetensors" {
			return fmt.Errorf("checkpoint %s: %s does not list %s", dir, doneName, e.Name())
		}
	}
	for name, want := range parts {
		got, err := hashPart(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("checkpoint %s: %w", dir, err)
		}
		if got != want {
			return fmt.Errorf("checkpoint %s: %s has %d bytes with SHA-256 %.12s, written were %d with %.12s", dir, name, got.Bytes, got.SHA256, want.Bytes, want.SHA256)
		}
	}
	return nil
}

// Steps returns the updates of the finished checkpoints in out, ascending. A folder that does not exist has none.
func Steps(out string) ([]int, error) {
	finished, _, err := found(out)
	return finished, err
}

// found returns the updates of the finished and of the unfinished checkpoints in out, ascending.
func found(out string) (finished, unfinished []int, err error) {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range entries {
		m := stepName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		step, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, nil, err
		}
		if _, err := os.Stat(filepath.Join(out, e.Name(), doneName)); err != nil {
			unfinished = append(unfinished, step)
			continue
		}
		finished = append(finished, step)
	}
	slices.Sort(finished)
	slices.Sort(unfinished)
	return finished, unfinished, nil
}

// Latest returns the newest whole checkpoint of out, "" when there is none, and for each newer one the reason why it does not count.
func Latest(out string) (dir string, skipped []error, err error) {
	finished, unfinished, err := found(out)
	if err != nil {
		return "", nil, err
	}
	all := append(finished, unfinished...)
	slices.Sort(all)
	for _, step := range slices.Backward(all) {
		dir := AtStep(out, step)
		if err := Verify(dir); err != nil {
			skipped = append(skipped, err)
			continue
		}
		return dir, skipped, nil
	}
	return "", skipped, nil
}

// Prune removes the checkpoints of updates up to newest, but for the last keep of them that are finished. Later ones stay: they are damaged, or
// training would have gone on from them, and must not count as kept.
func Prune(out string, newest, keep int) error {
	finished, unfinished, err := found(out)
	if err != nil {
		return err
	}
	later := func(step int) bool { return step > newest }
	finished, unfinished = slices.DeleteFunc(finished, later), slices.DeleteFunc(unfinished, later)
	for _, step := range append(finished[:max(0, len(finished)-keep)], unfinished...) {
		if err := remove(AtStep(out, step)); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a checkpoint, DONE first: half of it must not look like a whole one.
func remove(dir string) error {
	if err := os.Remove(filepath.Join(dir, doneName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.RemoveAll(dir)
}
