package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"strings"

	"hpcbert/lib/ckpt"
	"hpcbert/lib/cli"
)

// list prints the tensors.
func (o *options) list(ctx context.Context, env *cli.Env, paths []string) error {
	s, err := ckpt.Open(paths[0])
	if err != nil {
		return err
	}
	defer s.Close()
	env.Infof("%s", describe(s))
	out := bufio.NewWriter(env.Stdout)
	values := 0
	for _, t := range s.Tensors() {
		if err := ctx.Err(); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\t%s\t%s", t.Name, t.DType, shape(t.Shape))
		if o.Verbose {
			size, err := norm(s, t)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "\t%s\t%s", size, t.Stored)
		}
		fmt.Fprintln(out)
		values += t.Len()
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write standard output: %w", err)
	}
	env.Summaryf("%d tensors of %d values", len(s.Tensors()), values)
	return nil
}

// describe tells what a checkpoint is.
func describe(s *ckpt.Source) string {
	text := fmt.Sprintf("%s: %s", s.Name, s.Kind)
	if s.State.Known {
		text += fmt.Sprintf(", step %d, epoch %d, learning rate %g", s.State.Step, s.State.Epoch, s.State.LearningRate)
	}
	if s.State.Optimizer != "" {
		text += ", optimizer with " + s.State.Optimizer
	}
	return text
}

// shape prints sizes as [30522,768].
func shape(sizes []int) string { return strings.ReplaceAll(fmt.Sprint(sizes), " ", ",") }

func norm(s *ckpt.Source, t *ckpt.Tensor) (string, error) {
	if !t.Floating() {
		return "-", nil
	}
	values, err := s.Float32(t.Name)
	if err != nil {
		return "", err
	}
	sum := 0.0
	for _, v := range values {
		sum += float64(v) * float64(v)
	}
	return fmt.Sprintf("%.6g", math.Sqrt(sum)), nil
}
