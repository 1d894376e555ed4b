package bzip2

import (
	"io"
	"sync"
)

const pieceSize = 1 << 20 // the text of a block of 900,000 bytes, unless it has long runs

// queue hands out the segments of the input in order while its threads decode those ahead.
type queue struct {
	scan   *scanner
	err    error // of scan
	ahead  []*task
	depth  int        // tasks that may be ahead
	spare  []*task    // to be used again
	work   chan *task // nil without threads
	pieces chan []byte
	now    *task // handed out last
	wait   sync.WaitGroup
}

// task is a segment on its way through a thread.
type task struct {
	segment
	ready   chan struct{} // has one element when block and err are known
	pieces  chan piece    // of the text
	dropped chan struct{} // closed when nobody wants the text
	block   block
	err     error

	queue *queue
	piece piece // goes out
}

// piece is a part of a block's text.
type piece struct {
	data []byte // to be used again
	text []byte // of data, what has not gone out yet
	sum  uint32 // of the text up to here
	last bool
}

func newQueue(in io.Reader, threads int) *queue {
	q := &queue{scan: newScanner(in), depth: 1}
	if threads < 2 {
		return q
	}
	q.depth = 2*threads + 2
	q.work = make(chan *task, q.depth)
	q.pieces = make(chan []byte, q.depth)
	for range threads {
		q.wait.Go(q.run)
	}
	return q
}

// next returns the next segment, which holds until the following call.
func (q *queue) next() (*task, error) {
	if q.now != nil {
		q.spare = append(q.spare, q.now)
		q.now = nil
	}
	for len(q.ahead) < q.depth && q.err == nil {
		t := q.task()
		if q.err = q.scan.next(&t.segment); q.err != nil {
			break
		}
		q.ahead = append(q.ahead, t)
		if t.kind == blockSegment && q.work != nil {
			q.work <- t
		}
	}
	if len(q.ahead) == 0 {
		return nil, q.err
	}
	q.now = q.ahead[0]
	q.ahead = append(q.ahead[:0], q.ahead[1:]...)
	return q.now, nil
}

func (q *queue) task() *task {
	if n := len(q.spare); n > 0 {
		t := q.spare[n-1]
		q.spare = q.spare[:n-1]
		return t
	}
	return &task{queue: q, ready: make(chan struct{}, 1), pieces: make(chan piece, 1), dropped: make(chan struct{})}
}

// join adds the segment that follows t to it. t is the one that next has returned; its thread has nothing more to do with it.
func (q *queue) join(t *task) error {
	q.now = nil
	u, err := q.next()
	if err != nil {
		return err
	}
	t.segment.join(&u.segment)
	close(u.dropped)
	q.now = nil
	return nil
}

// decoded waits for the thread that decodes t; the text is nil without threads.
func (q *queue) decoded(t *task) (text, block, error) {
	if q.work == nil {
		return nil, block{}, nil
	}
	<-t.ready
	t.piece = piece{}
	return t, t.block, t.err
}

// close ends the threads.
func (q *queue) close() {
	if q.work == nil {
		return
	}
	if q.now != nil {
		q.ahead = append(q.ahead, q.now)
	}
	for _, t := range q.ahead {
		close(t.dropped)
	}
	close(q.work)
	q.wait.Wait()
	q.work, q.ahead, q.now = nil, nil, nil
}

// run is a thread.
func (q *queue) run() {
	d := newDecoder()
	for t := range q.work {
		t.block, t.err = d.decode(&t.segment)
		t.ready <- struct{}{}
		if t.err == nil {
			t.send(d)
		}
	}
}

// send has the text of the block go out, piece by piece.
func (t *task) send(d *decoder) {
	for last := false; !last; {
		var p piece
		select {
		case p.data = <-t.queue.pieces:
		default:
			p.data = make([]byte, pieceSize)
		}
		n := d.write(p.data)
		last = n < len(p.data)
		p.text, p.sum, p.last = p.data[:n], d.checksum(), last
		select {
		case t.pieces <- p:
		case <-t.dropped:
			return
		}
	}
}

// write implements text.
func (t *task) write(p []byte) int {
	n := 0
	for n < len(p) {
		if len(t.piece.text) == 0 {
			if t.piece.last {
				break
			}
			t.piece = <-t.pieces
		}
		m := copy(p[n:], t.piece.text)
		t.piece.text = t.piece.text[m:]
		n += m
		if len(t.piece.text) == 0 {
			t.release()
		}
	}
	return n
}

// release lets the threads use the memory of the piece again.
func (t *task) release() {
	select {
	case t.queue.pieces <- t.piece.data:
	default:
	}
	t.piece.data = nil
}

// checksum implements text.
func (t *task) checksum() uint32 { return t.piece.sum }
