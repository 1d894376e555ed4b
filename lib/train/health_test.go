package train

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// rhythm is how long a rank computes and waits for data in an update, for work of 1.
type rhythm func(update int) (compute, data, work float64)

func steady(compute float64) rhythm {
	return func(int) (float64, float64, float64) { return compute, 0, 1 }
}

func TestSlowRanksAreNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noisy := func(int) (compute, data, work float64) { // one update in four is disturbed by another program
		compute = 1 + 0.1*rng.Float64()
		if rng.IntN(4) == 0 {
			compute, data = compute*(1+4*rng.Float64()), rng.Float64()
		}
		return compute, data, 1
	}
	between := func(first, end int, c rhythm) rhythm {
		return func(i int) (float64, float64, float64) {
			if i >= first && i < end {
				return c(i)
			}
			return 1, 0, 1
		}
	}
	hungry := func(int) (float64, float64, float64) { return 1, 0.3, 1 }
	for _, c := range []struct {
		what  string
		ranks []rhythm
		want  []string // news, in order
	}{
		{"equal ranks", []rhythm{noisy, noisy, noisy, noisy}, nil},
		{"one alone", []rhythm{steady(5)}, nil},
		{"half speed", []rhythm{steady(1), steady(2)}, []string{"rank 1 on b is slow: its computing takes 2.00 times"}},
		{"half speed, noise", []rhythm{noisy, noisy, func(i int) (float64, float64, float64) { c, d, w := noisy(i); return 2 * c, d, w }}, []string{"rank 2 on c is slow"}},
		{"a little slower", []rhythm{steady(1), steady(1.19), steady(1)}, nil},
		{"more work", []rhythm{steady(1), func(int) (float64, float64, float64) { return 2, 0, 2 }, steady(1)}, nil},
		{"slow for some time", []rhythm{steady(1), between(100, 200, steady(1.5)), steady(1)}, []string{"rank 1 on b is slow: its computing takes 1.50 times", "rank 1 on b computes as fast as the others again"}},
		{"slow, then nearly well", []rhythm{steady(1), func(i int) (float64, float64, float64) {
			return []float64{1.5, 1.15}[min(1, i/100)], 0, 1
		}, steady(1)}, []string{"rank 1 on b is slow"}},
		{"data", []rhythm{between(100, 200, hungry), steady(1), steady(1)}, []string{"rank 0 on a waits for its data: 0.3 s of each update, in which ranks compute 1 s", "rank 0 on a waits no longer for its data"}},
		{"data of all", []rhythm{hungry, hungry, hungry}, nil},
	} {
		hosts := []string{"a", "b", "c", "d"}[:len(c.ranks)]
		h := &health{hosts: hosts, slow: make([]bool, len(hosts)), hungry: make([]bool, len(hosts))}
		var news []string
		for i := range 300 {
			p := make(pulse, pulseLen*len(hosts))
			for r, rhythm := range c.ranks {
				compute, data, work := rhythm(i)
				p.put(r, spent{compute: time.Duration(compute * 1e9), data: time.Duration(data * 1e9), flops: work * 1e9})
			}
			told := h.note(p)
			if news = append(news, told...); len(told) > 0 && i > 250 {
				t.Errorf("%s: told late, after update %d: %q", c.what, i, told)
			}
		}
		if !slices.EqualFunc(news, c.want, strings.HasPrefix) {
			t.Errorf("%s: %q, expected %q", c.what, news, c.want)
		}
	}
}

func TestPulse(t *testing.T) {
	p := make(pulse, 3*pulseLen)
	for r, s := range []spent{{compute: 2 * time.Second, wait: 3 * time.Second, flops: 4e9}, {compute: 3 * time.Second, flops: 2e9}, {compute: time.Second, flops: 1e9}} {
		p.put(r, s)
	}
	if rank, over := p.slowest(); rank != 1 || over != 1.5 {
		t.Errorf("slowest is rank %d, %v times the median", rank, over)
	}
	if p.waitSeconds() != 1 {
		t.Errorf("waits %v s", p.waitSeconds())
	}
}

// Of three ranks that compute one micro-batch, the two that agree are right.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		what             string
		first, second    []imprint // as computed again by the ranks 1 and 2 above; each computes 10, 20, 30, 40 itself
		guilty, suspects []int
	}{
		{"rank 1 always", []imprint{11, 21, 30, 40}, []imprint{10, 21, 30, 41}, []int{1}, []int{0, 1}},
		{"rank 0 when it computed its own", []imprint{12, 20, 30, 40}, []imprint{12, 20, 30, 40}, []int{0}, []int{0}},
		{"rank 3 when it checked", []imprint{10, 20, 31, 40}, []imprint{10, 20, 30, 40}, []int{3}, []int{2}},
		{"no two agree", []imprint{11, 20, 30, 40}, []imprint{12, 20, 30, 40}, nil, []int{0}},
	} {
		own := []imprint{10, 20, 30, 40}
		first, second := comparison{own, c.first, 1}, comparison{own, c.second, 2}
		bad := first.differing()
		if got := judge(first, second, bad); !slices.Equal(got, c.guilty) || !slices.Equal(bad, c.suspects) {
			t.Errorf("%s: micro-batches of %v differ, at fault %v, expected %v and %v", c.what, bad, got, c.suspects, c.guilty)
		}
	}
}
