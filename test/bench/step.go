package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/optim"
)

// steps measures updates of a model in every precision and length.
func (b *bench) steps(ctx context.Context, s shape) error {
	for _, precision := range b.Precision {
		for _, length := range b.Seq {
			measure := b.stepElsewhere
			if b.alone {
				measure = b.step
			}
			if err := measure(ctx, s, precision, length); err != nil {
				return fmt.Errorf("step of %s, %s, %d tokens a sequence: %w", s.name, precision, length, err)
			}
		}
	}
	return nil
}

// stepElsewhere measures in a process that does nothing else: only so its peak memory is that of the step.
func (b *bench) stepElsewhere(ctx context.Context, s shape, precision string, length int) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "step.csv")
	args := []string{"step", "-q", "-o", file, "--config", s.file, "--precision", precision, "--seq", strconv.Itoa(length), "--tokens", strconv.Itoa(b.Tokens),
		"--micro-batches", strconv.Itoa(b.MicroBatches), "--updates", strconv.Itoa(b.Updates), "-j", strconv.Itoa(b.dev.Threads())}
	if b.Checkpoint {
		args = append(args, "--checkpoint-activations")
	}
	b.env.Infof("step of %s, %s, %d tokens a sequence", s.name, precision, length)
	child := exec.CommandContext(ctx, program, args...)
	child.Stderr = b.env.Stderr
	if err := child.Run(); err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	records, err := csv.NewReader(in).ReadAll()
	if err != nil || len(records) != 2 {
		return errors.Join(err, fmt.Errorf("read %s: %d lines", file, len(records)))
	}
	return b.report.add(records[1], b.Output)
}

// step measures updates in this process.
func (b *bench) step(ctx context.Context, s shape, precision string, length int) error {
	sequences := max(1, b.Tokens/length)
	r := row{kind: "step", name: "update", model: s.name, precision: precision, state: "ok", unit: "GFLOP/s",
		shape: fmt.Sprintf("%d x %d x %d tokens", b.MicroBatches, sequences, length)}
	if b.Checkpoint {
		r.name = "update, activations checkpointed"
	}
	t, err := b.newTrainee(s, precision, length, sequences)
	if err == nil {
		defer t.close()
		err = b.timeUpdates(ctx, t, &r)
	}
	if r, err = unsupported(r, err); err != nil {
		return err
	}
	r.memory = peakMemory()
	return b.keep(r)
}

func (b *bench) timeUpdates(ctx context.Context, t *trainee, r *row) error {
	peak := b.peak(modes[r.precision].DType())
	if err := t.warmUp(); err != nil {
		return err
	}
	var seconds, optimiser []float64
	peaks := []float64{peak(t.stream)}
	watch := watchOthers()
	for range b.Updates {
		if err := ctx.Err(); err != nil {
			return err
		}
		begin := time.Now()
		learning, err := t.update(b.MicroBatches)
		if err != nil {
			return err
		}
		seconds, optimiser = append(seconds, time.Since(begin).Seconds()), append(optimiser, learning.Seconds())
		peaks = append(peaks, peak(t.stream))
	}
	r.others = watch.cores()
	forward, err := t.forward()
	if err != nil {
		return err
	}
	n := float64(b.MicroBatches)
	r.runs, r.seconds, r.ceiling, r.optimiser, r.forward = b.Updates, median(seconds), median(peaks), median(optimiser), n*forward
	r.backward = max(0, r.seconds-r.optimiser-r.forward)
	r.rate = 1e-9 * n * t.flops() / r.seconds
	r.sequences, r.tokens = n*float64(len(t.batch.Samples))/r.seconds, n*float64(len(t.batch.IDs))/r.seconds
	return nil
}

// trainee is a model with all that an update needs.
type trainee struct {
	stream  *kernels.Stream
	model   *bert.Model
	lamb    *optim.Optimizer
	batch   *bert.Batch
	goal    bert.Objective
	updates int
}

