package comm

import (
	"net"
	"testing"
)

// Vanish makes a rank look as if its process had ended.
func (w *Watched) Vanish() { w.port.Close() }

// Finds tells whether a rank takes what is at these ports for one that answers: all addresses of the rank at.
func (w *Watched) Finds(rank int, at *Watched) bool {
	p := peer{rank: rank, addresses: ownAddresses(at.port.Addr().(*net.TCPAddr).Port)}
	return w.ask([]peer{p})[0].kind == answers
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
