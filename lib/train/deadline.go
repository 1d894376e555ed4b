package train

import "time"

// What the end of a run takes beside its checkpoint, and how fast that is written at least, before one has been measured.
const (
	exitTime = 2 * time.Second
	slowDisk = 100e6 // bytes a second
)

// timeIsUp tells, on rank 0, whether the run must end now so that everything is saved before the deadline.
func (t *Trainer) timeIsUp() bool {
	if !t.opt.Deadline.IsZero() && t.comm.Rank() == 0 && time.Until(t.opt.Deadline) < t.reserve() {
		t.timeUp = true
	}
	return t.timeUp
}

// reserve is the time from the decision to end until the end: the ranks ask each other, a micro-batch is at work, perhaps a checkpoint is being
// written, and the last one is to be.
func (t *Trainer) reserve() time.Duration {
	save := t.saver.took
	if save == 0 {
		save = time.Duration(float64(4*snapshotLen(t.model.Params)) / slowDisk * float64(time.Second))
	}
	if t.saver.atWork != nil {
		save *= 2
	}
	return exitTime + stopWait + t.pace.longest + save
}
