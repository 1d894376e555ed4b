package train

import (
	"cmp"
	"errors"
	"math"
	"math/bits"
	"time"

	"hpcbert/kernels"
	"hpcbert/lib/bert"
	"hpcbert/lib/comm"
	"hpcbert/lib/optim"
)

// measure is what one update showed, over all ranks.
type measure struct {
	mlmLoss, nspLoss          float64 // means
	mlmCorrect, nspCorrect    int64
	taskLoss                  float64
	taskCorrect               int64
	masked, sequences, tokens int64
	flops                     float64
	learningRate              float64
	gradientNorm, lossScale   float64
	seconds, dataSeconds      float64
	pulse                     pulse
	applyWait                 time.Duration // of this rank after the pulse, for parts of sharded updates
	skipped                   bool          // the gradients overflowed and nothing was updated
}

func (m *measure) loss() float64 { return m.mlmLoss + m.nspLoss + m.taskLoss }

// update computes the gradient of the global batch and applies it. A batch whose gradients overflow under a dynamic loss scale is used up
// without an update: the step and with it the learning rate stay, the data go on.
func (t *Trainer) update(b share) (*measure, error) {
	micros := b.micros
	m, err := t.countTargets(micros)
	if err != nil {
		return nil, err
	}
	t.opt.Hooks.weights(t.step+1, t.model)
	t.model.ZeroGradients()
	t.own.bad = nowhere
	t.reduction.begin()
	var sums bert.Result
	for i, micro := range micros {
		if stopped, err := t.stopBefore(i); err != nil || stopped {
			return nil, cmp.Or(err, errStopped)
		}
		checks := i == 0 && t.verifies(t.step+1)
		var done bert.Done
		if i == len(micros)-1 {
			done = t.whenFinal(checks)
		}
		comm.Doing(t.comm, "computes micro-batch %d of %d of step %d", i+1, len(micros), t.step+1)
		begin, waited := time.Now(), t.spent.wait
		t.task.Count(micro)
		t.opt.Hooks.batch(t.step+1, micro)
		r, err := t.micro(micro, t.objective(m), done, checks)
		if err != nil {
			return nil, err
		}
		sums.Add(r)
		t.log.micro(micro, r)
		t.opt.Hooks.computed(t.step+1, time.Since(begin))
		t.spent.compute += time.Since(begin) - (t.spent.wait - waited)
		t.pace.took(time.Since(begin))
	}
	if err := t.reduce(); err != nil {
		return nil, err
	}
	if err := t.gather(m, sums); err != nil {
		return nil, err
	}
	told := t.spent.wait
	err = t.apply(m)
	m.applyWait = t.spent.wait - told
	return m, err
}

// micro computes a micro-batch.
func (t *Trainer) micro(b *bert.Batch, goal bert.Objective, done bert.Done, checks bool) (bert.Result, error) {
	if checks {
		return t.firstVerified(b, goal, done)
	}
	return t.backward(b, goal, done)
}

// lossScale is what the gradients are multiplied by. The loss is a mean over the global batch: half precision holds its gradients as well as
// those of a micro-batch's mean, which the scaler's numbers are made for, when the scale is larger by what the global batch is. The factor is
// a power of two: it rounds nothing.
func (t *Trainer) lossScale() float64 {
	if t.opt.Scaling == (optim.Scaling{}) {
		return 1
	}
	batches := max(1, t.opt.GlobalBatch/t.opt.MicroBatch)
	return math.Ldexp(t.scaler.Scale, bits.Len(uint(batches))-1)
}

// objective is what the backward pass computes the gradient of.
func (t *Trainer) objective(m *measure) bert.Objective {
	goal := bert.Objective{Seed: t.opt.Seed, Step: uint32(t.batches() + 1), Dropout: t.dropout, LossScale: float32(t.lossScale()), NSPScale: float32(1 / float64(m.sequences))}
	goal.TaskScale = goal.NSPScale
	if m.masked > 0 {
		goal.MLMScale = float32(1 / float64(m.masked))
	}
	return goal
}

// apply updates the weights, unless loss or gradients are not finite.
func (t *Trainer) apply(m *measure) (err error) {
	comm.Doing(t.comm, "updates the weights of step %d", t.step+1)
	m.learningRate, m.lossScale = t.schedule.Rate(t.step+1), t.scaler.Scale
	if loss := m.loss(); math.IsNaN(loss) || math.IsInf(loss, 0) {
		return t.notFinite(m, nowhere)
	}
	m.gradientNorm, err = t.optimizer.Step(t.model.Weights, t.model.Gradients, t.step+1, m.learningRate, 1/t.lossScale())
	var bad *optim.NotFinite
	if errors.As(err, &bad) {
		return t.notFinite(m, bad.Tensor)
	}
	if err != nil {
		return err
	}
	if t.cuts != nil {
		begin := time.Now()
		if err := t.comm.AllGather(kernels.Host[float32](t.model.Weights), t.cuts); err != nil {
			return err
		}
		t.waited(begin)
	}
	t.scaler.Applied()
	t.model.Refresh()
	return t.stream.Synchronize()
}

