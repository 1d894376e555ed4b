package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hpcbert/lib/cli/clitest"
	"hpcbert/lib/pretrain"

	"github.com/google/go-cmp/cmp"
)

const vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nA\n"

// world is a folder with a vocabulary and shards, in which the program runs.
func world(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"vocab.txt":            vocabulary,
		"nomask.txt":           strings.Replace(vocabulary, "[MASK]", "[MSK]", 1),
		"x_training_0.txt":     strings.Repeat("a b c a.\nb c\n\nc a\nb\n\n", 20),
		"x_training_1.txt":     strings.Repeat("A b.\nc\n\nb a c\n\n", 30),
		"x_test_0.txt":         "a b\nc\n\nb a\n",
		"lone_training_0.txt":  "a b\nc\nb a\n",
		"blank_training_0.txt": "\n \n\n",
		"latin_training_0.txt": "a\n\ncaf\xe9\n",
		"empty_training_0.txt": "",
		"cut_training_0.gz":    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x54",
		"full/keep":            "",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

// mkpretrain runs the program.
func mkpretrain(args ...string) (status int, stdout, stderr string) {
	o := newOptions()
	return clitest.Run(program, o, o.run, "", args...)
}

func TestRun(t *testing.T) {
	world(t)
	status, stdout, stderr := mkpretrain("--vocab", "vocab.txt", "--seq", "16", "--max-pred", "3", "-j", "2", "-o", "out", "x_training_0.txt", "x_training_1.txt", "x_test_0.txt")
	if status != 0 || stdout != "" || !strings.Contains(stderr, "mkpretrain: info: made 3 shards with ") {
		t.Fatalf("status %d, stdout %q, stderr %s", status, stdout, stderr)
	}
	set, err := pretrain.OpenSet("out")
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Files) != 2 || set.Seq != 16 || set.MaxPred != 3 || set.VocabSize != 9 {
		t.Errorf("set %+v", set)
	}
	if copied, err := os.ReadFile("out/vocab.txt"); err != nil || string(copied) != vocabulary {
		t.Errorf("vocab.txt %q, error %v", copied, err)
	}
	// The reference's names say the same, so everything is whole already.
	status, _, stderr = mkpretrain("--vocab_file", "vocab.txt", "--max_seq_length=16", "--max_predictions_per_seq", "3", "--dupe_factor", "5", "--masked_lm_prob", "0.15",
		"--random_seed", "12345", "--do_lower_case", "1", "-o", "out", "x_training_0.txt", "x_training_1.txt", "x_test_0.txt")
	if status != 0 || !strings.Contains(stderr, "made 0 shards with 0 sequences and 0 masked tokens, kept 3 whole ones") {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
	status, _, stderr = mkpretrain("--vocab", "vocab.txt", "--do_lower_case", "0", "--seq", "16", "--max-pred", "3", "-q", "-o", "cased", "x_training_1.txt")
	if status != 0 || stderr != "" {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
	const capital = 8 // the id of A; lower-casing leaves it to random replacements
	if cased, uncased := countIDs(t, "cased/x_training_1.hdf5", capital), countIDs(t, "out/x_training_1.hdf5", capital); cased < 5*uncased || cased == 0 {
		t.Errorf("%d capital letters in cased shards, %d in uncased ones", cased, uncased)
	}
	status, stdout, _ = mkpretrain("--vocab", "vocab.txt", "--dry-run", "-o", "dry/", "x_training_0.txt", "x_test_0.txt")
	if want := "x_training_0.txt\tdry/x_training_0.hdf5\nx_test_0.txt\tdry/x_test_0.hdf5\n"; status != 0 || stdout != want {
		t.Errorf("status %d, stdout %q", status, stdout)
	}
	if _, err := os.Stat("dry"); !os.IsNotExist(err) {
		t.Error("a dry run makes its folder")
	}
}

// What is whole already is not listed, and what a run would refuse is refused.
func TestDryRunListsWhatIsMissing(t *testing.T) {
	world(t)
	dry := func(args ...string) (int, string, string) {
		return mkpretrain(append([]string{"--vocab", "vocab.txt", "-o", "out", "--dry-run", "x_training_0.txt", "x_training_1.txt"}, args...)...)
	}
	if status, _, stderr := mkpretrain("--vocab", "vocab.txt", "-o", "out", "x_training_0.txt"); status != 0 {
		t.Fatal(stderr)
	}
	all := "x_training_0.txt\tout/x_training_0.hdf5\nx_training_1.txt\tout/x_training_1.hdf5\n"
	_, rest, _ := strings.Cut(all, "\n")
	if status, stdout, stderr := dry(); status != 0 || stdout != rest || !strings.Contains(stderr, "would make 1 shards, keep 1 whole ones") {
		t.Errorf("status %d, stdout %q, stderr %s", status, stdout, stderr)
	}
	if status, stdout, _ := dry("--force"); status != 0 || stdout != all {
		t.Errorf("--force: status %d, stdout %q", status, stdout)
	}
	if status, _, stderr := dry("--seq", "64"); status != 1 || !strings.Contains(stderr, "made with --seq 128, not 64") {
		t.Errorf("other options: status %d, stderr %s", status, stderr)
	}
	if err := os.WriteFile("x_training_0.txt", []byte("b\na\n\nc\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := dry(); status != 1 || !strings.Contains(stderr, "out/x_training_0.hdf5 was made from another text than x_training_0.txt now holds") {
		t.Errorf("changed text: status %d, stderr %s", status, stderr)
	}
}

// A shard as text and the HDF5 file made of it print the same sequences.
func TestText(t *testing.T) {
	world(t)
	how := []string{"--seq", "12", "--max-pred", "4", "--seed", "3"}
	if status, _, stderr := mkpretrain(append(how, "--vocab", "vocab.txt", "-o", "out", "x_training_0.txt")...); status != 0 {
		t.Fatal(stderr)
	}
	status, fromText, stderr := mkpretrain(append(how, "--vocab", "vocab.txt", "--text=2", "x_training_0.txt")...)
	if status != 0 {
		t.Fatal(stderr)
	}
	_, fromFile, _ := mkpretrain("--text=2", "out/x_training_0.hdf5")
	if diff := cmp.Diff(strings.ReplaceAll(fromText, "x_training_0.txt", "out/x_training_0.hdf5"), fromFile); diff != "" {
		t.Error(diff)
	}
	head, rest, _ := strings.Cut(fromFile, "\n")
	if !strings.HasPrefix(head, "*** out/x_training_0.hdf5: sequence 0 of ") || strings.Count(fromFile, "***\n") != 2 {
		t.Errorf("printed %s", fromFile)
	}
	lines := strings.SplitN(rest, "\n", 6)
	fields := func(line, name string) []string {
		text, found := strings.CutPrefix(line, name+": ")
		if !found {
			t.Fatalf("%q is not %s", line, name)
		}
		return strings.Fields(text)
	}
	tokens, positions := fields(lines[0], "tokens"), fields(lines[3], "masked_lm_positions")
	if len(tokens) != len(fields(lines[1], "segment_ids")) || tokens[0] != "[CLS]" || tokens[len(tokens)-1] != "[SEP]" {
		t.Errorf("tokens %q, %s", tokens, lines[1])
	}
	if len(positions) < 1 || len(positions) != len(fields(lines[4], "masked_lm_labels")) {
		t.Errorf("%s\n%s", lines[3], lines[4])
	}
	if _, apart, _ := mkpretrain("--text", "2", "out/x_training_0.hdf5"); apart != fromFile {
		t.Errorf("--text 2 is not --text=2: %s", apart)
	}
	if status, _, stderr := mkpretrain("--vocab", "other.txt", "--text=1", "out/x_training_0.hdf5"); status != 1 || !strings.Contains(stderr, "other.txt") {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
	if err := os.WriteFile("short.txt", []byte("[UNK]\n[CLS]\n[SEP]\n[MASK]\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := mkpretrain("--vocab", "short.txt", "--text=1", "out/x_training_0.hdf5"); status != 1 || !strings.Contains(stderr, "beyond a vocabulary of 4") {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
}

// child makes this test program run mkpretrain instead, so that it can be killed.
const child = "MKPRETRAIN_TEST_ARGS"

func TestMain(m *testing.M) {
	if args := os.Getenv(child); args != "" {
		status, _, stderr := mkpretrain(strings.Split(args, " ")...)
		os.Stderr.WriteString(stderr)
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// A killed run leaves whole shards only, and the next one goes on from them to the same bytes.
func TestKilled(t *testing.T) {
	dir := world(t)
	if err := os.Mkdir("shards", 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		text := strings.Repeat(strings.Repeat("a b c a.\n", 5+i)+"\nc a\nb\n\n", 300)
		if err := os.WriteFile(fmt.Sprintf("shards/training_%d.txt", i), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	args := func(out string) []string { return []string{"--vocab", "vocab.txt", "-j", "2", "-o", out, "shards"} }
	if status, _, stderr := mkpretrain(args("want")...); status != 0 {
		t.Fatal(stderr)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+strings.Join(args("out"), " "))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		if made, _ := filepath.Glob("out/*.hdf5"); len(made) >= 3 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cmd.Process.Kill()
	cmd.Wait()
	left, _ := filepath.Glob("out/*.hdf5")
	for _, name := range left {
		if _, err := pretrain.ReadShard(name); err != nil {
			t.Errorf("left behind: %v", err)
		}
	}
	if _, err := pretrain.OpenSet("out"); err == nil && len(left) < 12 {
		t.Error("a folder that is not complete is taken for whole")
	}
	status, _, stderr := mkpretrain(args("out")...)
	if status != 0 || strings.Contains(stderr, "kept 0 whole ones") {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
	if diff := cmp.Diff(clitest.ReadFolder(t, filepath.Join(dir, "want")), clitest.ReadFolder(t, filepath.Join(dir, "out"))); diff != "" {
		t.Error("the continued run leaves other files than one that was not killed")
	}
}

// countIDs counts an id in a shard.
func countIDs(t *testing.T, name string, id int32) int {
	t.Helper()
	s, err := pretrain.ReadShard(name)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, have := range s.InputIDs {
		if have == id {
			n++
		}
	}
	return n
}

func TestWarnings(t *testing.T) {
	world(t)
	for input, want := range map[string]string{
		"lone_training_0.txt": "mkpretrain: warning: lone_training_0.txt: its only document pairs with itself",
		"nomask.txt":          `mkpretrain: warning: nomask.hdf5 has neither "training" nor "test" in its name`,
	} {
		if status, _, stderr := mkpretrain("--vocab", "vocab.txt", "-o", input+".out", input); status != 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, stderr %s", input, status, stderr)
		}
	}
}

// A vocabulary of the other case makes shards that look right and are not.
func TestCaseOfVocabulary(t *testing.T) {
	world(t)
	const lower = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n"
	for _, c := range []struct {
		name, vocabulary, want string
		args                   []string
	}{
		{"lower", lower, "", nil},
		{"lower-cased", lower, "mkpretrain: warning: the vocabulary has hardly a piece with capitals, but --cased", []string{"--cased"}},
		{"mixed", lower + "A\nB\n", "mkpretrain: warning: 20 % of the vocabulary's pieces have capitals, but the text is put in lower case", nil},
		{"mixed-cased", lower + "A\nB\n", "", []string{"--cased"}},
	} {
		if err := os.WriteFile(c.name, []byte(c.vocabulary), 0o644); err != nil {
			t.Fatal(err)
		}
		status, _, stderr := mkpretrain(append(c.args, "-q", "--vocab", c.name, "-o", c.name+".out", "x_training_1.txt")...)
		if status != 0 || (c.want == "") != (stderr == "") || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: status %d, stderr %s", c.name, status, stderr)
		}
	}
}

// The examples of the help text work on what shard writes.
func TestExamples(t *testing.T) {
	world(t)
	if err := os.Mkdir("shards", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"training_0.txt", "test_0.txt", "shards.json"} {
		text := strings.Repeat("a b c a.\nb c\n\nc a\nb\n\n", 20)
		if name == "shards.json" {
			text = `{"files": [{"file": "training_0.txt"}, {"file": "test_0.txt"}]}`
		}
		if err := os.WriteFile("shards/"+name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range clitest.Examples(t, program) {
		status, stdout, stderr := mkpretrain(args...)
		made := strings.Contains(stderr, "made 2 shards")
		if slices.Contains(args, "--text") {
			made = strings.Count(stdout, "\ntokens: [CLS] ") == 3
		}
		if status != 0 || !made {
			t.Errorf("%q: exit %d: %s%s", args, status, stdout, stderr)
		}
	}
}

// A folder that lacks what its list names, or has no list, is not silently taken for whole.
func TestFolderAndItsList(t *testing.T) {
	world(t)
	if err := os.Mkdir("shards", 0o777); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		if err := os.WriteFile("shards/"+name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	put("training_0.txt", "a b\nc\n\nb a\n")
	if status, _, stderr := mkpretrain("--vocab", "vocab.txt", "-o", "out", "shards"); status != 0 || !strings.Contains(stderr, "mkpretrain: warning: folder shards has no shards.json") {
		t.Errorf("without a list: status %d, stderr %s", status, stderr)
	}
	put("shards.json", `{"files": [{"file": "training_0.txt"}, {"file": "training_1.txt"}]}`)
	put("training_2.txt", "a\n")
	for _, extra := range [][]string{nil, {"--dry-run"}} {
		status, stdout, stderr := mkpretrain(append(extra, "--vocab", "vocab.txt", "-o", "new", "shards")...)
		want := "mkpretrain: error: folder shards does not hold the shards that were written to it:\nmkpretrain: error: training_1.txt is missing, of which shards.json tells\n" +
			"mkpretrain: error: training_2.txt is in no shards.json\nmkpretrain: hint: "
		if status != 1 || stdout != "" || !strings.HasPrefix(stderr, want) {
			t.Errorf("shards lost and left over: status %d, stderr %s", status, stderr)
		}
	}
	if _, err := os.Stat("new"); !os.IsNotExist(err) {
		t.Error("a refused run makes its folder")
	}
}

func TestBadInput(t *testing.T) {
	dir := world(t)
	if status, _, stderr := mkpretrain("--vocab", "vocab.txt", "-o", "made", "x_training_0.txt"); status != 0 {
		t.Fatal(stderr)
	}
	good := []string{"--vocab", "vocab.txt", "-o", "out"}
	with := func(args ...string) []string { return append(good[:len(good):len(good)], args...) }
	cases := []struct {
		name   string
		args   []string
		status int
		want   string
		hint   bool
	}{
		{"no shards", with(), 2, "no shards to read", true},
		{"no vocabulary", []string{"-o", "out", "x_training_0.txt"}, 2, "option --vocab FILE is missing", true},
		{"no output", []string{"--vocab", "vocab.txt", "x_training_0.txt"}, 2, "option -o/--output FOLDER is missing", true},
		{"sequence too short", with("--seq", "4", "x_training_0.txt"), 2, "sequences of 4 tokens", false},
		{"text and output", with("--text=1", "x_training_0.txt"), 2, "--text writes no files", false},
		{"negative text", []string{"--text=-1", "x_training_0.txt"}, 2, "option --text: -1 sequences", false},
		{"no text", []string{"--text=0", "x_training_0.txt"}, 2, "options --vocab FILE and -o/--output FOLDER are missing", true},
		{"text without a number", []string{"--text", "x_training_0.txt"}, 2, `option --text: "x_training_0.txt" is not a whole number`, true},
		{"text without vocabulary", []string{"--text", "1", "x_training_0.txt"}, 2, "x_training_0.txt is text: --vocab FILE is needed", false},
		{"text of a shard without vocabulary", []string{"--text", "1", "full/x.hdf5"}, 1, "full/vocab.txt: no such file", true},
		{"text of what is no shard", []string{"--text=1", "--vocab", "vocab.txt", "fake.hdf5"}, 1, "open fake.hdf5: not an HDF5 file", true},
		{"whole words", with("--do_whole_word_mask=perhaps", "x_training_0.txt"), 2, "want true or false", true},
		{"part 0", with("--part", "0/3", "x_training_0.txt"), 2, `"0/3" is not a part such as 3/8`, true},
		{"part behind the last", with("--part", "4/3", "x_training_0.txt"), 2, `"4/3" is not a part`, true},
		{"part of nothing", with("--part", "1", "x_training_0.txt"), 2, `"1" is not a part`, true},
		{"probability", with("--masked-lm-prob", "15", "x_training_0.txt"), 2, "masked-LM probability 15", false},
		{"lower case", with("--do_lower_case", "2", "x_training_0.txt"), 2, "want 0 or 1", true},
		{"missing shard", with("x_training_0.txt", "none_training_0.txt"), 1, "none_training_0.txt: no such file", true},
		{"missing vocabulary", []string{"--vocab", "none.txt", "-o", "out", "x_training_0.txt"}, 1, "none.txt: no such file", true},
		{"vocabulary without [MASK]", []string{"--vocab", "nomask.txt", "-o", "out", "x_training_0.txt"}, 1, "vocabulary nomask.txt: no [MASK]", true},
		{"empty vocabulary", []string{"--vocab", "empty_training_0.txt", "-o", "out", "x_training_0.txt"}, 1, "vocabulary empty_training_0.txt: no word pieces", true},
		{"empty shard", with("empty_training_0.txt"), 1, "read empty_training_0.txt: no sentences", true},
		{"shard without sentences", with("blank_training_0.txt"), 1, "read blank_training_0.txt: no sentences", true},
		{"shard that is not UTF-8", with("latin_training_0.txt"), 1, "read latin_training_0.txt: line 3: byte 4 is not UTF-8", true},
		{"shard of a program that failed", with("spoilt_training_0.txt"), 1, "read spoilt_training_0.txt: line 3: the program before failed: segment: terminated", true},
		{"truncated shard", with("cut_training_0.gz"), 1, "read cut_training_0.gz: unexpected EOF", true},
		{"a shard of HDF5", with("made/x_training_0.hdf5"), 1, "read made/x_training_0.hdf5: line 1", true},
		{"a folder without text", with("made/none"), 1, "read made/none: no .txt file in the folder", true},
		{"manifest of shards", with("x_training_0.txt", "shards.json"), 1, "read shards.json: line 1: looks like JSON", true},
		{"documents", with("docs.jsonl"), 1, "read docs.jsonl: line 1: looks like JSON documents", true},
		{"dump", with("dump.xml"), 1, "read dump.xml: line 1: looks like a MediaWiki dump", true},
		{"output is a file", []string{"--vocab", "vocab.txt", "-o", "x_test_0.txt", "x_training_0.txt"}, 1, "x_test_0.txt", true},
		{"output below a file", []string{"--vocab", "vocab.txt", "-o", "x_test_0.txt/out", "x_training_0.txt"}, 1, "x_test_0.txt", true},
		{"sequence of more than 512", with("--seq", "513", "none"), 2, "sequences of 513 tokens are too long", false},
		{"as many predictions as tokens", with("--seq", "16", "--max-pred", "16", "none"), 2, "16 masked tokens a sequence are not fewer than its 16 tokens", false},
		{"other options than before", []string{"--vocab", "vocab.txt", "-o", "made", "--seq", "64", "x_training_0.txt"}, 1, "the shards in made were made with --seq 128, not 64", true},
		{"other vocabulary than before", []string{"--vocab", "other.txt", "-o", "made", "x_training_0.txt"}, 1, "made with another vocabulary of 9 pieces", true},
	}
	put := map[string]string{"fake.hdf5": "a sentence.\n", "spoilt_training_0.txt": "a b\n\n\x00failed: segment: terminated\n", "other.txt": vocabulary + "d\n", "shards.json": "{\n \"train\": 2\n}\n", "docs.jsonl": `{"id":"1","text":"a"}`, "dump.xml": "<mediawiki xml:lang=\"en\">\n"}
	if err := os.Mkdir("made/none", 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range put {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, dir)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := mkpretrain(c.args...)
			if status != c.status || stdout != "" || !strings.Contains(stderr, "mkpretrain: error: ") || !strings.Contains(stderr, c.want) {
				t.Errorf("status %d, stdout %q, stderr %s", status, stdout, stderr)
			}
			if strings.Count(stderr, "error:") != 1 || c.hint && strings.Count(stderr, "mkpretrain: hint: ") != 1 {
				t.Errorf("want one error and hint: %s", stderr)
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("something is left: %s", diff)
			}
		})
	}
}

// tree lists the files below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFullDisk(t *testing.T) {
	dir := world(t)
	disk := filepath.Join(dir, "full")
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("skipped: cannot mount a small file system: %v", err)
	}
	defer syscall.Unmount(disk, 0)
	var text strings.Builder
	for i := range 20000 {
		text.WriteString(strings.Repeat("abc a", 1+i*i%7)[i*i*i%5:] + "\n")
		if i%11 == 0 {
			text.WriteString("\n")
		}
	}
	if err := os.WriteFile("big_training_0.txt", []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := mkpretrain("--vocab", "vocab.txt", "-o", "full/out", "big_training_0.txt")
	if status != 1 || !strings.Contains(stderr, "mkpretrain: error: write full/out/big_training_0.hdf5: ") || !strings.Contains(stderr, "no space left on device") || !strings.Contains(stderr, "hint: free some space") {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
	if left := tree(t, disk); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
