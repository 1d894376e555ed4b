package comm

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// Vanish makes a rank look as if its process had ended.
func (w *Watched) Vanish() { w.port.Close() }

// Finds tells whether a rank takes what is at these ports for one that answers: all addresses of the rank at.
func (w *Watched) Finds(rank int, at *Watched) bool {
	p := peer{rank: rank, addresses: ownAddresses(at.port.Addr().(*net.TCPAddr).Port)}
	return w.ask([]peer{p})[0].kind == answers
}

// Asked returns a function that tells how often this rank has asked another one.
func (w *Watched) Asked(t *testing.T, rank int) func() int {
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	there := w.peers[rank].addresses[0]
	w.peers[rank].addresses = []string{port.Addr().String()}
	var asked atomic.Int64
	go func() {
		for {
			in, err := port.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			out, err := net.Dial("tcp", there)
			if err != nil {
				in.Close()
				continue
			}
			go io.Copy(out, in)
			go func() {
				io.Copy(in, out)
				in.Close()
				out.Close()
			}()
		}
	}()
	return func() int { return int(asked.Load()) }
}

// Freeze makes a rank look stopped: the kernel takes connections for it, nobody reads them.
func (w *Watched) Freeze(t *testing.T) {
	address := w.port.Addr().String()
	w.port.Close()
	port, err := net.Listen("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { port.Close() })
}
