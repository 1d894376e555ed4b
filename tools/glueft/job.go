package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
	"hpcbert/lib/finetune"
	"hpcbert/lib/glue"
	"hpcbert/lib/launch"
	"hpcbert/lib/stream"
)

// job is a run on one rank.
type job struct {
	*options
	task  *glue.Task
	env   *cli.Env
	comm  comm.Comm
	stop  *cli.Stop
	model *launch.Model

	train     *part // nil: not asked for
	dev, test []*part

	latencies launch.Latencies // of the first dev
}

// part is a split of the data, ready for the model.
type part struct {
	*glue.Set
	examples []finetune.Example
}

// open reads all that is needed, on all ranks or on none.
func (j *job) open(ctx context.Context) (err error) {
	if j.model, err = j.Open(ctx, j.env, j.comm); err != nil {
		return err
	}
	if err = comm.Together(j.comm, j.read(ctx)); err != nil || !j.DryRun {
		return err
	}
	return j.dryRun(ctx)
}

func (j *job) read(ctx context.Context) error {
	if j.Train {
		parts, err := j.parts(ctx, []glue.Split{j.task.Train})
		if err != nil {
			return err
		}
		if j.train = parts[0]; j.Limit > 0 {
			n := min(j.Limit, len(j.train.examples))
			j.train.Examples, j.train.examples = j.train.Examples[:n], j.train.examples[:n]
		}
	}
	var err error
	if j.Eval || j.Predict {
		if j.dev, err = j.parts(ctx, j.task.Dev); err != nil {
			return err
		}
	}
	if j.Test {
		j.test, err = j.parts(ctx, j.task.Test)
	}
	return err
}

// parts reads splits. Optional ones need not be there.
func (j *job) parts(ctx context.Context, splits []glue.Split) (parts []*part, err error) {
	for _, s := range splits {
		set, err := j.task.Read(ctx, filepath.Join(j.Data, s.File), s)
		if errors.Is(err, fs.ErrNotExist) && s.Optional {
			j.env.Infof("%s: not there, left out", filepath.Join(j.Data, s.File))
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fault.WithHint(err, "--data names the folder that holds the task's %s: getdata list tells what can be fetched", s.File)
		}
		if err != nil {
			return nil, err
		}
		if set.Ragged > 0 {
			j.env.Warnf("%s: %d line(s) without all columns left out", set.Path, set.Ragged)
		}
		features, cut := glue.Features(j.model.Tokenizer, set.Examples, j.Length)
		p := &part{Set: set, examples: make([]finetune.Example, len(features))}
		for i, f := range features {
			p.examples[i] = finetune.Example{IDs: f.IDs, Second: f.Second, Class: set.Examples[i].Class, Value: set.Examples[i].Value}
		}
		j.env.Infof("%s: %d examples of %.1f tokens in the mean, %d of them cut to %d", set.Path, len(features), float64(p.tokens())/float64(len(features)), cut, j.Length)
		parts = append(parts, p)
	}
	return parts, nil
}

func (p *part) tokens() (n int) {
	for _, x := range p.examples {
		n += len(x.IDs)
	}
	return n
}

// head is that of the task.
func (j *job) head() finetune.Head {
	if j.task.Regression() {
		return finetune.Head{Kind: finetune.Regression, Outputs: 1}
	}
	return finetune.Head{Kind: finetune.Classifier, Outputs: j.task.Outputs()}
}

// parameters is the number of the model's with that head.
func (j *job) parameters() (n int) {
	for _, p := range j.model.Config.TaskParams(j.head()) {
		size := 1
		for _, d := range p.Shape {
			size *= d
		}
		n += size
	}
	return n
}

// run does everything with one seed and returns the metrics.
func (j *job) run(ctx context.Context, seed uint64, out string) ([]launch.Result, error) {
	opt := j.Training(j.env, j.model, seed, out)
	opt.Labels = j.task.Labels
	var training []finetune.Example
	if j.train != nil {
		training = j.train.examples
	}
	s, err := j.Begin(ctx, j.env, j.comm, opt, j.model, j.head(), training, j.stop)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var results, metrics []launch.Result
	if s.Trained != nil {
		results = s.Trained.Results(j.comm.Size())
	}
	if j.dev != nil {
		evaluated, scores, err := j.evaluate(ctx, s, out)
		if err != nil {
			return nil, err
		}
		results, metrics = append(append(results, evaluated...), scores...), scores
	}
	if err := j.submit(ctx, s, out); err != nil {
		return nil, err
	}
	if j.comm.Rank() == 0 {
		err = j.report(s, seed, out, results, metrics)
	}
	return metrics, comm.Together(j.comm, err)
}

// evaluate predicts the examples whose labels are known.
func (j *job) evaluate(ctx context.Context, s *launch.Session, out string) (results, metrics []launch.Result, err error) {
	var sets []*glue.Set
	var answers []glue.Answers
	for i, p := range j.dev {
		outputs, err := s.Predict(ctx, p.Split.Name, p.examples)
		if err != nil {
			return nil, nil, err
		}
		a := j.task.Answer(p.Set, outputs)
		sets, answers = append(sets, p.Set), append(answers, a)
		if i == 0 { // the others are not in the original
			j.latencies = s.Latencies
			results = append(results, launch.Result{Name: "eval:num_samples_per_gpu", Value: j.latencies.Sequences()}, launch.Result{Name: "eval:num_steps", Value: j.latencies.Batches()})
			results = append(results, j.latencies.Results()...)
		}
		if j.Eval {
			results = append(results, launch.Result{Name: p.Split.Prefix + "eval:loss", Value: j.task.Loss(p.Set, outputs)})
			for _, m := range j.task.Scores(p.Set, a) {
				metrics = append(metrics, launch.Result{Name: m.Name, Value: m.Value})
			}
		}
	}
	if j.Predict {
		err = j.write(out, "predictions.json", j.task.Predictions(sets, answers))
	}
	return results, metrics, err
}

// submit predicts the tests and writes the benchmark's files.
func (j *job) submit(ctx context.Context, s *launch.Session, out string) error {
	for _, p := range j.test {
		outputs, err := s.Predict(ctx, p.Split.Name, p.examples)
		if err != nil {
			return err
		}
		if err := j.write(out, p.Split.Submission, j.task.Submission(p.Set, j.task.Answer(p.Set, outputs))); err != nil {
			return err
		}
	}
	return nil
}

// write writes a file of the output folder, on the first rank; an error is one of all.
func (j *job) write(out, name string, data []byte) (err error) {
	if j.comm.Rank() == 0 {
		if err = os.MkdirAll(out, 0o777); err == nil {
			err = stream.WriteFile(filepath.Join(out, name), data)
		}
	}
	return comm.Together(j.comm, err)
}

// report writes and tells the results.
func (j *job) report(s *launch.Session, seed uint64, out string, results, metrics []launch.Result) error {
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	text := launch.ResultsJSON(results)
	if err := stream.WriteFile(filepath.Join(out, "results.txt"), text); err != nil {
		return err
	}
	if len(j.Seeds) == 0 { // whose table is standard output
		if _, err := j.env.Stdout.Write(text); err != nil {
			return fmt.Errorf("write standard output: %w", err)
		}
	}
	if err := j.log(s, seed, out, metrics); err != nil {
		return err
	}
	told := ""
	for _, m := range metrics {
		told += fmt.Sprintf(", %s %.4f", m.Name, m.Value)
	}
	j.env.Summaryf("%s, seed %d%s: to %s", j.task.Name, seed, told, out)
	return nil
}
