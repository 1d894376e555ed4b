package main

import (
	"cmp"
	"encoding/json"
	"path/filepath"

	"hpcbert/lib/launch"
	"hpcbert/lib/train"
)

// log appends what the original logs: no losses of updates, and of the metrics those that it knows.
func (j *job) log(s *launch.Session, seed uint64, out string, metrics []launch.Result) error {
	config, err := json.Marshal(map[string]any{"task": j.task.Name, "data": j.Data, "init": j.Init, "global_batch": j.GlobalBatch, "micro_batch": j.MicroBatch,
		"predict_batch": j.PredictBatch, "learning_rate": j.LearningRate, "epochs": j.Epochs, "max_steps": j.MaxSteps, "warmup": j.Warmup, "schedule": j.Schedule,
		"optimizer": j.Optimizer, "precision": j.Precision, "max_length": j.Length, "ranks": j.comm.Size()})
	if err != nil {
		return err
	}
	var end []any
	for _, m := range metrics {
		if key := map[string]string{"acc": "exact_match", "f1": "F1"}[m.Name]; key != "" {
			end = append(end, key, m.Value)
		}
	}
	if t := s.Trained; t != nil {
		end = append(end, "e2e_train_time", t.Seconds, "training_sequences_per_second", float64(t.Sequences)/t.Seconds)
	}
	if j.latencies.Batches() > 0 {
		end = append(end, "e2e_inference_time", j.latencies.Seconds(), "inference_sequences_per_second", j.latencies.Throughput())
	}
	lines := []train.LogLine{{Parameter: true, Data: []any{"Config", []string{string(config)}}}, {Parameter: true, Data: []any{"SEED", seed}},
		{Parameter: true, Data: []any{"num_parameters", j.parameters()}}}
	if len(end) > 0 {
		lines = append(lines, train.LogLine{Data: end})
	}
	return train.AppendLog(cmp.Or(j.DLLogger, filepath.Join(out, "dllogger.json")), j.began, lines...)
}
