package main

import (
	"path/filepath"
	"strings"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/plan"
)

// recipeOptions name files whose values are the defaults of other options.
type recipeOptions struct {
	Recipe  string `long:"recipe" value-name:"FILE" description:"of configs/recipe: other defaults"`
	Machine string `long:"machine" value-name:"FILE" description:"with it, of configs/machine: more of them"`

	recipe *plan.Recipe
}

// useRecipe takes the values of the recipe and of the machine for options that are not given.
func (o *options) useRecipe(env *cli.Env) error {
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
	cli.Default(env, file, "global-batch", &o.GlobalBatch, r.GlobalBatch)
	cli.Default(env, file, "micro-batch", &o.MicroBatch, r.MicroBatch)
	cli.Default(env, file, "learning-rate", &o.LearningRate, r.LearningRate)
	cli.Default(env, file, "warmup", &o.Warmup, r.Warmup)
	cli.Default(env, file, "schedule", &o.Schedule, r.Schedule)
	cli.Default(env, file, "optimizer", &o.Optimizer, r.Optimizer)
	cli.Default(env, file, "steps", &o.Steps, r.Steps)
	cli.Default(env, file, "save-every", &o.SaveEvery, r.SaveEvery)
	cli.Default(env, file, "seed", &o.Seed, r.Seed)
	cli.Default(env, file, "precision", &o.Precision, r.Precision)
	if r.Dropout != nil {
		cli.Default(env, file, "dropout", &o.Dropout, r.Dropout)
	}
}

// takeMachine takes what the machine says instead of the recipe, which is on the machine now.
func (o *options) takeMachine(env *cli.Env, file string, m *plan.Machine) {
	cli.Default(env, file, "micro-batch", &o.MicroBatch, o.recipe.MicroBatch)
	cli.Default(env, file, "precision", &o.Precision, o.recipe.Precision)
	if m.Phases[o.recipe.Phase].SaveEvery > 0 {
		cli.Default(env, file, "save-every", &o.SaveEvery, o.recipe.SaveEvery)
	}
	cli.Default(env, file, "allreduce", &o.Allreduce, map[bool]string{true: "overlap", false: "after"}[m.Overlapped])
	cli.Default(env, file, "allreduce-precision", &o.Wire, map[bool]string{true: "fp16", false: "fp32"}[m.HalfAllreduce])
}

// tellRecipe says which values the files gave.
func (o *options) tellRecipe(env *cli.Env) {
	for _, file := range []string{filepath.Base(o.Recipe), filepath.Base(o.Machine)} {
		if names := env.DefaultsBy(file); len(names) > 0 {
			env.Infof("from %s: %s", file, strings.Join(names, ", "))
		}
	}
}
