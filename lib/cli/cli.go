// Package cli is what all programs share on the outside: flags, help, messages, signals, progress and exit statuses.
// It alone touches os.Args, the environment, signals and os.Exit.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"hpcbert/lib/fault"

	"github.com/jessevdk/go-flags"
)

// Version is set by the build.
var Version = "devel"

// Program describes a program to its user.
type Program struct {
	Name     string // "segment"
	Args     string // what follows the options, "[FILE...]"
	Summary  string // one line
	Help     string // paragraphs on what is read, written, and what surprises
	Examples string // commands that work as pasted, two blanks before each
	Source   string // Go source whose first comment goes into the man page; may be ""
}

// Common holds the options of every program; embed it in a program's options.
type Common struct {
	Threads Threads `short:"j" long:"threads" value-name:"N" description:"threads to use (default: OMP_NUM_THREADS, else the cores free to this process)"`
	Quiet   bool    `short:"q" long:"quiet" description:"print warnings and errors only"`
	Verbose bool    `short:"v" long:"verbose" description:"print more"`
	LogJSON bool    `long:"log-json" description:"messages as JSON lines"`
	Version bool    `long:"version" description:"print the version and exit"`
	Man     bool    `long:"man" description:"print the man page in roff and exit"`
}

func (c *Common) common() *Common { return c }

// Options is a struct of options that embeds Common.
type Options interface{ common() *Common }

// Env is a program's world: its streams, messages and signals.
type Env struct {
	Name   string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string

	node     *node // nil = the one under this process
	threads  int
	given    map[string]string // options of the command line, and their names there
	defaults map[string]string // other options that have another value than their own default, and what gave it
	quiet    bool
	verbose  bool
	json     bool
	silent   bool // not rank 0: errors only
	noBar    bool
	start    time.Time
	cancel   context.CancelCauseFunc // ends the run
	mu       sync.Mutex
	signals  chan os.Signal // nil in tests
	stop     chan os.Signal // set by CatchStop
	asked    bool           // a signal has asked to stop
	report   []func()       // what SIGUSR1 asks for
}

// Work is what a program does with its arguments, its options parsed.
type Work func(ctx context.Context, env *Env, args []string) error

// Main runs a program and exits with its status.
func Main(p Program, o Options, work Work) {
	env := &Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, signals: make(chan os.Signal, 8)}
	os.Exit(Run(p, o, work, os.Args[1:], env))
}

