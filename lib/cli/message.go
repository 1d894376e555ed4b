package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// message prints "name: kind: text" on standard error, a line for each of the text.
func (e *Env) message(kind, format string, a ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for text := range strings.SplitSeq(fmt.Sprintf(format, a...), "\n") {
		if e.json {
			line, _ := json.Marshal(map[string]string{"tool": e.Name, "kind": kind, "text": text, "time": time.Now().UTC().Format(time.RFC3339Nano)})
			fmt.Fprintf(e.Stderr, "%s\n", line)
		} else {
			fmt.Fprintf(e.Stderr, "%s: %s: %s\n", e.Name, kind, text)
		}
	}
}

// Silence drops all messages but errors: ranks other than 0 call it.
func (e *Env) Silence() { e.silent = true }

// Infof prints what happens, unless -q.
func (e *Env) Infof(format string, a ...any) {
	if !e.quiet && !e.silent {
		e.message("info", format, a...)
	}
}

// Debugf prints detail under -v.
func (e *Env) Debugf(format string, a ...any) {
	if e.verbose && !e.silent {
		e.message("info", format, a...)
	}
}

// Warnf prints what the user should know although the work goes on.
func (e *Env) Warnf(format string, a ...any) {
	if !e.silent {
		e.message("warning", format, a...)
	}
}

// Alarmf is Warnf also of a rank that Silence was called on: for what only that rank knows.
func (e *Env) Alarmf(format string, a ...any) { e.message("warning", format, a...) }

// Hintf prints what to do about the warning before it.
func (e *Env) Hintf(format string, a ...any) {
	if !e.silent {
		e.message("hint", format, a...)
	}
}

// Summaryf prints the last line of a successful run: what was done, then time and peak memory.
func (e *Env) Summaryf(format string, a ...any) {
	e.Infof("%s in %s, peak memory %s", fmt.Sprintf(format, a...), Duration(time.Since(e.start)), Bytes(peakMemory()))
}

// peakMemory returns the largest resident size of the process so far in bytes.
func peakMemory() int64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return usage.Maxrss * 1024
}

// Bytes prints a size with a binary unit.
func Bytes(n int64) string {
	units, x := []string{"B", "KiB", "MiB", "GiB", "TiB"}, float64(n)
	i := 0
	for x >= 1024 && i < len(units)-1 {
		x, i = x/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}

// Duration prints a time span for people: "1.2 s", "3 min 4 s", "2 h 5 min".
func Duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}
