package train

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"hpcbert/lib/ckpt"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
	"hpcbert/lib/wordpiece"
)

// saver writes the checkpoints, on rank 0: one at a time, in a goroutine of its own while training goes on, from a copy of weights and moments.
type saver struct {
	copy   *snapshot
	atWork chan written // gets what became of the checkpoint being written; nil = none is
	took   time.Duration
	stood  time.Duration // training, for checkpoints since the last line of metrics
}

// written is what became of a checkpoint.
type written struct {
	err  error
	took time.Duration
}

// content is a checkpoint before it is written.
type content struct {
	step    int
	weights []float32
	moments []ckpt.Entry
	state   []byte
}

// poll takes note of a checkpoint that is written by now.
func (s *saver) poll() error {
	select {
	case w := <-s.atWork:
		return s.note(w)
	default:
		return nil
	}
}

// wait waits for the checkpoint that is being written.
func (s *saver) wait() error {
	if s.atWork == nil {
		return nil
	}
	return s.note(<-s.atWork)
}

func (s *saver) note(w written) error {
	s.atWork, s.took = nil, w.took
	return w.err
}

// save writes the checkpoint of the current update, or begins to where training goes on meanwhile: the error comes with the next step then.
// Rank 0 writes, the others give it their part of the moments, go on and meet it at the next collective.
func (t *Trainer) save(last bool) error {
	comm.Doing(t.comm, "saves step %d", t.step)
	t.saved = t.step
	if t.comm.Rank() != 0 {
		return t.sendMoments()
	}
	called := time.Now()
	defer func() { t.saver.stood += time.Since(called) }()
	if err := cmp.Or(t.saver.wait(), t.log.parameter("checkpoint_step", t.step)); err != nil {
		return err
	}
	begin := time.Now()
	if err := t.checkWeights(); err != nil {
		return fmt.Errorf("save step %d: %w", t.step, err)
	}
	c, err := t.content(last || t.opt.SaveSync)
	if err != nil {
		return fmt.Errorf("save step %d: %w", t.step, err)
	}
	if last || t.opt.SaveSync {
		err := t.write(c)
		t.saver.took = time.Since(begin)
		return err
	}
	done := make(chan written, 1)
	t.saver.atWork = done
	go func() { // Run waits for it
		err := t.write(c)
		done <- written{err, time.Since(begin)}
	}()
	return nil
}

// content is the checkpoint of the current update. It reads the arenas while it is written where training waits for that, else it is a copy.
func (t *Trainer) content(waits bool) (c content, err error) {
	text, err := json.MarshalIndent(t.state(), "", " ")
	if err != nil {
		return c, err
	}
	c = content{step: t.step, moments: t.moments(), state: append(text, '\n')}
	if waits {
		c.weights = t.host(t.model.Weights)
		return c, t.stream.Err()
	}
	return c, t.saver.copy.take(t, &c)
}

// write writes a checkpoint and removes those that are too old. It reads nothing that training changes but what the content itself reads.
func (t *Trainer) write(c content) (err error) {
	defer func() {
		if err != nil {
			err = t.saveError(c.step, err)
		}
	}()
	if err := t.metrics.file.Sync(); err != nil { // a checkpoint that outlives a power failure must not be ahead of its metrics
		return stream.DiskFull(err)
	}
	draft, err := ckpt.Begin(t.opt.Out, c.step)
	if err != nil {
		return err
	}
	if err := t.writeParts(draft, c); err != nil {
		return errors.Join(err, draft.Discard())
	}
	if err := draft.Commit(); err != nil {
		return errors.Join(err, draft.Discard())
	}
	if t.opt.Keep > 0 {
		return ckpt.Prune(t.opt.Out, c.step, t.opt.Keep)
	}
	return nil
}

// saveError says what was not saved, and what there is to go on from.
func (t *Trainer) saveError(step int, err error) error {
	steps, _ := ckpt.Steps(t.opt.Out)
	kept := "there is no checkpoint yet"
	if len(steps) > 0 {
		kept = fmt.Sprintf("the newest checkpoint is that of step %d", steps[len(steps)-1])
	}
	hint := fault.HintOf(err)
	if hint != "" {
		hint += ", then "
	}
	return fault.WithHint(fmt.Errorf("save step %d: %w; %s", step, err, kept), "%sgive the same command again: it goes on from the newest whole checkpoint", hint)
}

func (t *Trainer) writeParts(d *ckpt.Draft, c content) error {
	var model []ckpt.Entry
	for _, p := range t.model.Params {
		model = append(model, ckpt.Entry{Name: p.Name, Shape: p.Shape, Values: c.weights[p.Offset : p.Offset+p.Len]})
	}
	parts := ckpt.Content{Model: model, Moments: c.moments, Config: t.model.Config.JSON(), State: c.state}
	data := t.task.Vocabulary()
	if data.Path != "" {
		var err error
		if parts.Vocabulary, err = os.ReadFile(data.Path); err != nil {
			return err
		}
	}
	if data.LowerCase != nil {
		parts.Tokenizer = wordpiece.TokenizerConfig(*data.LowerCase)
	}
	return d.Write(parts)
}
