package comm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// How long an answer of a peer may take. A process that runs answers within milliseconds, but a packet that is lost is sent again after a second;
// at the start of a job a node may be busy.
const (
	askLimit   = 1500 * time.Millisecond
	startLimit = 10 * time.Second
)

// peer is a rank as another one reaches it beside MPI.
type peer struct {
	rank      int
	host      string
	addresses []string // of its port; some may lead nowhere or to another machine
}

func (p peer) String() string { return fmt.Sprintf("rank %d on %s", p.rank, p.host) }

// ownAddresses are those under which other nodes may reach a port of this one; the loopback is for ranks of the same node.
func ownAddresses(port int) []string {
	all := []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	nets, _ := net.InterfaceAddrs()
	for _, a := range nets {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			all = append(all, net.JoinHostPort(ip.IP.String(), strconv.Itoa(port)))
		}
	}
	return all
}

// kind is how a peer took a question.
type kind int

const (
	silent kind = iota // it is stopped, or its node or the way there is lost
	gone               // nobody is at its port
	answers
)

// status is what a rank answers.
type status struct {
	Begun  int64         // collectives
	Waits  bool          // in one
	Waited time.Duration // there
	Doing  string
	For    time.Duration
}

// answer is what is known of a peer.
type answer struct {
	peer
	kind
	status
}

func (a answer) String() string {
	switch a.kind {
	case silent:
		return a.peer.String() + ", which does not answer: it is stopped, or its node is lost"
	case gone:
		return a.peer.String() + ", whose process is gone"
	}
	return fmt.Sprintf("%v, which answers and %s for %.3g s", a.peer, a.Doing, a.For.Seconds())
}

// ask asks peers, many at once.
func (w *Watched) ask(peers []peer) []answer {
	all := make([]answer, len(peers))
	var group sync.WaitGroup
	slots := make(chan struct{}, 128) // connections cost file descriptors
	for i, p := range peers {
		slots <- struct{}{}
		group.Go(func() {
			all[i] = p.ask(w.key, askLimit)
			<-slots
		})
	}
	group.Wait()
	return all
}

// ask tries all addresses at once and returns the first good answer.
func (p peer) ask(key string, limit time.Duration) answer {
	type reply struct {
		status
		err error
	}
	replies := make(chan reply, len(p.addresses))
	deadline := time.Now().Add(limit)
	for _, address := range p.addresses {
		go func() {
			s, err := askAt(address, question(key, p.rank), deadline)
			replies <- reply{s, err}
		}()
	}
	a := answer{peer: p, kind: gone}
	for range p.addresses {
		r := <-replies
		switch {
		case r.err == nil:
			a.kind, a.status = answers, r.status
			return a
		case !errors.Is(r.err, syscall.ECONNREFUSED) && !errors.Is(r.err, syscall.ECONNRESET) && !errors.Is(r.err, io.EOF):
			a.kind = silent
		}
	}
	return a
}

// question asks a rank of a job. Another one may be at its address: nodes have some in common, as the loopback, and perhaps ports.
func question(key string, rank int) string { return fmt.Sprintf("%s %d\n", key, rank) }

func askAt(address, question string, deadline time.Time) (s status, err error) {
	conn, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", address)
	if err != nil {
		return s, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return s, err
	}
	if _, err := io.WriteString(conn, question); err != nil {
		return s, err
	}
	return s, json.NewDecoder(conn).Decode(&s)
}

// serve answers the questions of other ranks until the port is closed.
func (w *Watched) serve() {
	for {
		conn, err := w.port.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // as of too many open files
			time.Sleep(w.tick)
			continue
		}
		w.serving.Go(func() { w.reply(conn) })
	}
}

func (w *Watched) reply(conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(askLimit)) != nil {
		return
	}
	asked, err := bufio.NewReader(io.LimitReader(conn, 64)).ReadString('\n')
	if err != nil || asked != question(w.key, w.Rank()) {
		return
	}
	w.mu.Lock()
	s := status{Begun: w.begun, Waits: w.waits, Waited: w.waited, Doing: w.doing, For: time.Since(w.since)}
	w.mu.Unlock()
	json.NewEncoder(conn).Encode(s) // who hears nothing asks again
}
