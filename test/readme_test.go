package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeRoad runs the commands of the README's section "The road" as they stand, but for the sizes.
func TestReadmeRoad(t *testing.T) {
	needMPI(t)
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, road, _ := strings.Cut(string(text), "## The road")
	road, _, _ = strings.Cut(road, "## On a cluster")
	parts := strings.Split(road, "```")
	if len(parts) != 5 {
		t.Fatalf("the road has %d parts between fences, expected two blocks of commands", len(parts))
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shape := `{"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}`
	if err := os.WriteFile(filepath.Join(dir, "small.json"), []byte(shape), 0o666); err != nil {
		t.Fatal(err)
	}
	smaller := strings.NewReplacer("enwiki-latest-pages-articles.xml.bz2", here+"/data/tinywiki.xml", "--vocab vocab.txt", "--vocab "+here+"/data/vocab.txt", "bin/", "",
		"--train 256 --test 16", "--train 3 --test 1", "-np 8", "-np 2", "configs/model/base.json", "small.json", "--global-batch 256 --micro-batch 32", "--global-batch 8 --micro-batch 4",
		"--global-batch 128 --micro-batch 8", "--global-batch 4 --micro-batch 2", "--steps 7038", "--steps 6", "step-00007038", "step-00000006", "--steps 1563", "--steps 3",
		"--save-every 200", "--save-every 2")
	for _, block := range []string{parts[1], parts[3]} {
		must(t, "cd "+dir+"\nset -e\n"+smaller.Replace(block))
	}
	for _, name := range []string{"out/step-00000006/model.safetensors", "out/DONE", "out-512/step-00000003/model.safetensors"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestReadmeData runs the commands of the README's section "Data" as they stand, but for the sizes and for the address of the dump.
func TestReadmeData(t *testing.T) {
	if _, err := exec.LookPath("bzip2"); err != nil {
		t.Skip("skipped: no bzip2 on this machine")
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, data, _ := strings.Cut(string(text), "## Data")
	parts := strings.Split(data, "```")
	dir := t.TempDir()
	// A mirror of one dump, with its checksum.
	must(t, inFolder(t, dir, `d=mirror/enwiki/20261101 f=enwiki-20261101-pages-articles-multistream.xml.bz2; mkdir -p $d; bzip2 -c $REPO/test/data/tinywiki.xml > $d/$f
printf '{"jobs":{"articlesmultistreamdump":{"status":"done","files":{"%s":{"size":%d,"sha1":"%s"}}}}}' $f $(stat -c %s $d/$f) $(sha1sum < $d/$f | cut -c1-40) > $d/dumpstatus.json`))
	smaller := strings.NewReplacer("bin/getdata wiki bert-base-uncased", "getdata --from mirror wiki", "bash sub/", "VOCAB=$REPO/test/data/vocab.txt TRAIN=3 TEST=1 DUPE=1 bash $REPO/sub/")
	must(t, inFolder(t, dir, "set -e\n"+smaller.Replace(parts[1])))
	needCorpora(t)
	must(t, inFolder(t, dir, "cmp sentences/wiki.txt $WORK/expected/sentences/wiki.txt; ls hdf5-128/training_2.hdf5 hdf5-512/test_0.hdf5"))
}

// TestReadmeFineTuning runs the commands of the README's section "Fine-tuning" as they stand, on data and weights of a few words instead of those
// that getdata fetches.
func TestReadmeFineTuning(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tuning, _ := strings.Cut(string(text), "## Fine-tuning")
	commands := strings.Split(tuning, "```")[1]
	fetch, commands, _ := strings.Cut(strings.TrimSpace(commands), "\n")
	if !strings.HasPrefix(fetch, "bin/getdata mrpc squad bert-base-uncased ") {
		t.Fatalf("the first line is %s", fetch)
	}
	const questions = `{"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "the king is good", "qas": [{"id": "x", "question": "the king ?", "answers": [{"text": "good", "answer_start": 12}]}]}]}]}`
	const pairs = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tthe king\tthe king\n0\t3\t4\tthe king\tgood\n"
	dir := t.TempDir()
	for name, text := range map[string]string{"data/squad/v1.1/train-v1.1.json": questions, "data/squad/v1.1/dev-v1.1.json": questions, "data/glue/MRPC/train.tsv": pairs, "data/glue/MRPC/dev.tsv": pairs,
		"article.txt": "the king is good", "vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nking\nis\ngood\n?\n",
		"config.json": `{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 384}`} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	must(t, inFolder(t, dir, "squadft -q -j 1 --config config.json --vocab vocab.txt --train --train-file data/squad/v1.1/train-v1.1.json --epochs 1 -o start; mkdir data/weights; mv start/step-* data/weights/bert-base-uncased"))
	r := must(t, inFolder(t, dir, "set -e\n"+strings.ReplaceAll(commands, "bin/", "")))
	if strings.Count(r.stdout, `{"exact_match": `) != 2 || !strings.Contains(r.stdout, `"acc_and_f1": `) || !strings.Contains(r.stdout, "\t") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
}
