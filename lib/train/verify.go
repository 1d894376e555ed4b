package train

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unsafe"

	"hpcbert/lib/bert"
	"hpcbert/lib/ckpt"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
)

// verifier compares the bits of micro-batches that two ranks compute: results are deterministic, so any difference is a fault of a machine.
// In an update that is verified or saved each rank computes the first micro-batch of another rank before its own, and the ranks compare.
// Who computes for whom changes from time to time.
type verifier struct {
	every  int // updates; 0 = never
	checks int // made so far
	last   int // update of the last check in which all ranks agreed, in this run or those before it
}

// newVerifier tells why ranks cannot be compared, where they cannot.
func (t *Trainer) newVerifier() (verifier, error) {
	devices, err := comm.Texts(t.comm, t.dev.Name()) // all ranks, even where some have other options: SameOnAllRanks tells later
	v := verifier{every: t.opt.VerifyEvery}
	if v.every == 0 || err != nil {
		return v, err
	}
	if t.comm.Size() == 1 {
		t.opt.Warn("nothing is verified: there is no other rank to compare with")
		return verifier{}, nil
	}
	for r, device := range devices {
		if device != devices[0] {
			t.opt.Warn("nothing is verified: rank 0 computes on %s, rank %d on %s: their bits differ anyway", devices[0], r, device)
			return verifier{}, nil
		}
	}
	return v, nil
}

// verifies tells whether an update is one of those.
func (t *Trainer) verifies(step int) bool {
	return t.verify.every > 0 && (step%t.verify.every == 0 || t.savedAt(step))
}

// imprint is a number for the bits of a micro-batch's losses and gradients.
type imprint = int64

// imprintOf reads the gradients of the one micro-batch that is in the arena, and its late ones.
func (t *Trainer) imprintOf(r bert.Result) (imprint, error) {
	table := crc32.MakeTable(crc32.Castagnoli) // in hardware; finds every single flipped bit
	gradients, late := t.host(t.model.Gradients), t.host(t.model.Late())
	if err := t.stream.Synchronize(); err != nil {
		return 0, err
	}
	var sum uint32
	for _, x := range [][]float32{gradients, late} {
		sum = crc32.Update(sum, table, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x)))
	}
	var losses []byte
	for _, x := range []float64{r.MLMLossSum, r.NSPLossSum, r.TaskLossSum} {
		losses = binary.LittleEndian.AppendUint64(losses, math.Float64bits(x))
	}
	return imprint(crc32.Update(sum, table, losses)), nil
}

// recompute computes the micro-batch of the rank that is shift below this one, and leaves the gradients at zero.
func (t *Trainer) recompute(mine *bert.Batch, goal bert.Objective, shift int) (imprint, error) {
	text, err := json.Marshal(mine)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if text, err = t.comm.Shift(text, shift); err != nil {
		return 0, err
	}
	t.waited(begin)
	var theirs bert.Batch
	if err := json.Unmarshal(text, &theirs); err != nil {
		return 0, fmt.Errorf("micro-batch of another rank: %w", err)
	}
	comm.Doing(t.comm, "verifies a micro-batch of step %d", t.step+1)
	r, err := t.backward(&theirs, goal, nil)
	if err != nil {
		return 0, err
	}
	sum, err := t.imprintOf(r)
	t.model.ZeroGradients()
	return sum, err
}

// backward is a pass over a micro-batch with the test's fault in it.
func (t *Trainer) backward(b *bert.Batch, goal bert.Objective, done bert.Done) (bert.Result, error) {
	if t.opt.Hooks.Backward == nil {
		return t.model.ForwardBackwardLayers(b, goal, done)
	}
	return t.model.ForwardBackwardLayers(b, goal, func(first, end int) {
		t.opt.Hooks.backward(t.step+1, t.model.Gradients, first, end)
		if done != nil {
			done(first, end)
		}
	})
}

// firstVerified is the pass over the first micro-batch of an update that is verified.
func (t *Trainer) firstVerified(mine *bert.Batch, goal bert.Objective, done bert.Done) (bert.Result, error) {
	size := t.comm.Size()
	shift := 1 + t.verify.checks%(size-1)
	t.verify.checks++
	theirs, err := t.recompute(mine, goal, shift)
	if err != nil {
		return bert.Result{}, err
	}
	r, err := t.backward(mine, goal, done)
	if err != nil {
		return r, err
	}
	own, err := t.imprintOf(r)
	if err != nil {
		return r, err
	}
	told, err := t.tell(own, theirs, shift)
	if err != nil {
		return r, err
	}
	if bad := told.differing(); len(bad) > 0 {
		return r, t.corrupted(mine, goal, told, bad)
	}
	t.verify.last = t.step + 1
	return r, nil
}

