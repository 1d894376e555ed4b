package comm

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"hpcbert/lib/fault"
)

// Watched is a Comm whose collectives do not wait for ever: a rank that waits longer than the timeout asks every rank over TCP what it does,
// and returns an error that names those that do not answer. MPI cannot tell: its calls end when all ranks came, and a rank that is stopped says
// nothing there. Nothing is sent before somebody has waited that long.
//
// A rank that answers is at work and not missing: it is warned about, once in each wait, and ends the job only after patience timeouts.
type Watched struct {
	Comm
	timeout time.Duration
	tick    time.Duration // how often a waiting rank looks at the clock
	warn    func(format string, a ...any)
	key     string // of this job: a port may belong to another one's process by now
	peers   []peer // nil = ranks do not reach each other by TCP
	port    net.Listener
	serving sync.WaitGroup

	mu     sync.Mutex
	begun  int64 // collectives
	doing  string
	since  time.Time     // it does so
	waits  bool          // in a collective
	waited time.Duration // there
}

// patience is how many timeouts a rank may be at work while others wait for it.
const patience = 10

// pause is what a busy node may keep a process from running. What is longer, as when a job is suspended and resumed, is not waiting.
const pause = time.Second / 2

// Watch makes the collectives of c watched ones; a timeout of 0 waits for ever. All ranks call it. Warn is called on the rank that waits.
func Watch(c Comm, timeout time.Duration, warn func(format string, a ...any)) (*Watched, error) {
	w := &Watched{Comm: c, timeout: timeout, tick: min(time.Second, timeout/10), warn: warn, doing: "starts", since: time.Now()}
	if c.Size() == 1 || timeout == 0 {
		return w, nil
	}
	key := make([]byte, 16)
	rand.Read(key) // never fails
	if err := c.Bcast(key, 0); err != nil {
		return nil, err
	}
	w.key = hex.EncodeToString(key)
	port, err := net.Listen("tcp", ":0")
	if err := Together(c, err); err != nil {
		return nil, err
	}
	w.port = port
	w.serving.Go(w.serve)
	if err := w.meetPeers(); err != nil {
		w.port.Close()
		w.serving.Wait()
		return nil, err
	}
	return w, nil
}

// meetPeers learns where the others are, and whether each reaches the next one there.
func (w *Watched) meetPeers() error {
	addresses, err := Texts(w.Comm, strings.Join(ownAddresses(w.port.Addr().(*net.TCPAddr).Port), " "))
	if err != nil {
		return err
	}
	hosts, err := Texts(w.Comm, w.Host())
	if err != nil {
		return err
	}
	peers := make([]peer, w.Size())
	for r := range peers {
		peers[r] = peer{rank: r, host: hosts[r], addresses: strings.Fields(addresses[r])}
	}
	next := peers[(w.Rank()+1)%w.Size()]
	deaf := make([]int64, w.Size())
	if a := next.ask(w.key, startLimit); a.kind != answers {
		deaf[w.Rank()] = 1
	}
	if err := w.Comm.AllreduceInt64(deaf); err != nil {
		return err
	}
	for r, n := range deaf {
		if n > 0 {
			w.warn("%v does not reach %v by TCP: should ranks wait for one that is missing, it cannot be named", peers[r], peers[(r+1)%w.Size()])
			return nil
		}
	}
	w.peers = peers
	return nil
}

// Doing tells the ranks that will wait for this one what it is at, if c is watched.
func Doing(c Comm, format string, a ...any) {
	if w, ok := c.(*Watched); ok && w.port != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.doing, w.since = fmt.Sprintf(format, a...), time.Now()
	}
}

// begin counts a collective.
func (w *Watched) begin() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun++
	return w.begun
}

// waiting notes that this rank has waited so long, or that it waits no more.
func (w *Watched) waiting(yes bool, waited time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits, w.waited = yes, waited
}

// await makes a call that waits for other ranks, as part of collective n.
func (w *Watched) await(n int64, what string, call func() error) error {
	if w.port == nil {
		return call()
	}
	done := make(chan error, 1)
	go func() { done <- call() }()
	w.waiting(true, 0)
	ticks := time.NewTicker(w.tick)
	defer ticks.Stop()
	var waited time.Duration
	next, warned := w.timeout, false // when it asks
	for last := time.Now(); ; {
		select {
		case err := <-done:
			w.waiting(false, 0)
			return err
		case <-ticks.C:
		}
		now := time.Now()
		waited += min(now.Sub(last), w.tick+pause)
		last = now
		w.waiting(true, waited)
		if waited < next {
			continue
		}
		late, err := w.inquire(n, what, waited)
		next = waited + waited/8 // to ask a thousand ranks takes a second of a core
		if errors.Is(err, errTellsIt) {
			next = 2 * patience * w.timeout // also when that rank is gone: it has ended the job
			continue
		}
		if err != nil && len(done) == 0 {
			return err // and for the others this rank still waits: they leave the end of the job to it
		}
		if late != "" && !warned {
			w.warn("%s: waits %.3g s for %s", what, waited.Seconds(), late)
			warned = true
		}
	}
}

// errTellsIt: a rank below waits as long.
var errTellsIt = errors.New("another rank tells it")

