package test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dataprep is the job script of data preparation, prepared the variables that make it prepare the small data of $WORK/corpora.
const (
	dataprep = "$REPO/sub/dataprep.sub"
	prepared = "WIKI=$WORK/corpora/wiki BOOKS=$WORK/corpora/books TEXT=$WORK/corpora/text.txt VOCAB=$REPO/test/data/vocab.txt TRAIN=3 TEST=1 DUPE=1 "
)

// corpora makes, once, a dump, three books and a text in $WORK/corpora, and in $WORK/expected what the programs make of them by hand.
var corpora = sync.OnceValue(func() error {
	cmd := exec.Command("bash", "-c", `set -e -o pipefail
cd $WORK && mkdir -p corpora/wiki "corpora/books" && cp $REPO/test/data/tinywiki.xml corpora/wiki/
wikiextract corpora/wiki/tinywiki.xml > docs.jsonl
for i in 1 2 3; do printf '\xef\xbb\xbf'; segment <<<"$(sed -n "$((i * 7))p" docs.jsonl)"; done | split -d -l 40 --additional-suffix=.txt - corpora/books/
segment <<<"$(sed -n 30,33p docs.jsonl)" > corpora/text.txt
mkdir -p expected/sentences
segment --input-format file -o expected/sentences/books.txt corpora/books/*.txt # in the order of their names
wikiextract corpora/wiki/tinywiki.xml | segment -o expected/sentences/wiki.txt
segment --input-format text -o expected/sentences/text.txt corpora/text.txt
shard --train 3 --test 1 -o expected/shards expected/sentences/books.txt expected/sentences/wiki.txt expected/sentences/text.txt
mkpretrain --vocab $REPO/test/data/vocab.txt --seq 128 --max-pred 20 --dupe 1 --seed 12345 -o expected/hdf5-128 expected/shards
mkpretrain --vocab $REPO/test/data/vocab.txt --seq 512 --max-pred 80 --dupe 1 --seed 12345 -o expected/hdf5-512 expected/shards`)
	repository, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	cmd.Env = append(environment(), "REPO="+repository)
	if out, err := cmd.CombinedOutput(); err != nil {
		return &fs.PathError{Op: "prepare", Path: string(out), Err: err}
	}
	return nil
})

func needCorpora(t *testing.T) {
	t.Helper()
	if err := corpora(); err != nil {
		t.Fatal(err)
	}
}

// sameAsExpected compares a prepared folder with what the programs make by hand.
func sameAsExpected(t *testing.T, out string) {
	t.Helper()
	if r := sh(t, "diff -r --exclude .dataprep --exclude sentences $WORK/expected '"+out+"'"); r.status != 0 {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
}

func TestDataprep(t *testing.T) {
	needCorpora(t)
	for _, c := range []struct{ what, variables string }{
		{"here", ""},
		{"without sentences", "KEEP=0"},
		{"two nodes", "SLURM_NNODES=2"},
		{"five nodes", "SLURM_NNODES=5"},
		{"one phase after the other", "PHASES=1"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			// The stand-in of srun notes its options and runs the command on this machine.
			srun := "#!/bin/bash\necho \"$*\" >> " + dir + "/srun.log\nwhile [[ $1 == --* ]]; do shift; done\nexec \"$@\"\n"
			if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "bin", "srun"), []byte(srun), 0o777); err != nil {
				t.Fatal(err)
			}
			must(t, inFolder(t, dir, prepared+c.variables+" OUT='o u t' bash "+dataprep))
			if c.variables == "PHASES=1" {
				if _, err := os.Stat(filepath.Join(dir, "o u t", "hdf5-512")); err == nil {
					t.Error("phase 2 was made")
				}
				must(t, inFolder(t, dir, prepared+"PHASES=2 OUT='o u t' bash "+dataprep))
			}
			sameAsExpected(t, filepath.Join(dir, "o u t"))
			if _, err := os.Stat(filepath.Join(dir, "o u t", "sentences")); (err == nil) != (c.variables != "KEEP=0") {
				t.Errorf("sentences: %v", err)
			}
			if log, _ := os.ReadFile(filepath.Join(dir, "srun.log")); strings.Contains(c.variables, "NNODES") != strings.Contains(string(log), "--relative=1") {
				t.Errorf("srun was asked for\n%s", log)
			}
			// Again: nothing is made.
			r := must(t, inFolder(t, dir, prepared+"OUT='o u t' bash "+dataprep))
			if strings.Contains(r.stderr, "segment: ") || strings.Contains(r.stderr, "mkpretrain: ") {
				t.Errorf("made again:\n%s", r.stderr)
			}
		})
	}
}

