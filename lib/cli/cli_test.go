package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"hpcbert/lib/fault"
)

type sample struct {
	Common
	MaxSteps int    `long:"max-steps" default:"3" description:"steps"`
	Name     string `long:"name" description:"a name"`
}

// try runs a program whose work is run, and returns its exit status and output.
func try(o *sample, run func(*Env, []string) error, args ...string) (status int, stdout, stderr string) {
	var out, talk bytes.Buffer
	env := &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &talk}
	p := Program{Name: "sample", Args: "[FILE...]", Summary: "tries", Help: "Help.", Examples: "\n  sample x\n"}
	status = Run(p, o, func(_ context.Context, env *Env, args []string) error { return run(env, args) }, args, env)
	return status, out.String(), talk.String()
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		what   string
		err    error
		status int
		stderr string
	}{
		{"done", nil, 0, ""},
		{"failed", errors.New("read x: no"), 1, "sample: error: read x: no\n"},
		{"with hint", fmt.Errorf("open: %w", fault.WithHint(errors.New("no"), "do %s", "this")), 1, "sample: error: open: no\nsample: hint: do this\n"},
		{"usage", fault.Usagef("bad %q", "x"), 2, "sample: error: bad \"x\"\n"},
		{"usage with hint", fault.WithHint(fault.Usagef("bad"), "good"), 2, "sample: error: bad\nsample: hint: good\n"},
		{"answer no", fault.Answerf("differs"), 3, "sample: error: differs\n"},
		{"stopped", fault.Stoppedf("saved"), 0, "sample: info: saved\n"},
		{"another rank failed", fault.ErrElsewhere, 1, ""},
		{"stopped by TERM", (&Stop{first: syscall.SIGTERM}).Outcome(), 143, "sample: info: saved and stopped as asked: the same command goes on\n"},
		{"stopped by USR2", (&Stop{first: syscall.SIGUSR2}).Outcome(), 0, "sample: info: saved and stopped as asked: the same command goes on\n"},
	} {
		status, _, stderr := try(&sample{}, func(*Env, []string) error { return c.err })
		if status != c.status || stderr != c.stderr {
			t.Errorf("%s: exit status %d, %q; expected %d, %q", c.what, status, stderr, c.status, c.stderr)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args  string
		steps int
		name  string
		rest  string
	}{
		{"", 3, "", ""},
		{"--max_steps=7 a b", 7, "", "a b"},
		{"--max-steps 7 --name x_y", 7, "x_y", ""},
		{"--name=x_y=z_ -- --max_steps", 3, "x_y=z_", "--max_steps"},
	} {
		var o sample
		status, _, stderr := try(&o, func(_ *Env, args []string) error {
			if o.MaxSteps != c.steps || o.Name != c.name || strings.Join(args, " ") != c.rest {
				t.Errorf("%s: steps %d, name %q, rest %q", c.args, o.MaxSteps, o.Name, args)
			}
			return nil
		}, strings.Fields(c.args)...)
		if status != 0 {
			t.Errorf("%s: exit status %d: %s", c.args, status, stderr)
		}
	}
}

