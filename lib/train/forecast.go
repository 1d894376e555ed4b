package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/pretrain"
)

// Forecast is what a run would be, found without its memory and without writing anything.
type Forecast struct {
	Plan                    // memory of this rank
	Parameters      int     // of the model
	CheckpointBytes int64   // of a checkpoint
	FreeBytes       int64   // on the disk of the output folder; 0 = unknown
	From            string  // checkpoint that it starts from; "" = random weights
	Step            int     // updates done there by this run
	End             int     // the update that it ends with
	Looked          int     // sequences looked at for the next three
	Tokens, Masked  float64 // of a sequence on the average, without padding
	FLOPs           float64 // of a sequence
	PeakGFLOPS      float64 // of all ranks at once; 0 = unknown
	run             *Trainer
	config          *bert.Config
}

// Foresee is ForeseeTask for pre-training on shards.
func Foresee(ctx context.Context, opt Options, cfg *bert.Config, set *pretrain.Set, dev *kernels.Device, c comm.Comm) (Forecast, error) {
	task, err := newPretraining(opt, cfg, set)
	if err := comm.Together(c, err); err != nil {
		return Forecast{}, err
	}
	return ForeseeTask(ctx, opt, cfg, task, dev, c)
}

// ForeseeTask finds what NewTask and Run would do, and what would make them fail. All ranks call it.
func ForeseeTask(ctx context.Context, opt Options, cfg *bert.Config, task Task, dev *kernels.Device, c comm.Comm) (Forecast, error) {
	t, err := check(opt, cfg, task, dev, c)
	if err := comm.Together(c, err); err != nil {
		return Forecast{}, err
	}
	if err := t.fit(cfg); err != nil {
		return Forecast{}, err
	}
	f := Forecast{Plan: t.Plan, End: t.end(), run: t, config: cfg}
	for _, p := range task.Params(cfg) {
		f.Parameters += p.Len
	}
	f.CheckpointBytes = 3 * 4 * int64(f.Parameters) // weights and both moments
	if c.Rank() == 0 {
		if err = t.foreseeStart(&f, cfg); err == nil {
			err = t.look(ctx, &f, cfg)
		}
	}
	if err := comm.Together(c, err); err != nil {
		return f, err
	}
	at := []int64{int64(f.Step)} // every rank tells the same
	if err := c.AllreduceInt64(at); err != nil {
		return f, err
	}
	f.Step = int(at[0])
	err = t.measurePeak()
	f.PeakGFLOPS = t.peak
	return f, err
}

// foreseeStart finds where the run would start, and whether it could write.
func (t *Trainer) foreseeStart(f *Forecast, cfg *bert.Config) (err error) {
	if f.FreeBytes, err = room(t.opt.Out); err != nil {
		return err
	}
	dir, err := t.newest()
	if err != nil {
		return err
	}
	if dir != "" {
		was, err := t.unchanged(dir, cfg)
		f.From, f.Step = dir, was.Step
		if t.step = was.Step; was.Scaler != nil {
			t.scaler.Restore(*was.Scaler)
		}
		return err
	}
	if t.opt.Init == "" {
		return nil
	}
	if f.From, err = StartingPoint(t.opt.Init, t.opt.InitStep, t.opt.Warn); err != nil {
		return err
	}
	if err := sameVocabulary(ckpt.Folder(f.From), t.task.Vocabulary()); err != nil {
		return err
	}
	source, err := ckpt.Open(f.From)
	if err != nil {
		return err
	}
	_, err = cfg.Cover(t.task.Params(cfg), source)
	return errors.Join(err, source.Close())
}

// room returns the free bytes of the disk on which a folder is, or would be made, and refuses one that cannot be written.
func room(dir string) (int64, error) {
	place := dir
	for {
		info, err := os.Stat(place)
		if err == nil && !info.IsDir() {
			return 0, fmt.Errorf("write %s: %s is no folder", dir, place)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) || place == filepath.Dir(place) {
			return 0, err
		}
		place = filepath.Dir(place)
	}
	const writable = 2
	if err := syscall.Access(place, writable); err != nil {
		return 0, fault.WithHint(fmt.Errorf("write %s: %s: %w", dir, place, err), "give an output folder that you may write to")
	}
	var disk syscall.Statfs_t
	if syscall.Statfs(place, &disk) != nil {
		return 0, nil
	}
	return int64(disk.Bavail) * int64(disk.Bsize), nil
}

// look takes averages over the sequences that come next.
func (t *Trainer) look(ctx context.Context, f *Forecast, cfg *bert.Config) error {
	const most = 256
	reader := t.task.Read(ctx)
	defer reader.Close()
	rows, err := reader.Fetch(t.samples(), min(most, t.task.Sequences()))
	if err != nil {
		return err
	}
	f.Looked = rows.Len()
	for i := range f.Looked {
		tokens, masked := rows.Size(i)
		f.Tokens += float64(tokens) / float64(f.Looked)
		f.Masked += float64(masked) / float64(f.Looked)
		f.FLOPs += cfg.FLOPs(tokens, int64(tokens)*int64(tokens), masked, 1) / float64(f.Looked)
	}
	return nil
}
