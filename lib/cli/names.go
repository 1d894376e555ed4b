package cli

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/jessevdk/go-flags"
)

// alsoTag gives an option more long names, as those of a program that this one replaces: also:"max-steps,updates". --help-all and the man page
// list them in a group of their own.
const alsoTag = "also"

// otherNames are options of their own to the parser, so that it speaks of each by the name that was typed; settle copies their values.
type otherNames struct {
	group *flags.Group // nil when there are none
	of    []otherName
}

type otherName struct {
	main *flags.Option
	into reflect.Value // the field of main
}

// addOtherNames gives the parser the other names of the options of o.
func addOtherNames(parser *flags.Parser, group *flags.Group, o Options) (names otherNames, err error) {
	var fields []reflect.StructField
	value := reflect.ValueOf(o).Elem()
	for _, f := range reflect.VisibleFields(value.Type()) {
		for name := range strings.FieldsFuncSeq(f.Tag.Get(alsoTag), func(r rune) bool { return r == ',' }) {
			main := f.Tag.Get("long")
			tag := fmt.Sprintf(`long:%q value-name:%q hidden:"true" description:"--%s"`, name, f.Tag.Get("value-name"), main)
			fields = append(fields, reflect.StructField{Name: fmt.Sprint("Name", len(fields)), Type: f.Type, Tag: reflect.StructTag(tag)})
			names.of = append(names.of, otherName{group.FindOptionByLongName(main), value.FieldByIndex(f.Index)})
		}
	}
	if len(fields) > 0 {
		names.group, err = parser.AddGroup("The same by other names", "", reflect.New(reflect.StructOf(fields)).Interface())
	}
	return names, err
}

// options returns the options that the names are to the parser.
func (n otherNames) options() []*flags.Option {
	if n.group == nil {
		return nil
	}
	return n.group.Options()
}

// settle copies what was given by another name, and returns by which name each option was given. One thing given two values is an error.
func (n otherNames) settle(options []*flags.Option) (given map[string]string, err error) {
	given = map[string]string{}
	for _, o := range options {
		if o.IsSet() && !o.IsSetDefault() {
			given[o.LongName] = optionName(o)
		}
	}
	for i, o := range n.options() {
		if !o.IsSet() {
			continue
		}
		main := n.of[i]
		value := reflect.ValueOf(o.Value())
		if before := given[main.main.LongName]; before != "" && !reflect.DeepEqual(o.Value(), main.into.Interface()) {
			return nil, fmt.Errorf("%s is %v, but %s, which means the same, is %v", before, shown(main.into), optionName(o), shown(value))
		}
		main.into.Set(value)
		given[main.main.LongName] = optionName(o)
	}
	return given, nil
}

// shown is what an option's value points to.
func shown(v reflect.Value) any { return reflect.Indirect(v).Interface() }

// Given tells by which name an option was given on the command line, "" when it was not: its value is the default then.
func (e *Env) Given(long string) string { return e.given[long] }

// Default gives an option the value that something else has for it, such as a file, unless the command line gives it one. by is told by Source.
func Default[T any](e *Env, by, long string, into *T, value T) {
	if e.given[long] != "" {
		return
	}
	if e.defaults == nil {
		e.defaults = map[string]string{}
	}
	*into, e.defaults[long] = value, by
}

// Source tells where the value of an option comes from: the name by which it was given, what Default was told, or "default".
func (e *Env) Source(long string) string {
	return cmp.Or(e.given[long], e.defaults[long], "default")
}

// DefaultsBy returns the names of the options whose values something else than the command line has given, in alphabetical order.
func (e *Env) DefaultsBy(by string) (names []string) {
	for _, long := range slices.Sorted(maps.Keys(e.defaults)) {
		if e.defaults[long] == by {
			names = append(names, "--"+long)
		}
	}
	return names
}
