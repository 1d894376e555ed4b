package launch

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/python"
	"hpcbert/lib/stream"
)

// Result is a number with a name.
type Result struct {
	Name  string
	Value any // int, int64 or float64
}

// ResultsJSON is an object of the results in their order, on one line, as Python writes it.
func ResultsJSON(results []Result) []byte {
	b := []byte("{")
	for i, r := range results {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(python.AppendString(b, r.Name), ": "...)
		if x, ok := r.Value.(float64); ok {
			b = python.AppendFloat(b, x)
		} else {
			b = fmt.Append(b, r.Value)
		}
	}
	return append(b, "}\n"...)
}

// Latencies are the times of batches.
type Latencies struct {
	milliseconds []float64
	sequences    int
}

// Add takes in the time of a batch.
func (l *Latencies) Add(took time.Duration, sequences int) {
	l.milliseconds = append(l.milliseconds, took.Seconds()*1e3)
	l.sequences += sequences
}

// Seconds is the sum of the times.
func (l *Latencies) Seconds() float64 {
	sum := 0.0
	for _, x := range l.milliseconds {
		sum += x
	}
	return sum / 1e3
}

// Throughput is the number of sequences a second.
func (l *Latencies) Throughput() float64 { return float64(l.sequences) / l.Seconds() }

// Sequences is the number of sequences in all batches.
func (l *Latencies) Sequences() int { return l.sequences }

// Batches is the number of batches.
func (l *Latencies) Batches() int { return len(l.milliseconds) }

// Results are the original's: of n times in ascending order the percentile t is that at floor(n t) - 1, or the first; the deviation is that of
// the population. The original's throughput counts the last batch as full.
func (l *Latencies) Results() []Result {
	n := len(l.milliseconds)
	if n == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(l.milliseconds))
	var results []Result
	for _, percent := range []int{50, 90, 95, 99, 100} {
		results = append(results, Result{fmt.Sprintf("infer:latency(ms):%d%%", percent), sorted[max(0, n*percent/100-1)]})
	}
	mean, squares := l.Seconds()*1e3/float64(n), 0.0
	for _, x := range l.milliseconds {
		squares += (x - mean) * (x - mean)
	}
	return append(results, Result{"infer:latency(ms):avg", mean}, Result{"infer:latency(ms):std", math.Sqrt(squares / float64(n))},
		Result{"infer:latency(ms):sum", mean * float64(n)}, Result{"infer:throughput(samples/s):avg", l.Throughput()})
}

// Results are the original's.
func (t *Trained) Results(ranks int) []Result {
	return []Result{{"global_step", t.LastStep}, {"train:loss", t.EpochLoss}, {"train:latency", t.Seconds}, {"train:num_samples_per_gpu", t.Sequences / int64(ranks)},
		{"train:num_steps", t.EpochSteps}, {"train:throughput", float64(t.Sequences) / t.Seconds}}
}

// EachSeed does the work with the seed and the output folder of the options; with --seeds with each of these, in a folder seed-N, and prints the
// metrics that the work returns, with their mean and deviation. All ranks call it.
func (o *Tuning) EachSeed(env *cli.Env, c comm.Comm, work func(seed uint64, out string) ([]Result, error)) error {
	if len(o.Seeds) == 0 {
		_, err := work(o.Seed, o.Output)
		return err
	}
	var all [][]Result
	for i, seed := range o.Seeds {
		env.Infof("seed %d, %d of %d", seed, i+1, len(o.Seeds))
		metrics, err := work(seed, filepath.Join(o.Output, fmt.Sprintf("seed-%d", seed)))
		if err != nil {
			return err
		}
		all = append(all, metrics)
	}
	if c.Rank() != 0 || len(all[0]) == 0 {
		return nil
	}
	table := stabilityTable(o.Seeds, all)
	if err := stream.WriteFile(filepath.Join(o.Output, "stability.tsv"), []byte(table)); err != nil {
		return err
	}
	aligned := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(aligned, strings.ReplaceAll(table, "\n", "\t\n"))
	if err := aligned.Flush(); err != nil {
		return fmt.Errorf("write standard output: %w", err)
	}
	return nil
}

// stabilityTable has a line for each metric: its values by seed, their mean, and their deviation as of a sample.
func stabilityTable(seeds Seeds, all [][]Result) string {
	var b strings.Builder
	b.WriteString("metric")
	for _, seed := range seeds {
		fmt.Fprintf(&b, "\t%d", seed)
	}
	b.WriteString("\tmean\tdeviation\n")
	for m, metric := range all[0] {
		var values []float64
		b.WriteString(metric.Name)
		for _, results := range all {
			x := results[m].Value.(float64)
			values = append(values, x)
			fmt.Fprintf(&b, "\t%.4f", x)
		}
		mean, deviation := spread(values)
		fmt.Fprintf(&b, "\t%.4f\t%.4f\n", mean, deviation)
	}
	return b.String()
}

// spread returns mean and deviation; a single value has none.
func spread(values []float64) (mean, deviation float64) {
	for _, x := range values {
		mean += x / float64(len(values))
	}
	for _, x := range values {
		deviation += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(deviation / float64(max(1, len(values)-1)))
}
