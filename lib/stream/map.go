package stream

import (
	"context"
	"io"
	"sync"
)

// item is on its way from next through a worker to done.
type item[In, Out any] struct {
	in    In
	out   Out
	err   error
	ready chan struct{} // closed when out or err is there
}

// Map gives what next returns, until io.EOF, to workers in threads goroutines, and what they make of it to done: in the order of next, whatever
// the number of threads, and in the calling goroutine. worker makes what one goroutine works with. Next has a goroutine of its own. The first error in
// that order ends all. At most 4*threads+2 items are on their way; with one thread all is done in turn.
func Map[In, Out any](ctx context.Context, threads int, next func() (In, error), worker func() func(In) (Out, error), done func(Out) error) error {
	if threads < 2 {
		return mapInTurn(ctx, next, worker(), done)
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	queue, order := make(chan *item[In, Out], threads), make(chan *item[In, Out], 4*threads)
	var group sync.WaitGroup
	ended := false
	group.Go(func() {
		defer close(queue)
		defer close(order)
		for reading.Err() == nil {
			t := &item[In, Out]{ready: make(chan struct{})}
			switch t.in, t.err = next(); {
			case t.err == io.EOF:
				ended = true
				return
			case t.err != nil:
				close(t.ready)
				order <- t
				return
			}
			order <- t
			queue <- t
		}
	})
	for range threads {
		group.Go(func() {
			work := worker()
			for t := range queue {
				t.out, t.err = work(t.in)
				close(t.ready)
			}
		})
	}
	var err error
	for t := range order {
		if err == nil {
			<-t.ready
			if err = t.err; err == nil {
				err = done(t.out)
			}
		}
		if err != nil {
			cancel() // and take what the reader may wait to hand over
		}
	}
	group.Wait()
	if err == nil && !ended {
		return ctx.Err()
	}
	return err
}

func mapInTurn[In, Out any](ctx context.Context, next func() (In, error), work func(In) (Out, error), done func(Out) error) error {
	for ctx.Err() == nil {
		in, err := next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		out, err := work(in)
		if err != nil {
			return err
		}
		if err := done(out); err != nil {
			return err
		}
	}
	return ctx.Err()
}
