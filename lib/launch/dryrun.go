package launch

import (
	"context"
	"fmt"
	"text/tabwriter"

	"hpcbert/lib/cli"
	"hpcbert/lib/comm"
	"hpcbert/lib/finetune"
	"hpcbert/lib/plan"
	"hpcbert/lib/train"
)

// PrintRows prints what a dry run has found, in rows of a word and what there is to say of it.
func PrintRows(env *cli.Env, rows [][2]string) error {
	out := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(out, "%s\t%s\n", row[0], row[1])
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write standard output: %w", err)
	}
	return nil
}

// Foresee finds what Begin would do, and what would make it fail; there are no rows where nothing is trained. All ranks call it.
func (o *Tuning) Foresee(ctx context.Context, env *cli.Env, c comm.Comm, opt finetune.Options, m *Model, head finetune.Head, examples []finetune.Example) (rows [][2]string, err error) {
	t, err := finetune.New(opt, m.Config, head, m.Device, c)
	if err != nil || !o.Train {
		return nil, err
	}
	defer t.Close()
	f, err := t.Foresee(ctx, examples)
	if err != nil {
		return nil, err
	}
	f.CheckRoom()
	return append(o.updates(c.Size(), &f), f.Costs(o.Precision, env.Source)...), nil
}

// updates tells what a training does.
func (o *Tuning) updates(ranks int, f *train.Forecast) [][2]string {
	b := plan.Batch{Global: o.GlobalBatch, Micro: o.MicroBatch, Nodes: 1, Devices: ranks}
	rows := [][2]string{{"batch", fmt.Sprintf("%d sequences an update; on each of %d rank(s) %d in %d micro-batch(es) of %d", b.Global, ranks, b.Share(), b.Accumulation(),
		min(b.Micro, b.Share()))}}
	if each, accumulation, exact := b.Reference(); exact {
		rows = append(rows, [2]string{"", fmt.Sprintf("in the original: --train_batch_size=%d --gradient_accumulation_steps=%d", each, accumulation)})
	}
	seeds := fmt.Sprint(o.Seed)
	if len(o.Seeds) > 0 {
		seeds = fmt.Sprint([]uint64(o.Seeds))
	}
	return append(rows, [2]string{"updates", fmt.Sprintf("%d of %s, %d done; %s learning rate %g with %g of the updates to warm up; seed %s", f.End, o.Optimizer, f.Step, o.Schedule,
		o.LearningRate, o.Warmup, seeds)})
}