// TestDataprepKilled kills the script and all its programs while, or just after, a program is at work, and enters it again.
func TestDataprepKilled(t *testing.T) {
	needCorpora(t)
	for i, c := range []struct{ what, program, argument, when string }{
		{"while extracting", "wikiextract", "", "during"},
		{"after extracting", "wikiextract", "", "after"},
		{"while the dump is segmented", "segment", "wiki.txt", "during"},
		{"while books are segmented", "segment", "books.txt", "during"},
		{"after the text was segmented", "segment", "text.txt", "after"},
		{"while sharding", "shard", "", "during"},
		{"after sharding", "shard", "", "after"},
		{"while phase 1 is made", "mkpretrain", "hdf5-128", "during"},
		{"after phase 1 was made", "mkpretrain", "hdf5-128", "after"},
		{"while phase 2 is made", "mkpretrain", "hdf5-512", "during"},
		{"after phase 2 was made", "mkpretrain", "hdf5-512", "after"},
	} {
		if i%3 != 0 && os.Getenv("HPCBERT_SLOW") == "" {
			continue // four of them show the way
		}
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			deadly(t, dir, c.program, c.argument, c.when)
			cmd := exec.Command("bash", "-c", inFolder(t, dir, prepared+"OUT=out exec bash "+dataprep))
			cmd.Env = environment()
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			out, err := cmd.CombinedOutput()
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
				t.Fatalf("not killed: %v\n%s", err, out)
			}
			if err := os.RemoveAll(filepath.Join(dir, "bin")); err != nil {
				t.Fatal(err)
			}
			must(t, inFolder(t, dir, prepared+"OUT=out bash "+dataprep))
			sameAsExpected(t, filepath.Join(dir, "out"))
		})
	}
}

// deadly puts a program before the real one that, called with argument, ends everything: its own session, for which Slurm's kill stands.
func deadly(t *testing.T, dir, program, argument, when string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	script := `#!/bin/bash
case "$*" in *` + argument + `*) ;; *) exec ` + programs + "/" + program + ` "$@" ;; esac
if [ ` + when + ` = after ]; then
	` + programs + "/" + program + ` "$@"
else
	` + programs + "/" + program + ` "$@" & sleep 0.05
fi
exec pkill -KILL --session 0
`
	if err := os.WriteFile(filepath.Join(dir, "bin", program), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
}

// signalDataprep starts the script with a wikiextract that takes long, signals it then, and tells how and after what time it ended.
func signalDataprep(t *testing.T, dir, variables string, signal syscall.Signal) (status int, log string, took time.Duration) {
	t.Helper()
	slow := "#!/bin/bash\ntouch " + dir + "/begun\nexec sleep 60\n"
	if err := os.WriteFile(filepath.Join(dir, "bin", "wikiextract"), []byte(slow), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", inFolder(t, dir, prepared+variables+" exec bash "+dataprep))
	var text strings.Builder
	cmd.Env, cmd.Stderr = environment(), &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
			break
		}
	}
	begin := time.Now()
	cmd.Process.Signal(signal)
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), text.String(), time.Since(begin)
}

// TestDataprepStopped ends the script by a signal: its programs end too, and it goes on later.
func TestDataprepStopped(t *testing.T) {
	needCorpora(t)
	for _, c := range []struct {
		signal syscall.Signal
		status int
	}{{syscall.SIGTERM, 143}, {syscall.SIGUSR2, 143}, {syscall.SIGINT, 130}} {
		dir := t.TempDir()
		must(t, "mkdir "+dir+"/bin")
		status, log, took := signalDataprep(t, dir, "OUT=out", c.signal)
		if status != c.status || took > 10*time.Second || !strings.Contains(log, "the same command goes on from here") {
			t.Errorf("%v: exit status %d after %v\n%s", c.signal, status, took, log)
		}
		must(t, "rm -r "+dir+"/bin")
		must(t, inFolder(t, dir, prepared+"OUT=out bash "+dataprep))
		sameAsExpected(t, filepath.Join(dir, "out"))
	}
}

