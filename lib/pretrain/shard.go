package pretrain

import (
	"context"
	"errors"
	"fmt"

	"hpcbert/lib/fault"
	"hpcbert/lib/hdf5"
)

// Shard is a pre-training shard in memory: the six arrays of the original layout (spec: pretraining 1.7), flat, in row order.
type Shard struct {
	Rows, Seq, MaxPred int

	InputIDs        []int32 // [Rows*Seq], zero-padded
	InputMask       []int8  // [Rows*Seq], 1 for real tokens
	SegmentIDs      []int8  // [Rows*Seq], 0 or 1, padding 0
	MaskedPositions []int32 // [Rows*MaxPred], ascending, zero-padded
	MaskedIDs       []int32 // [Rows*MaxPred], original ids, zero-padded
	NextSentence    []int8  // [Rows], 1 = random next, 0 = true next
}

const chunkRows = 1024

// rowsOf gives the rows of a shard one by one, from many goroutines at once; the slices come zeroed.
type rowsOf interface {
	shape() (rows, seq, maxPred int)
	ids(row int, to []int32)
	inputMask(row int, to []int8)
	segments(row int, to []int8)
	maskedPositions(row int, to []int32)
	maskedIDs(row int, to []int32)
	nextSentence(row int, to []int8)
}

// writeInstances writes the instances of a shard without making the padded arrays in memory.
func writeInstances(ctx context.Context, path string, x *Instances, threads int) error {
	return writeRows(ctx, path, x, threads)
}

func writeRows(ctx context.Context, path string, x rowsOf, threads int) error {
	rows, seq, maxPred := x.shape()
	if rows == 0 {
		return fmt.Errorf("write %s: no rows", path)
	}
	w, err := hdf5.Create(path)
	if err != nil {
		return err
	}
	defer w.Close()
	a := arrays{ctx: ctx, w: w, rows: rows, threads: threads}
	writeArray(&a, "input_ids", seq, x.ids)
	writeArray(&a, "input_mask", seq, x.inputMask)
	writeArray(&a, "segment_ids", seq, x.segments)
	writeArray(&a, "masked_lm_positions", maxPred, x.maskedPositions)
	writeArray(&a, "masked_lm_ids", maxPred, x.maskedIDs)
	writeArray(&a, "next_sentence_labels", 0, x.nextSentence)
	if a.err != nil {
		return a.err
	}
	return w.Commit()
}

// arrays writes data sets of equally many rows until one fails.
type arrays struct {
	ctx           context.Context
	w             *hdf5.Writer
	rows, threads int
	err           error
}

// writeArray writes a data set of one value a row, or of that many columns.
func writeArray[T hdf5.Element](a *arrays, name string, columns int, row func(int, []T)) {
	if a.err != nil {
		return
	}
	dims := []int{a.rows}
	if columns > 0 {
		dims = append(dims, columns)
	}
	columns = max(columns, 1)
	a.err = hdf5.Write(a.ctx, a.w, hdf5.Array[T]{Name: name, Dims: dims, ChunkRows: chunkRows, Fill: func(rows []T, first int) error {
		for i := range len(rows) / columns {
			row(first+i, rows[i*columns:(i+1)*columns])
		}
		return nil
	}}, a.threads)
}

func (x *Instances) shape() (int, int, int) { return len(x.rows), x.Options.Seq, x.Options.MaxPred }

func (x *Instances) ids(row int, to []int32) {
	r := x.rows[row]
	copy(to, x.tokens[r.ids:r.ids+r.tokens])
}

func (x *Instances) inputMask(row int, to []int8) { ones(to[:x.rows[row].tokens]) }

func (x *Instances) segments(row int, to []int8) { ones(to[x.rows[row].first:x.rows[row].tokens]) }

func (x *Instances) maskedPositions(row int, to []int32) {
	r := x.rows[row]
	copy(to, x.positions[r.mask:r.mask+r.masked])
}

func (x *Instances) maskedIDs(row int, to []int32) {
	r := x.rows[row]
	copy(to, x.labels[r.mask:r.mask+r.masked])
}

func (x *Instances) nextSentence(row int, to []int8) {
	if x.rows[row].randomNext {
		to[0] = 1
	}
}

func ones(b []int8) {
	for i := range b {
		b[i] = 1
	}
}

type shardRows Shard

func (s *shardRows) shape() (int, int, int) { return s.Rows, s.Seq, s.MaxPred }

func (s *shardRows) ids(row int, to []int32)      { copy(to, s.InputIDs[row*s.Seq:]) }
func (s *shardRows) inputMask(row int, to []int8) { copy(to, s.InputMask[row*s.Seq:]) }
func (s *shardRows) segments(row int, to []int8)  { copy(to, s.SegmentIDs[row*s.Seq:]) }
func (s *shardRows) maskedPositions(row int, to []int32) {
	copy(to, s.MaskedPositions[row*s.MaxPred:])
}
func (s *shardRows) maskedIDs(row int, to []int32)   { copy(to, s.MaskedIDs[row*s.MaxPred:]) }
func (s *shardRows) nextSentence(row int, to []int8) { copy(to, s.NextSentence[row:]) }

// ReadShard reads a shard of any chunk shape, ours or the original's, and checks its shapes, its ids (not negative), its masks (ones
// first) and its positions (inside the sequence, ascending). Errors name the file, the data set and the row.
func ReadShard(path string) (*Shard, error) {
	f, err := hdf5.Open(path)
	if err != nil {
		return nil, err
	}
	s := &Shard{}
	err = s.read(f)
	if closed := f.Close(); err == nil && closed != nil {
		err = fmt.Errorf("read %s: %w", path, closed)
	}
	if err != nil && fault.HintOf(err) == "" {
		err = fault.WithHint(err, "a pre-training shard holds the six arrays that mkpretrain writes: input_ids, input_mask, segment_ids, masked_lm_positions, masked_lm_ids, next_sentence_labels")
	}
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fault.WithHint(fmt.Errorf("read %s: %w", path, err), "the shard is not what mkpretrain writes: make it again")
	}
	return s, nil
}

