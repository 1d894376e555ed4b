package cli

import (
	"strconv"
	"testing"
	"time"
)

func TestTimeLimit(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"3h55m": 3*time.Hour + 55*time.Minute, "90s": 90 * time.Second, "04:00:00": 4 * time.Hour, "1-12:30:05": 36*time.Hour + 30*time.Minute + 5*time.Second,
		"240": 0, "04:00": 0, "0s": 0, "-5m": 0, "00:00:00": 0, "1-12": 0, "04:60:00": 0, "": 0, "soon": 0,
	} {
		var l TimeLimit
		if err := l.UnmarshalFlag(text); time.Duration(l) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v; expected %v", text, time.Duration(l), err, want)
		}
	}
}

func TestDeadline(t *testing.T) {
	start := time.Unix(1000000, 0)
	for _, c := range []struct {
		what  string
		slurm string
		limit time.Duration
		want  int64 // seconds behind start; -1 = none
	}{
		{"none", "", 0, -1}, {"own", "", time.Hour, 3600}, {"Slurm's", "1000060", 0, 60}, {"the earlier one: own", "1009999", time.Hour, 3600},
		{"the earlier one: Slurm's", "1000060", time.Hour, 60}, {"Slurm's that is no number", "NONE", 0, -1}, {"Slurm knows no end", "0", 0, -1},
	} {
		e := &Env{start: start, Getenv: func(name string) string { return map[string]string{"SLURM_JOB_END_TIME": c.slurm}[name] }}
		got := int64(-1)
		if d := e.Deadline(TimeLimit(c.limit)); !d.IsZero() {
			got = d.Unix() - start.Unix()
		}
		if got != c.want {
			t.Errorf("%s: %s seconds, expected %d", c.what, strconv.FormatInt(got, 10), c.want)
		}
	}
}