// comparison is what all ranks know after a check.
type comparison struct {
	own   []imprint // of each rank's micro-batch, as it computed it
	again []imprint // as another one did
	shift int       // the rank that is so much higher
}

func (c comparison) checker(rank int) int { return (rank + c.shift) % len(c.own) }

// differing returns the ranks whose micro-batch another one computes otherwise.
func (c comparison) differing() (bad []int) {
	for r := range c.own {
		if c.own[r] != c.again[r] {
			bad = append(bad, r)
		}
	}
	return bad
}

// tell gives all ranks what each computed for itself and for the rank that is shift below it.
func (t *Trainer) tell(own, theirs imprint, shift int) (comparison, error) {
	size, rank := t.comm.Size(), t.comm.Rank()
	all := make([]int64, 2*size)
	all[rank], all[size+(rank-shift+size)%size] = own, theirs
	defer t.waited(time.Now())
	err := t.comm.AllreduceInt64(all)
	return comparison{all[:size], all[size:], shift}, err
}

// corrupted singles out who is at fault, by a third rank that computes the same micro-batches, and makes the error of all ranks. Checkpoints
// behind the last good check are put aside.
func (t *Trainer) corrupted(mine *bert.Batch, goal bert.Objective, first comparison, bad []int) error {
	var guilty, suspects []int
	if size := t.comm.Size(); size > 2 {
		shift := 1 + first.shift%(size-1)
		t.model.ZeroGradients()
		theirs, err := t.recompute(mine, goal, shift)
		if err != nil {
			return err
		}
		second, err := t.tell(first.own[t.comm.Rank()], theirs, shift)
		if err != nil {
			return err
		}
		guilty = judge(first, second, bad)
	}
	for _, r := range bad {
		suspects = append(suspects, r, first.checker(r))
	}
	slices.Sort(suspects)
	names := t.names(slices.Compact(suspects))
	verdict := "one of these hosts is at fault"
	if len(guilty) > 0 {
		verdict = strings.Join(t.names(guilty), ", ") + " is at fault: third ranks agree with the others"
	}
	err := fmt.Errorf("micro-batches computed twice differ between %s: %s", strings.Join(names, " and "), verdict)
	aside, e := t.putAside()
	if e != nil {
		err = fmt.Errorf("%w; put what may be wrong aside: %w", err, e)
	}
	return fault.WithHint(err, "data were corrupted without a sign: take the host out of service; %s%s", t.lastVerified(), aside)
}

func (t *Trainer) names(ranks []int) (names []string) {
	for _, r := range ranks {
		names = append(names, t.health.name(r))
	}
	return names
}

// judge compares the two checks: of three ranks that computed one micro-batch, two that agree are right. It returns the ranks that are not,
// none where no two agree.
func judge(first, second comparison, bad []int) (guilty []int) {
	for _, r := range bad {
		switch second.again[r] {
		case first.own[r]:
			guilty = append(guilty, first.checker(r))
		case first.again[r]:
			guilty = append(guilty, r)
		}
	}
	slices.Sort(guilty)
	return slices.Compact(guilty)
}

func (t *Trainer) lastVerified() string {
	if t.verify.last == 0 {
		return "no checkpoint is verified"
	}
	return fmt.Sprintf("the last verified update is %d, the same command on other hosts goes on from the newest checkpoint up to it", t.verify.last)
}

// putAside renames checkpoints of updates after the last good check, so that no run goes on from them, and tells of it.
func (t *Trainer) putAside() (told string, err error) {
	if t.comm.Rank() != 0 || t.verify.last == 0 {
		return "", nil
	}
	if err := t.saver.wait(); err != nil {
		return "", err
	}
	steps, err := ckpt.Steps(t.opt.Out)
	for _, step := range steps {
		if step <= t.verify.last {
			continue
		}
		folder := ckpt.AtStep(t.opt.Out, step)
		aside := filepath.Join(t.opt.Out, "unverified-"+filepath.Base(folder))
		if err := os.Rename(folder, aside); err != nil {
			return told, err
		}
		told += "; " + filepath.Base(folder) + " is " + filepath.Base(aside) + " now"
	}
	return told, err
}
