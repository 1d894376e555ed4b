package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/finetune"
	"hpcbert/lib/launch"
	"hpcbert/lib/squad"
	"hpcbert/lib/stream"
)

// head says for each token how likely an answer starts there, and ends.
var head = finetune.Head{Kind: finetune.Span, Outputs: 2}

// job is a run on one rank.
type job struct {
	*options
	*task
	model *launch.Model
	env   *cli.Env
	comm  comm.Comm
	stop  *cli.Stop
}

// run trains, answers and marks with one seed. The marks are those of all ranks; there are none where nothing could be marked.
func (j *job) run(ctx context.Context, seed uint64, out string) ([]launch.Result, error) {
	s, err := j.Begin(ctx, j.env, j.comm, j.Training(j.env, j.model, seed, out), j.model, head, j.training, j.stop)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if !j.answers() {
		j.env.Summaryf("%s, to %s", j.task, out)
		return nil, nil
	}
	began := time.Now()
	scores, err := s.Predict(ctx, "answers", j.predicting)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	var result *squad.Result
	if j.comm.Rank() == 0 { // the others would make the same
		if result, err = j.answer(ctx, scores, out); err == nil {
			err = j.log(began, took, result)
		}
	}
	if err := comm.Together(j.comm, err); err != nil || result == nil {
		return nil, err
	}
	marks := result.Marks()
	return []launch.Result{{Name: "exact_match", Value: marks.Exact}, {Name: "f1", Value: marks.F1}}, nil
}

// answer makes answers of the scores, writes and marks them. The result is nil where the file does not have the right ones.
func (j *job) answer(ctx context.Context, scores [][]float32, out string) (*squad.Result, error) {
	d := j.decoding(j.model.LowerCase)
	answers, err := d.Answers(ctx, j.model.Tokenizer.Vocabulary(), j.asked, j.windows, func(i int) squad.Scores { return squad.SplitScores(scores[i]) }, j.env.Threads())
	if err != nil {
		return nil, err
	}
	if j.Predict {
		if err := j.write(out, answers); err != nil {
			return nil, err
		}
	}
	if !j.data.Marked() {
		j.env.Summaryf("%d questions answered, to %s", len(answers), out)
		return nil, nil
	}
	result, err := j.data.Evaluate(squad.PredictionsOf(answers), nil, 0)
	if err != nil {
		return nil, err
	}
	if _, err := j.env.Stdout.Write(result.JSON()); err != nil {
		return nil, err
	}
	marks := result.Marks()
	j.env.Summaryf("%d questions answered: exact match %.2f, F1 %.2f", len(answers), marks.Exact, marks.F1)
	return result, nil
}

// write writes the files of the answers.
func (j *job) write(out string, answers []squad.Answer) error {
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	files := []struct {
		name  string
		write func(io.Writer, []squad.Answer) error
	}{{"predictions.json", squad.WritePredictions}, {"nbest_predictions.json", squad.WriteNBest}, {"null_odds.json", squad.WriteNullOdds}}
	if !j.Version2 {
		files = files[:2]
	}
	for _, f := range files {
		w, err := stream.Create(filepath.Join(out, f.name), nil)
		if err != nil {
			return err
		}
		if err = f.write(w, answers); err == nil {
			err = w.Commit()
		}
		w.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