// newTrainee makes a model for micro-batches of so many sequences.
func (b *bench) newTrainee(s shape, precision string, length, sequences int) (t *trainee, err error) {
	if length > s.MaxPositionEmbeddings {
		return nil, fmt.Errorf("the model has %d positions", s.MaxPositionEmbeddings)
	}
	mode := bert.PreTraining | modes[precision]
	if b.Checkpoint {
		mode |= bert.CheckpointActivations
	}
	t = &trainee{batch: randomBatch(s, length, sequences)}
	if t.stream, err = b.dev.NewStream(); err != nil {
		return nil, err
	}
	limits := bert.Limits{Tokens: len(t.batch.IDs), Sequences: sequences, Masked: len(t.batch.MaskedIDs)}
	if t.model, err = bert.New(b.dev, t.stream, s.Config, limits, mode); err != nil {
		t.close()
		return nil, err
	}
	t.model.Init(1)
	t.model.Refresh()
	if t.lamb, err = optim.New(b.dev, t.stream, optim.Tensors{Offsets: t.model.Offsets(), Decay: t.model.Decays()}, optim.Defaults()); err != nil {
		t.close()
		return nil, err
	}
	n := float64(b.MicroBatches)
	t.goal = bert.Objective{Seed: 1, Dropout: true, LossScale: 1, MLMScale: float32(1 / (n * float64(limits.Masked))), NSPScale: float32(1 / (n * float64(sequences)))}
	if mode&bert.Float16 != 0 {
		t.goal.LossScale = 1 << 15 // as in training: without it most gradients are 0
	}
	return t, t.stream.Synchronize()
}

func (t *trainee) close() {
	if t.lamb != nil {
		t.lamb.Close()
	}
	if t.model != nil {
		t.model.Close()
	}
	t.stream.Close()
}

// randomBatch is sequences of one length in which every token is drawn from the vocabulary, masked as the recipes have it.
func randomBatch(s shape, length, sequences int) *bert.Batch {
	r := rand.New(rand.NewPCG(3, 3))
	b := &bert.Batch{CuSeqlens: []int32{0}}
	for i := range sequences {
		start := len(b.IDs)
		for p := range length {
			b.IDs = append(b.IDs, int32(r.IntN(s.VocabSize)))
			b.Positions = append(b.Positions, int32(p))
			b.Segments = append(b.Segments, int32(2*p/length))
		}
		for _, p := range r.Perm(length)[:maskedOf(length)] {
			b.MaskedRows = append(b.MaskedRows, int32(start+p))
			b.MaskedIDs = append(b.MaskedIDs, int32(r.IntN(s.VocabSize)))
		}
		b.CuSeqlens = append(b.CuSeqlens, int32(len(b.IDs)))
		b.Samples = append(b.Samples, int32(i))
		b.NextSentence = append(b.NextSentence, int32(i%2))
	}
	return b
}

// flops returns the operations of a micro-batch's forward and backward passes.
func (t *trainee) flops() float64 {
	length := int64(t.batch.CuSeqlens[1])
	return t.model.Config.FLOPs(len(t.batch.IDs), length*int64(len(t.batch.IDs)), len(t.batch.MaskedIDs), len(t.batch.Samples))
}

// update makes one of so many micro-batches and tells how long LAMB and the packing of the weights took.
func (t *trainee) update(micros int) (learning time.Duration, err error) {
	t.updates++
	t.goal.Step = uint32(t.updates)
	t.model.ZeroGradients()
	for range micros {
		if _, err := t.model.ForwardBackward(t.batch, t.goal); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	if _, err := t.lamb.Step(t.model.Weights, t.model.Gradients, t.updates, 1e-4, 1/float64(t.goal.LossScale)); err != nil {
		return 0, err
	}
	t.model.Refresh()
	err = t.stream.Synchronize()
	return time.Since(begin), err
}

// warmUp touches all memory.
func (t *trainee) warmUp() error {
	_, err := t.update(1)
	return err
}

// forward returns the seconds of a micro-batch's forward pass.
func (t *trainee) forward() (float64, error) {
	var seconds []float64
	for range 3 {
		begin := time.Now()
		if _, err := t.model.Forward(t.batch, t.goal); err != nil {
			return 0, err
		}
		seconds = append(seconds, time.Since(begin).Seconds())
	}
	return median(seconds), nil
}
