package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// all has an option of every type that the programs use.
type all struct {
	Common
	Steps   int           `long:"steps" also:"max-steps,updates" value-name:"N" default:"100"`
	Seed    uint64        `long:"seed" value-name:"N"`
	Rate    float64       `long:"rate" value-name:"X" default:"6e-3"`
	Dropout *float64      `long:"dropout" also:"drop-rate" value-name:"P"`
	Memory  Size          `long:"memory" value-name:"SIZE"`
	Wait    time.Duration `long:"wait" value-name:"TIME"`
	Old     func(int)     `long:"old" value-name:"N"`
	Order   string        `long:"order" value-name:"ORDER" choice:"shuffle" choice:"file" default:"file"`
	Name    string        `long:"name" value-name:"NAME"`
	Force   bool          `long:"force"`
	Check   string        `long:"check" value-name:"FOLDER"`
	Output  string        `short:"o" long:"output" also:"output-dir" value-name:"FOLDER" required:"true" description:"where to"`
	Train   int           `long:"train" value-name:"N" required-unless:"check,force" description:"how many"`
}

// runAll runs a program with these options and returns its exit status and what it says.
func runAll(args ...string) (status int, stdout, stderr string) {
	var out, talk strings.Builder
	work := func(context.Context, *Env, []string) error { return nil }
	status = Run(Program{Name: "all"}, &all{Old: func(int) {}}, work, args, &Env{Stdout: &out, Stderr: &talk})
	return status, out.String(), talk.String()
}

func TestUsageInPlainWords(t *testing.T) {
	const given = "-o x --train 1 "
	for _, c := range []struct{ args, want string }{
		{given, ""},
		{given + "--steps x", `option --steps: "x" is not a whole number such as 100`},
		{given + "--steps=", `option --steps: "" is not a whole number such as 100`},
		{given + "--steps 1.5", `option --steps: "1.5" is not a whole number such as 100`},
		{given + "--steps -99999999999999999999", `option --steps: "-99999999999999999999" is too far from 0`},
		{given + "--seed=-1", `option --seed: "-1" is not a whole number from 0 on such as 16`},
		{given + "--rate 1,5", `option --rate: "1,5" is not a number such as 6e-3`},
		{given + "--dropout none", `option --dropout: "none" is not a number such as 0.5`},
		{given + "--memory much", `option --memory: "much" is not a size such as 512M or 1.5G`},
		{given + "--wait long", `option --wait: "long" is not a time such as 90s`},
		{given + "--old x", `option --old: "x" is not a whole number such as 16`},
		{given + "--order any", `option --order: "any" is not one of shuffle, file`},
		{given + "--force=yes", "option --force takes no value"},
		{given + "--name", "option --name needs a value, NAME"},
		{given + "--name --force", `option --name needs a value, NAME, but "--force" follows, which looks like an option (if it is the value, write --name=--force)`},
		{given + "-j 0", `option -j/--threads: "0" is not a number of threads such as 4 (without -j it is chosen)`},
		{given + "-j -2", `option -j/--threads: "-2" is not a number of threads`},
		{given + "-jx", `option -j/--threads: "x" is not a number of threads`},
		{given + "--sqe 3", "unknown option --sqe"},
		{given + "--max_steps x", `option --max-steps: "x" is not a whole number such as 16`},
		{given + "--steps 100 --max-steps 99", "--steps is 100, but --max-steps, which means the same, is 99"},
		{given + "--updates 7 --max-steps 8", "--max-steps is 8, but --updates, which means the same, is 7"},
		{given + "--updates 7 --steps 7 --max-steps=7", ""},
		{given + "--drop-rate 0.1 --dropout 0.2", "--dropout is 0.2, but --drop-rate, which means the same, is 0.1"},
		{given + "--drop-rate 0.1 --dropout 0.10", ""},
		{given + "--output_dir y", "-o/--output is x, but --output-dir, which means the same, is y"},
		{"--train 1 --output_dir y", ""},
		{given + "--sqe=3", "unknown option --sqe"},
		{given + "-x", "unknown option -x"},
		{given + "-qx", "unknown option -x"},
		{"--train 1", "option -o/--output FOLDER is missing"},
		{"--train 1 -o=", "option -o/--output FOLDER is missing"},
		{"", "options -o/--output FOLDER and --train N are missing"},
		{"-o x --check=", "option --train N is missing"},
		{"-o x --check y", ""},
		{"-o x --force", ""},
	} {
		status, stdout, stderr := runAll(strings.Fields(c.args)...)
		if c.want == "" {
			if status != 0 || stderr != "" {
				t.Errorf("%s: exit status %d, %q", c.args, status, stderr)
			}
			continue
		}
		lines := strings.SplitN(stderr, "\n", 2)
		if status != 2 || stdout != "" || !strings.HasPrefix(lines[0], "all: error: "+c.want) || lines[1] != "all: hint: all --help lists the options\n" {
			t.Errorf("%s: exit status %d, %q; expected %q", c.args, status, stderr, c.want)
		}
	}
}

