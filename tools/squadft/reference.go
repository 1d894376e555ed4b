package main

import "hpcbert/lib/cli"

// referenceOptions are the flags of the original program that mean something of their own, and are not of all programs that fine-tune.
type referenceOptions struct {
	EvalScript string `long:"eval-script" value-name:"FILE" hidden:"true" description:"never read: answers are marked here"`
	Detail     bool   `long:"verbose-logging" hidden:"true" description:"-v"`
	SkipCache  bool   `long:"skip-cache" hidden:"true" description:"there is none"`
	CacheDir   string `long:"cache-dir" value-name:"DIR" hidden:"true" description:"there is none"`
}

// warn tells of flags that do nothing.
func (o *options) warn(env *cli.Env) {
	if o.EvalScript != "" {
		env.Warnf("--eval-script is never read: the answers are marked as the official scripts do")
	}
	if o.CacheDir != "" {
		env.Warnf("--cache-dir is never read: questions become windows within seconds, there is no cache")
	}
}
