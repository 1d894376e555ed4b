#!/usr/bin/env bash
# Speed of the kernels on this machine: one line an operation and shape, with the CPU, date and commit above.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "# CPU: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores; $(date -u +%F); commit $(git describe --always --dirty 2>/dev/null || echo unknown)"
exec go test -run '^$' -bench . ./kernels
