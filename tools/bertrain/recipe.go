package main

import (
	"cmp"
	"path/filepath"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/plan"
)

// recipeOptions name files whose values are the defaults of other options.
type recipeOptions struct {
	Recipe  string `long:"recipe" value-name:"FILE" description:"of configs/recipe: other defaults"`
	Machine string `long:"machine" value-name:"FILE" description:"with it, of configs/machine: more of them"`

	recipe *plan.Recipe
	from   map[string]string // where the values of options come from that are neither given nor defaults
}

// useRecipe takes the values of the recipe and of the machine for options that are not given.
func (o *options) useRecipe(env *cli.Env) error {
	o.from = map[string]string{}
	if o.Recipe == "" && o.Machine != "" {
		return fault.Usagef("--machine goes with --recipe")
	}
	if o.Recipe == "" {
		return nil
	}
	r, err := plan.ReadRecipe(o.Recipe)
	if err != nil {
		return err
	}
	recipe, machine := filepath.Base(o.Recipe), filepath.Base(o.Machine)
	o.recipe = r
	o.take(env, recipe, r)
	if o.Machine == "" {
		return nil
	}
	m, err := plan.ReadMachine(o.Machine)
	if err != nil {
		return err
	}
	if o.recipe, err = r.On(m); err != nil {
		return err
	}
	o.takeMachine(env, machine, m)
	return nil
}

func (o *options) take(env *cli.Env, file string, r *plan.Recipe) {
	set(o, env, file, "global-batch", &o.GlobalBatch, r.GlobalBatch)
	set(o, env, file, "micro-batch", &o.MicroBatch, r.MicroBatch)
	set(o, env, file, "learning-rate", &o.LearningRate, r.LearningRate)
	set(o, env, file, "schedule", &o.Schedule, r.Schedule)
	set(o, env, file, "optimizer", &o.Optimizer, r.Optimizer)
	set(o, env, file, "steps", &o.Steps, r.Steps)
	set(o, env, file, "save-every", &o.SaveEvery, r.SaveEvery)
	set(o, env, file, "seed", &o.Seed, r.Seed)
	set(o, env, file, "precision", &o.Precision, r.Precision)
	if o.WarmupSteps == nil {
		set(o, env, file, "warmup", &o.Warmup, r.Warmup)
	}
	if r.Dropout != nil {
		set(o, env, file, "dropout", &o.Dropout, r.Dropout)
	}
}

// takeMachine takes what the machine says instead of the recipe, which is on the machine now.
func (o *options) takeMachine(env *cli.Env, file string, m *plan.Machine) {
	set(o, env, file, "micro-batch", &o.MicroBatch, o.recipe.MicroBatch)
	set(o, env, file, "precision", &o.Precision, o.recipe.Precision)
	if m.Phases[o.recipe.Phase].SaveEvery > 0 {
		set(o, env, file, "save-every", &o.SaveEvery, o.recipe.SaveEvery)
	}
	set(o, env, file, "allreduce", &o.Allreduce, map[bool]string{true: "overlap", false: "after"}[m.Overlapped])
	set(o, env, file, "allreduce-precision", &o.Wire, map[bool]string{true: "fp16", false: "fp32"}[m.HalfAllreduce])
}

// set gives an option the value of a file, unless it was given on the command line.
func set[T any](o *options, env *cli.Env, file, name string, into *T, value T) {
	if env.Given(name) == "" {
		*into = value
		o.from[name] = file
	}
}

// source tells where the value of an option comes from.
func (o *options) source(env *cli.Env, name string) string {
	return cmp.Or(o.from[name], env.Given(name), "default")
}

// tellRecipe says which values the files gave.
func (o *options) tellRecipe(env *cli.Env) {
	if o.Recipe == "" {
		return
	}
	given := map[string][]string{}
	for name, file := range o.from {
		given[file] = append(given[file], "--"+name)
	}
	for _, file := range []string{filepath.Base(o.Recipe), filepath.Base(o.Machine)} {
		if names := given[file]; len(names) > 0 {
			env.Infof("from %s: %s", file, list(names))
		}
	}
}
