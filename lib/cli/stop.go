package cli

import (
	"os"
	"os/signal"
	"syscall"

	"hpcbert/lib/fault"
)

// Stop is how a long run learns that it shall save and end.
type Stop struct {
	signals <-chan os.Signal
	first   os.Signal
}

// CatchStop makes SIGTERM, SIGINT and SIGUSR2 requests to save and stop, instead of an end.
func (e *Env) CatchStop() *Stop {
	signals := make(chan os.Signal, 4)
	e.mu.Lock()
	e.stop = signals
	e.mu.Unlock()
	if e.signals != nil {
		signal.Notify(e.signals, syscall.SIGUSR2)
	}
	return &Stop{signals: signals}
}

// Asked tells whether a signal has come.
func (s *Stop) Asked() bool {
	select {
	case sig := <-s.signals:
		if s.first == nil {
			s.first = sig
		}
	default:
	}
	return s.first != nil
}

// Outcome is the orderly end that the signal asked for: exit status 0 after SIGUSR2, or when it was another rank that got the signal, else
// 128 and the signal's number.
func (s *Stop) Outcome() error {
	err := fault.Stoppedf("stopped as asked: saved")
	if s.first == nil || s.first == syscall.SIGUSR2 {
		return err
	}
	return stoppedBy{err, s.first.(syscall.Signal)}
}

// stoppedBy is an orderly end with the exit status of a signal.
type stoppedBy struct {
	error
	signal syscall.Signal
}

func (s stoppedBy) Unwrap() error { return s.error }
