package cli

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

const plainInterval = 30 * time.Second

// Progress shows how far a run is: a bar on a terminal, else a plain line every 30 s, and one at every SIGUSR1.
type Progress struct {
	env   *Env
	verb  string
	unit  string
	total int64 // 0 = unknown
	start time.Time

	mu    sync.Mutex
	done  int64
	first int64 // done before this run
	note  string
	next  time.Time
	ended bool
	bar   *progressbar.ProgressBar // nil when standard error is no terminal
}

// Progress starts a display of verb ("training") in units ("steps"); total 0 means unknown. End it with Finish.
func (e *Env) Progress(verb, unit string, total int64) *Progress {
	p := &Progress{env: e, verb: verb, unit: unit, total: total, start: time.Now(), next: time.Now().Add(plainInterval)}
	if f, ok := e.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !e.quiet && !e.silent && !e.json && !e.noBar {
		if total == 0 {
			total = -1
		}
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(e.Name+": "+verb),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	e.onReport(p.Report)
	return p
}

// NoBar makes a terminal get plain lines too.
func (e *Env) NoBar() { e.noBar = true }

// Start states that n units were done before this run; they do not count for the time left.
func (p *Progress) Start(n int64) { p.mu.Lock(); p.first, p.done = n, n; p.mu.Unlock() }

// Add counts n more units.
func (p *Progress) Add(n int64) { p.mu.Lock(); p.set(p.done+n, p.note); p.mu.Unlock() }

// Set states the count and a note shown behind it ("loss 7.12, lr 0.001, 31 sequences/s").
func (p *Progress) Set(done int64, note string) { p.mu.Lock(); p.set(done, note); p.mu.Unlock() }

func (p *Progress) set(done int64, note string) {
	p.done, p.note = done, note
	if p.bar != nil {
		if note != "" {
			p.bar.Describe(p.env.Name + ": " + p.verb + ": " + note)
		}
		p.bar.Set64(done)
		return
	}
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(plainInterval)
		p.env.Infof("%s", p.line())
	}
}

// Report prints a line now, unless what it tells of has ended.
func (p *Progress) Report() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.env.Infof("%s", p.line())
	}
}

func (p *Progress) line() string {
	s := fmt.Sprintf("%s: %d %s", p.verb, p.done, p.unit)
	spent := time.Since(p.start)
	if p.total > 0 {
		s = fmt.Sprintf("%s: %d of %d %s", p.verb, p.done, p.total, p.unit)
	}
	if p.note != "" {
		s += ", " + p.note
	}
	if p.total > 0 && p.done > p.first {
		s += ", " + Duration(time.Duration(float64(spent)/float64(p.done-p.first)*float64(p.total-p.done))) + " left"
	}
	return s
}

// Finish ends the display and removes the bar.
func (p *Progress) Finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.bar != nil {
		p.bar.Finish()
	}
}
