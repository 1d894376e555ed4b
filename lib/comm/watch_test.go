package comm_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hpcbert/lib/comm"
	"hpcbert/lib/comm/commtest"
	"hpcbert/lib/fault"
)

// cut is a Comm whose barriers never end: the network lost them.
type cut struct{ comm.Comm }

func (cut) Barrier() error { select {} }

// notes keeps what ranks warn about.
type notes struct {
	mu    sync.Mutex
	texts []string
}

func (n *notes) warn(format string, a ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.texts = append(n.texts, fmt.Sprintf(format, a...))
}

const patience = 150 * time.Millisecond

func TestMissingRanksAreNamed(t *testing.T) {
	vanish := func(w *comm.Watched, t *testing.T) { w.Vanish() }
	freeze := func(w *comm.Watched, t *testing.T) { w.Freeze(t) }
	stay := func(w *comm.Watched, t *testing.T) { comm.Doing(w, "computes micro-batch %d", 7) }
	gone, silent := "rank %d on testhost, whose process is gone", "rank %d on testhost, which does not answer"
	for _, c := range []struct {
		what    string
		missing map[int]func(w *comm.Watched, t *testing.T)
		want    []string
		within  time.Duration
	}{
		{"one is gone", map[int]func(*comm.Watched, *testing.T){2: vanish}, []string{fmt.Sprintf(gone, 2)}, patience + 3*time.Second},
		{"the first is gone", map[int]func(*comm.Watched, *testing.T){0: vanish}, []string{fmt.Sprintf(gone, 0)}, patience + 3*time.Second},
		{"one is stopped", map[int]func(*comm.Watched, *testing.T){3: freeze}, []string{fmt.Sprintf(silent, 3)}, patience + 3*time.Second},
		{"the first and another are", map[int]func(*comm.Watched, *testing.T){0: freeze, 2: vanish}, []string{fmt.Sprintf(silent, 0), fmt.Sprintf(gone, 2)}, patience + 3*time.Second},
		{"all but one are", map[int]func(*comm.Watched, *testing.T){0: freeze, 1: freeze, 2: vanish}, []string{fmt.Sprintf(silent, 0), fmt.Sprintf(silent, 1), fmt.Sprintf(gone, 2)}, patience + 3*time.Second},
		{"one works without end", map[int]func(*comm.Watched, *testing.T){1: stay}, []string{"rank 1 on testhost, which answers and computes micro-batch 7 for "}, 10*patience + 3*time.Second},
		{"one is stopped, one works", map[int]func(*comm.Watched, *testing.T){1: stay, 2: freeze}, []string{fmt.Sprintf(silent, 2)}, patience + 3*time.Second},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			t.Parallel()
			end := make(chan bool)
			var once sync.Once
			var heard notes
			var took time.Duration
			begin := time.Now()
			errs := commtest.Run(4, func(inner comm.Comm) error {
				w, err := comm.Watch(inner, patience, heard.warn)
				if err != nil {
					return err
				}
				if be := c.missing[inner.Rank()]; be != nil {
					be(w, t)
					<-end
					return nil
				}
				err = w.Barrier()
				once.Do(func() { took = time.Since(begin); close(end) })
				return err
			})
			told := 0
			for rank, err := range errs {
				if err == nil || errors.Is(err, commtest.ErrAborted) {
					continue
				}
				told++
				names := strings.Count(err.Error(), "rank ")
				for _, want := range c.want {
					if !strings.Contains(err.Error(), want) || names != len(c.want) || fault.HintOf(err) == "" {
						t.Errorf("rank %d: %v\nexpected %q", rank, err, want)
					}
				}
			}
			if told != 1 {
				t.Errorf("told by %d ranks: %v", told, errs)
			}
			if took > c.within {
				t.Errorf("took %v", took)
			}
		})
	}
}

// long is a Comm whose sums take a while after all ranks have come.
type long struct{ comm.Comm }

func (l long) AllreduceInt64(data []int64) error {
	err := l.Comm.AllreduceInt64(data)
	time.Sleep(2 * patience / 3)
	return err
}

