package stream

import (
	"context"
	"strings"
	"testing"

	"hpcbert/lib/fault"
)

func TestXZIsRefused(t *testing.T) {
	_, err := Open(context.Background(), "-", strings.NewReader("\xfd7zXZ\x00\x00\x04"))
	if err == nil || err.Error() != "read standard input: is compressed with xz, which is not read here" || !strings.Contains(fault.HintOf(err), "decompress it first") {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
}

func TestSuffixesThatCannotBeWritten(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"out.bz2", "out.jsonl.xz"} {
		_, created := Create(name, nil)
		for _, err := range []error{created, CheckOutput(name)} {
			if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "can write .gz and .zst") {
				t.Errorf("%s: error %v", name, err)
			}
		}
	}
}
