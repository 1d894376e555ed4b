package squad

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"hpcbert/lib/wordpiece"
)

func readTraining(t testing.TB) (*Data, *wordpiece.Tokenizer) {
	t.Helper()
	folder := realData(t)
	d, err := Read(t.Context(), filepath.Join(folder, "squad/train-v1.1.recon.json.gz"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, tokenizer(t, filepath.Join(folder, "wordpiece/vocab/bert-base-uncased-vocab.txt"), true)
}

func convertTraining(t testing.TB, d *Data, tokens *wordpiece.Tokenizer, threads int) (examples, windows int) {
	t.Helper()
	all, _, err := d.Training(false)
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewConverter(tokens, Options{MaxSeq: 384, Stride: 128, MaxQuery: 64}).Windows(t.Context(), all, threads)
	if err != nil {
		t.Fatal(err)
	}
	return len(all), len(w)
}

// The number of windows is the one that others report of BERT's training on SQuAD 1.1.
func TestAllOfTraining(t *testing.T) {
	if os.Getenv("HPCBERT_SLOW") == "" {
		t.Skip("skipped: HPCBERT_SLOW is not set")
	}
	d, tokens := readTraining(t)
	if examples, windows := convertTraining(t, d, tokens, runtime.GOMAXPROCS(0)); examples != 87599 || windows != 88641 {
		t.Errorf("%d examples and %d windows, expected 87599 and 88641", examples, windows)
	}
}

// Megabytes are those of the unpacked file.
func BenchmarkRead(b *testing.B) {
	for b.Loop() {
		readTraining(b)
	}
	b.ReportMetric(30.3*float64(b.N)/b.Elapsed().Seconds(), "MB/s")
}

func BenchmarkWindows(b *testing.B) {
	d, tokens := readTraining(b)
	examples := 0
	for b.Loop() {
		examples, _ = convertTraining(b, d, tokens, runtime.GOMAXPROCS(0))
	}
	b.ReportMetric(float64(examples)*float64(b.N)/b.Elapsed().Seconds(), "questions/s")
	b.ReportMetric(30.3*float64(b.N)/b.Elapsed().Seconds(), "MB/s")
}
