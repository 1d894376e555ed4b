package stream

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSHA256(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("hello\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	const want = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03" // by sha256sum
	if sum, size, err := SHA256(t.Context(), name); sum != want || size != 6 || err != nil {
		t.Errorf("%s of %d bytes, %v", sum, size, err)
	}
}

// A file that takes minutes to read is given up when the run is stopped.
func TestSHA256Stops(t *testing.T) {
	name := filepath.Join(t.TempDir(), "huge")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 40); err != nil {
		t.Skipf("skipped: no file with holes here: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, _, err := SHA256(ctx, name); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}
