package main

import (
	"strings"
	"testing"

	"hpcbert/lib/cli/clitest"
)

func run(args ...string) (status int, stdout, stderr string) {
	o := newOptions()
	return clitest.Run(program, o, o.run, "", args...)
}

func TestWrongUsage(t *testing.T) {
	for line, says := range map[string]string{
		"":                                    "none of --train, --predict, --eval",
		"--do_eval":                           "need --predict-file",
		"--do_train --predict-file f":         "--train needs --train-file",
		"--train --train-file f --seeds 1..5": "nothing to compare",
		"--predict --predict-file f --doc-stride 0":                                   "--doc-stride 0",
		"--predict --predict-file f --n-best-size 0":                                  "--n-best-size 0",
		"--train --train-file f --gradient-accumulation-steps 0":                      "--gradient-accumulation-steps 0",
		"--train --train-file f --epochs 0":                                           "--epochs 0",
		"--train --train-file f --precision fp8":                                      "fp8",
		"--train --train-file f --fp16 --precision bf16":                              "contradicts --fp16",
		"--train --train-file f --train-batch-size 5 --gradient-accumulation-steps 2": "not divisible",
	} {
		status, stdout, stderr := run(append([]string{"--init", "none", "-o", t.TempDir() + "/out"}, strings.Fields(line)...)...)
		if status != 2 || !strings.Contains(stderr, says) || stdout != "" {
			t.Errorf("%s: exit %d, %q, %s; expected %q", line, status, stdout, stderr, says)
		}
	}
}
