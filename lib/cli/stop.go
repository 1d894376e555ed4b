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

// CatchStop makes SIGTERM, SIGINT, SIGHUP and SIGUSR2 requests to save and stop, instead of an end. A second SIGTERM or SIGINT ends at once.
func (e *Env) CatchStop() *Stop {
	signals := make(chan os.Signal, 4)
	e.mu.Lock()
	e.stop = signals
	e.mu.Unlock()
	if e.signals != nil {
		notify(e.signals, syscall.SIGUSR2, syscall.SIGHUP)
	}
	return &Stop{signals: signals}
}

// notify asks for signals, but for those that the parent told this process to ignore (nohup; a shell's background jobs).
func notify(c chan<- os.Signal, signals ...os.Signal) {
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
}

// requestStop passes the first request on; who asks again wants the end now.
func (e *Env) requestStop(s syscall.Signal, stop chan<- os.Signal) {
	if e.asked && (s == syscall.SIGTERM || s == syscall.SIGINT) {
		e.message("error", "%v again: ended without saving", s)
		os.Exit(128 + int(s))
	}
	if !e.asked {
		e.Infof("%v: saving and stopping", s)
	}
	e.asked = true
	select {
	case stop <- s:
	default: // more signals than anybody waits for
	}
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
	err := fault.Stoppedf("saved and stopped as asked: the same command goes on")
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
