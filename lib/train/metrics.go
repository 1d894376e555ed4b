package train

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"time"

	"hpcbert/lib/bert"
	"hpcbert/lib/stream"
)

// metrics is metrics.jsonl being written: the first line is the run's configuration, then one flat object a logged step.
type metrics struct {
	file *os.File
}

// openMetrics drops lines of steps that a killed run made after its last checkpoint, and goes on behind them.
func (t *Trainer) openMetrics() error {
	t.metrics = &metrics{}
	if t.comm.Rank() != 0 {
		return nil
	}
	if err := os.MkdirAll(t.opt.Out, 0o777); err != nil {
		return err
	}
	kept, err := linesUpTo(t.metricsPath(), t.step)
	if err != nil {
		return err
	}
	if len(kept) == 0 {
		if kept, err = json.Marshal(t.runLine()); err != nil {
			return err
		}
		kept = append(kept, '\n')
	}
	if err := stream.WriteFile(t.metricsPath(), kept); err != nil {
		return err
	}
	t.metrics.file, err = os.OpenFile(t.metricsPath(), os.O_APPEND|os.O_WRONLY, 0o666)
	return err
}

// linesUpTo returns the whole lines of a metrics file that are not of a step after last.
func linesUpTo(name string, last int) ([]byte, error) {
	if last == 0 {
		return nil, nil
	}
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var kept bytes.Buffer
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return kept.Bytes(), nil // a line without its end was cut by a kill
		}
		if err != nil {
			return nil, err
		}
		var at struct{ Step int }
		if json.Unmarshal(line, &at) == nil && at.Step <= last {
			kept.Write(line)
		}
	}
}

// runLine is the configuration of the run.
func (t *Trainer) runLine() map[string]any {
	o := t.opt
	line := map[string]any{
		"run": t.task.Name(), "time": time.Now().UTC().Format(time.RFC3339), "ranks": t.comm.Size(), "host": t.comm.Host(),
		"global_batch": o.GlobalBatch, "micro_batch": o.MicroBatch, "steps": o.Steps, "seed": o.Seed, "optimizer": o.Optimizer.Name, "schedule": o.Schedule.Name,
		"base_learning_rate": o.Schedule.Base, "warmup": o.Schedule.Warmup, "shard_optimizer": o.Reduction.Shard, "parameters": t.Parameters(),
		"hidden_size": t.model.Config.HiddenSize, "num_hidden_layers": t.model.Config.NumHiddenLayers, "vocab_size": t.model.Config.VocabSize,
		"device": t.dev.Name(), "threads": t.dev.Threads(), "peak_gflop_per_s": t.peak,
		"precision": t.precision(), "checkpoint_activations": o.Mode&bert.CheckpointActivations != 0,
	}
	maps.Copy(line, t.Plan.keys())
	maps.Copy(line, t.task.Keys())
	return line
}

// metricsLine is one update, over all ranks: losses in nats, rates per second.
type metricsLine struct {
	Step  int     `json:"step"`
	Epoch int     `json:"epoch"`
	Loss  float64 `json:"loss"`
	*pretrainingLine
	*taskLine
	LearningRate       float64 `json:"learning_rate"`
	GradientNorm       float64 `json:"gradient_norm"`
	LossScale          float64 `json:"loss_scale"`    // 1 = none
	SkippedSteps       int     `json:"skipped_steps"` // so far: their gradients overflowed
	Sequences          int64   `json:"sequences"`
	Tokens             int64   `json:"tokens"`
	Seconds            float64 `json:"seconds"`
	DataSeconds        float64 `json:"data_seconds"`
	SaveSeconds        float64 `json:"save_seconds,omitempty"` // training stood still for a checkpoint before this update
	SequencesPerSecond float64 `json:"sequences_per_s"`
	TokensPerSecond    float64 `json:"tokens_per_s"`
	GFLOPs             float64 `json:"gflop_per_s"`
	MFU                float64 `json:"mfu,omitempty"`
	SlowestRank        int     `json:"slowest_rank"`        // whose computing took longest for what it was
	SlowestOverMedian  float64 `json:"slowest_over_median"` // its time over the ranks' median
	WaitShare          float64 `json:"wait_share"`          // of the time, in collectives that no computing hides; mean of the ranks
}

// pretrainingLine is what pre-training has in it.
type pretrainingLine struct {
	MLMLoss      float64 `json:"mlm_loss"`
	NSPLoss      float64 `json:"nsp_loss"`
	MLMAccuracy  float64 `json:"mlm_accuracy"`
	NSPAccuracy  float64 `json:"nsp_accuracy"`
	MaskedTokens int64   `json:"masked_tokens"`
}

// taskLine is what other tasks have.
type taskLine struct {
	Accuracy float64 `json:"accuracy"` // of the classes, or of answers' first and last tokens together; 0 where values are predicted
}

func (t *Trainer) metricsLine(m *measure) metricsLine {
	line := metricsLine{
		Step: t.step, Epoch: t.epoch(), Loss: m.loss(),
		LearningRate: m.learningRate, GradientNorm: m.gradientNorm, LossScale: m.lossScale, SkippedSteps: t.scaler.Skipped, Sequences: m.sequences, Tokens: m.tokens,
		Seconds: m.seconds, DataSeconds: m.dataSeconds, SaveSeconds: t.saver.stood.Seconds(), SequencesPerSecond: float64(m.sequences) / m.seconds, TokensPerSecond: float64(m.tokens) / m.seconds,
		GFLOPs: m.flops / m.seconds * 1e-9,
	}
	if len(t.heads()) > 0 {
		line.taskLine = &taskLine{float64(m.taskCorrect) / float64(m.sequences)}
	} else {
		line.pretrainingLine = &pretrainingLine{m.mlmLoss, m.nspLoss, float64(m.mlmCorrect) / math.Max(1, float64(m.masked)), float64(m.nspCorrect) / float64(m.sequences), m.masked}
	}
	line.SlowestRank, line.SlowestOverMedian = m.pulse.slowest()
	line.WaitShare = (m.pulse.waitSeconds() + m.applyWait.Seconds()) / m.seconds
	t.saver.stood = 0
	if t.peak > 0 {
		line.MFU = line.GFLOPs / t.peak
	}
	return line
}

func (m *metrics) write(line metricsLine) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = m.file.Write(append(text, '\n'))
	return stream.DiskFull(err)
}

func (m *metrics) close() {
	if m.file != nil {
		m.file.Close()
	}
}
