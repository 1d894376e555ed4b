// Package train is the training loop, of pre-training and of other tasks: global batches from micro-batches and ranks, gradient all-reduce, updates,
// checkpoints, metrics.
package train

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/optim"
	"hpcbert/lib/pretrain"
	"hpcbert/lib/stream"
)

// Options says what to train and how.
type Options struct {
	Out            string // folder of checkpoints and metrics
	Init           string // checkpoint, or folder of a run, to start from; "" = random weights
	InitStep       int    // update whose checkpoint of Init it must be; 0 = any
	ResetMoments   bool   // start from Init's weights alone
	Seed           uint64
	GlobalBatch    int            // sequences of an update, over all ranks
	MicroBatch     int            // sequences computed at once on a rank
	Steps          int            // updates; also the length of the schedule
	SaveEvery      int            // updates between checkpoints; 0 = at the end only
	Keep           int            // newest checkpoints kept; 0 = all
	SaveSync       bool           // training waits while a checkpoint is written: no memory for a copy
	Deadline       time.Time      // when everything must be saved and over; zero = never
	Until          int            // update at which this run saves and stops; 0 = Steps
	SaveNothing    bool           // no checkpoints at all
	LogEvery       int            // updates between metrics lines
	DLLogger       string         // file of the reference's log; "" = none
	Began          time.Time      // when the program did
	Schedule       optim.Schedule // its Steps are those above
	Optimizer      optim.Options
	Scaling        optim.Scaling // of the loss
	Reduction      Reduction
	VerifyEvery    int                           // updates between checks of the ranks on each other; 0 = none
	FileOrder      bool                          // rows in the order of the files, not shuffled
	DynamicMasking bool                          // masks drawn anew in each epoch, not as in the shards
	WholeWords     bool                          // with DynamicMasking: all pieces of a word are masked or none
	Mode           bert.Mode                     // how to compute: CheckpointActivations, BFloat16 or Float16
	Memory         int64                         // available on this node, bytes
	Warn           func(format string, a ...any) // told what the user should know; never nil
	Planned        func(Plan)                    // told the memory before it is taken; never nil
	Hooks          Hooks
}

// Report is what the caller shows of a step.
type Report struct {
	Step, Steps        int
	Loss               float64
	LearningRate       float64
	SequencesPerSecond float64
}

// Summary is what a run did.
type Summary struct {
	FirstStep, LastStep int     // updates of this run; LastStep < FirstStep when there was nothing to do
	FirstLoss           float64 // of the run's first update
	LastLoss            float64 // mean over the run's last ten updates
	ConstantLoss        float64 // of the best constant prediction on the run's targets (unigram entropy)
	Sequences, Tokens   int64
	Skipped             int  // updates whose gradients overflowed
	Stopped             bool // ended early, as asked or because of the deadline
	TimeUp              bool // on rank 0: because of the deadline
}

// Trainer trains one model on this rank's share of the data.
type Trainer struct {
	opt       Options
	comm      comm.Comm
	model     *bert.Model
	optimizer *optim.Optimizer
	schedule  optim.Schedule
	scaler    *optim.Scaler
	cuts      []int // where the parts of the arenas begin that the ranks update; nil = every rank updates all
	reduction *reducer
	own       *watch // of this rank's gradients before they are summed
	stream    *kernels.Stream
	dev       *kernels.Device
	peak      float64 // GFLOP/s of all ranks together, for MFU; 0 = unknown
	task      Task
	metrics   *metrics
	log       *dllogger
	step      int // updates done
	saved     int // the update of the newest checkpoint
	saver     saver
	timeUp    bool        // the deadline is near
	stop      func() bool // whether a signal asked for the end
	pace      pace
	health    *health
	verify    verifier
	spent     spent    // in the update at work
	lock      *os.File // of the output folder, on rank 0
	dropout   bool

	Plan   Plan         // memory of this rank
	Notify func(Report) // told about each logged step, on rank 0
}

// New is NewTask for pre-training on shards.
func New(opt Options, cfg *bert.Config, set *pretrain.Set, dev *kernels.Device, c comm.Comm) (*Trainer, error) {
	task, err := newPretraining(opt, cfg, set)
	if err := comm.Together(c, err); err != nil {
		return nil, err
	}
	return NewTask(opt, cfg, task, dev, c)
}

