package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// squadTemplate is the job script of fine-tuning on SQuAD.
const squadTemplate = "$REPO/sub/squad.sub"

// TestSquadTemplate: the values are those of the reference's run_squad.sh, whose eight ranks have four windows each.
func TestSquadTemplate(t *testing.T) {
	const (
		mpirun = "mpirun --map-by ppr:1:node --bind-to none "
		from   = "SQUADFT --init pretrain/phase2 "
		values = "--global-batch 32 --learning-rate 3e-5 --warmup 0.1 --epochs 2 --seed 1 --precision fp32 "
		train  = "--train-file data/squad/v1.1/train-v1.1.json "
		answer = "--predict-file data/squad/v1.1/dev-v1.1.json"
		all    = "--train --predict --eval -o squad " + train + answer
	)
	for _, c := range []struct{ what, variables, want string }{
		{"bare", "", mpirun + from + values + all},
		{"training alone", "MODE=train", mpirun + from + values + "--train -o squad " + strings.TrimSpace(train)},
		{"answers alone", "MODE='predict eval' INIT=squad OUT='a b'", mpirun + "SQUADFT --init squad " + values + `--predict --eval -o a\ b ` + answer},
		{"2.0", "VERSION=2.0 MODE=predict", mpirun + from + values + "--predict -o squad --squad2 " + strings.ReplaceAll(answer, "1.1", "2.0")},
		{"recipe", "RECIPE=r.json LR=1", mpirun + from + "--recipe r.json --learning-rate 1 " + all},
		{"seeds and steps", "SEEDS=1..5 MAX_STEPS=7", mpirun + from + strings.Replace(values, "--seed 1 ", "--seed 1 --seeds 1..5 ", 1) + "--max-steps 7 " + all},
		{"srun", "LAUNCHER=srun RANKS_PER_NODE=2 SLURM_NNODES=4", "srun --mpi=pmix --ntasks=8 --ntasks-per-node=2 --cpu-bind=none --kill-on-bad-exit=1 " + from + values + all},
		{"pyxis", "IMAGE=i.sqsh MOUNTS=/x:/y", "srun --mpi=pmix --ntasks=1 --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1 --container-image=i.sqsh " +
			`--container-mounts=DIR:DIR\,/x:/y --container-workdir=DIR ` + strings.Replace(from, "SQUADFT", "squadft", 1) + values + all},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			r := sh(t, inFolder(t, dir, c.variables+" DRYRUN=1 bash "+squadTemplate))
			if want := strings.NewReplacer("SQUADFT", filepath.Join(programs, "squadft"), "DIR", dir).Replace(c.want) + "\n"; r.stdout != want {
				t.Errorf("printed\n%sexpected\n%s%s", r.stdout, want, r.stderr)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("a dry run made %v", left)
			}
		})
	}
}

func TestSquadTemplateValues(t *testing.T) {
	testPreflight(t, squadTemplate, "true", []preflightCase{
		{"mode", "MODE='train evaluate'", 2, "train, eval"},
		{"version", "VERSION=3", 2, "1.1 or 2.0"},
		{"batch", "BATCHSIZE=0", 2, "a number of at least 1"},
		{"learning rate", "LR=0.0", 2, "above 0"},
		{"seeds", "SEEDS=a", 2, "1..5"},
		{"precision", "PRECISION=fp8", 2, "fp32, tf32, bf16 or fp16"},
		{"container without image", "CONTAINER=pyxis", 2, "IMAGE is not set"},
		{"mpirun and pyxis", "LAUNCHER=mpirun IMAGE=x", 2, "by srun only"},
	})
}

// The script trains a small model, marks its answers, and says what goes wrong before the job starts.
func TestSquadScriptTrains(t *testing.T) {
	const data = `{"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "the king is good", "qas": [{"id": "x", "question": "the king ?", "answers": [{"text": "good", "answer_start": 12}]}]}]}]}`
	dir := t.TempDir()
	for name, text := range map[string]string{"q.json": data, "vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nking\nis\ngood\n?\n",
		"config.json": `{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 32}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	must(t, inFolder(t, dir, "squadft -q -j 1 --config config.json --vocab vocab.txt --max-length 24 --dropout 0 --train --train-file q.json --epochs 40 --learning-rate 1e-2 -o start"))
	line := "INIT=start TRAIN_FILE=q.json PREDICT_FILE=q.json EPOCHS=4 BATCHSIZE=2 OUT=out OMP_NUM_THREADS=1 bash " + squadTemplate + " --max-length 24"
	r := sh(t, inFolder(t, dir, line))
	if r.status != 0 || r.stdout != "{\"exact_match\": 100.0, \"f1\": 100.0}\n" {
		t.Errorf("exit status %d, %s: %s", r.status, r.stdout, r.stderr)
	}
	r = sh(t, inFolder(t, dir, strings.Replace(line, "TRAIN_FILE=q.json", "TRAIN_FILE=missing.json", 1)))
	if r.status != 1 || !strings.Contains(r.stderr, "missing.json") || !strings.Contains(r.stderr, "hint: getdata squad fetches") {
		t.Errorf("exit status %d: %s", r.status, r.stderr)
	}
}

// TestSquadOnRealQuestions: real weights and a few hundred real questions go all the way; evalsquad says of the answers what squadft says.
func TestSquadOnRealQuestions(t *testing.T) {
	data, weights := os.Getenv("HPCBERT_DATA"), os.Getenv("HPCBERT_MINILM")
	if data == "" || weights == "" || os.Getenv("HPCBERT_SLOW") == "" {
		t.Skip("skipped: HPCBERT_DATA, HPCBERT_MINILM and HPCBERT_SLOW are not all set")
	}
	train := filepath.Join(data, "squad/xquad/xquad.en.shared.json") // true offsets, one answer a question
	work := t.TempDir()
	line := "cd " + work + "; squadft --init " + weights + " --train --train-file " + train + " --max-steps 20 --learning-rate 1e-4 --predict --predict-file " + train + " --max-length 192 -o out"
	r := must(t, line)
	again := must(t, "cd "+work+"; evalsquad "+train+" out/predictions.json")
	if again.stdout != r.stdout || r.stdout == "" {
		t.Errorf("squadft prints %s, evalsquad %s", r.stdout, again.stdout)
	}
	loss := func(step string) float64 {
		var x float64
		found := must(t, "cd "+work+"; grep '\"step\":"+step+",' out/metrics.jsonl | grep -o '\"loss\":[0-9.]*' | cut -d: -f2")
		if _, err := fmt.Sscan(found.stdout, &x); err != nil {
			t.Fatalf("loss of step %s: %v in %q", step, err, found.stdout)
		}
		return x
	}
	if first, last := loss("1"), loss("20"); !(last < first) {
		t.Errorf("loss %g after 20 updates, %g at first", last, first)
	}
}
