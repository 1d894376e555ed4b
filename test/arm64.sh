#!/usr/bin/env bash
# Compiles the kernels for 64-bit Arm without a warning, and runs their tests there, then those of lib/bert, on NEON and on plain C: with Debian's
# gcc-aarch64-linux-gnu and libc6-dev-arm64-cross under its qemu-user (`make test-arm64` installs them). About five minutes on two cores.
# What lib/bert reads with HDF5 is left out, for that library is not there for Arm; so are the test of huge pages, for which qemu does not ask,
# and the CUDA backend on a host, which is built for this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

CC=aarch64-linux-gnu-gcc
ROOT=/usr/aarch64-linux-gnu
for program in "$CC" qemu-aarch64; do
	command -v "$program" >/dev/null || { echo "arm64: skipped: $program is not installed"; exit 0; }
done
[ -e "$ROOT/lib/libc.so.6" ] || { echo "arm64: skipped: libc6-dev-arm64-cross is not installed"; exit 0; }

mkdir -p build
for f in kernels/*.c; do
	"$CC" -std=gnu11 -O2 -Wno-psabi -Wall -Wextra -Werror -c -o /dev/null "$f"
done

# run_tests FOLDER FILES: the test program of one package, run in its folder
run_tests() {
	local folder=$1 program=$PWD/build/arm64-${1//\//-}.test
	shift
	CGO_ENABLED=1 GOARCH=arm64 CC=$CC go test -c -o "$program" "$@"
	echo "arm64: tests of $folder"
	(cd "$folder" && qemu-aarch64 -L "$ROOT" "$program" -test.v -test.skip "TestMemoryIsHuge|/cudahost") >"$program.log" 2>&1 || { grep -vE '^ *(=== |--- (PASS|SKIP))' "$program.log"; exit 1; }
	sed -n 's/^.*: \(kernels tested on [^;]*\);.*/arm64: \1/p' "$program.log"
	grep -cE '^--- PASS' "$program.log" | sed "s/.*/arm64: & tests of ${folder//\//\\/} passed/"
}

run_tests kernels ./kernels
mapfile -t files < <(grep -L '"hpcbert/lib/pretrain"' lib/bert/*.go)
run_tests lib/bert "${files[@]}"
