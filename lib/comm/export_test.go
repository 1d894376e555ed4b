package comm

import (
	"net"
	"testing"
)

// Vanish makes a rank look as if its process had ended.
func (w *Watched) Vanish() { w.port.Close() }

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
