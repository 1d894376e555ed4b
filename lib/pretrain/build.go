package pretrain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
	"hpcbert/lib/wordpiece"
)

// Build makes a folder of HDF5 shards from text shards, one of each, and continues where an earlier run ended.
type Build struct {
	Dir        string
	Options    Options
	VarySeed   bool // add the number at the end of a shard's name to the seed
	Tokenizer  *wordpiece.Tokenizer
	Vocabulary []byte // the vocabulary file
	Threads    int
	Force      bool   // make shards anew whatever the folder holds; those of its manifest that are not made anew go
	Version    string // of the program, for the manifest

	// With Parts > 0 this process makes every Parts-th shard, from the Part-th on (1 is the first); others share the folder with it, and a
	// run without parts ends the work. See part.go.
	Part, Parts int

	// Done, unless nil, is told of every shard that is whole, one at a time; skipped ones were so before. Warn, unless nil, is told what
	// the user should know although the work goes on.
	Done func(e ShardEntry, skipped bool)
	Warn func(text string)

	mu       sync.Mutex
	manifest *Manifest
	kept     map[string]ShardEntry // shards that are whole already, by input
	counts   Counts
	spare    []*Instances // of shards that are written
}

// Counts tell what a run made.
type Counts struct {
	Made, Kept        int // shards
	Sequences, Masked int // of the shards made
}

