package ckpt

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// CheckFinite reads all tensors and names the first value that is infinite or not a number.
func (s *Source) CheckFinite(ctx context.Context) error {
	var values []float32
	for _, e := range s.Entries(ctx) {
		values = slices.Grow(values[:0], e.Len())[:e.Len()]
		if err := e.Read(values); err != nil {
			return err
		}
	}
	return nil
}

// Entries lists what can be read as float32, in the file's order, for Write. Values are read when their turn comes, and must be finite then.
func (s *Source) Entries(ctx context.Context) []Entry {
	var all []Entry
	for _, t := range s.order {
		if !t.Floating() {
			continue
		}
		all = append(all, Entry{Name: t.Name, Shape: t.Shape, Read: func(values []float32) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.ReadFloat32(t.Name, values); err != nil {
				return err
			}
			return t.CheckFinite(values)
		}})
	}
	return all
}

// DropCopies drops the tensors that IsCopy tells of. One that differs from the parameter that it should be a copy of is an error: BERT has no
// decoder of its own.
func (s *Source) DropCopies() error {
	for copied, of := range map[string]string{"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.bias": "cls.predictions.bias"} {
		if s.tensors[copied] == nil || s.tensors[of] == nil {
			continue
		}
		a, err := s.Float32(copied)
		if err != nil {
			return err
		}
		b, err := s.Float32(of)
		if err != nil {
			return err
		}
		if !slices.Equal(a, b) {
			return fmt.Errorf("%s: %s differs from %s, which BERT's decoder is", s.Name, copied, of)
		}
	}
	s.order = slices.DeleteFunc(s.order, func(t *Tensor) bool {
		if IsCopy(t.Name) {
			delete(s.tensors, t.Name)
		}
		return IsCopy(t.Name)
	})
	return nil
}

// CheckMoments compares the shapes of moments with those of their parameters, the tensors of s.
func (s *Source) CheckMoments(moments *Source) error {
	for _, m := range moments.order {
		t := s.tensors[strings.TrimPrefix(strings.TrimPrefix(m.Name, FirstMoment), SecondMoment)]
		if t == nil {
			return fmt.Errorf("%s: tensor %q belongs to no parameter", moments.Name, m.Stored)
		}
		if !slices.Equal(t.Shape, m.Shape) {
			return fmt.Errorf("%s: tensor %q has the shape %v, its parameter %v", moments.Name, m.Stored, m.Shape, t.Shape)
		}
	}
	return nil
}
