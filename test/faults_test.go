package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadInputOfTraining feeds bertrain what goes wrong in practice: each time one clear error that names the file, a hint where there is
// something to do, the right exit status, and no output left.
func TestBadInputOfTraining(t *testing.T) {
	needData(t)
	good := "--config $WORK/small.json --data $WORK/hdf5 --global-batch 16 --micro-batch 4 --steps 5 "
	for _, c := range []struct {
		what, prepare, options string
		status                 int
		want                   []string // in standard error
	}{
		{"missing config", "", "--config $D/none.json --data $WORK/hdf5", 1, []string{"none.json"}},
		{"empty config", ": > $D/empty.json", "--config $D/empty.json --data $WORK/hdf5", 1, []string{"empty.json"}},
		{"config of other kind", "", "--config data/README.md --data $WORK/hdf5", 1, []string{"README.md"}},
		{"heads that do not divide", `echo '{"hidden_size":30,"num_attention_heads":4}' > $D/odd.json`, "--config $D/odd.json --data $WORK/hdf5", 1,
			[]string{"The hidden size (30) is not a multiple of the number of attention heads (4)"}},
		{"sequences longer than the model", `echo '{"hidden_size":32,"num_attention_heads":2,"num_hidden_layers":1,"max_position_embeddings":32}' > $D/short.json`,
			"--config $D/short.json --data $WORK/hdf5", 1, []string{"64", "32 positions", "hint: "}},
		{"vocabulary larger than the model", `echo '{"hidden_size":32,"num_attention_heads":2,"num_hidden_layers":1,"vocab_size":100}' > $D/few.json`,
			"--config $D/few.json --data $WORK/hdf5", 1, []string{"vocabulary has 2000", "hint: "}},
		{"missing data folder", "", "--config $WORK/small.json --data $D/none", 1, []string{"none", "hint: "}},
		{"no shards", "mkdir $D/none", "--config $WORK/small.json --data $D/none", 1, []string{"none", "hint: "}},
		{"empty shard", "cp -r $WORK/hdf5 $D/h; : > $D/h/training_1.hdf5", "--config $WORK/small.json --data $D/h", 1, []string{"training_1.hdf5"}},
		{"shard cut off", "cp -r $WORK/hdf5 $D/h; truncate -s 5000 $D/h/training_1.hdf5", "--config $WORK/small.json --data $D/h", 1, []string{"training_1.hdf5"}},
		{"shard of other kind", "cp -r $WORK/hdf5 $D/h; cp data/README.md $D/h/training_1.hdf5", "--config $WORK/small.json --data $D/h", 1, []string{"training_1.hdf5"}},
		{"vocabulary of other data", "cp -r $WORK/hdf5 $D/h; (cat data/vocab.txt; echo zzz) > $D/h/vocab.txt", "--config $WORK/small.json --data $D/h", 1, []string{"vocab", "hint: "}},
		{"other vocabulary given", "(cat data/vocab.txt; echo zzz) > $D/v.txt", good + "--vocab $D/v.txt", 1, []string{"v.txt", "hint: "}},
		{"start that is no checkpoint", "mkdir $D/i", good + "--init $D/i", 1, []string{"model.safetensors", "hint: "}},
		{"start that is no BERT", `mkdir $D/i; printf '\74\0\0\0\0\0\0\0{"wte":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}    \0\0\0\0' > $D/i/model.safetensors`,
			good + "--init $D/i", 1, []string{"model.safetensors", "37 tensors of the encoder are missing", "hint: "}},
		{"start with another vocabulary", "bertrain -q -o $D/o " + good + "; mkdir $D/i; cp $D/o/step-00000005/model.safetensors $D/i; tac data/vocab.txt > $D/i/vocab.txt", good + "--init $D/i", 1,
			[]string{"another vocabulary", "hint: "}},
		{"shards without vocabulary", "mkdir $D/h; cp $WORK/hdf5/*.hdf5 $D/h", "--config $WORK/small.json --data $D/h", 1, []string{"vocab_size", "hint: give --vocab"}},
		{"unknown flag", "", good + "--stpes 5", 2, []string{"stpes", "hint: "}},
		{"flag without sense", "", good + "--micro-batch 0", 2, []string{"--micro-batch"}},
		{"learning rate that is no number", "", good + "--learning-rate nan", 2, []string{"--learning-rate"}},
		{"endless learning rate", "", good + "--learning-rate inf", 2, []string{"--learning-rate"}},
		{"warm-up that is no number", "", good + "--warmup nan", 2, []string{"--warmup"}},
		{"dropout that is no number", "", good + "--dropout nan", 2, []string{"--dropout"}},
		{"unknown optimizer", "", good + "--optimizer sgd", 2, []string{`"sgd"`, "nvlamb"}},
		{"unknown schedule", "", good + "--schedule step", 2, []string{`"step"`, "cosine"}},
		{"beta of one", "", good + "--beta2 1", 2, []string{"betas"}},
		{"loss scale that is no number", "", good + "--loss-scale much", 2, []string{"--loss-scale"}},
		{"loss scale below its floor", "", good + "--loss-scale dynamic --init-loss-scale 0.5", 2, []string{"floor"}},
		{"warm-up without end", "", good + "--warmup-steps 5", 2, []string{"--warmup-steps"}},
		{"reduction of no kind", "", good + "--allreduce never", 2, []string{"--allreduce"}},
		{"gradients of no kind", "", good + "--allreduce-precision fp8", 2, []string{"--allreduce-precision"}},
		{"word too many", "", good + "more", 2, []string{"more"}},
		{"required flag left out", "", "--data $WORK/hdf5", 2, []string{"--config", "hint: "}},
		{"unwritable output", ": > $D/out", good, 1, []string{"out"}},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			if c.prepare != "" {
				must(t, "export D="+dir+"; "+c.prepare)
			}
			r := sh(t, "export D="+dir+"; bertrain -o $D/out "+c.options)
			checkFault(t, r, c.status, c.want)
			if left, _ := filepath.Glob(filepath.Join(dir, "out", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Data without a vocabulary is checked against the model's when a shard is read: training has begun by then.
func TestIDsBeyondTheModel(t *testing.T) {
	needData(t)
	dir := t.TempDir()
	must(t, "cp $WORK/hdf5/training_*.hdf5 "+dir+`; sed 's/^{/{"vocab_size": 1000, /' $WORK/small.json > `+dir+"/few.json")
	r := sh(t, trainLine(0, dir+"/out", "--steps 2 --data "+dir+" --config "+dir+"/few.json"))
	checkFault(t, r, 1, []string{"training_", "row ", "beyond a vocabulary of 1000", "hint: "})
}

func TestDivergenceEndsTheRun(t *testing.T) {
	needData(t)
	r := sh(t, trainLine(0, t.TempDir(), "--steps 20 --warmup 0 --learning-rate 1e30"))
	checkFault(t, r, 1, []string{"step 2: ", "not finite", "hint: "})
}

func checkFault(t *testing.T, r result, status int, want []string) {
	t.Helper()
	if r.status != status {
		t.Errorf("exit status %d, expected %d", r.status, status)
	}
	if n := strings.Count(r.stderr, ": error: "); n != 1 {
		t.Errorf("%d errors instead of one", n)
	}
	for _, w := range want {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("standard error does not say %q", w)
		}
	}
	if t.Failed() {
		t.Logf("standard error:\n%s", r.stderr)
	}
}

func TestErrorOfAllRanksIsToldOnce(t *testing.T) {
	needMPI(t)
	needData(t)
	for name, options := range map[string]string{
		"usage": "--config $WORK/small.json --data $WORK/hdf5 -o $WORK/never --steps 0",
		"data":  "--config $WORK/small.json --data $WORK/none -o $WORK/never",
	} {
		r := sh(t, "mpirun -np 3 bertrain "+options)
		if n := strings.Count(r.stderr, "bertrain: error: "); r.status == 0 || n != 1 {
			t.Errorf("%s: exit status %d, told %d times:\n%s", name, r.status, n, r.stderr)
		}
	}
}

func damage(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestOtherOptionsDoNotGoOn(t *testing.T) {
	needData(t)
	out := t.TempDir()
	must(t, trainLine(0, out, "--steps 2"))
	must(t, "sed 's/\"num_attention_heads\": 2/\"num_attention_heads\": 4/' $WORK/small.json > $WORK/heads.json")
	for options, want := range map[string]string{
		"--steps 4":                               "steps was 2, now it is 4",
		"--steps 2 --seed 43":                     "seed was 42, now it is 43",
		"--steps 2 --global-batch 8":              "global batch was 16, now it is 8",
		"--steps 2 --dropout 0.2":                 "hidden_dropout_prob was 0.1, now it is 0.2",
		"--steps 2 --config $WORK/heads.json":     "num_attention_heads was 2, now it is 4",
		"--steps 2 --order file --micro-batch 16": "file order was false, now it is true",
		"--steps 2 --schedule cosine":             "schedule was polynomial, now it is cosine",
		"--steps 2 --optimizer adamw":             "optimizer was lamb (betas 0.9",
		"--steps 2 --warmup-steps 1":              "warm-up was 0.2843, now it is 0.5",
	} {
		checkFault(t, sh(t, trainLine(0, out, options)), 1, []string{want, "hint: "})
	}
}

// A run does not go on with other data than it began with, whatever is other in them.
func TestOtherDataDoNotGoOn(t *testing.T) {
	needData(t)
	dir := t.TempDir()
	must(t, trainLine(0, dir+"/out", "--steps 2"))
	make := "mkpretrain -q --vocab data/vocab.txt --max-pred 10 --dupe 1 --seed 12345 -o $D --seq "
	for _, c := range []struct{ what, prepare, want string }{
		{"vocabulary", "cp -r $WORK/hdf5 $D; rm $D/*.json; sed -i '1000{h;d};1001G' $D/vocab.txt", "vocabulary was "},
		{"sequence length", make + "32 $WORK/shards/*training*", "sequence length was 64, now it is 32"},
		{"fewer files", make + "64 $WORK/shards/training_[01].txt", "number of training files was 3, now it is 2"},
		{"more files", "cp -r $WORK/hdf5 $D; rm $D/*.json; cp $D/training_0.hdf5 $D/training_3.hdf5", "number of training files was 3, now it is 4"},
		{"rows", "mkdir $D.text; cp $WORK/shards/*training* $D.text; cat $WORK/shards/test_0.txt >> $D.text/training_1.txt; " + make + "64 $D.text/*", "training file training_1.hdf5 had "},
		{"words", "mkdir $D.text; cp $WORK/shards/*training* $D.text; sed -i '0,/ the /s// and /' $D.text/training_2.txt; " + make + "64 $D.text/*", "training data was other than now: same sizes, other contents"},
		{"no manifest", "cp -r $WORK/hdf5 $D; rm $D/*.json", "training data had a manifest.json with the files' hashes, now there is none: whether the contents are the same is not known"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			must(t, "D="+data+"; "+c.prepare)
			before := must(t, "ls -lR --time-style=full-iso "+dir+"/out")
			checkFault(t, sh(t, trainLine(0, dir+"/out", "--steps 2 --data "+data)), 1, []string{"resume from ", c.want, "hint: "})
			if after := must(t, "ls -lR --time-style=full-iso "+dir+"/out"); after.stdout != before.stdout {
				t.Errorf("before\n%safter\n%s", before.stdout, after.stdout)
			}
		})
	}
}

// The other ranks wait in a collective when one cannot read its data: the job must end all the same, with the error told once.
func TestErrorOfOneRankEndsTheJob(t *testing.T) {
	needMPI(t)
	needData(t)
	dir := t.TempDir()
	must(t, "cp -r $WORK/hdf5 "+dir)
	shards, err := filepath.Glob(filepath.Join(dir, "hdf5", "training_*.hdf5"))
	if err != nil || len(shards) != 3 {
		t.Fatalf("%d shards, %v", len(shards), err)
	}
	for _, name := range shards {
		damage(t, name)
	}
	line := trainLine(0, dir+"/out", "--steps 100000")
	for what, job := range map[string]string{
		"first rank":  "mpirun -np 1 " + line + " --data " + dir + "/hdf5 : -np 2 " + line,
		"second rank": "mpirun -np 1 " + line + " : -np 1 " + line + " --data " + dir + "/hdf5 : -np 1 " + line,
	} {
		r := sh(t, job)
		if n := strings.Count(r.stderr, "bertrain: error: "); r.status != 1 || n != 1 || !strings.Contains(r.stderr, "training_") || !strings.Contains(r.stderr, "hint: ") {
			t.Errorf("%s: exit status %d, told %d times:\n%s", what, r.status, n, r.stderr)
		}
	}
}

// Ranks that see other options, checkpoints or weights would train nonsense together.
func TestRanksThatDifferAreRefused(t *testing.T) {
	needMPI(t)
	needData(t)
	out, ahead := t.TempDir(), t.TempDir()
	must(t, trainLine(0, ahead, "--steps 2 --save-every 1"))
	must(t, "rm -r "+filepath.Join(ahead, "step-00000002"))
	for what, rank1 := range map[string]string{
		"seed":              trainLine(0, out, "--steps 2 --seed 43"),
		"dropout":           trainLine(0, out, "--steps 2 --dropout 0"),
		"output not shared": trainLine(0, ahead, "--steps 2"),
		"end of the run":    trainLine(0, out, "--steps 2 --steps-this-run 1"),
	} {
		r := sh(t, "mpirun -np 1 "+trainLine(0, out, "--steps 2")+" : -np 1 "+rank1)
		checkFault(t, r, 1, []string{"rank 1 on ", "than rank 0", "hint: "})
		if left, _ := filepath.Glob(filepath.Join(out, "*")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", what, left)
		}
	}
}

func TestSecondRunInTheSameFolderIsRefused(t *testing.T) {
	needData(t)
	out := t.TempDir()
	first := start(t, trainLine(0, out, "--steps 100000 --save-every 0"))
	defer first.Wait()
	defer first.Process.Kill()
	waitFor(t, filepath.Join(out, "metrics.jsonl"))
	checkFault(t, sh(t, trainLine(0, out, "--steps 100000 --save-every 0")), 1, []string{"another run is at work", "hint: "})
}