// NewTask plans the memory, loads or initialises the weights and finds where to go on. All ranks call it; an error of one is an error of all.
func NewTask(opt Options, cfg *bert.Config, task Task, dev *kernels.Device, c comm.Comm) (*Trainer, error) {
	t, err := check(opt, cfg, task, dev, c)
	if err := comm.Together(c, err); err != nil {
		return nil, err
	}
	if err := t.fit(cfg); err != nil {
		return nil, err
	}
	if t.health, err = newHealth(c); err != nil {
		return nil, err
	}
	if t.verify, err = t.newVerifier(); err != nil {
		return nil, err
	}
	if err = t.allocate(cfg, dev); err == nil {
		err = t.start()
	}
	if err = comm.Together(c, err); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// check makes a trainer without memory.
func check(opt Options, cfg *bert.Config, task Task, dev *kernels.Device, c comm.Comm) (*Trainer, error) {
	t := &Trainer{opt: opt, comm: c, dev: dev, task: task, Notify: func(Report) {}}
	if opt.GlobalBatch < c.Size() {
		return nil, fault.Usagef("global batch of %d sequences on %d ranks: every rank needs at least one", opt.GlobalBatch, c.Size())
	}
	t.dropout = cfg.HiddenDropoutProb > 0 || cfg.AttentionProbsDropoutProb > 0
	t.schedule = opt.Schedule
	t.schedule.Steps = opt.Steps
	if err := cmp.Or(t.schedule.Check(), opt.Optimizer.Check(), opt.Scaling.Check()); err != nil {
		return nil, err
	}
	t.scaler = optim.NewScaler(opt.Scaling)
	if c.Rank() == 0 {
		return t, CheckLog(opt.DLLogger)
	}
	return t, nil
}

// mode is how the model is made.
func (t *Trainer) mode() bert.Mode {
	mode, _ := t.task.Heads()
	return mode | t.opt.Mode
}

// heads are what it has for its task.
func (t *Trainer) heads() []bert.Head {
	_, heads := t.task.Heads()
	return heads
}

// precision names the type of activations as the program's option does.
func (t *Trainer) precision() string {
	return map[kernels.DType]string{kernels.Float32: "fp32", kernels.BFloat16: "bf16", kernels.Float16: "fp16"}[t.opt.Mode.DType()]
}

func (t *Trainer) allocate(cfg *bert.Config, dev *kernels.Device) (err error) {
	if t.stream, err = dev.NewStream(); err != nil {
		return err
	}
	if t.model, err = bert.New(dev, t.stream, cfg, t.limits(cfg, t.microBatch()), t.mode(), t.heads()...); err != nil {
		return err
	}
	if t.comm.Size() > 1 && kernels.Host[float32](t.model.Gradients) == nil {
		return fault.WithHint(fmt.Errorf("device %s: ranks can sum gradients in the host's memory only", dev.Name()), "train with one rank, or on the device cpu")
	}
	return t.allocateUpdate()
}

// allocateUpdate makes what sums gradients and updates weights.
func (t *Trainer) allocateUpdate() (err error) {
	offsets := t.model.Offsets()
	t.own = &watch{offsets: offsets}
	if t.own.squares, err = optim.NewSquares(t.dev, t.stream, offsets); err != nil {
		return err
	}
	n := t.model.Weights.Len()
	first, end := t.part(n)
	part := optim.Part{First: first, End: end}
	if t.opt.Reduction.Shard && t.comm.Size() > 1 {
		t.cuts, part.Sum = partsOf(n, t.comm.Size()), t.sumParts
	}
	t.reduction = t.newReducer()
	if t.optimizer, err = optim.NewPart(t.dev, t.stream, optim.Tensors{Offsets: offsets, Decay: t.model.Decays()}, t.opt.Optimizer, part); err != nil || !t.snapshots() {
		return err
	}
	t.saver.copy, err = newSnapshot(snapshotLen(t.model.Params))
	return err
}

// start puts weights, moments and the update count where training goes on.
func (t *Trainer) start() error {
	if t.comm.Rank() == 0 {
		lock, err := ckpt.Lock(t.opt.Out)
		if err != nil {
			return err
		}
		t.lock = lock
	}
	dir, err := t.newest()
	switch {
	case err != nil:
	case dir != "":
		err = t.resume(dir)
	default:
		t.model.Init(t.opt.Seed)
		if t.opt.Init != "" {
			err = t.initFrom(t.opt.Init)
		}
	}
	if err != nil {
		return err
	}
	t.model.Refresh()
	return t.stream.Synchronize()
}

// newest returns the checkpoint of the output folder that training goes on from, "" when it starts anew.
func (t *Trainer) newest() (dir string, err error) {
	dir, skipped, err := ckpt.Latest(t.opt.Out)
	damaged := 0
	for _, reason := range skipped {
		t.opt.Warn("%v: skipped", reason)
		if !errors.Is(reason, ckpt.ErrUnfinished) {
			damaged++
		}
	}
	if err == nil && dir == "" && damaged > 0 {
		err = fault.WithHint(fmt.Errorf("%s: no checkpoint is whole", t.opt.Out), "remove the damaged folders to start anew, or give another output folder")
	}
	return dir, err
}

// batches returns the global batches used so far: those of the updates done and of the skipped ones.
func (t *Trainer) batches() int64 { return int64(t.step + t.scaler.Skipped) }

// samples returns the sequences used so far.
func (t *Trainer) samples() int64 { return t.batches() * int64(t.opt.GlobalBatch) }

// epoch is that of the last sequence used.
func (t *Trainer) epoch() (epoch int) {
	if n := t.samples(); n > 0 {
		epoch = t.task.Epoch(n - 1)
	}
	return epoch
}

// feed reads this rank's share of the data.
func (t *Trainer) feed() *feed {
	return &feed{config: t.model.Config, read: t.task.Read, global: t.opt.GlobalBatch, micro: t.opt.MicroBatch, end: endless,
		rank: t.comm.Rank(), ranks: t.comm.Size()}
}

// Step returns the updates done so far.
func (t *Trainer) Step() int { return t.step }

// Model returns the model as it is now.
func (t *Trainer) Model() *bert.Model { return t.model }

// Parameters returns the number of parameters.
func (t *Trainer) Parameters() int { return t.model.Parameters() }

// Close releases the device's memory and the folder.
func (t *Trainer) Close() {
	t.saver.copy.close()
	if t.optimizer != nil {
		t.optimizer.Close()
	}
	if t.own != nil {
		t.own.squares.Close()
	}
	if t.model != nil {
		t.model.Close()
	}
	if t.stream != nil {
		t.stream.Close()
	}
	t.lock.Close()
}

// Run trains to the last step, saving on the way. When stop says so, the update at work is given up, what was not saved is, and Run returns.
// All ranks call it.
func (t *Trainer) Run(ctx context.Context, stop func() bool) (Summary, error) {
	s := Summary{FirstStep: t.step + 1, LastStep: t.step}
	if t.step >= t.opt.Steps {
		return s, t.mark(s) // a run that was killed behind its last checkpoint has no mark yet
	}
	if err := t.measurePeak(); err != nil {
		return s, err
	}
	if t.comm.Rank() == 0 {
		if err := ckpt.Writable(t.opt.Out); err != nil {
			return s, err
		}
	}
	if err := t.unmark(doneMark, stoppedMark); err != nil {
		return s, err
	}
	if err := t.openMetrics(); err != nil {
		return s, err
	}
	defer t.metrics.close()
	if err := t.openLog(); err != nil {
		return s, err
	}
	defer t.log.close()
	ctx, cancel := context.WithCancel(ctx)
	batches := t.feed().start(ctx, t.batches())
	defer func() {
		cancel()
		for range batches { // until the reader has ended
		}
	}()
	t.stop = func() bool { return stop() || t.timeIsUp() }
	err := t.loop(batches, &s)
	if err = cmp.Or(err, t.saver.wait()); err != nil {
		return s, err
	}
	if s.ConstantLoss, err = t.task.ConstantLoss(t.comm); err != nil {
		return s, err
	}
	return s, cmp.Or(t.logEnd(&s), t.mark(s))
}

// end is the update at which this run ends.
func (t *Trainer) end() int {
	if t.opt.Until == 0 {
		return t.opt.Steps
	}
	return min(t.opt.Until, t.opt.Steps)
}

// loop makes the updates. A checkpoint may still be on its way to the disk when it ends.
func (t *Trainer) loop(batches <-chan share, s *Summary) error {
	window := &window{}
	defer func() { s.LastLoss = window.mean() }()
	for t.step < t.end() && !s.Stopped {
		if err := t.saver.poll(); err != nil {
			return err
		}
		err := t.one(batches, window, s)
		if s.Stopped = errors.Is(err, errStopped); err != nil && !s.Stopped {
			return err
		}
		s.TimeUp = s.Stopped && t.timeUp
		if t.due(s.Stopped) {
			if err := t.save(s.Stopped || t.step == t.end()); err != nil {
				return err
			}
		}
	}
	s.Stopped = t.step < t.opt.Steps
	return nil
}

// due tells whether the current update is to be saved.
func (t *Trainer) due(stopped bool) bool {
	return !t.opt.SaveNothing && t.step != t.saved && (stopped || t.savedAt(t.step))
}

// savedAt tells whether an update is saved when nothing stops the run before.
func (t *Trainer) savedAt(step int) bool {
	return !t.opt.SaveNothing && (step == t.end() || t.opt.SaveEvery > 0 && step%t.opt.SaveEvery == 0)
}

// measurePeak measures how fast all ranks at once could multiply and add; a device that cannot tell counts as unknown.
func (t *Trainer) measurePeak() error {
	s, err := t.dev.NewStream() // its own: what a device cannot do is an error that stays
	if err != nil {
		return err
	}
	defer s.Close()
	gflops := s.PeakGFLOPS(t.opt.Mode.DType())
	if s.Err() != nil {
		gflops = 0
	}
	sum := []float64{gflops}
	err = t.comm.AllreduceFloat64(sum)
	t.peak = sum[0]
	return err
}

// The files that say how a run ended: job scripts decide by them.
const (
	doneMark    = "DONE"
	stoppedMark = "STOPPED"
)

// mark leaves the file that says how the run ended.
func (t *Trainer) mark(s Summary) error {
	name, other := doneMark, stoppedMark
	if s.Stopped {
		name, other = other, name
	}
	if err := t.unmark(other); err != nil || t.comm.Rank() != 0 {
		return err
	}
	path, text := filepath.Join(t.opt.Out, name), fmt.Appendf(nil, "step %d\n", s.LastStep)
	if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, text) {
		return nil // a complete run touches nothing
	}
	return stream.WriteFile(path, text)
}