func TestHelpMarksWhatIsRequired(t *testing.T) {
	_, help, _ := runAll("--help")
	for _, want := range []string{"where to (required)", "how many (required unless --check or --force)"} {
		if !strings.Contains(strings.Join(strings.Fields(help), " "), want) {
			t.Errorf("--help does not say %q:\n%s", want, help)
		}
	}
}

// TestEndsWithItsReader: a program that waits for its input ends when nobody reads its output any more, and says nothing.
func TestEndsWithItsReader(t *testing.T) {
	for _, c := range []struct {
		name, output string
		status       int
	}{{"standard output", "-", 141}, {"no output named", "", 141}, {"a file", "file", 1}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var talk strings.Builder
		work := func(ctx context.Context, env *Env, _ []string) error {
			env.EndWithReader(c.output)
			time.Sleep(20 * time.Millisecond) // while somebody reads nothing happens
			if ctx.Err() != nil {
				return errors.New("ended although somebody reads")
			}
			r.Close()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(map[bool]time.Duration{true: 10 * time.Second, false: 100 * time.Millisecond}[c.status == 141]):
				return errors.New("goes on")
			}
		}
		status := Run(Program{Name: "filter"}, &sample{}, work, nil, &Env{Stdout: w, Stderr: &talk})
		if status != c.status || (talk.String() == "") != (c.status == 141) {
			t.Errorf("%s: exit status %d, %q; expected %d", c.name, status, talk.String(), c.status)
		}
		w.Close()
	}
}

func TestOtherNames(t *testing.T) {
	for _, c := range []struct {
		args    string
		steps   int
		dropout float64
		given   string // the names of --steps, --dropout and --output
	}{
		{"-o x", 100, -1, "||-o/--output"},
		{"--output_dir x --steps 100", 100, -1, "--steps||--output-dir"},
		{"-o x --output-dir=x --max_steps=5 --drop-rate 0", 5, 0, "--max-steps|--drop-rate|--output-dir"},
	} {
		o := &all{Old: func(int) {}}
		work := func(_ context.Context, env *Env, _ []string) error {
			dropout := -1.0
			if o.Dropout != nil {
				dropout = *o.Dropout
			}
			given := strings.Join([]string{env.Given("steps"), env.Given("dropout"), env.Given("output")}, "|")
			if o.Steps != c.steps || dropout != c.dropout || o.Output != "x" || given != c.given {
				t.Errorf("%s: steps %d, dropout %g, output %q, given as %s", c.args, o.Steps, dropout, o.Output, given)
			}
			return nil
		}
		if status := Run(Program{Name: "all"}, o, work, strings.Fields("--train 1 "+c.args), &Env{Stdout: io.Discard, Stderr: io.Discard}); status != 0 {
			t.Errorf("%s: exit status %d", c.args, status)
		}
	}
	if _, help, _ := runAll("--help"); strings.Contains(help, "max-steps") {
		t.Errorf("--help shows other names:\n%s", help)
	}
	if _, help, _ := runAll("--help-all"); !strings.Contains(help, "The same by other names:\n      --max-steps=N ") {
		t.Errorf("--help-all does not show the other names:\n%s", help)
	}
}

func TestDefaultsComeAfterTheCommandLine(t *testing.T) {
	o := &all{Old: func(int) {}}
	work := func(_ context.Context, env *Env, _ []string) error {
		Default(env, "a.json", "steps", &o.Steps, 3)
		Default(env, "a.json", "output", &o.Output, "y")
		Default(env, "a.json", "dropout", &o.Dropout, new(0.25))
		Default(env, "b.json", "dropout", &o.Dropout, new(0.5))
		got := fmt.Sprint(o.Steps, o.Output, *o.Dropout, env.Source("steps"), env.Source("output"), env.Source("dropout"), env.Source("train"), env.Source("log-json"),
			env.DefaultsBy("a.json"), env.DefaultsBy("b.json"))
		if want := "3x0.5a.json--output-dirb.json--traindefault[--steps][--dropout]"; strings.ReplaceAll(got, " ", "") != want {
			t.Errorf("%s, expected %s", got, want)
		}
		return nil
	}
	if status := Run(Program{Name: "all"}, o, work, strings.Fields("--train 1 --output_dir x"), &Env{Stdout: io.Discard, Stderr: io.Discard}); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
