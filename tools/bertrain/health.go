package main

import (
	"time"

	"hpcbert/lib/fault"
)

// healthOptions say how a job of many ranks looks after itself.
type healthOptions struct {
	CommTimeout time.Duration `long:"comm-timeout" value-name:"TIME" default:"10m" hidden:"true" description:"name ranks that others wait for so long, and end; 0 = wait"`
	VerifyEvery int           `long:"verify-every" value-name:"N" default:"0" hidden:"true" description:"updates between checks of ranks on each other; 0 = none"`
}

func (o *healthOptions) check() error {
	switch {
	case o.CommTimeout < 0 || o.CommTimeout > 0 && o.CommTimeout < time.Second:
		return fault.Usagef("--comm-timeout %v: must be 0 or at least 1s", o.CommTimeout)
	case o.VerifyEvery < 0:
		return fault.Usagef("--verify-every must not be negative")
	}
	return nil
}
