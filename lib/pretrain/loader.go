package pretrain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"hpcbert/lib/fault"
)

// Sample is one sequence without its padding.
type Sample struct {
	InputIDs        []int32
	SegmentIDs      []int32
	MaskedPositions []int32
	MaskedIDs       []int32
	NextSentence    int32
}

// Loader delivers rows by their numbers in the order of training. It holds the shard in use and reads the next one ahead. One goroutine may use
// it at a time.
type Loader struct {
	set   *Set
	order Order
	mask  *Masking // nil = as in the shards

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
	held   map[int]*pending // by file
}

// pending is a shard that is being read, or has been.
type pending struct {
	ready chan struct{} // closed when the fields below are set
	file  int           // -1 when there is nothing to read ahead
	shard *Shard
	err   error
}

// NewLoader returns a loader of the set's rows in the given order, with masks as in the shards when mask is nil. It stops with ctx; Close it in
// any case.
func NewLoader(ctx context.Context, set *Set, order Order, mask *Masking) *Loader {
	l := &Loader{set: set, order: order, mask: mask, held: map[int]*pending{}}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l
}

// Close stops reading ahead and waits for it to end.
func (l *Loader) Close() {
	l.cancel()
	l.wait.Wait()
	l.held = map[int]*pending{}
}

// ahead is the key in held of the shard that is read ahead, until its file is asked for.
const ahead = -1

// Row is a row of a shard in memory, which stays there as long as one of its rows is in use.
type Row struct {
	shard *Shard
	row   int
	mask  *Masking
	epoch int
	index int64 // in the whole set
}

// Fetch returns the rows of n samples, from number first on.
func (l *Loader) Fetch(first int64, n int) ([]Row, error) {
	rows, used := make([]Row, n), map[int]*Shard{}
	for i := range rows {
		g := first + int64(i)
		file, row, epoch := l.order.At(g)
		shard := used[file] // of a set that is smaller than n too
		if shard == nil {
			var err error
			if shard, err = l.shard(file, g); err != nil {
				return nil, err
			}
			used[file] = shard
		}
		rows[i] = Row{shard, row, l.mask, epoch, l.set.index(file, row)}
	}
	return rows, nil
}

// Size returns how many tokens a row has and how many of them are to be predicted.
func (r Row) Size() (tokens, masked int) {
	tokens = r.shard.Tokens(r.row)
	if r.mask != nil {
		return tokens, r.mask.toPredict(tokens)
	}
	positions, _ := r.shard.targets(r.row)
	return tokens, len(positions)
}

// Sample copies the row without its padding, with masks drawn anew where the loader draws them.
func (r Row) Sample() Sample {
	x := r.shard.sample(r.row)
	if r.mask != nil {
		r.mask.draw(&x, uint64(r.epoch), uint64(r.index))
	}
	return x
}

// shard returns a file's shard, which sample g needs; when it becomes the one in use, the shard after it is read ahead.
func (l *Loader) shard(file int, g int64) (*Shard, error) {
	if p := l.held[file]; p != nil {
		return p.shard, p.err
	}
	p := l.held[ahead]
	if p != nil {
		select {
		case <-p.ready:
		case <-l.ctx.Done():
		}
	}
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	if p == nil || p.file != file {
		clear(l.held)
		p = &pending{file: file}
		p.shard, p.err = l.set.load(file)
	}
	if p.err != nil {
		return nil, p.err
	}
	clear(l.held)
	l.held[file] = p
	if len(l.set.Files) > 1 {
		l.readAhead(file, g)
	}
	return p.shard, nil
}

// readAhead begins to read the first file after that of sample g.
func (l *Loader) readAhead(file int, g int64) {
	next := &pending{ready: make(chan struct{}), file: -1}
	l.held[ahead] = next
	l.wait.Go(func() {
		defer close(next.ready)
		for k := int64(1); k <= int64(l.set.TotalRows()); k++ {
			if l.ctx.Err() != nil {
				return
			}
			if f, _, _ := l.order.At(g + k); f != file {
				next.shard, next.err = l.set.load(f)
				next.file = f
				return
			}
		}
	})
}

// HeldRows returns the most rows of shards that a loader and one fetch of n rows have in memory: those of the shards that lie in it as a whole, two
// at its ends and the one that is read ahead.
func (s *Set) HeldRows(n int) int {
	rows := slices.Sorted(slices.Values(s.Rows))
	held, inside := 0, 0
	for _, r := range rows[max(0, len(rows)-3):] {
		held += r
	}
	for _, r := range rows {
		if r <= n {
			inside += r
		}
	}
	if len(rows) == 1 {
		return held
	}
	return held + min(n, inside)
}

// index returns the number of a row in the set: its files one after the other.
func (s *Set) index(file, row int) int64 {
	n := int64(row)
	for _, rows := range s.Rows[:file] {
		n += int64(rows)
	}
	return n
}

// load reads a file of the set and checks that it is still what OpenSet saw.
func (s *Set) load(file int) (*Shard, error) {
	path := s.Files[file]
	shard, err := ReadShard(path)
	if err != nil {
		return nil, err
	}
	if shard.Rows != s.Rows[file] || shard.Seq != s.Seq || shard.MaxPred != s.MaxPred {
		err = errors.New("the file has changed since training began")
	} else if s.VocabSize > 0 {
		err = shard.checkIDs(s.VocabSize)
	}
	if err != nil {
		return nil, fault.WithHint(fmt.Errorf("read %s: %w", path, err), "train on shards made with the vocabulary and options of this folder")
	}
	return shard, nil
}

// sample copies a row without its padding.
func (s *Shard) sample(row int) Sample {
	n, at := s.Tokens(row), row*s.Seq
	positions, ids := s.targets(row)
	memory := make([]int32, 0, 2*n+2*len(positions))
	take := func(values []int32) []int32 {
		start := len(memory)
		memory = append(memory, values...)
		return memory[start:len(memory):len(memory)]
	}
	x := Sample{InputIDs: take(s.InputIDs[at : at+n]), MaskedPositions: take(positions), MaskedIDs: take(ids), NextSentence: int32(s.NextSentence[row])}
	start := len(memory)
	for _, segment := range s.SegmentIDs[at : at+n] {
		memory = append(memory, int32(segment))
	}
	x.SegmentIDs = memory[start:]
	return x
}
