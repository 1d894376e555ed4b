// Askbert answers questions about texts with a BERT that was fine-tuned on SQuAD.
//
// Synopsis
//
//	askbert --init PATH --question TEXT [option...] [FILE]
//	askbert --init PATH --question TEXT --context TEXT [option...]
//	askbert --init PATH [option...] [FILE] < questions.jsonl
//
// Askbert reads a checkpoint of squadft, or any other that has the layer of questions (qa_outputs), and finds the answer to --question in the text
// of --context, of FILE or of standard input. It prints a line for each of the --n-best likeliest answers: its probability, a tab, its text. An
// empty text says that there is no answer.
//
// Without --question it reads objects, one a line, and writes one for each, at once:
//
//	{"id": …, "question": "…", "context": "…"}      id may be anything, or missing
//	{"id":…,"question":"…","answer":"…","probability":0.93,"start":17,"end":28,"answers":[{"text":…,"probability":…,"start":…,"end":…,
//	"start_logit":…,"end_logit":…},…]}
//
// start and end are places in the context, counted in code points from 0; the answer ends before end. An answer that is not in the context has none.
// With --squad2 there is "null_odds" too, the score of no answer less that of the best one.
//
// Contexts of any length are read in windows of --max-length tokens, --doc-stride tokens apart. Scores are those of SQuAD's n-best lists: at
// least 20 guesses are made of each question, so that a probability is a share among them, whatever --n-best says; what several windows
// say counts together. A probability is high when the model knows nothing better in this context, not when the answer is right.
//
// --squad2 is for models trained on SQuAD 2.0, where questions may have no answer: the answer is empty where that scores more than
// --null-threshold above the best one.
//
// # The original's command line
//
// The flags of NVIDIA's inference.py are taken, with _ or -: --init_checkpoint, --vocab_file, --config_file, --n_best_size, --max_seq_length,
// --max_query_length, --max_answer_length, --version_2_with_negative, --null_score_diff_threshold, --do_lower_case (as the vocabulary says without it),
// --fp16, --verbose_logging. --bert_model, --no_cuda, --seed and --local_rank are never read.
//
// Other than the original: contexts are not cut off; a question has an answer even where the likeliest start and end do not fit together;
// --null-threshold is 0, where -11 would call almost every question unanswerable; question and context are not printed again.
//
// Exit status: 0 done, whatever the answers; 1 failed; 2 wrong usage; 128+n after signal n.
//
// Memory: two float32 copies of the parameters (0.9 GiB for BERT base), and 50 MiB more for --batch 8 windows of 384 tokens.
//
// Reproducibility: same checkpoint, question and context, same answers whatever the threads.
package main

import (
	"context"
	_ "embed"
	"slices"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
	"hpcbert/lib/squad"
	"hpcbert/lib/stream"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "askbert",
	Source:  source,
	Args:    "[FILE]",
	Summary: "answers questions about texts with a BERT that was fine-tuned on SQuAD",
	Help: `With --question: finds the answer in --context, FILE or standard input, of any length, and prints probability and text of the likeliest. Without: reads a JSON object {"question", "context"} from each line and writes one with the answer, its probability and its place, and the --n-best likeliest answers.

Memory: 0.9 GiB for BERT base. Flags of NVIDIA's inference.py are taken, too: --help-all.`,
	Examples: `
  askbert --init out --question 'Who wrote it?' article.txt
  askbert --init out --question 'What grows here?' --context 'Nothing grows in the desert but thorns.' --n-best 3
  askbert --init out -o answers.jsonl questions.jsonl.gz`,
}

