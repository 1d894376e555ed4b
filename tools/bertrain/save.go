package main

import (
	"path/filepath"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
)

// saveOptions say what a run starts from, and when and how it is saved.
type saveOptions struct {
	Init         string `long:"init" also:"init-checkpoint" value-name:"PATH" description:"checkpoint or run to start from"`
	ResetMoments bool   `long:"reset-optimizer" hidden:"true" description:"with --init: moments start at zero"`
	Phase2       bool   `long:"phase2" description:"go on from --init, a run of phase 1"`
	Phase1End    int    `long:"phase1-end-step" value-name:"N" hidden:"true" description:"of --init, take the checkpoint of step N (default: the newest)"`

	SaveEvery int           `long:"save-every" also:"num-steps-per-checkpoint" value-name:"N" default:"200" description:"0 = at the end"`
	Keep      int           `long:"keep" value-name:"N" default:"3" description:"checkpoints to keep; 0 = all"`
	TimeLimit cli.TimeLimit `long:"time-limit" value-name:"TIME" description:"save and stop before it, as 3h55m or 04:00:00"`
	SaveSync  bool          `long:"save-sync" hidden:"true" description:"wait while a checkpoint is written: no memory for a copy"`
}

func (o *saveOptions) check() error {
	switch {
	case o.SaveEvery < 0 || o.Keep < 0:
		return fault.Usagef("--save-every and --keep must not be negative")
	case o.Phase1End < 0:
		return fault.Usagef("--phase1-end-step must not be negative")
	case o.Phase1End > 0 && o.Init == "" && !o.Phase2:
		return fault.Usagef("--phase1-end-step goes with --phase2 or --init")
	case o.ResetMoments && o.Init == "" && !o.Phase2:
		return fault.Usagef("--reset-optimizer goes with --phase2 or --init")
	}
	return nil
}

// phase returns where to start from and where to write. Phases count their own steps, so that each has a folder of its own; the reference has
// one for both.
func (o *saveOptions) phase(output string) (init, out string) {
	if o.Phase2 && o.Init == "" {
		return output, filepath.Join(output, "phase2")
	}
	return o.Init, output
}
