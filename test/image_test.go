package test

import (
	"strings"
	"testing"
)

// TestImage runs image.sh beside programs that only say how they were called: which one builds, what is asked of it, what is missing.
func TestImage(t *testing.T) {
	const noDaemon = `[ "$1" != info ] || exit 1`
	for _, c := range []struct {
		what, arguments string
		programs        map[string]string // name to what it does before it says how it was called
		status          int
		want            string // calls, or part of standard error
	}{
		{"no command", "", nil, 2, "usage: "},
		{"other command", "singularity", map[string]string{"docker": ""}, 2, "usage: "},
		{"nothing that builds", "build", nil, 1, "neither docker (with its daemon), podman nor buildah works here"},
		{"docker", "build", map[string]string{"docker": "", "buildah": ""}, 0, "docker build -t hpcbert --build-arg VERSION=unknown -f sub/Dockerfile ."},
		{"docker without daemon", "build", map[string]string{"docker": noDaemon, "buildah": ""}, 0, "buildah build -t hpcbert --build-arg VERSION=unknown -f sub/Dockerfile ."},
		{"enroot missing", "enroot", map[string]string{"docker": ""}, 1, "enroot: not found"},
		{"enroot from docker", "enroot x.sqsh", map[string]string{"docker": "", "enroot": ""}, 0, "enroot import -o x.sqsh dockerd://hpcbert"},
		{"enroot from podman", "enroot", map[string]string{"podman": "", "enroot": ""}, 0, "enroot import -o hpcbert.sqsh podman://hpcbert"},
		{"enroot from buildah", "enroot", map[string]string{"buildah": "", "enroot": ""}, 1, "enroot cannot read the images of buildah"},
		{"apptainer missing", "apptainer", map[string]string{"buildah": ""}, 1, "apptainer: not found"},
		{"apptainer from buildah", "apptainer", map[string]string{"buildah": "", "apptainer": ""}, 0, "apptainer build hpcbert.sif docker-archive:"},
		{"file there", "apptainer there.sif", map[string]string{"buildah": "", "apptainer": ""}, 1, "there.sif: is there"},
		{"build that fails", "apptainer", map[string]string{"buildah": "exit 7", "apptainer": ""}, 7, ""},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			dir := t.TempDir()
			var line strings.Builder
			line.WriteString("set -e; mkdir p sub; : > sub/Dockerfile; : > there.sif; for n in bash mktemp rm; do ln -s $(command -v $n) p; done; ")
			for name, text := range c.programs {
				line.WriteString("printf '#!/bin/bash\\n%s\\necho " + name + " \"$@\"\\n' '" + text + "' > p/" + name + "; chmod +x p/" + name + "; ")
			}
			r := sh(t, inFolder(t, dir, line.String()+"PATH=$PWD/p exec /bin/bash $REPO/sub/image.sh "+c.arguments))
			if r.status != c.status || !strings.Contains(r.stderr, c.want) {
				t.Errorf("exit status %d, expected %d; standard error does not say %q:\n%s", r.status, c.status, c.want, r.stderr)
			}
			if c.status == 1 && strings.Count(r.stderr, "hint: ") != 1 {
				t.Errorf("no hint:\n%s", r.stderr)
			}
		})
	}
}