type options struct {
	cli.Common
	Init      string  `long:"init" also:"init-checkpoint" value-name:"PATH" required:"true" description:"checkpoint, or folder of a run"`
	Question  string  `long:"question" value-name:"TEXT" description:"what is asked (default: JSON lines are read)"`
	Context   string  `long:"context" value-name:"TEXT" description:"where the answer is looked for (default: FILE)"`
	Output    string  `short:"o" long:"output" value-name:"FILE" description:"write to FILE instead of standard output; compressed if it ends in .gz or .zst"`
	NBest     int     `long:"n-best" also:"n-best-size" value-name:"N" default:"1" description:"likeliest answers to tell"`
	Squad2    bool    `long:"squad2" also:"version-2-with-negative" description:"there may be no answer: the model was trained on SQuAD 2.0"`
	Threshold float64 `long:"null-threshold" also:"null-score-diff-threshold" value-name:"X" default:"0" description:"no answer if X above the best"`
	Length    int     `long:"max-length" also:"max-seq-length" value-name:"N" default:"384" description:"tokens of a window"`
	Stride    int     `long:"doc-stride" value-name:"N" default:"128" description:"tokens from one window to the next"`
	MaxQuery  int     `long:"max-query-length" value-name:"N" default:"64" description:"tokens of a question; the rest is cut off"`
	MaxAnswer int     `long:"max-answer-length" value-name:"N" default:"30" description:"tokens of an answer"`
	Batch     int     `long:"batch" value-name:"N" default:"8" description:"windows computed at once"`
	Precision string  `long:"precision" value-name:"TYPE" default:"fp32" description:"fp32, bf16, fp16 or tf32"`
	Config    string  `long:"config" also:"config-file" value-name:"FILE" description:"model shape (default: beside the checkpoint)"`
	Vocab     string  `long:"vocab" also:"vocab-file" value-name:"FILE" description:"vocabulary (default: beside the checkpoint)"`
	Cased     bool    `long:"cased" description:"keep case and accents (default: if the vocabulary has capitals)"`
	Device    string  `long:"device" value-name:"DEVICE" default:"auto" hidden:"true" description:"cpu or auto"`
	referenceOptions
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) check(env *cli.Env, args []string) error {
	pair := env.Given("question") != ""
	switch {
	case env.Given("context") != "" && (!pair || len(args) > 0):
		return fault.Usagef("--context goes with --question and without a file")
	case pair && o.Question == "":
		return fault.Usagef("--question is empty")
	case len(args) > 1:
		return fault.Usagef("unexpected argument %q: there is one file", args[1])
	case o.Batch < 1:
		return fault.Usagef("--batch %d: must be at least 1", o.Batch)
	case o.Cased && o.LowerCase:
		return fault.Usagef("--cased and --do-lower-case: one of them")
	case !slices.Contains([]string{"fp32", "tf32", "bf16", "fp16"}, o.Precision):
		return fault.Usagef("--precision %q: must be fp32, tf32, bf16 or fp16", o.Precision)
	}
	if err := o.windowing().Check(); err != nil {
		return err
	}
	if o.NBest < 1 {
		return fault.Usagef("--n-best %d: must be at least 1", o.NBest)
	}
	if err := o.decoding(false).Check(); err != nil {
		return err
	}
	return stream.CheckOutput(o.Output, args...)
}

func (o *options) windowing() squad.Options {
	return squad.Options{MaxSeq: o.Length, Stride: o.Stride, MaxQuery: o.MaxQuery}
}

// decoding makes enough guesses for probabilities that mean something.
func (o *options) decoding(lowerCase bool) squad.Decoding {
	const enough = 20
	return squad.Decoding{NBest: max(o.NBest, enough), MaxAnswer: o.MaxAnswer, LowerCase: lowerCase, Null: o.Squad2, Threshold: o.Threshold}
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if err := o.check(env, args); err != nil {
		return err
	}
	o.translate()
	env.EndWithReader(o.Output)
	m, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer m.close()
	in, err := stream.Open(ctx, append(args, "-")[0], env.Stdin)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := stream.Create(o.Output, env.Stdout)
	if err != nil {
		return err
	}
	defer out.Close()
	if env.Given("question") == "" {
		err = m.lines(ctx, in, out)
	} else {
		err = m.pair(ctx, in, out)
	}
	if err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	env.Summaryf("%d questions answered in %d windows", m.questions, m.windows)
	return nil
}
