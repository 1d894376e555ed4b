package train

import (
	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
)

// moment is one of the two arenas: this rank's part of it.
type moment struct {
	prefix string // of the parameters' names in the file
	arena  kernels.Tensor
}

func (t *Trainer) bothMoments() []moment {
	return []moment{{ckpt.FirstMoment, t.optimizer.Moments1}, {ckpt.SecondMoment, t.optimizer.Moments2}}
}

// moments are the tensors of the file beside the weights. Where ranks have parts, reading them is a collective: the other ranks call sendMoments. So the file
// is the same whoever has what, and any number of ranks can go on from it.
func (t *Trainer) moments() []ckpt.Entry {
	var entries []ckpt.Entry
	for _, p := range t.model.Params {
		for _, m := range t.bothMoments() {
			read := func(values []float32) error {
				return inPieces(p.Len, func(first, end int) error { return t.gatherMoment(m, p.Offset+first, values[first:end]) })
			}
			entries = append(entries, ckpt.Entry{Name: m.prefix + p.Name, Shape: p.Shape, Read: read})
		}
	}
	return entries
}

// sendMoments gives rank 0 what it reads while it writes them.
func (t *Trainer) sendMoments() error {
	if t.cuts == nil {
		return nil
	}
	spare := make([]float32, bucketLen)
	for _, p := range t.model.Params {
		for _, m := range t.bothMoments() {
			send := func(first, end int) error { return t.gatherMoment(m, p.Offset+first, spare[:end-first]) }
			if err := inPieces(p.Len, send); err != nil {
				return err
			}
		}
	}
	return nil
}

// inPieces calls f on stretches of at most a bucket of n elements.
func inPieces(n int, f func(first, end int) error) error {
	for first := 0; first < n; first += bucketLen {
		if err := f(first, min(first+bucketLen, n)); err != nil {
			return err
		}
	}
	return nil
}

// gatherMoment puts the elements of a moment's whole arena from first on into to, on rank 0; each rank gives what it has.
func (t *Trainer) gatherMoment(m moment, first int, to []float32) error {
	begin, end := t.part(t.model.Weights.Len())
	from, until := max(first, begin), min(first+len(to), end)
	if from < until {
		kernels.Download(t.stream, to[from-first:until-first], m.arena.Slice(from-begin, until-begin))
		if err := t.stream.Synchronize(); err != nil {
			return err
		}
	}
	if t.cuts == nil {
		return nil
	}
	cuts := make([]int, len(t.cuts))
	for r, cut := range t.cuts {
		cuts[r] = min(max(cut-first, 0), len(to))
	}
	return t.comm.Gather(to, cuts, 0)
}

// loadMoments reads this rank's part of a checkpoint's moments.
func (t *Trainer) loadMoments(path string) error {
	f, err := ckpt.OpenMoments(path)
	if err != nil {
		return err
	}
	defer f.Close()
	f.DropRows(t.model.Config.VocabSize)
	for _, p := range t.model.Params {
		for _, m := range t.bothMoments() {
			if err := t.loadMoment(f, m, p); err != nil {
				return err
			}
		}
	}
	return t.stream.Synchronize()
}

func (t *Trainer) loadMoment(f *ckpt.Source, m moment, p bert.Param) error {
	begin, end := t.part(t.model.Weights.Len())
	from, until := max(p.Offset, begin), min(p.Offset+p.Len, end)
	if from >= until {
		return nil
	}
	values := make([]float32, p.Len)
	if err := f.ReadFloat32(m.prefix+p.Name, values); err != nil {
		return err
	}
	kernels.Upload(t.stream, m.arena.Slice(from-begin, until-begin), values[from-p.Offset:until-p.Offset])
	return t.stream.Synchronize()
}
