package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// TimeLimit is an option's value: 3h55m, or as Slurm writes times, 04:00:00 and 1-12:00:00; 0 = none was given.
type TimeLimit time.Duration

var clock = regexp.MustCompile(`^(?:(\d{1,4})-)?(\d{1,4}):([0-5]\d):([0-5]\d)$`)

// UnmarshalFlag reads the value of an option.
func (l *TimeLimit) UnmarshalFlag(text string) error {
	d, err := time.ParseDuration(text)
	if m := clock.FindStringSubmatch(text); m != nil {
		var n [4]int
		for i, digits := range m[1:] {
			n[i], _ = strconv.Atoi(digits) // "" is no days
		}
		d, err = time.Duration((n[0]*24+n[1])*3600+n[2]*60+n[3])*time.Second, nil
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a time such as 3h55m or 04:00:00", text)
	}
	*l = TimeLimit(d)
	return nil
}

// Deadline returns when the run must be over: so long after the start of the program, or when Slurm ends the job, what comes first. It is zero
// where neither is known.
func (e *Env) Deadline(limit TimeLimit) (deadline time.Time) {
	if seconds, err := strconv.ParseInt(e.Getenv("SLURM_JOB_END_TIME"), 10, 64); err == nil && seconds > 0 {
		deadline = time.Unix(seconds, 0)
	}
	if limit == 0 {
		return deadline
	}
	if own := e.start.Add(time.Duration(limit)); deadline.IsZero() || own.Before(deadline) {
		return own
	}
	return deadline
}