func TestWrongFlagsTouchNothing(t *testing.T) {
	for _, args := range []string{"--no-such", "--max-steps x", "-j -1"} {
		status, stdout, stderr := try(&sample{}, func(*Env, []string) error { t.Errorf("%s: ran", args); return nil }, strings.Fields(args)...)
		if status != 2 || stdout != "" || strings.Count(stderr, "sample: error: ") != 1 {
			t.Errorf("%s: exit status %d, %q, %q", args, status, stdout, stderr)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, c := range []struct{ flag, want string }{{"--help", "Examples:\n  sample x\n"}, {"--version", "sample (hpcbert) "}, {"--man", ".SH EXAMPLES\n.nf\n  sample x\n"}} {
		status, stdout, stderr := try(&sample{}, func(*Env, []string) error { t.Error("ran"); return nil }, c.flag)
		if status != 0 || stderr != "" || !strings.Contains(stdout, c.want) {
			t.Errorf("%s: exit status %d, %q, %q", c.flag, status, stdout, stderr)
		}
	}
}

func TestRareOptions(t *testing.T) {
	for _, c := range []struct {
		args       string
		shown, ran bool
	}{{"--help", false, false}, {"--help-all", true, false}, {"--help_all", true, false}, {"--man", true, false}, {"--rare", false, true}, {"-- --help-all", false, true}} {
		var o struct {
			sample
			Rare bool `long:"rare" hidden:"true" description:"seldom wanted"`
		}
		var out, talk bytes.Buffer
		ran := false
		work := func(_ context.Context, _ *Env, args []string) error { ran = o.Rare || len(args) == 1; return nil }
		status := Run(Program{Name: "sample"}, &o, work, strings.Fields(c.args), &Env{Stdout: &out, Stderr: &talk})
		shown := strings.Contains(out.String(), "seldom wanted")
		if status != 0 || shown != c.shown || ran != c.ran || strings.Contains(out.String(), "--help-all shows 1 rarer") != (c.args == "--help") {
			t.Errorf("%s: exit status %d, shown %v, ran %v: %s%s", c.args, status, shown, ran, out.String(), talk.String())
		}
	}
}

func TestMessages(t *testing.T) {
	talk := func(env *Env, _ []string) error {
		env.Infof("one %d", 1)
		env.Debugf("two")
		env.Warnf("three")
		return nil
	}
	for _, c := range []struct{ args, want string }{
		{"", "sample: info: one 1\nsample: warning: three\n"},
		{"-q", "sample: warning: three\n"},
		{"-v", "sample: info: one 1\nsample: info: two\nsample: warning: three\n"},
	} {
		if _, _, stderr := try(&sample{}, talk, strings.Fields(c.args)...); stderr != c.want {
			t.Errorf("%q: %q", c.args, stderr)
		}
	}
	if _, _, stderr := try(&sample{}, talk, "--log-json"); !strings.HasPrefix(stderr, `{"kind":"info","text":"one 1",`) {
		t.Errorf("--log-json: %q", stderr)
	}
}

func TestUsageErrorOfManyRanksIsToldByTheFirst(t *testing.T) {
	for rank, want := range map[string]bool{"0": true, "1": false} {
		var talk bytes.Buffer
		env := &Env{Stderr: &talk, Getenv: func(name string) string { return map[string]string{"OMPI_COMM_WORLD_RANK": rank}[name] }}
		status := Run(Program{Name: "sample"}, &sample{}, func(context.Context, *Env, []string) error { return nil }, []string{"--no-such"}, env)
		if status != 2 || talk.Len() > 0 != want {
			t.Errorf("rank %s: exit status %d, %q", rank, status, talk.String())
		}
	}
}

func TestSignalEndsTheContext(t *testing.T) {
	env := &Env{Stderr: &bytes.Buffer{}, signals: make(chan os.Signal, 1)}
	env.signals <- syscall.SIGTERM
	status := Run(Program{Name: "sample"}, &sample{}, func(ctx context.Context, _ *Env, _ []string) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Second):
			return errors.New("the signal did not arrive")
		}
	}, nil, env)
	if status != 143 {
		t.Errorf("exit status %d, expected 143", status)
	}
}

func TestProgressLines(t *testing.T) {
	_, _, stderr := try(&sample{}, func(env *Env, _ []string) error {
		first := env.Progress("counting", "lines", 0)
		first.Add(7)
		first.Report()
		first.Finish()
		second := env.Progress("training", "steps", 10)
		second.Start(4)
		second.Set(4, "loss 7.1")
		for _, report := range env.report { // as SIGUSR1 does
			report()
		}
		return nil
	})
	if want := "sample: info: counting: 7 lines\nsample: info: training: 4 of 10 steps, loss 7.1\n"; stderr != want {
		t.Errorf("%q, expected %q", stderr, want)
	}
}

func TestSizesAndTimes(t *testing.T) {
	for got, want := range map[string]string{
		Bytes(17): "17 B", Bytes(1536): "1.5 KiB", Bytes(3 << 30): "3.0 GiB",
		Duration(1500 * time.Millisecond): "1.5 s", Duration(184 * time.Second): "3 min 4 s", Duration(125 * time.Minute): "2 h 5 min",
	} {
		if got != want {
			t.Errorf("%q, expected %q", got, want)
		}
	}
}

func TestThreadsOfARankOnASharedNode(t *testing.T) {
	env := &Env{Getenv: func(name string) string { return map[string]string{"OMPI_COMM_WORLD_LOCAL_SIZE": "1000"}[name] }}
	if n := env.Threads(); n != 1 {
		t.Errorf("%d threads for one of a thousand ranks", n)
	}
	env.Getenv = func(name string) string { return map[string]string{"OMP_NUM_THREADS": "5"}[name] }
	if n := env.Threads(); n != 5 {
		t.Errorf("%d threads with OMP_NUM_THREADS=5", n)
	}
	env.threads = 3
	if n := env.Threads(); n != 3 {
		t.Errorf("%d threads with -j 3", n)
	}
}

func TestNotesOfTheManPage(t *testing.T) {
	const source = "// Tries does.\n//\n// Two -x\n// lines \\ of it.\n//\n// .dot first\n//\n// # A part\n//\n//   - one\n//   - two\n//\n// Text\n//\n//\tkey   a.b\n//\t.c\npackage main\n"
	var out bytes.Buffer
	p := Program{Name: "sample", Summary: "tries", Source: source}
	if status := Run(p, &sample{}, nil, []string{"--man"}, &Env{Stdout: &out}); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	const want = ".SH NOTES\n.PP\nTries does.\n.PP\nTwo \\-x lines \\e of it.\n.PP\n\\&.dot first\n.SS A part\n.PP\n.nf\n  \\- one\n  \\- two\n.fi\n.PP\nText\n.PP\n.nf\n  key   a.b\n  .c\n.fi\n.SH EXIT"
	if !strings.Contains(out.String(), want) {
		t.Errorf("expected\n%s\nin\n%s", want, out.String())
	}
}