// inquire finds out for whom collective n waits: an error where ranks are lost, else who is late.
func (w *Watched) inquire(n int64, what string, waited time.Duration) (late string, err error) {
	if w.peers == nil {
		return "", missing(what, waited, []string{"another rank"})
	}
	together := waited // all have been in a collective for so long
	var lost, busy []string
	for first, end := 0, 16; first < len(w.peers); first, end = end, 4*end { // most find in the first ranks one that does the asking
		for _, a := range w.ask(w.peers[first:min(end, len(w.peers))]) {
			switch {
			case a.peer.rank == w.Rank():
			case a.kind != answers:
				lost = append(lost, a.String())
			case a.peer.rank < w.Rank() && a.Waits && a.Waited >= w.timeout-2*w.tick && waited < 2*patience*w.timeout: // by then it would have ended the job
				return "", errTellsIt
			case a.Begun < n && !a.Waits:
				busy = append(busy, a.String())
			case !a.Waits:
				together = 0
			default:
				together = min(together, a.Waited)
			}
		}
	}
	switch {
	case len(lost) > 0:
		return "", missing(what, waited, lost)
	case len(busy) == 0 && (together >= w.timeout && waited >= 2*w.timeout || waited >= patience*w.timeout): // the last may have come just now
		return "", missing(what, waited, []string{"the network: all ranks answer and are there"})
	case waited >= patience*w.timeout:
		return "", missing(what, waited, busy)
	}
	return several(busy), nil
}

// Missing is the error of a collective that was given up because ranks do not come.
type Missing struct {
	Collective string
	Waited     time.Duration
	Ranks      []string // with their hosts and what is known of them
}

func (m *Missing) Error() string {
	return fmt.Sprintf("%s: waited %.3g s for %s", m.Collective, m.Waited.Seconds(), several(m.Ranks))
}

func missing(what string, waited time.Duration, ranks []string) error {
	return fault.WithHint(&Missing{what, waited, ranks}, "give the same command again, without the hosts that are lost")
}

// several joins names, not all of very many.
func several(names []string) string {
	const most = 8
	if len(names) > most {
		names = append(names[:most:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, "; ")
}

// collective makes one.
func (w *Watched) collective(what string, call func() error) error {
	return w.await(w.begin(), what, call)
}

// Barrier is that of the Comm, watched.
func (w *Watched) Barrier() error { return w.collective("barrier", w.Comm.Barrier) }

// Bcast is that of the Comm, watched.
func (w *Watched) Bcast(data []byte, root int) error {
	return w.collective("broadcast", func() error { return w.Comm.Bcast(data, root) })
}

// AllreduceFloat64 is that of the Comm, watched.
func (w *Watched) AllreduceFloat64(data []float64) error {
	return w.collective("sum over the ranks", func() error { return w.Comm.AllreduceFloat64(data) })
}

// AllreduceInt64 is that of the Comm, watched.
func (w *Watched) AllreduceInt64(data []int64) error {
	return w.collective("sum over the ranks", func() error { return w.Comm.AllreduceInt64(data) })
}

// AllreduceStart is that of the Comm, watched until Wait returns.
func (w *Watched) AllreduceStart(bucket []float32, wire Wire) (Handle, error) {
	return w.start("sum of gradients", func() (Handle, error) { return w.Comm.AllreduceStart(bucket, wire) })
}

// ReduceStart is that of the Comm, watched until Wait returns.
func (w *Watched) ReduceStart(bucket []float32, root int, wire Wire) (Handle, error) {
	return w.start("sum of gradients", func() (Handle, error) { return w.Comm.ReduceStart(bucket, root, wire) })
}

func (w *Watched) start(what string, call func() (Handle, error)) (Handle, error) {
	h := &watchedHandle{w: w, n: w.begin(), what: what}
	err := w.await(h.n, what, func() (err error) {
		h.inner, err = call()
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

type watchedHandle struct {
	w     *Watched
	n     int64
	what  string
	inner Handle
}

// Wait returns when the operation has ended, or is given up.
func (h *watchedHandle) Wait() error { return h.w.await(h.n, h.what, h.inner.Wait) }

// AllGather is that of the Comm, watched.
func (w *Watched) AllGather(data []float32, cuts []int) error {
	return w.collective("exchange of parts", func() error { return w.Comm.AllGather(data, cuts) })
}

// Gather is that of the Comm, watched.
func (w *Watched) Gather(data []float32, cuts []int, root int) error {
	return w.collective("collection of parts", func() error { return w.Comm.Gather(data, cuts, root) })
}

// Agree is that of the Comm, watched.
func (w *Watched) Agree(yes bool) (agreed bool, err error) {
	vote := []int64{0}
	if yes {
		vote[0] = 1
	}
	err = w.collective("vote", func() error { return w.Comm.AllreduceInt64(vote) })
	return err == nil && vote[0] > 0, err
}

// Shift is that of the Comm, watched.
func (w *Watched) Shift(data []byte, by int) (got []byte, err error) {
	var from []byte
	err = w.collective("exchange with other ranks", func() (err error) {
		from, err = w.Comm.Shift(data, by)
		return err
	})
	if err != nil {
		return nil, err
	}
	return from, nil
}

// Close ends the communicator; all ranks call it.
func (w *Watched) Close() error {
	err := w.collective("end of the job", w.Comm.Close)
	if w.port != nil {
		err = errors.Join(err, w.port.Close())
		w.serving.Wait()
	}
	return err
}