// unmark removes what an earlier run left: it would speak for this one if this one is killed.
func (t *Trainer) unmark(names ...string) error {
	if t.comm.Rank() != 0 {
		return nil
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(t.opt.Out, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// one makes one update and tells of it.
func (t *Trainer) one(batches <-chan share, w *window, s *Summary) error {
	begin := time.Now()
	comm.Doing(t.comm, "waits for the data of step %d", t.step+1)
	t.opt.Hooks.data(t.step + 1)
	b, ok := <-batches
	t.spent = spent{data: time.Since(begin)}
	if !ok {
		return errors.New("data ended before the last step")
	}
	if b.err != nil {
		return b.err
	}
	m, err := t.update(b)
	if errors.Is(err, errStopped) {
		return err
	}
	if err != nil {
		return fmt.Errorf("step %d: %w", t.step+1, err)
	}
	if t.comm.Rank() == 0 {
		for _, news := range t.health.note(m.pulse) {
			t.opt.Warn("%s", news)
		}
	}
	s.Sequences += m.sequences
	s.Tokens += m.tokens
	if m.skipped {
		s.Skipped++
		return t.logUpdate(m)
	}
	t.step++
	m.seconds, m.dataSeconds = time.Since(begin).Seconds(), t.spent.data.Seconds()
	w.add(m.loss())
	if s.LastStep++; s.LastStep == s.FirstStep {
		s.FirstLoss = m.loss()
	}
	if err := t.logUpdate(m); err != nil {
		return err
	}
	if t.step%t.opt.LogEvery != 0 && t.step != t.end() && s.LastStep != s.FirstStep || t.comm.Rank() != 0 {
		return nil
	}
	t.Notify(Report{Step: t.step, Steps: t.opt.Steps, Loss: m.loss(), LearningRate: m.learningRate, SequencesPerSecond: float64(m.sequences) / m.seconds})
	return t.metrics.write(t.metricsLine(m))
}

// window keeps the last ten losses.
type window struct{ losses []float64 }

func (w *window) add(loss float64) {
	w.losses = append(w.losses, loss)
	w.losses = w.losses[max(0, len(w.losses)-10):]
}

func (w *window) mean() float64 {
	sum := 0.0
	for _, loss := range w.losses {
		sum += loss
	}
	return sum / max(1, float64(len(w.losses)))
}

// metricsPath is where the run's metrics are.
func (t *Trainer) metricsPath() string { return filepath.Join(t.opt.Out, "metrics.jsonl") }
