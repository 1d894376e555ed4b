/*
Ckpt lists, checks and converts checkpoints of BERT.

	ckpt ls PATH
	ckpt check PATH...
	ckpt convert PATH -o FOLDER

A PATH is a file of safetensors; one of PyTorch (pytorch_model.bin, NVIDIA's ckpt_N.pt, as a zip archive or in the older form); the .index of
a TensorFlow checkpoint; or a folder with one of these, bertrain's too. Tensors have Hugging Face's names here, whatever the file calls them.
Nothing that a file holds is executed: objects of a pickle that are no tensors are skipped, such as the data set that NVIDIA's trainer saves.

ckpt ls prints a line for each tensor, in the file's order, with tabs between: name, type, shape; with -v its Euclidean norm and its name in
the file. What is known of the training is told on standard error.

ckpt check reads everything: the files of a folder of bertrain's against the hashes in its DONE, the sums that zip archives and TensorFlow's
indices hold, every weight and moment for values that are not finite, and all shapes against the model shape in --config, or in config.json or
bert_config.json beside the file. A folder with several of bertrain's checkpoints stands for all of them.

ckpt convert writes a folder that Hugging Face's from_pretrained and bertrain --init open: model.safetensors in float32, config.json, and
vocab.txt when it is there or given. Rows beyond the vocabulary are dropped, a line says so. The model shape is needed: --config, or config.json
or bert_config.json beside PATH. A checkpoint that lacks a part of the encoder, holds another shape or values that are not finite is refused.

# Options

	--with-optimizer

takes the moments along, for bertrain --init to start with, and the float32 masters instead of the weights of a training in half precision.
The count of updates starts anew. NVIDIA's, with LAMB's or Adam's two moments, are known, and bertrain's.

	--force

replaces FOLDER, if it holds a checkpoint and nothing else.

# Examples

	ckpt ls ckpt_8601.pt
	ckpt check out
	ckpt convert ckpt_7038.pt --config configs/model/large.json --vocab vocab.txt --with-optimizer -o start

# Exit status

0 done; 1 failed; 2 wrong usage; 3 check found something: the file, the tensor and the byte are named.

# Memory

About four times the largest tensor as float32 (370 MiB for BERT base), whatever the size of the file; and of a pickle, the objects that it
makes, but no text above 64 KiB.

# Reproducibility

The same input gives the same bytes.

# Bugs

Sums tell of damage in bertrain's folders, zip archives and TensorFlow checkpoints; in other files only what is not finite is seen. Adam's slots
of TensorFlow checkpoints are not read. Neither are optimizers of other programs than the two named.
*/
package main

import (
	"context"
	_ "embed"

	"hpcbert/lib/cli"
	"hpcbert/lib/fault"
)

//go:embed main.go
var source string

var program = cli.Program{
	Name:    "ckpt",
	Source:  source,
	Args:    "ls|check|convert PATH...",
	Summary: "list, check and convert checkpoints",
	Help: `Reads safetensors, PyTorch's files (zip and older, NVIDIA's .pt too), TensorFlow's
checkpoints (.index), folders of Hugging Face and of bertrain. ls prints the
tensors, check reads and compares everything (exit 3 where something is wrong),
convert writes a folder for from_pretrained and bertrain --init. Nothing that a
file holds is executed. Memory: about four times the largest tensor.`,
	Examples: `
  ckpt ls ckpt_8601.pt
  ckpt check out
  ckpt convert ckpt_7038.pt --config configs/model/large.json --vocab vocab.txt --with-optimizer -o start`,
}

type options struct {
	cli.Common
	Output        string `short:"o" long:"output" value-name:"FOLDER" description:"convert: folder to write"`
	Config        string `long:"config" value-name:"FILE" description:"model shape (default: config.json or bert_config.json beside PATH)"`
	Vocab         string `long:"vocab" value-name:"FILE" description:"convert: vocabulary (default: vocab.txt beside PATH)"`
	WithOptimizer bool   `long:"with-optimizer" description:"convert: take the moments along"`
	Force         bool   `long:"force" description:"convert: replace FOLDER"`
}

func main() {
	var o options
	cli.Main(program, &o, o.run)
}

func (o *options) run(ctx context.Context, env *cli.Env, args []string) error {
	if len(args) == 0 {
		return fault.WithHint(fault.Usagef("nothing to do: want ls, check or convert"), "ckpt --help shows examples")
	}
	verb, paths := args[0], args[1:]
	work := map[string]func(context.Context, *cli.Env, []string) error{"ls": o.list, "check": o.checkAll, "convert": o.convert}[verb]
	switch {
	case work == nil:
		return fault.Usagef("unknown word %q: want ls, check or convert", verb)
	case len(paths) == 0:
		return fault.Usagef("%s: no path given", verb)
	case len(paths) > 1 && verb != "check":
		return fault.Usagef("%s: one path wanted, %d given", verb, len(paths))
	case verb == "convert" && o.Output == "":
		return fault.Usagef("convert: option -o is missing")
	case verb != "convert" && (o.Output != "" || o.Vocab != "" || o.WithOptimizer || o.Force):
		return fault.Usagef("%s: -o, --vocab, --with-optimizer and --force go with convert", verb)
	case verb == "ls" && o.Config != "":
		return fault.Usagef("ls: --config goes with check and convert")
	}
	return work(ctx, env, paths)
}
