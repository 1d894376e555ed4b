package train

import (
	"strings"
	"testing"
)

// Contents are called other ones only where hashes say so.
func TestOtherData(t *testing.T) {
	for _, c := range []struct{ was, now, want string }{
		{"", "", ""},
		{"a", "a", ""},
		{"a", "b", "same sizes, other contents"},
		{"a", "", "had a manifest.json with the files' hashes, now there is none"},
		{"", "b", "had no manifest.json with the files' hashes, now there is one"},
	} {
		got := otherData(c.was, c.now)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || strings.Contains(got, "other contents") != strings.Contains(c.want, "other contents") {
			t.Errorf("hashes %q and %q: %q, expected %q", c.was, c.now, got, c.want)
		}
	}
}
