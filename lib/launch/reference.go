package launch

import (
	"cmp"
	"slices"
	"strings"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
)

// tuningReference are the flags of the original's programs that fine-tune, where they are no other names of ours.
type tuningReference struct {
	LowerCase bool   `long:"do-lower-case" hidden:"true" description:"put text in lower case, whatever the vocabulary"`
	FP16      bool   `long:"fp16" hidden:"true" description:"--precision fp16"`
	AMP       bool   `long:"amp" hidden:"true" description:"--precision fp16"`
	NoSave    bool   `long:"skip-checkpoint" hidden:"true" description:"write no checkpoints"`
	NoBar     bool   `long:"disable-progress-bar" hidden:"true" description:"plain lines on a terminal too"`
	BertModel string `long:"bert-model" value-name:"NAME" hidden:"true" description:"never read"`
	NoCUDA    bool   `long:"no-cuda" hidden:"true" description:"--device cpu"`
	UseEnv    bool   `long:"use-env" hidden:"true" description:"never read"`
}

// Imply gives an option the value that a flag of the original, by, means when it is given.
func Imply(env *cli.Env, given bool, by, option string, into *string, value string) error {
	if !given {
		return nil
	}
	if env.Given(option) != "" && *into != value {
		return fault.Usagef("--%s %s contradicts %s, which means %s", option, *into, by, value)
	}
	cli.Default(env, by, option, into, value)
	return nil
}

// translate sets the options that flags of the original stand for.
func (o *Tuning) translate(env *cli.Env) error {
	err := cmp.Or(
		Imply(env, o.FP16, "--fp16", "precision", &o.Precision, "fp16"),
		Imply(env, o.AMP, "--amp", "precision", &o.Precision, "fp16"),
		Imply(env, o.NoCUDA, "--no-cuda", "device", &o.Device, "cpu"))
	if err != nil {
		return err
	}
	var idle []string
	for name, given := range map[string]bool{"--bert-model": o.BertModel != "", "--use-env": o.UseEnv} {
		if given {
			idle = append(idle, name)
		}
	}
	if len(idle) > 0 {
		slices.Sort(idle)
		env.Warnf("never read: %s", strings.Join(idle, ", "))
	}
	if o.NoBar {
		env.NoBar()
	}
	return nil
}