// sumParts sums what the ranks found in their parts of the arenas.
func (t *Trainer) sumParts(values []float64) error {
	defer t.waited(time.Now())
	return t.comm.AllreduceFloat64(values)
}

// countTargets sums the targets of the global batch: the objective is a mean over all of them.
func (t *Trainer) countTargets(micros []*bert.Batch) (*measure, error) {
	var counts [5]int64
	for _, b := range micros {
		counts[0] += int64(len(b.MaskedIDs))
		counts[1] += int64(len(b.Samples))
		counts[2] += int64(len(b.IDs))
		for i := range b.Samples {
			length := int64(b.CuSeqlens[i+1] - b.CuSeqlens[i])
			counts[3] += length * length
		}
	}
	counts[4] = t.pace.mean()
	t.spent.flops = t.model.Config.FLOPs(int(counts[2]), counts[3], int(counts[0]), int(counts[1]))
	words := t.words(micros)
	numbers := append(counts[:], words.counts...)
	begin := time.Now()
	if err := t.comm.AllreduceInt64(numbers); err != nil {
		return nil, err
	}
	t.waited(begin)
	copy(counts[:], numbers)
	copy(words.counts, numbers[len(counts):])
	if late := words.ids(); len(late) <= t.model.Limits().Late {
		micros[len(micros)-1].Late = late
	}
	t.pace.set(counts[4] / int64(t.comm.Size()))
	m := &measure{masked: counts[0], sequences: counts[1], tokens: counts[2]}
	m.flops = t.model.Config.FLOPs(int(m.tokens), counts[3], int(m.masked), int(m.sequences))
	return m, nil
}

// gather makes the losses global.
func (t *Trainer) gather(m *measure, r bert.Result) error {
	sums := append([]float64{r.MLMLossSum, r.NSPLossSum, float64(r.MLMCorrect), float64(r.NSPCorrect), r.TaskLossSum, float64(r.TaskCorrect)},
		make([]float64, pulseLen*t.comm.Size())...)
	m.pulse = pulse(sums[6:])
	m.pulse.put(t.comm.Rank(), t.spent)
	if err := t.comm.AllreduceFloat64(sums); err != nil {
		return err
	}
	if m.masked > 0 {
		m.mlmLoss = sums[0] / float64(m.masked)
	}
	m.nspLoss = sums[1] / float64(m.sequences)
	m.mlmCorrect, m.nspCorrect = int64(sums[2]), int64(sums[3])
	m.taskLoss, m.taskCorrect = sums[4]/float64(m.sequences), int64(sums[5])
	return nil
}

// errStopped ends an update that was given up because a signal asked for the end.
var errStopped = errors.New("stopped")

// stopBefore tells all ranks alike whether to give the update up before micro-batch i. Ranks ask together: only before micro-batches that
// every rank has, and seldom enough that waiting for each other costs nothing.
func (t *Trainer) stopBefore(i int) (bool, error) {
	least := (smallestShare(t.opt.GlobalBatch, t.comm.Size()) + t.opt.MicroBatch - 1) / t.opt.MicroBatch // micro-batches of the smallest share
	if i >= least || i%t.pace.every() != 0 {
		return false, nil
	}
	return t.comm.Agree(t.stop())
}

// stopWait is how long a request to stop may wait.
const stopWait = 2 * time.Second

// pace is how often the ranks ask each other: about every stopWait, by the mean time of a micro-batch over all ranks in the last update.
type pace struct {
	spent   time.Duration
	count   int64
	between int64 // micro-batches from one question to the next; 0 = not known yet
	longest time.Duration
}

func (p *pace) took(d time.Duration) {
	p.longest = max(p.longest, d)
	p.spent += d
	p.count++
}

// mean returns this rank's mean in microseconds, 0 when there was none yet, and starts anew.
func (p *pace) mean() int64 {
	us := p.spent.Microseconds() / max(p.count, 1)
	p.spent, p.count = 0, 0
	return us
}

func (p *pace) set(us int64) {
	if p.between = 0; us > 0 {
		p.between = stopWait.Microseconds() / us
	}
}

func (p *pace) every() int { return int(max(p.between, 1)) }
