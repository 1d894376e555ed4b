package stream

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// numbers returns 0 to n-1, then err.
func numbers(n int, err error) func() (int, error) {
	i := -1
	return func() (int, error) {
		if i++; i >= n {
			return 0, err
		}
		return i, nil
	}
}

func TestMap(t *testing.T) {
	stop := errors.New("stop")
	for _, c := range []struct {
		name             string
		n                int
		end              error // of reading, behind n numbers
		workFails, fails int   // at this number; -1: never
		want             error
		done             int // numbers that done took
	}{
		{"nothing", 0, io.EOF, -1, -1, nil, 0},
		{"one", 1, io.EOF, -1, -1, nil, 1},
		{"more than can be on their way", 1000, io.EOF, -1, -1, nil, 1000},
		{"reading fails", 20, stop, -1, -1, stop, 20},
		{"work fails", 1000, io.EOF, 17, -1, stop, 17},
		{"writing fails", 1000, io.EOF, -1, 17, stop, 17},
		{"work fails before reading does", 20, io.ErrUnexpectedEOF, 17, -1, stop, 17},
	} {
		for _, threads := range []int{0, 1, 2, 7} {
			var got []int
			err := Map(t.Context(), threads, numbers(c.n, c.end), func() func(int) (int, error) {
				return func(i int) (int, error) {
					time.Sleep(time.Duration(i*7%5) * time.Microsecond) // so that they do not end in order
					if i == c.workFails {
						return 0, stop
					}
					return 3 * i, nil
				}
			}, func(tripled int) error {
				if tripled == 3*c.fails {
					return stop
				}
				got = append(got, tripled)
				return nil
			})
			var want []int
			for i := range c.done {
				want = append(want, 3*i)
			}
			if err != c.want || !slices.Equal(got, want) {
				t.Errorf("%s, %d threads: error %v, want %v; %d done, want %d", c.name, threads, err, c.want, len(got), len(want))
			}
		}
	}
}

func TestMapIsBoundedAndStops(t *testing.T) {
	for _, threads := range []int{1, 2, 7} {
		ctx, cancel := context.WithCancel(t.Context())
		var read, written, most atomic.Int64
		source := numbers(1_000_000, io.EOF)
		err := Map(ctx, threads, func() (int, error) {
			most.Store(max(most.Load(), read.Add(1)-written.Load()))
			return source()
		}, func() func(int) (int, error) { return func(i int) (int, error) { return i, nil } }, func(i int) error {
			time.Sleep(10 * time.Microsecond)
			if written.Add(1) == 500 {
				cancel()
			}
			return nil
		})
		if err != context.Canceled || read.Load() > 600 {
			t.Errorf("%d threads: error %v after %d were read", threads, err, read.Load())
		}
		if most.Load() > int64(4*threads+2) {
			t.Errorf("%d threads: %d on their way, want at most %d", threads, most.Load(), 4*threads+2)
		}
	}
}