// Run is Main without the process: tests call it with streams of their own. It returns the exit status.
func Run(p Program, o Options, work Work, args []string, env *Env) int {
	env.Name, env.start = p.Name, time.Now()
	if env.Getenv == nil {
		env.Getenv = func(string) string { return "" }
	}
	parser := flags.NewNamedParser(p.Name, flags.HelpFlag|flags.PassDoubleDash)
	parser.ShortDescription, parser.LongDescription = p.Summary, p.Summary+"\n\n"+p.Help
	parser.Usage = strings.TrimSpace("[OPTION...] " + p.Args)
	group, err := parser.AddGroup("Options", "", o)
	if err != nil {
		panic(err) // a mistake in the program's option tags
	}
	names, err := addOtherNames(parser, group, o)
	if err != nil {
		panic(err)
	}
	markRequired(group.Options())
	args = foldUnderscores(args)
	rare := rareOptions(parser, args)
	rest, err := parser.ParseArgs(args)
	c := o.common()
	env.quiet, env.verbose, env.json, env.threads = c.Quiet, c.Verbose, c.LogJSON, int(c.Threads)
	var flagError *flags.Error
	switch {
	case errors.As(err, &flagError) && flagError.Type == flags.ErrHelp:
		fmt.Fprint(env.Stdout, flagError.Message)
		if rare > 0 {
			fmt.Fprintf(env.Stdout, "\n%s shows %d rarer option(s) too\n", helpAll, rare)
		}
		if p.Examples != "" {
			fmt.Fprintf(env.Stdout, "\nExamples:\n%s\n", strings.Trim(p.Examples, "\n"))
		}
		return 0
	case c.Version:
		fmt.Fprintf(env.Stdout, "%s (hpcbert) %s\n", p.Name, version())
		return 0
	case c.Man:
		writeManPage(env.Stdout, parser, p)
		return 0
	}
	if err == nil {
		env.given, err = names.settle(group.Options())
	}
	if err := usage(p, append(group.Options(), names.options()...), rest, err); err != nil {
		return env.Fail(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	env.cancel = cancel
	if env.signals != nil {
		notify(env.signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1)
		go env.watchSignals() // as long as the process: signals must not kill it while it tells how it ended
	}
	err = work(ctx, env, rest)
	var caught caughtSignal
	if errors.As(context.Cause(ctx), &caught) && err != nil {
		if caught.Signal != syscall.SIGPIPE {
			env.message("error", "stopped by %v", os.Signal(caught.Signal))
		}
		return 128 + int(caught.Signal)
	}
	return env.Fail(err)
}

// helpAll is --help that shows the options marked hidden too: the rarer ones of a program whose help would not fit a screen.
const helpAll = "--help-all"

// rareOptions counts the options that --help leaves out. The man page leaves none out; helpAll becomes a --help of that kind.
func rareOptions(parser *flags.Parser, args []string) int {
	all := slices.Contains(args, "--man")
	if i := slices.Index(args, helpAll); i >= 0 && !slices.Contains(args[:i], "--") {
		args[i], all = "--help", true
	}
	hidden := 0
	for _, group := range parser.Groups() {
		for _, option := range group.Options() {
			if option.Hidden && all {
				option.Hidden = false
			} else if option.Hidden {
				hidden++
			}
		}
	}
	return hidden
}

// foldUnderscores makes --max_steps and --max-steps the same option.
func foldUnderscores(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if a == "--" {
			copy(out[i:], args[i:])
			break
		}
		if strings.HasPrefix(a, "--") {
			name, value, given := strings.Cut(a, "=")
			a = strings.ReplaceAll(name, "_", "-")
			if given {
				a += "=" + value
			}
		}
		out[i] = a
	}
	return out
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && Version == "devel" {
		return Version + " " + info.GoVersion
	}
	return Version
}

// Fail prints err and returns the exit status it means. Run calls it; a program does only before it aborts other ranks.
func (e *Env) Fail(err error) int {
	if err == nil {
		return 0
	}
	what := fault.KindOf(err)
	told := (what == fault.Usage || what == fault.Stopped) && e.launcherRank() > 0 // by rank 0
	if told || what == fault.Elsewhere {
		return statusOf(err)
	}
	kind := "error"
	if what == fault.Stopped {
		kind = "info"
	}
	e.message(kind, "%v", err)
	if hint := fault.HintOf(err); hint != "" {
		e.message("hint", "%s", hint)
	}
	return statusOf(err)
}

// statusOf is the exit status that err means.
func statusOf(err error) int {
	var by stoppedBy
	switch {
	case err == nil:
		return 0
	case errors.As(err, &by):
		return 128 + int(by.signal)
	}
	return map[fault.Kind]int{fault.Failed: 1, fault.Usage: 2, fault.Answer: 3, fault.Stopped: 0, fault.Elsewhere: 1}[fault.KindOf(err)]
}

type caughtSignal struct{ syscall.Signal }

func (c caughtSignal) Error() string { return c.Signal.String() }

func (e *Env) watchSignals() {
	for s := range e.signals {
		e.mu.Lock()
		report, stop := e.report, e.stop
		e.mu.Unlock()
		switch {
		case s == syscall.SIGUSR1:
			for _, f := range report {
				f()
			}
		case stop != nil:
			e.requestStop(s.(syscall.Signal), stop)
		default:
			e.cancel(caughtSignal{s.(syscall.Signal)})
		}
	}
}

// onReport has f called at every SIGUSR1.
func (e *Env) onReport(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.report = append(e.report, f)
}