func (s *Shard) read(f *hdf5.File) error {
	var err error
	if s.Rows, s.Seq, s.MaxPred, err = shardShape(f); err != nil {
		return err
	}
	if s.InputIDs, _, err = hdf5.Read[int32](f, "input_ids", s.Rows, s.Seq); err != nil {
		return err
	}
	if s.InputMask, _, err = hdf5.Read[int8](f, "input_mask", s.Rows, s.Seq); err != nil {
		return err
	}
	if s.SegmentIDs, _, err = hdf5.Read[int8](f, "segment_ids", s.Rows, s.Seq); err != nil {
		return err
	}
	if s.MaskedPositions, _, err = hdf5.Read[int32](f, "masked_lm_positions", s.Rows, s.MaxPred); err != nil {
		return err
	}
	if s.MaskedIDs, _, err = hdf5.Read[int32](f, "masked_lm_ids", s.Rows, s.MaxPred); err != nil {
		return err
	}
	s.NextSentence, _, err = hdf5.Read[int8](f, "next_sentence_labels", s.Rows)
	return err
}

// shardShape reads the sizes of a shard without its data.
func shardShape(f *hdf5.File) (rows, seq, maxPred int, err error) {
	ids, err := f.Dims("input_ids")
	if err != nil {
		return 0, 0, 0, err
	}
	positions, err := f.Dims("masked_lm_positions")
	if err != nil {
		return 0, 0, 0, err
	}
	if len(ids) != 2 || len(positions) != 2 || ids[0] < 1 || ids[1] < 1 || positions[1] < 1 {
		return 0, 0, 0, fmt.Errorf("read %s: shapes %v of input_ids and %v of masked_lm_positions are not those of a shard", f.Name, ids, positions)
	}
	return ids[0], ids[1], positions[1], nil
}

func (s *Shard) check() error {
	tokens, targets := s.Rows*s.Seq, s.Rows*s.MaxPred
	if len(s.InputIDs) != tokens || len(s.InputMask) != tokens || len(s.SegmentIDs) != tokens || len(s.MaskedPositions) != targets ||
		len(s.MaskedIDs) != targets || len(s.NextSentence) != s.Rows {
		return errors.New("arrays of different lengths")
	}
	for row := range s.Rows {
		if err := s.checkRow(row); err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
	}
	return nil
}

func (s *Shard) checkRow(row int) error {
	mask, segments := s.InputMask[row*s.Seq:(row+1)*s.Seq], s.SegmentIDs[row*s.Seq:(row+1)*s.Seq]
	n := s.Tokens(row)
	if n == 0 {
		return errors.New("input_mask has no token")
	}
	for i, m := range mask {
		if m != 0 && (m != 1 || i >= n) {
			return fmt.Errorf("input_mask is not a run of ones: %d in column %d", m, i)
		}
		if segments[i] != 0 && segments[i] != 1 {
			return fmt.Errorf("segment_ids is %d in column %d", segments[i], i)
		}
		if id := s.InputIDs[row*s.Seq+i]; id < 0 {
			return fmt.Errorf("input_ids is %d in column %d", id, i)
		}
	}
	if next := s.NextSentence[row]; next != 0 && next != 1 {
		return fmt.Errorf("next_sentence_labels is %d", next)
	}
	positions, ids := s.targets(row)
	for i, p := range positions {
		if p < 0 || int(p) >= n || i > 0 && p <= positions[i-1] {
			return fmt.Errorf("masked_lm_positions is %d in column %d of a sequence of %d tokens", p, i, n)
		}
		if ids[i] < 0 {
			return fmt.Errorf("masked_lm_ids is %d in column %d", ids[i], i)
		}
	}
	return nil
}

// Tokens returns the number of real tokens of a row: the ones its mask begins with.
func (s *Shard) Tokens(row int) int {
	n := 0
	for n < s.Seq && s.InputMask[row*s.Seq+n] == 1 {
		n++
	}
	return n
}

// targets returns the masked positions of a row and the ids there: up to the first zero, as the reference's trainer reads them.
func (s *Shard) targets(row int) (positions, ids []int32) {
	at := row * s.MaxPred
	n := 0
	for n < s.MaxPred && s.MaskedPositions[at+n] != 0 {
		n++
	}
	return s.MaskedPositions[at : at+n], s.MaskedIDs[at : at+n]
}

// Masked returns the number of masked tokens.
func (s *Shard) Masked() int {
	n := 0
	for row := range s.Rows {
		positions, _ := s.targets(row)
		n += len(positions)
	}
	return n
}

// checkIDs refuses ids beyond a vocabulary of that size.
func (s *Shard) checkIDs(vocabSize int) error {
	for i, id := range s.InputIDs {
		if int(id) >= vocabSize {
			return fmt.Errorf("row %d: input_ids is %d in column %d, beyond a vocabulary of %d", i/s.Seq, id, i%s.Seq, vocabSize)
		}
	}
	for i, id := range s.MaskedIDs {
		if int(id) >= vocabSize {
			return fmt.Errorf("row %d: masked_lm_ids is %d in column %d, beyond a vocabulary of %d", i/s.MaxPred, id, i%s.MaxPred, vocabSize)
		}
	}
	return nil
}