// A segment that the signal reaches too late takes the end of its input for that of the text. What it leaves, here before the script looks, is not
// whole: the job must not be started again for it.
func TestDataprepHalfAPipe(t *testing.T) {
	needCorpora(t)
	dir := t.TempDir()
	must(t, "mkdir "+dir+`/bin && cd `+dir+`/bin && printf '#!/bin/bash\ntrap "" TERM\nsetsid -w %s "$@"\n' $(command -v segment) > segment &&
printf '#!/bin/bash\nsleep 0.5\nexec %s "$@"\n' $(command -v find) > find && printf '#!/bin/bash\necho "$@" >> %s/scontrol.log\n' `+dir+` > scontrol && chmod +x *`)
	status, log, _ := signalDataprep(t, dir, "BOOKS= TEXT= OUT=out SLURM_JOB_ID=7", syscall.SIGUSR2)
	left := mebibytes(t, filepath.Join(dir, "out", "sentences", "wiki.txt")) // else this tests nothing
	if _, err := os.Stat(filepath.Join(dir, "scontrol.log")); status != 1 || !strings.Contains(log, "nothing became whole within the time limit") || err == nil || left > 0 {
		t.Errorf("exit status %d\n%s", status, log)
	}
	must(t, "rm -r "+dir+"/bin")
	must(t, inFolder(t, dir, prepared+"OUT=out bash "+dataprep))
	sameAsExpected(t, filepath.Join(dir, "out"))
}

// TestDataprepRefuses: what was made of other files or with other options is not taken for whole, nor replaced.
func TestDataprepRefuses(t *testing.T) {
	needCorpora(t)
	dir := t.TempDir()
	must(t, inFolder(t, dir, prepared+"OUT=out bash "+dataprep))
	for _, c := range []struct{ what, variables, want string }{
		{"more shards", "TRAIN=4", `out/shards/shards.json was made otherwise: TRAIN is "4", was "3"` + "\n"},
		{"more tests too", "TRAIN=4 TEST=0", `out/shards/shards.json was made otherwise: TRAIN is "4", was "3"; TEST is "0", was "1"` + "\n"},
		{"other corpora", "TEXT=", `corpora is "books wiki", was "books wiki text"; $WORK/corpora/text.txt is not there, was "`},
		{"other sentences", "RULES=improved", `out/shards/shards.json was made otherwise: RULES is "improved", was "nltk"` + "\n"},
		{"another dump", "WIKI=more.xml", `made otherwise: more.xml is "`},
		{"another vocabulary", "VOCAB=other.txt", `out/hdf5-128/manifest.json was made otherwise: other.txt is "`},
		{"other masks", "SEED=1", `out/hdf5-128/manifest.json was made otherwise: SEED is "1", was "12345"` + "\n"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			r := sh(t, inFolder(t, dir, "cp $REPO/test/data/vocab.txt other.txt; echo more >> other.txt; cp $REPO/test/data/tinywiki.xml more.xml; "+prepared+c.variables+" OUT=out bash "+dataprep))
			if r.status != 1 || !strings.Contains(r.stderr, strings.ReplaceAll(c.want, "$WORK", work)) || strings.Count(r.stderr, "hint: ") != 1 {
				t.Errorf("exit status %d\n%s", r.status, r.stderr)
			}
		})
	}
	sameAsExpected(t, filepath.Join(dir, "out"))

	// What the hints say helps.
	removed := regexp.MustCompile(`or remove (\S+) to have it made anew`)
	for _, want := range []string{"out/shards", "out/sentences/wiki.txt", "out/hdf5-128", "out/hdf5-512", ""} {
		r := sh(t, inFolder(t, dir, prepared+"TRAIN=2 WIKI=more.xml OUT=out bash "+dataprep))
		found := append(removed.FindStringSubmatch(r.stderr), "", "")[1]
		if found != want || (r.status == 0) != (want == "") {
			t.Fatalf("exit status %d, hint to remove %q, want %q\n%s", r.status, found, want, r.stderr)
		}
		if want != "" {
			must(t, inFolder(t, dir, "rm -r "+found))
		}
	}
	must(t, inFolder(t, dir, "shard --check out/shards; [ $(ls out/hdf5-512/*training_*.hdf5 | wc -l) = 2 ]"))
}