// A rank that computes for long is at work: the others say so once and wait on, also while the sum that it has come to takes its time.
func TestRankAtWorkIsNotMissing(t *testing.T) {
	t.Parallel()
	var heard notes
	errs := commtest.Run(3, func(inner comm.Comm) error {
		w, err := comm.Watch(long{inner}, patience, heard.warn)
		if err != nil {
			return err
		}
		if w.Rank() == 1 {
			comm.Doing(w, "computes micro-batch %d", 7)
			time.Sleep(4 * patience)
		}
		sum := []int64{int64(w.Rank())}
		if err := errors.Join(w.AllreduceInt64(sum), w.Barrier(), w.Close()); err != nil || sum[0] != 3 {
			return fmt.Errorf("%d, %w", sum[0], err)
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if len(heard.texts) != 1 || !strings.Contains(heard.texts[0], "rank 1 on testhost, which answers and computes micro-batch 7") {
		t.Errorf("%q", heard.texts)
	}
}

// To ask all ranks of a large job takes a while of a core: who waits on asks more and more seldom.
func TestWaitingRanksAskSeldom(t *testing.T) {
	t.Parallel()
	asked := 0
	errs := commtest.Run(2, func(inner comm.Comm) error {
		w, err := comm.Watch(inner, patience, func(string, ...any) {})
		if err != nil {
			return err
		}
		if w.Rank() == 0 {
			count := w.Asked(t, 1)
			err := w.Barrier()
			asked = count()
			return err
		}
		time.Sleep(8 * patience)
		return w.Barrier()
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if asked < 2 || asked > 20 {
		t.Errorf("asked %d times in 8 timeouts", asked)
	}
}

func TestLostMessagesAreTheNetworks(t *testing.T) {
	t.Parallel()
	var heard notes
	errs := commtest.Run(3, func(inner comm.Comm) error {
		w, err := comm.Watch(cut{inner}, patience, heard.warn)
		if err != nil {
			return err
		}
		return w.Barrier()
	})
	for rank, err := range errs { // here the first cannot end the others, so they tell it too
		if err == nil || !strings.Contains(err.Error(), "the network: all ranks answer") {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

// Nodes have addresses in common, as the loopback and a container bridge, and may have a port: whoever is there answers for itself alone.
func TestRanksAnswerForThemselves(t *testing.T) {
	t.Parallel()
	var ranks [2]*comm.Watched
	errs := commtest.Run(2, func(inner comm.Comm) (err error) {
		ranks[inner.Rank()], err = comm.Watch(inner, time.Minute, t.Errorf)
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rank, at int
		want     bool
	}{{0, 0, true}, {1, 1, true}, {0, 1, false}, {1, 0, false}} {
		if got := ranks[0].Finds(c.rank, ranks[c.at]); got != c.want {
			t.Errorf("rank %d at the port of rank %d: answers %v", c.rank, c.at, got)
		}
	}
	errs = commtest.Run(2, func(inner comm.Comm) error { return ranks[inner.Rank()].Close() })
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// Every call gives what the Comm under it gives.
func TestWatchedCallsAreThoseOfTheComm(t *testing.T) {
	t.Parallel()
	errs := commtest.Run(3, func(inner comm.Comm) error {
		c, err := comm.Watch(inner, time.Minute, t.Errorf)
		if err != nil {
			return err
		}
		r := c.Rank()
		data, floats, bucket, parts := []byte{byte(r)}, []float64{1}, []float32{float32(r)}, []float32{0, 0, 0}
		parts[r] = float32(r + 1)
		sum, err1 := c.AllreduceStart(bucket, comm.Float32)
		got, err2 := c.Shift([]byte{byte(r)}, 1)
		agreed, err3 := c.Agree(r == 2)
		never, err4 := c.Agree(false)
		gathered := append([]float32(nil), parts...)
		if err := errors.Join(err1, err2, err3, err4, sum.Wait(), c.Bcast(data, 2), c.AllreduceFloat64(floats), c.AllGather(parts, []int{0, 1, 2, 3}),
			c.Gather(gathered, []int{0, 1, 2, 3}, 1)); err != nil {
			return err
		}
		part, err := c.ReduceStart([]float32{1}, 0, comm.Float32)
		if err := errors.Join(err, part.Wait(), c.Close()); err != nil {
			return err
		}
		if data[0] != 2 || floats[0] != 3 || bucket[0] != 3 || int(got[0]) != (r+2)%3 || !agreed || never || parts[0]*parts[1]*parts[2] != 6 || (r == 1 && gathered[2] != 3) {
			return fmt.Errorf("rank %d: %v %v %v %v %v %v %v %v", r, data, floats, bucket, got, agreed, never, parts, gathered)
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
