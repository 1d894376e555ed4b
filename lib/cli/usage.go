package cli

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hpcbert/lib/fault"

	"github.com/jessevdk/go-flags"
)

// An option is required if its tag says required:"true", or required-unless:"text,check" if it is not needed beside one of these options.
const (
	requiredTag = "required"
	unlessTag   = "required-unless"
)

// markRequired says in the help which options are required, where their descriptions do not.
func markRequired(options []*flags.Option) {
	for _, o := range options {
		if unless := excuses(o); len(unless) > 0 {
			o.Description += " (required unless --" + strings.Join(unless, " or --") + ")"
		} else if o.Field().Tag.Get(requiredTag) != "" {
			o.Description = strings.TrimSuffix(o.Description, " (required)") + " (required)"
			o.Required = false // missing finds it, and an empty value too
		}
	}
}

// excuses returns the names of the options that make o needless.
func excuses(o *flags.Option) []string {
	return strings.FieldsFunc(o.Field().Tag.Get(unlessTag), func(r rune) bool { return r == ',' })
}

// usage is the error of a command line that cannot be meant, nil when it can. Rest is what the parser left of the arguments.
func usage(p Program, options []*flags.Option, rest []string, err error) error {
	var flagError *flags.Error
	switch {
	case errors.As(err, &flagError):
		err = errors.New(plain(flagError, options, rest))
	case err == nil:
		err = missing(options)
	}
	if err == nil {
		return nil
	}
	return fault.WithHint(fault.Usagef("%w", err), "%s --help lists the options", p.Name)
}

// missing names the required options that are not there, or are empty.
func missing(options []*flags.Option) error {
	zero := func(o *flags.Option) bool { return reflect.ValueOf(o.Value()).IsZero() }
	given := func(name string) bool {
		return slices.ContainsFunc(options, func(o *flags.Option) bool { return o.LongName == name && !zero(o) })
	}
	var names []string
	for _, o := range options {
		unless := excuses(o)
		needed := len(unless) > 0 || o.Field().Tag.Get(requiredTag) != ""
		empty := zero(o) && (!o.IsSet() || o.Field().Type.Kind() == reflect.String)
		if needed && empty && !slices.ContainsFunc(unless, given) {
			names = append(names, optionName(o)+" "+o.ValueName)
		}
	}
	switch last := len(names) - 1; {
	case last < 0:
		return nil
	case last == 0:
		return fmt.Errorf("option %s is missing", names[0])
	default:
		return fmt.Errorf("options %s and %s are missing", strings.Join(names[:last], ", "), names[last])
	}
}

// optionName is how messages name an option: -o/--output.
func optionName(o *flags.Option) string {
	if o.ShortName == 0 {
		return "--" + o.LongName
	}
	return "-" + string(o.ShortName) + "/--" + o.LongName
}

var (
	namedOption = regexp.MustCompile("(?:flag|option) `([^']*)'")
	marshalled  = regexp.MustCompile("(?s)^invalid argument for flag `[^']*'(?: \\(expected [^)]*\\))?: (.*)$")
	instead     = regexp.MustCompile("(?s), but got option `(.*)'$")
	choice      = regexp.MustCompile("(?s)^Invalid value `(.*)' for option `")
)

// plain says in plain words what the parser of the options says in those of Go.
func plain(err *flags.Error, options []*flags.Option, rest []string) string {
	name := ""
	if m := namedOption.FindStringSubmatch(err.Message); m != nil {
		name = m[1]
	}
	if err.Type == flags.ErrUnknownFlag {
		if strings.HasPrefix(rest[0], "--") {
			return "unknown option --" + name
		}
		return "unknown option -" + name
	}
	i := slices.IndexFunc(options, func(o *flags.Option) bool { return o.String() == name })
	if i < 0 {
		return strings.TrimSpace(err.Message)
	}
	o := options[i]
	about := "option " + optionName(o)
	switch err.Type {
	case flags.ErrNoArgumentForBool:
		return about + " takes no value"
	case flags.ErrExpectedArgument:
		about += " needs a value, " + o.ValueName
		if m := instead.FindStringSubmatch(err.Message); m != nil {
			return fmt.Sprintf("%s, but %q follows, which looks like an option (if it is the value, write --%s=%s)", about, m[1], o.LongName, m[1])
		}
		return about
	case flags.ErrInvalidChoice:
		if m := choice.FindStringSubmatch(err.Message); m != nil {
			return fmt.Sprintf("%s: %q is not one of %s", about, m[1], strings.Join(o.Choices, ", "))
		}
	case flags.ErrMarshal:
		if m := marshalled.FindStringSubmatch(err.Message); m != nil {
			return about + ": " + wrongValue(o, m[1])
		}
	}
	return about + ": " + err.Message
}

// wrongValue says what is wrong with a value that could not be converted because of what.
func wrongValue(o *flags.Option, what string) string {
	value, ours := "", true
	for _, start := range []string{"strconv.ParseInt: parsing ", "strconv.ParseUint: parsing ", "strconv.ParseFloat: parsing ", "time: "} {
		if rest, found := strings.CutPrefix(what, start); found {
			if at := strings.IndexByte(rest, '"'); at >= 0 {
				value, _ = strconv.QuotedPrefix(rest[at:])
			}
			ours = false
		}
	}
	switch {
	case ours: // words of an option's own type
		return what
	case strings.HasSuffix(what, "value out of range"):
		return value + " is too far from 0"
	}
	return value + " is not " + wanted(o)
}

// wanted says what an option takes, with an example.
func wanted(o *flags.Option) string {
	t := o.Field().Type
	switch t.Kind() {
	case reflect.Func:
		t = t.In(0)
	case reflect.Pointer, reflect.Slice:
		t = t.Elem()
	}
	what, example := "a value it takes", ""
	switch {
	case t == reflect.TypeFor[time.Duration]():
		what, example = "a time", "90s"
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Int64:
		what, example = "a whole number", "16"
	case reflect.Uint <= t.Kind() && t.Kind() <= reflect.Uint64:
		what, example = "a whole number from 0 on", "16"
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		what, example = "a number", "0.5"
	}
	if len(o.Default) > 0 && o.Default[0] != "0" {
		example = o.Default[0]
	}
	return strings.TrimSuffix(what+" such as "+example, " such as ")
}