// TestDataprepPreflight: what would fail in the job is found before it, in a dry run too.
func TestDataprepPreflight(t *testing.T) {
	needCorpora(t)
	testPreflight(t, dataprep, "OUT=out; "+prepared, []preflightCase{
		{"all there", "true", 0, ""},
		{"nothing to read", "WIKI= BOOKS= TEXT=", 2, "WIKI, BOOKS or TEXT"},
		{"no shards", "TRAIN=0", 2, "TRAIN"},
		{"negative shards", "TEST=-1", 2, "TEST"},
		{"phase 3", "PHASES='1 3'", 2, "PHASES"},
		{"rules of nobody", "RULES=mine", 2, "RULES"},
		{"half cased", "CASED=yes", 2, "CASED"},
		{"dump missing", "WIKI=none.xml", 1, "none.xml: cannot be read"},
		{"folder without dumps", "mkdir empty; WIKI=empty", 1, "empty: no *.xml* in it"},
		{"folder without books", "mkdir empty; BOOKS=empty", 1, "empty: no *.txt* in it"},
		{"vocabulary missing", "VOCAB=none", 1, "none: cannot be read"},
		{"model missing", "MODEL=none", 1, "none: cannot be read"},
		{"output below a file", ": > file; OUT=file/out", 1, "because of file"},
		{"program missing", "mkdir p; ln -s $(command -v bash dirname find grep sort stat xargs cat segment shard mkpretrain) p; PATH=$PWD/p", 1, "wikiextract: not found"},
	})
}

// TestDataprepLines: the lines of a dry run, with the reference's values.
func TestDataprepLines(t *testing.T) {
	dir := t.TempDir()
	r := must(t, inFolder(t, dir, "mkdir books; touch books/b.txt books/a.txt d.xml; VOCAB=$REPO/test/data/vocab.txt RULES=improved BOOKS=books WIKI=d.xml DRYRUN=1 bash "+dataprep))
	repository, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	want := `segment --rules improved -o ./sentences/books.txt books
bash -euo pipefail -c wikiextract\ \"\$\{@:2\}\"\ \|\ segment\ --rules\ improved\ -o\ \"\$1\" dataprep ./sentences/wiki.txt d.xml
shard --train 256 --test 256 --fraction 0.1 -o ./shards ./sentences/books.txt ./sentences/wiki.txt
mkpretrain --vocab VOCAB --dupe 5 --seed 12345 --seq 128 --max-pred 20 -o ./hdf5-128 ./shards
mkpretrain --vocab VOCAB --dupe 5 --seed 12345 --seq 512 --max-pred 80 -o ./hdf5-512 ./shards
`
	if want = strings.ReplaceAll(want, "VOCAB", repository+"/test/data/vocab.txt"); r.stdout != want {
		t.Errorf("printed\n%sexpected\n%s", r.stdout, want)
	}
}

// TestSlurmDataprep submits the script to two nodes, and to one with a time limit that is over before anything is whole.
func TestSlurmDataprep(t *testing.T) {
	setup := startSlurm(t).environment
	needCorpora(t)
	dir := t.TempDir()
	must(t, inFolder(t, dir, setup+"export "+prepared+"; OUT=out sbatch -W -N2 -o whole.log "+dataprep))
	sameAsExpected(t, filepath.Join(dir, "out"))
	if log := read(t, filepath.Join(dir, "whole.log")); !strings.Contains(log, "2 node(s): books wiki text to out") || !strings.Contains(log, "dataprep: info: done") {
		t.Errorf("the log says\n%s", log)
	}

	// A node of Slurm signals the script; nothing is whole by then: to start again would lead to the same place.
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	slow := "#!/bin/bash\nexec sleep 600\n"
	if err := os.WriteFile(filepath.Join(dir, "bin", "wikiextract"), []byte(slow), 0o777); err != nil {
		t.Fatal(err)
	}
	line := func(command string) string { return inFolder(t, dir, setup+command) }
	job := submit(t, line, prepared+"BOOKS= TEXT= OUT=slow", "-N1", "slow.log", dataprep)
	job.until("1 node(s): wiki to slow", 1, time.Minute)
	must(t, line("sleep 1; scancel --batch --signal=USR2 "+job.id))
	job.until("nothing became whole within the time limit", 1, time.Minute)
	if err := os.RemoveAll(filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	must(t, inFolder(t, dir, setup+"export "+prepared+"; BOOKS= TEXT= OUT=slow sbatch -W -N1 -o again.log "+dataprep))
}