// OutputName returns the name of the shard made of a text shard: the same without its suffixes, and .hdf5.
func OutputName(input string) string {
	name := filepath.Base(input)
	for _, suffix := range []string{".gz", ".zst", ".bz2"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return strings.TrimSuffix(name, ".txt") + ".hdf5"
}

// Run makes the shards, Threads of them at a time, and ends at the first error.
func (b *Build) Run(ctx context.Context, all []string) (Counts, error) {
	inputs := b.share(all)
	fresh, err := b.check(ctx, inputs)
	if err != nil {
		return Counts{}, err
	}
	undo, err := b.begin(ctx, fresh, all)
	if err == nil {
		threads := max(b.Threads/b.workers(inputs), 1) // to compress a shard
		err = b.each(ctx, inputs, func(ctx context.Context, input string) error { return b.one(ctx, input, threads) })
	}
	if err == nil {
		err = b.end()
	}
	if err != nil {
		if fresh && b.counts.Made == 0 {
			undo()
		}
		return Counts{}, err
	}
	return b.counts, nil
}

// warnf tells the user something.
func (b *Build) warnf(format string, a ...any) {
	if b.Warn != nil {
		b.Warn(fmt.Sprintf(format, a...))
	}
}

// Plan returns the inputs of which Run would make shards, those not whole yet. It writes nothing.
func (b *Build) Plan(ctx context.Context, inputs []string) ([]string, error) {
	inputs = b.share(inputs)
	if _, err := b.check(ctx, inputs); err != nil {
		return nil, err
	}
	var missing []string
	for _, input := range inputs {
		if _, whole := b.kept[input]; !whole {
			missing = append(missing, input)
		}
	}
	return missing, nil
}

// check refuses inputs, or a folder, that do not fit, and finds the shards that are whole; fresh tells that the folder held no manifest.
func (b *Build) check(ctx context.Context, inputs []string) (fresh bool, err error) {
	if err := b.checkInputs(ctx, inputs); err != nil {
		return false, err
	}
	b.warnOfCase()
	want := &Manifest{Version: b.Version, Options: b.Options, VarySeed: b.VarySeed,
		Vocabulary: VocabularyEntry{b.Tokenizer.Vocabulary().Size(), b.Tokenizer.Vocabulary().SHA256}}
	if fresh, err = b.open(want, inputs); err != nil {
		return false, err
	}
	b.kept = map[string]ShardEntry{}
	return fresh, b.each(ctx, inputs, b.compare)
}

func (b *Build) checkInputs(ctx context.Context, inputs []string) error {
	outputs := map[string]string{}
	for _, name := range inputs {
		err := corpus.CheckSentences(ctx, name)
		if err != nil && fault.HintOf(err) == "" {
			err = fault.WithHint(err, "mkpretrain reads text shards, as shard writes them")
		}
		if err != nil {
			return err
		}
		out := OutputName(name)
		if other, twice := outputs[out]; twice {
			return fault.Usagef("%s and %s would both become %s", other, name, out)
		}
		outputs[out] = name
		if !isKind(out, "training") && !isKind(out, "test") {
			b.warnf(`%s has neither "training" nor "test" in its name: no program will read it by itself`, out)
		}
		if _, err := b.seed(name); err != nil {
			return err
		}
	}
	return nil
}

var shardNumber = regexp.MustCompile(`(\d+)\.hdf5$`)

func (b *Build) seed(input string) (int64, error) {
	if !b.VarySeed {
		return b.Options.Seed, nil
	}
	m := shardNumber.FindStringSubmatch(OutputName(input))
	if m == nil {
		return 0, fault.Usagef("%s has no number at the end of its name to add to the seed", input)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return b.Options.Seed + n, err
}

// open decides what the folder's earlier contents mean; fresh tells that it held no manifest.
func (b *Build) open(want *Manifest, inputs []string) (fresh bool, err error) {
	old, err := b.read(inputs)
	if b.Force {
		b.manifest = want
		return old == nil && err == nil, nil
	}
	if err != nil {
		return false, err
	}
	if old != nil {
		if difference := old.differs(want); difference != "" {
			err := fmt.Errorf("the shards in %s were %s", b.Dir, difference)
			return false, fault.WithHint(err, "write to another folder (-o), or use --force to make these shards anew")
		}
		b.manifest = old
		b.manifest.Version = want.Version
		return false, nil
	}
	for _, name := range inputs {
		path := filepath.Join(b.Dir, OutputName(name))
		if _, err := os.Lstat(path); err == nil {
			return false, fault.WithHint(fmt.Errorf("%s exists, and no %s says how it was made", path, ManifestName), "write to another folder (-o), or use --force to replace it")
		}
	}
	b.manifest = want
	return true, nil
}

// begin makes the folder, its vocabulary and a manifest that is not complete, so that an interrupted run can be told from a whole one;
// undo removes them. All are the inputs of all processes.
func (b *Build) begin(ctx context.Context, fresh bool, all []string) (undo func(), err error) {
	_, missing := os.Stat(b.Dir)
	vocabulary := filepath.Join(b.Dir, vocabularyName)
	_, noVocabulary := os.Stat(vocabulary)
	undo = func() {
		os.Remove(filepath.Join(b.Dir, b.manifestName()))
		if b.Parts > 0 {
			return // the others have the rest in use
		}
		if noVocabulary != nil {
			os.Remove(vocabulary)
		}
		if missing != nil {
			os.Remove(b.Dir)
		}
	}
	if fresh && missing == nil {
		if sum, _, err := stream.SHA256(ctx, vocabulary); err == nil && sum != b.manifest.Vocabulary.SHA256 && !b.Force {
			return func() {}, fault.WithHint(fmt.Errorf("%s exists and is another vocabulary", vocabulary), "write to another folder (-o), or use --force to replace it")
		}
	}
	if ctx.Err() != nil {
		return func() {}, ctx.Err() // the vocabulary may not have been compared
	}
	if err := os.MkdirAll(b.Dir, 0o777); err != nil {
		return undo, fault.WithHint(err, "-o names a folder, which is made if its parent can be written to")
	}
	if err := stream.WriteFile(vocabulary, b.Vocabulary); err != nil {
		return undo, err
	}
	if b.Force {
		if err := removeOthers(b.Dir, all); err != nil {
			return undo, err
		}
	}
	b.manifest.Complete = false
	if b.Parts > 0 && (fresh || b.Force) {
		if err := b.manifest.Write(b.Dir); err != nil { // the same bytes from every process; readers learn that the set is not whole
			return undo, err
		}
	}
	return undo, b.manifest.write(b.Dir, b.manifestName())
}

// each calls work for the inputs, Threads of them at a time, until the first error.
func (b *Build) each(ctx context.Context, inputs []string, work func(ctx context.Context, input string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan string)
	var wait sync.WaitGroup
	for range b.workers(inputs) {
		wait.Go(func() {
			for name := range queue {
				err := ctx.Err()
				if err == nil {
					err = work(ctx, name)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, name := range inputs {
		if ctx.Err() != nil {
			break
		}
		queue <- name
	}
	close(queue)
	wait.Wait()
	return context.Cause(ctx)
}

// workers returns how many inputs are worked on at a time.
func (b *Build) workers(inputs []string) int { return max(min(b.Threads, len(inputs)), 1) }

// compare keeps the shard of an input if it is whole, and refuses one that is whole but was made from another text.
func (b *Build) compare(ctx context.Context, input string) error {
	entry := b.manifest.Find(OutputName(input))
	if entry == nil {
		return nil
	}
	path := filepath.Join(b.Dir, entry.File)
	if have, _, err := stream.SHA256(ctx, path); err != nil || have != entry.SHA256 {
		return ctx.Err() // lost or damaged: it is made again
	}
	sum, _, err := stream.SHA256(ctx, input)
	if err != nil {
		return err
	}
	if sum != entry.InputSHA256 {
		err := fmt.Errorf("%s was made from another text than %s now holds (SHA-256 %.12s, not %.12s)", path, input, entry.InputSHA256, sum)
		return fault.WithHint(err, "write to another folder (-o), remove that shard, or use --force to make all shards anew")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept[input] = *entry
	return nil
}

// one makes the shard of one input unless it is whole already.
func (b *Build) one(ctx context.Context, input string, threads int) error {
	if e, whole := b.kept[input]; whole {
		return b.finish(e, true)
	}
	sum, _, err := stream.SHA256(ctx, input)
	if err != nil {
		return err
	}
	x, e, err := b.Instances(ctx, input)
	if err != nil {
		return err
	}
	e.InputSHA256 = sum
	path := filepath.Join(b.Dir, e.File)
	if err := writeInstances(ctx, path, x, threads); err != nil {
		return err
	}
	b.mu.Lock()
	b.spare = append(b.spare, x)
	b.mu.Unlock()
	if e.SHA256, e.Bytes, err = stream.SHA256(ctx, path); err != nil {
		return err
	}
	return b.finish(e, false)
}

// memory returns the instances of a shard that is written, for their memory, or empty ones.
func (b *Build) memory() *Instances {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.spare) - 1
	if last < 0 {
		return &Instances{}
	}
	x := b.spare[last]
	b.spare = b.spare[:last]
	return x
}

// Instances makes the instances of one input, and of its shard's entry what they tell.
func (b *Build) Instances(ctx context.Context, input string) (*Instances, ShardEntry, error) {
	e := ShardEntry{File: OutputName(input), Input: filepath.Base(input)}
	in, err := stream.Open(ctx, input, nil)
	if err != nil {
		return nil, e, err
	}
	defer in.Close()
	docs, err := readDocuments(in, input, b.Tokenizer)
	if err != nil {
		return nil, e, err
	}
	e.Documents, e.Sentences = docs.Len(), docs.Sentences
	o := b.Options
	if o.Seed, err = b.seed(input); err != nil {
		return nil, e, err
	}
	x, err := makeIn(ctx, b.memory(), docs, b.Tokenizer.Vocabulary(), o)
	if err != nil {
		return nil, e, err
	}
	e.Rows, e.Tokens, e.Masked, e.RandomNext = x.Len(), x.Tokens(), x.Masked(), x.RandomNext()
	return x, e, nil
}

// finish records a whole shard in the manifest on disk, so that a later run finds it.
func (b *Build) finish(e ShardEntry, skipped bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if skipped {
		b.counts.Kept++
	} else {
		b.counts.Made++
		b.counts.Sequences += e.Rows
		b.counts.Masked += e.Masked
		b.manifest.Set(e)
		if err := b.manifest.write(b.Dir, b.manifestName()); err != nil {
			return err
		}
		if e.Documents == 1 {
			b.warnf("%s: its only document pairs with itself, so no sequence has a random next one: use fewer, larger shards", e.Input)
		}
	}
	if b.Done != nil {
		b.Done(e, skipped)
	}
	return nil
}
